"""Frames with their times, from files, folders, cameras, addresses and iterables; and video files written."""

from .frames import Frame, FrameSource
from .iterables import from_iterable
from .opening import open_video
from .together import Together

__all__ = ["Frame", "FrameSource", "Together", "from_iterable", "open_video"]
