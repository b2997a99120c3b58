from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of 30 frames of 160 x 120 px at 30 a second, each of its own grey, with a white square that moves."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 120))
    for number in range(30):
        image = np.full((120, 160, 3), number * 4, np.uint8)
        image[30:90, 2 * number : 2 * number + 40] = 255
        writer.write(image)
    writer.release()
    return path
