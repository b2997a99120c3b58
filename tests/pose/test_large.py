"""A label file of train2017's size: 118,000 pictures, 262,000 annotations, with segmentations."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.pose.skeleton import COCO17

IMAGES, PEOPLE = 118_000, 262_000
CODE = """
import sys, time
from pathlib import Path
from lehrnet.pose.coco import read_coco
started = time.perf_counter()
people = read_coco(Path(sys.argv[1]), purpose="train")
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2]  # ru_maxrss would count the parent's before exec
print(len(people), time.perf_counter() - started, int(peak.split()[0]) / 1e6)
"""


@pytest.mark.slow
def test_train2017_s_size_is_read_in_a_minute_and_two_gigabytes(tmp_path: Path) -> None:
    folder = tmp_path / "coco"
    write(folder)
    found = subprocess.run([sys.executable, "-c", CODE, str(folder)], capture_output=True, text=True, check=True)
    people, seconds, gigabytes = map(float, found.stdout.split())
    assert people == PEOPLE - PEOPLE // 100
    assert seconds < 60
    assert gigabytes < 2
    assert f"left out: {PEOPLE // 100}, because its box has no area" in found.stderr


def write(folder: Path) -> None:
    """COCO's own layout; every picture is a link to one drawn picture."""
    (folder / "train2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    cv2.imwrite(str(folder / "one.jpg"), np.full((48, 64, 3), 90, np.uint8))
    for number in range(IMAGES):
        (folder / "train2017" / f"{number:012d}.jpg").symlink_to(folder / "one.jpg")
    images = [{"id": n, "file_name": f"{n:012d}.jpg", "width": 64, "height": 48} for n in range(IMAGES)]
    outline = [round(0.37 * step, 2) for step in range(60)]
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.joints), "skeleton": []}
    with (folder / "annotations" / "person_keypoints_train2017.json").open("w") as file:
        file.write(json.dumps({"images": images, "categories": [category]})[:-1] + ', "annotations": [')
        for number in range(PEOPLE):
            person = {
                "id": number,
                "image_id": number % IMAGES,
                "category_id": 1,
                "segmentation": [outline],
                "bbox": [3.5, 4.25, 20.0, 0.0 if number % 100 == 7 else 30.5],
                "area": 300.5,
                "iscrowd": 0,
                "num_keypoints": 17,
                "keypoints": [20, 30, 2] * 17,
            }
            file.write((", " if number else "") + json.dumps(person))
        file.write("]}")
