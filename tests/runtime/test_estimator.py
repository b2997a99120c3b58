from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.pose.heatmap import encode
from lehrnet.pose.spec import PoseSpec
from lehrnet.runtime import PoseEstimator
from lehrnet.runtime.inputs import LARGEST_BATCH

BOXES = np.array([[10.0, 10, 60, 90], [40, 5, 150, 110], [-20, -20, 30, 300]])


class RedDot:
    """A perfect session for pictures whose only red pixels are one dot: every joint is the dot."""

    backend, device, spec = "fake", "cpu", PoseSpec()

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        self.batches.append(len(crops))
        red = crops[:, 0] - crops[:, 0].min()
        mass = red.sum((1, 2)) + 1e-9
        y, x = np.indices(red.shape[1:])
        centre = np.stack(((red * x).sum((1, 2)) / mass, (red * y).sum((1, 2)) / mass), 1)
        cells = (centre - 1.5) / 4
        grid = (crops.shape[2] // 4, crops.shape[3] // 4)
        return encode(np.repeat(cells[:, None], 17, 1), grid, 2.0)

    def close(self) -> None:
        pass


def dot(x: int, y: int) -> NDArray[np.uint8]:
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[y - 2 : y + 3, x - 2 : x + 3, 2] = 255  # BGR: red
    return picture


@pytest.mark.parametrize("flip", [False, True])
def test_a_dot_is_found_where_it_is_in_the_image(flip: bool) -> None:
    estimator = PoseEstimator(RedDot(), PoseSpec(decode="dark"), flip=flip)
    for box in ([30, 10, 120, 110], [50, 30, 90, 90], [-10, -30, 150, 140]):
        poses = estimator(dot(70, 55), [box])
        np.testing.assert_allclose(poses.xy[0], np.tile([70, 55], (17, 1)), atol=0.1)  # image px
        np.testing.assert_array_equal(poses.boxes, [box])


def test_images_of_a_batch_come_back_apart(tiny_bundle: Path, image: NDArray[np.uint8]) -> None:
    estimator = PoseEstimator.open(tiny_bundle, device="cpu")
    another = np.ascontiguousarray(image[::-1, :100])
    together = estimator.run_many([(image, BOXES), (another, None), (image, []), (another, BOXES[:1])])
    assert [len(poses) for poses in together] == [3, 1, 0, 1]
    for poses, (picture, boxes) in zip(
        together, [(image, BOXES), (another, None), (image, []), (another, BOXES[:1])], strict=True
    ):
        alone = estimator(picture, boxes)
        np.testing.assert_allclose(poses.xy, alone.xy, atol=1e-3)
        np.testing.assert_allclose(poses.score, alone.score, atol=1e-6)


def test_many_people_are_split_into_batches_that_fit() -> None:
    session = RedDot()
    boxes = np.tile([[30.0, 10, 120, 110]], (LARGEST_BATCH + 5, 1))
    poses = PoseEstimator(session, PoseSpec()).run_many([(dot(70, 55), boxes), (dot(40, 30), boxes[:2])])
    assert [len(found) for found in poses] == [37, 2]
    assert session.batches == [32, 7]
    np.testing.assert_allclose(poses[1].xy, 0 * poses[1].xy + [40, 30], atol=1.5)


def test_an_image_without_boxes_is_one_person_who_fills_it(tiny_bundle: Path, image: NDArray[np.uint8]) -> None:
    estimator = PoseEstimator.open(tiny_bundle, device="cpu")
    np.testing.assert_array_equal(estimator(image).xy, estimator(image, [[0, 0, 160, 120]]).xy)


def test_no_images_give_no_poses() -> None:
    assert PoseEstimator(RedDot(), PoseSpec()).run_many([]) == []


def test_onnx_and_torch_find_the_same_points(tiny_bundle: Path, image: NDArray[np.uint8]) -> None:
    by_onnx, by_torch = (PoseEstimator.open(tiny_bundle, name, "cpu") for name in ("fp32", "weights"))
    assert (by_onnx.session.backend, by_torch.session.backend) == ("onnxruntime", "torch")
    found, wanted = by_onnx(image, BOXES), by_torch(image, BOXES)
    np.testing.assert_allclose(found.xy, wanted.xy, atol=0.01)  # image px
    np.testing.assert_allclose(found.score, wanted.score, atol=1e-4)


def test_bad_boxes_and_images_are_refused_before_anything_runs(image: NDArray[np.uint8]) -> None:
    session = RedDot()
    estimator = PoseEstimator(session, PoseSpec())
    with pytest.raises(ValueError, match="box 0"):
        estimator.run_many([(image, BOXES), (image, [[0, 0, float("inf"), 1]])])
    with pytest.raises(ValueError, match="expected \\(height, width, 3\\)"):
        estimator(image[..., 0], BOXES)
    assert session.batches == []
