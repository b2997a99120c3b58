"""Identities of people over time: motion, matching and smoothing in NumPy, without a network."""

from .options import SmoothOptions, TrackerOptions
from .state import Proposals, TrackState
from .tracker import Item, PoseTracker

__all__ = ["Item", "PoseTracker", "Proposals", "SmoothOptions", "TrackState", "TrackerOptions"]
