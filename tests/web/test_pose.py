"""What the page computes itself against the definitions in Python, by Node."""

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.crop import crop_people
from lehrnet.pose.heatmap import FRAMES
from lehrnet.pose.results import SURE_JOINT, coco_results
from lehrnet.pose.skeleton import SKELETONS
from lehrnet.pose.spec import PoseSpec
from lehrnet.runtime.draw import LEFT, MIDDLE, RIGHT, _colour
from lehrnet.runtime.track.matching import GROW, SURE, boxes_of
from lehrnet.web.site import HERE, PAGE

FOLLOW = {"sure": SURE, "grow": GROW, "lowest": 0.15}
PROGRAM = """
import * as pose from %s;
let text = "";
for await (const part of process.stdin) text += part;
const { name, calls } = JSON.parse(text, (key, value) => (key === "points" ? Float32Array.from(value) : value));
console.log(JSON.stringify(calls.map((call) => pose[name](...call))));
"""


def by_node(name: str, *calls) -> list:
    """Results of a function of `pose.js`; an argument called `points` becomes a Float32Array."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed: `apt-get install nodejs`")
    program = PROGRAM % json.dumps((PAGE / "pose.js").as_uri())
    command = [node, "--input-type=module", "--eval", program]
    text = json.dumps({"name": name, "calls": calls})
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def people() -> np.ndarray:
    """(N, K, 3) of float32, some of low score."""
    points = np.random.default_rng(0).uniform(0, 200, (6, 17, 3)).astype(np.float32)
    points[..., 2] = np.random.default_rng(1).uniform(-0.2, 1, (6, 17))
    points[5, :, 2] = -0.1
    return points


def person(points, box=(0, 0, 0, 0)) -> dict:
    return {"box": list(box), "points": points.ravel().tolist()}


def test_the_next_box_is_the_tracker_s_within_the_picture(people) -> None:
    found = by_node("nextBox", *([person(each), {**FOLLOW, "lowest": -1}, 170, 180] for each in people))
    np.testing.assert_allclose(found, boxes_of(people.astype(np.float64)).clip(0, [170, 180, 170, 180]), atol=1e-4)


def test_who_is_unsure_or_outside_is_lost(people) -> None:
    unsure, outside, point = people[5].copy(), people[0].copy(), people[0].copy()
    outside[:, 0] += 900
    point[:, :2] = 50
    calls = [[person(each), FOLLOW, 200, 200] for each in (unsure, outside, point)]
    assert by_node("nextBox", *calls) == [None, None, None]


def test_coco_results_are_predict_s(people) -> None:
    boxes, skeleton = np.array([[1.5, 2, 30, 60.25]] * len(people)), PoseSpec().skeleton
    for name, number in (("000000000139.jpg", 139), ("me.png", 1)):
        extra = {"file_name": name}
        wanted = coco_results(people, boxes, image_id=number, category_id=1, skeleton=skeleton, extra=extra)
        given = [person(each, box) for each, box in zip(people, boxes.tolist(), strict=True)]
        (found,) = by_node("cocoResults", [given, name, SURE_JOINT])
        for one, other in zip(found, wanted, strict=True):
            assert list(one) == list(other)
            assert one.pop("keypoints") == pytest.approx(other.pop("keypoints"), abs=1.01e-4)  # px: the last decimal
            assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-6)
            assert one == other


@pytest.mark.parametrize("name", SKELETONS)
def test_sides_are_those_that_python_draws(name: str) -> None:
    skeleton = SKELETONS[name]
    parts = [*((joint,) for joint in range(len(skeleton))), *skeleton.limbs]
    colours = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}
    found = by_node("sideOf", *([asdict(skeleton), list(part)] for part in parts))
    assert [colours[side] for side in found] == [_colour(skeleton, *part) for part in parts]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_region_holds_all_that_the_crop_sees(frame, image) -> None:
    """The crop of the region alone is the crop of the picture."""
    spec = PoseSpec(input_size=(64, 96), frame=frame)
    height, width = image.shape[:2]
    boxes = np.array([[40.5, 30, 60, 70], [0, 0, 160, 120], [-40, -30, 20, 30], [150, 110, 170, 140], [70, 50, 74, 53]])
    regions = by_node("regionOf", *([box, asdict(spec), width, height] for box in boxes.tolist()))
    for box, region in zip(boxes, regions, strict=True):
        left, top = region["left"], region["top"]
        part = image[top : top + region["height"], left : left + region["width"]]
        crop, _ = crop_people(np.ascontiguousarray(part), box[None] - [left, top, left, top], spec)
        np.testing.assert_allclose(crop, crop_people(image, box[None], spec)[0], atol=1e-3)
    assert regions[4]["width"] < 20
    assert by_node("regionOf", [[900, 900, 910, 910], asdict(spec), width, height]) == [None]


def test_types_hold(tmp_path: Path) -> None:
    """And the checker sees a fault where there is one."""
    compiler = HERE / "node_modules" / ".bin" / "tsc"
    if not compiler.is_file():
        pytest.skip("TypeScript is not installed: `npm ci --prefix web`")
    command = [str(compiler), "--project", str(HERE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    shutil.copytree(PAGE, tmp_path / "page")
    shutil.copy(HERE / "tsconfig.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    pose = tmp_path / "page" / "pose.js"
    pose.write_text(pose.read_text().replace("share * (columns / 2 + 1) + 2", "share.width"))
    command[-1] = str(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "pose.js" in done.stdout
    assert "'width' does not exist on type 'number'" in done.stdout
