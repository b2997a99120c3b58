"""The demo: export, parity check and prediction on a photograph in one command."""

import json
from pathlib import Path

import cv2
import numpy as np

from .export.package import export_bundle, open_checkpoint
from .export.report import parity_table
from .export.verify import verify_bundle
from .pose.batches import unlabelled
from .pose.crop import crop_people
from .pose.pictures import read_image
from .runtime.estimator import PoseEstimator, whole_image
from .runtime.predict import RESULTS, open_source, picture_name, predict_to_folder

PHOTOGRAPH = "astronaut.png"
PERSON_IN_PHOTOGRAPH = [30, 5, 470, 512]  # Eileen Collins, to the hips; px, measured by eye


def demo(out: Path, source: Path | None = None, boxes: Path | None = None) -> bool:
    """Run the demo, write its files to `out` and print a summary; return whether the graph matches the network."""
    out.mkdir(parents=True, exist_ok=True)
    if source is None:
        source, boxes = package_photograph(out)
    checkpoint = open_checkpoint(None)
    bundle = export_bundle(checkpoint, out / "bundle", overwrite=True)
    print(f"1. {bundle.variant} exported: {bundle.root}")

    people = open_source(source, bundle.spec, boxes)
    crops = []
    for path in people.pictures:
        image = read_image(path)
        known = None if people.boxes is None else people.boxes.get(path)
        filled = np.array([whole_image(image)]) if known is None else known.boxes
        crops.append(unlabelled(crop_people(image, filled, bundle.spec)[0], bundle.spec))
    ladder = verify_bundle(bundle, crops)
    print(f"2. what the bundle holds against PyTorch on the photograph:\n{parity_table(ladder)}")

    found = predict_to_folder(PoseEstimator.open(bundle.root), people, out)
    print(f"3. keypoints of {found.people} people: {out / RESULTS}")
    print(f"   pictures: {', '.join(str(out / picture_name(people.name(path))) for path in people.pictures)}")
    return all(rung.passed for rung in ladder)


def package_photograph(folder: Path) -> tuple[Path, Path]:
    """Write scikit-image's photograph and the box of its person to `folder`; return both paths."""
    try:
        from skimage.data import astronaut
    except ImportError as error:
        raise ImportError("the demo's photograph comes with scikit-image: pip install 'lehrnet[demo]'") from error
    inputs = folder / "input"
    inputs.mkdir(exist_ok=True)
    cv2.imwrite(str(inputs / PHOTOGRAPH), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    (inputs / "boxes.json").write_text(json.dumps({PHOTOGRAPH: [PERSON_IN_PHOTOGRAPH]}))
    return inputs / PHOTOGRAPH, inputs / "boxes.json"
