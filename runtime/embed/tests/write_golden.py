"""Writes the golden files: what Python defines of crop, decode and packed networks; the C++ is held against it.

python runtime/embed/tests/write_golden.py [FOLDER]     # tests/golden beside this file if absent
"""

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from lehrnet.calibration.steps import Steps
from lehrnet.export.native import TYPES, config_numbers, native_tensors
from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.model.forms import fold_norms
from lehrnet.pose.crop import sample_bilinear
from lehrnet.pose.frame import person_affines
from lehrnet.pose.heatmap import DECODE_METHODS, encode, fuse_flipped
from lehrnet.pose.points import find_points
from lehrnet.pose.spec import COCO, PoseSpec
from lehrnet.runtime.bundle import Artefact, Bundle, write_manifest
from lehrnet.tests.runtime.native_twins import integer_paths

SPEC = replace(COCO, input_size=(64, 32))
SPECS = {
    **{method: replace(SPEC, decode=method) for method in DECODE_METHODS},
    "hrnet": replace(SPEC, frame="hrnet"),
    "udp_frame": replace(SPEC, frame="udp", decode="udp"),
}
"""By the name of the golden bundle."""
BOXES = np.array(
    [
        [10, 5, 40, 44],
        [-20.5, -8.25, 30.75, 60],  # beyond the image on three sides
        [30.25, 20.5, 33.5, 26.75],  # a few pixels, enlarged
        [5, 5, 62, 20],  # wider than the crop's aspect
        [100, 100, 140, 180],  # nothing of it is in the image
    ],
    np.float32,
)
SMALL = NetworkConfig(joints=5, width=8, units=1, modules=(1, 1, 1))
NETWORKS = {
    "light": SMALL,
    "without_attention": replace(SMALL, width=12, attention=False),
    "dense": replace(SMALL, width=12, light_units=False, light_convs=False, attention=False),
    "deep": replace(SMALL, width=4, units=2, modules=(1, 1, 2), light_units=False, light_convs=False, attention=False),
    "smallest": replace(SMALL, joints=2, width=4),
    "smallest_dense": replace(SMALL, joints=2, width=4, light_units=False, light_convs=False, attention=False),
}
"""By the name in networks.txt."""


def main() -> None:
    """Write the bundles, the arrays and the networks' tensors."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "golden"
    folder.mkdir(parents=True, exist_ok=True)
    for name, spec in SPECS.items():
        write_bundle(folder / name, spec)
    for name, array in arrays().items():
        array.tofile(folder / name)
    lines = [line for name, config in NETWORKS.items() for line in tensors(name, config)]
    (folder / "networks.txt").write_text("\n".join(lines) + "\n")


def write_bundle(root: Path, spec: PoseSpec) -> None:
    """A bundle without a network: its artefact is a sentence."""
    root.mkdir(exist_ok=True)
    model = root / "model.bin"
    model.write_bytes(b"A network would stand here.\n")
    artefacts = {"fp32": Artefact.of(model)}
    write_manifest(Bundle(root, "lehrnet_w32", spec, False, "golden file, caf\u00e9", artefacts))


def arrays() -> dict[str, np.ndarray]:
    """By the names of their files."""
    rng = np.random.default_rng(7)
    image = cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 1.5)
    nv12 = rng.integers(0, 256, (72, 64), dtype=np.uint8)
    boxes = BOXES.astype(np.float64)
    affines = person_affines(boxes, SPEC)
    points = rng.uniform(-1, (9, 17), (len(BOXES), 17, 2))  # in cells; some beyond the map's 8x16
    heatmaps = encode(points, (16, 8), 2.0) * rng.uniform(0.2, 1, (len(BOXES), 17, 1, 1)).astype(np.float32)
    heatmaps += rng.normal(0, 0.01, heatmaps.shape).astype(np.float32)
    heatmaps[0, 0] = 0.25  # all equal: the first cell wins
    heatmaps[0, 1] = -heatmaps[0, 1]  # no peak above zero
    keypoints = {
        f"keypoints_{name}.f32": find_points(
            lambda _: heatmaps, np.zeros((len(BOXES), 3, 64, 32), np.float32), person_affines(boxes, spec), spec
        )
        for name, spec in SPECS.items()
    }
    return {
        "image.u8": image,
        "nv12.u8": nv12,
        "boxes.f32": BOXES,
        "crops.f32": crops(image, affines),
        **{f"crops_{name}.f32": crops(image, person_affines(boxes, SPECS[name])) for name in ("hrnet", "udp_frame")},
        "crops_nv12.f32": crops(cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12), affines[:2]),
        "heatmaps.f32": heatmaps,
        "fused.f32": fuse_flipped(heatmaps, heatmaps[::-1].copy(), SPEC.skeleton.mirror),
        "fused_hrnet.f32": fuse_flipped(heatmaps, heatmaps[::-1].copy(), SPEC.skeleton.mirror, "hrnet"),
        **keypoints,
    }


def tensors(name: str, config: NetworkConfig) -> list[str]:
    """A line for each version of a packed network: name, version, config, each tensor's type and sizes."""
    network = PoseNetwork(config)
    steps = {path: Steps(1.0, 1.0) for path in integer_paths(fold_norms(network.double().eval()))}
    return [_line(name, version, config, [*native_tensors(network, of)]) for version, of in ((1, {}), (2, steps))]


def _line(name: str, version: int, config: NetworkConfig, found: list[np.ndarray]) -> str:
    numbers = config_numbers(config)
    sizes = [(TYPES[tensor.dtype.name], *tensor.shape, *[1] * (4 - tensor.ndim)) for tensor in found]
    return " ".join(map(str, (name, version, *numbers, len(found), *(number for each in sizes for number in each))))


def crops(image: np.ndarray, affines: np.ndarray) -> np.ndarray:
    """By the definition, not by the fast path of `crop_people`."""
    levels = np.stack([sample_bilinear(image, affine, SPEC.input_size)[..., ::-1] for affine in affines])
    normalized = (levels.astype(np.float64) / 255 - SPEC.mean) / SPEC.std
    return np.ascontiguousarray(normalized.transpose(0, 3, 1, 2), np.float32)


if __name__ == "__main__":
    main()
