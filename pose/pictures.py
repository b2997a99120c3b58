"""Image files."""

from pathlib import Path

import cv2
import numpy as np

from .crop import Image


def read_image(path: Path) -> Image:
    """Decode an image file to BGR (H, W, 3); ValueError if it is not one."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ValueError(f"{path} does not decode as an image")
    return image.astype(np.uint8, copy=False)
