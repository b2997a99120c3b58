"""From an image to a detector's input, and from its boxes back."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...pose.crop import Image
from .description import Description


@dataclass(frozen=True)
class Letterbox:
    """How an image lies in the network's input."""

    scale: NDArray[np.float64]
    """(2,) px of the input for one px of the image, along x and y."""
    shift: NDArray[np.float64]
    """(2,) px of the input at the image's corner."""

    def to_image(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes (N, 4) xyxy from px of the input to px of the image."""
        return (boxes - np.tile(self.shift, 2)) / np.tile(self.scale, 2)


def network_input(
    image: Image, description: Description, size: tuple[int, int]
) -> tuple[NDArray[np.float32], Letterbox]:
    """The input (1, 3, H, W) of float32 for a BGR image, and where the image lies in it; `size` is (H, W)."""
    canvas, placed = _placed(image, description, size)
    colours = canvas[..., ::-1] if description.colour == "rgb" else canvas
    values = colours.astype(np.float32) * np.float32(description.scale)
    values = (values - np.array(description.mean, np.float32)) / np.array(description.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32), placed


def _placed(image: Image, description: Description, size: tuple[int, int]) -> tuple[Image, Letterbox]:
    """The image scaled to the input's size (H, W), whole or with bars at its sides."""
    height, width = image.shape[:2]
    if description.resize == "stretch":
        scale = np.array((size[1] / width, size[0] / height))
        return _resized(image, size[1], size[0]), Letterbox(scale, np.zeros(2))
    ratio = min(size[0] / height, size[1] / width)
    wide, tall = (max(1, min(side, round(length * ratio))) for side, length in ((size[1], width), (size[0], height)))
    left, top = 0, 0
    if description.resize == "letterbox_centre":
        left, top = (size[1] - wide) // 2, (size[0] - tall) // 2
    canvas = np.full((*size, 3), round(description.pad), np.uint8)
    canvas[top : top + tall, left : left + wide] = _resized(image, wide, tall)
    return canvas, Letterbox(np.array((wide / width, tall / height)), np.array((left, top), np.float64))


def _resized(image: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
