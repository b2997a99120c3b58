"""Image files."""

from pathlib import Path

import cv2
import numpy as np

from .crop import Image

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_TRAILER = 4096  # bytes: some cameras append a little after the end


def read_image(path: Path) -> Image:
    """Decode an image file to BGR (H, W, 3); ValueError if it is not one, or not a whole one."""
    content = path.read_bytes()
    if content.startswith(JPEG_START) and JPEG_END not in content[-JPEG_TRAILER:]:
        raise ValueError(f"{path} is cut off: a JPEG without an end; fetch it again")  # OpenCV would fill it with grey
    data = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ValueError(f"{path} does not decode as an image")
    return image.astype(np.uint8, copy=False)
