"""Files as a fuzzer writes them: whatever stands in them, an answer or a ValueError with words, never a traceback.

`make fuzz` runs as many examples as LEHRNET_FUZZ_EXAMPLES says.
"""

import contextlib
import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lehrnet.files import write_text
from lehrnet.parsing import parse_json, printable
from lehrnet.pose.boxes import read_boxes
from lehrnet.pose.coco import read_coco
from lehrnet.pose.headers import header_of
from lehrnet.pose.mpii import read_mpii
from lehrnet.runtime.backends.onnx_files import reads_other_files
from lehrnet.runtime.bundle import read_bundle

EXAMPLES = int(os.environ.get("LEHRNET_FUZZ_EXAMPLES", "150"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**70, 10**400, 1e308, float("nan"), float("inf"), "", "\x1b[31m", "../x"])
    | st.floats()
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner), max_leaves=6
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document; of long lists the first two."""
    found = [path]
    if isinstance(value, dict):
        for key, each in value.items():
            found += places(each, (*path, key))
    elif isinstance(value, list):
        for key, each in list(enumerate(value))[:2]:
            found += places(each, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document with one to three of its values exchanged, dropped or doubled."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(changed)))
        if not path:
            return draw(VALUES)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        action = draw(st.sampled_from(["exchange", "drop", "double"]))
        if action == "exchange":
            parent[path[-1]] = draw(VALUES)
        elif action == "drop":
            del parent[path[-1]]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        if not isinstance(changed, dict | list):
            break
    return changed


def answers(read: Callable[[], object]) -> None:
    """It reads, or it says what is wrong; anything else is an error of the test."""
    with contextlib.suppress(ValueError, FileNotFoundError):
        read()


@fuzzed
@given(data=st.data())
def test_a_manifest(data: st.DataObject, tiny_bundle: Path, tmp_path: Path) -> None:
    document = json.loads((tiny_bundle / "bundle.json").read_text())
    for artefact in document["artefacts"].values():
        artefact["measured"] = {}
    write_text(tmp_path / "bundle.json", json.dumps(data.draw(mutated(document))))
    answers(lambda: read_bundle(tmp_path))


@fuzzed
@given(data=st.data())
def test_a_label_file(data: st.DataObject, data_folder: Path) -> None:
    labels = data_folder / "person_keypoints.json"
    document = json.loads(
        (labels if not labels.with_suffix(".kept").exists() else labels.with_suffix(".kept")).read_text()
    )
    labels.with_suffix(".kept").write_text(json.dumps(document))
    labels.write_text(json.dumps(data.draw(mutated(document))))
    answers(lambda: read_coco(data_folder))
    answers(lambda: read_boxes(labels, [data_folder / "images" / "000000000001.jpg"]))


@fuzzed
@given(data=st.data())
def test_mpii_s_labels(data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir(exist_ok=True)
    person = {"image": "a.jpg", "center": [5, 5], "scale": 1.0, "joints": [[1, 2]] * 16, "joints_vis": [1] * 16}
    write_text(tmp_path / "annotations.json", json.dumps(data.draw(mutated([person]))))
    write_text(tmp_path / "headsize.json", json.dumps(data.draw(mutated([{"image": "a.jpg", "headsize": 3.0}]))))
    answers(lambda: read_mpii(tmp_path))


@fuzzed
@given(data=st.data())
def test_detections(data: st.DataObject, tmp_path: Path) -> None:
    detection = {"image_id": 1, "category_id": 1, "bbox": [1.0, 2, 3, 4], "score": 0.5}
    forms = [[detection, detection], {"a.jpg": [[1, 2, 3, 4]]}, [[1, 2, 3, 4]]]
    document = data.draw(mutated(data.draw(st.sampled_from(forms))))
    write_text(tmp_path / "boxes.json", json.dumps(document))
    answers(lambda: read_boxes(tmp_path / "boxes.json", [tmp_path / "1.jpg"]))


@fuzzed
@given(content=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_bytes_that_are_no_json(content: bytes) -> None:
    answers(lambda: parse_json(content))


@fuzzed
@given(
    data=st.data(),
    start=st.sampled_from([b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBPVP8", b"II*\0", b"BM"]),
)
def test_a_picture_s_header(data: st.DataObject, start: bytes) -> None:
    header = header_of(start + data.draw(st.binary(max_size=200)))
    assert header is None or (header.width > 0 and header.height > 0)


@fuzzed
@given(data=st.data())
def test_an_onnx_file(data: st.DataObject, tiny_bundle: Path) -> None:
    content = bytearray((tiny_bundle / "fp32.onnx").read_bytes()[: data.draw(st.integers(0, 3000))])
    for _ in range(data.draw(st.integers(0, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    answers(lambda: reads_other_files(bytes(content)))


@fuzzed
@given(text=st.text())
def test_nothing_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in shown)
    assert "\x7f" not in shown
    assert "\x9b" not in shown


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a":' * 100_000])
def test_deep_json_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(content)
