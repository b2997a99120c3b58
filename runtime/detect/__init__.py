"""Person detectors: ONNX files of many families behind one face, an image in and boxes out."""

from .description import Description
from .detector import DetectorOptions, PersonDetector
from .families import KINDS

__all__ = ["KINDS", "Description", "DetectorOptions", "PersonDetector"]
