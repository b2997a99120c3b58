"""Checkpoints as accidents and people who mean harm make them."""

import json
import pickle
import struct
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lehrnet.model.checkpoint import describes_itself, load_checkpoint, save_checkpoint
from lehrnet.parsing import printable

TINY = "tiny"


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file and what follows it."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, tensors: bytes, padding: int = 0) -> bytes:
    text = json.dumps(header).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + tensors


def with_metadata(content: bytes, key: str, value: Any) -> bytes:
    header, tensors = parts(content)
    header["__metadata__"][key] = value if key == "note" else json.dumps(value)
    return joined(header, tensors)


class TestDamagedAndHostileFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "it has 0 bytes"),
            (b"hello, these are no weights", "its header would have"),
            (b"\x80\x02", "it is damaged"),
            (b"\x80\x04\x95", "has instruction 149"),
            (b"PK\x03\x04 cut", "it is not whole"),
            (struct.pack("<Q", 2) + b"[]", "its header is a list"),
            (struct.pack("<Q", 1 << 40) + b"{}", "its header would have"),
            (joined({"w": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, bytes(4)), "sides from 0"),
            (joined({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "takes 4 bytes"),
            (joined({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)), "begins at byte 4"),
            (joined({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)), "take 4 bytes, but 8"),
            (joined({"w": {"dtype": "F32", "shape": [1]}}, bytes(4)), "w.data_offsets is missing"),
            (joined({"w": None}, b""), "w is None, expected an object"),
            (joined({"__metadata__": {"format": 3}}, b""), "are not texts by name"),
            (
                joined({"\x1b[31mw": {"dtype": "F8", "shape": [], "data_offsets": [0, 1]}}, b"a"),
                r"\\x1b\[31mw: its type",
            ),
        ],
    )
    def test_what_is_no_file_of_weights_is_a_sentence(self, content: bytes, message: str, tmp_path: Path) -> None:
        (tmp_path / "weights.pt").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_checkpoint(tmp_path / "weights.pt", network=TINY)

    def test_a_folder_and_a_device_are_no_checkpoints(self, tmp_path: Path) -> None:
        for path in (tmp_path, Path("/dev/zero")):
            with pytest.raises(ValueError, match="is not a regular file, expected a checkpoint"):
                load_checkpoint(path)

    def test_a_header_of_spaces_is_refused(self, tiny_content: bytes) -> None:
        with pytest.raises(ValueError, match="its header has .* bytes, expected at most"):
            load_checkpoint(Path("w"), content=joined(*parts(tiny_content), padding=17 << 20))

    def test_double_precision_is_refused_in_words(self, tiny_checkpoint, tmp_path: Path) -> None:
        state = {name: tensor.double() for name, tensor in tiny_checkpoint.network.state_dict().items()}
        save_file(state, tmp_path / "w.safetensors")
        with pytest.raises(ValueError, match="its type is F64, expected F32"):
            load_checkpoint(tmp_path / "w.safetensors", network=TINY)
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(ValueError, match=r"of torch.float64, expected plain float32, float16 or bfloat16"):
            load_checkpoint(tmp_path / "w.pt", network=TINY)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("spec", None, "spec is None, expected an object"),
            ("config", [], r"config is \[\], expected an object"),
            ("config", {"width": 8.5}, "config.width is 8.5, expected a whole number"),
            ("config", {"width": True}, "config.width is True, expected a whole number"),
            ("config", {"width": 1 << 40}, "width is .*, expected a multiple of 4 up to 512"),
            ("config", {"units": 100_000}, "units is 100000, expected 1 to 16"),
            ("config", {"modules": [1, 1, 100_000]}, "expected three numbers, each 1 to 16"),
            ("config", {"joints": 1 << 30}, "joints is .*, expected 1 to 1024"),
            ("config", {"joints": 16, "width": 8, "units": 1, "modules": [1, 1, 1]}, "joints is 16, but coco17 has 17"),
            ("spec", {"input_size": [1 << 20, 32]}, "multiples of 32 up to 4096"),
            ("spec", {"decode": "guess"}, "spec.decode is 'guess', expected 'quarter' or"),
            ("spec", {"skeleton": "\x1b[31m"}, r"no skeleton is called '.x1b\[31m'"),
            ("note", "a" * 20_000, "note has 20000 characters"),
        ],
    )
    def test_metadata_that_says_something_else_names_its_key(self, tiny_content, key, value, message) -> None:
        with pytest.raises(ValueError, match=message):
            load_checkpoint(Path("w"), content=with_metadata(tiny_content, key, value))

    def test_a_note_cannot_steer_the_terminal(self, tiny_content: bytes) -> None:
        content = with_metadata(tiny_content, "note", "\x1b]0;owned\x07red")
        assert load_checkpoint(Path("w"), content=content).note == "\\x1b]0;owned\\x07red"

    @pytest.mark.parametrize("config", [{"width": 512}, {"width": 512, "units": 16, "modules": [16, 16, 16]}])
    def test_a_small_file_takes_little_memory_whatever_its_config_says(self, tiny_content, config) -> None:
        content = with_metadata(tiny_content, "config", config)
        started, before = time.monotonic(), resident()
        with pytest.raises(ValueError, match="tensors, too few for its network|does not fit its network"):
            load_checkpoint(Path("w"), content=content)
        assert time.monotonic() - started < 10
        assert resident() - before < 200e6

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("half", [False, True])
    def test_weights_that_are_not_finite_are_named(self, tiny_checkpoint, value, half, tmp_path: Path) -> None:
        before = tiny_checkpoint.network.head.weight.detach().clone()
        try:
            tiny_checkpoint.network.head.weight.data[0, 0] = value
            save_checkpoint(tmp_path / "w.safetensors", tiny_checkpoint, half=half)
        finally:
            tiny_checkpoint.network.head.weight.data.copy_(before)
        with pytest.raises(ValueError, match=r"head\.weight holds values that are not finite"):
            load_checkpoint(tmp_path / "w.safetensors")

    def test_a_variance_below_zero_is_named(self, network, tmp_path: Path) -> None:
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        state["stem.first.norm.running_var"][3] = -1
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(ValueError, match=r"stem\.first\.norm\.running_var holds a variance below 0"):
            load_checkpoint(tmp_path / "w.pt", network=TINY)

    @pytest.mark.parametrize("content", [["a"], 7, "text", {}, {"epoch": 1}, {"model": {"a": 1}}, {"head.weight": 1}])
    def test_other_things_that_torch_saved_are_refused(self, content: Any, tmp_path: Path) -> None:
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(ValueError, match="state dict"):
            load_checkpoint(tmp_path / "w.pt", network=TINY)

    def test_sparse_and_quantized_tensors_are_refused(self, network, tmp_path: Path) -> None:
        weight = network.head.weight.detach()
        for strange in (weight.to_sparse(), torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)):
            torch.save({**network.state_dict(), "head.weight": strange}, tmp_path / "w.pt")
            with pytest.raises(ValueError, match=r"head\.weight is a torch\..* tensor of torch\.|cannot|read safely"):
                load_checkpoint(tmp_path / "w.pt", network=TINY)

    def test_a_whole_module_is_not_run_and_the_way_out_is_said(self, tmp_path: Path) -> None:
        torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pt")
        with pytest.raises(ValueError, match=r"(?s)holds more than tensors .*torch\.save\(content\.state_dict\(\)"):
            load_checkpoint(tmp_path / "w.pt", network=TINY)

    @pytest.mark.parametrize("protocol", [0, 2, 4])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_is_never_run(self, protocol: int, zipped: bool, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "sprung",))

        content = pickle.dumps({"state_dict": Trap()}, protocol)
        path = tmp_path / "w.pt"
        if zipped:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", content)
                archive.writestr("archive/version", "3\n")
        else:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=r"w\.pt"):
            load_checkpoint(path, network=TINY)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_few_bytes_cannot_ask_for_gigabytes(self, zipped: bool, tmp_path: Path) -> None:
        sized = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05" + (10**10).to_bytes(5, "little") + b"\x85R."
        path, before = tmp_path / "w.pt", resident()
        path.write_bytes(sized)
        if zipped:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", sized)
                archive.writestr("archive/version", "3\n")
        with pytest.raises(ValueError, match=r"it asks for memory \(a bytearray\)"):
            load_checkpoint(path, network=TINY)
        assert resident() - before < 100e6

    def test_a_compressed_archive_is_not_unpacked(self, network, tmp_path: Path) -> None:
        torch.save(network.state_dict(), tmp_path / "w.pt")
        with zipfile.ZipFile(tmp_path / "w.pt") as old, zipfile.ZipFile(tmp_path / "bomb.pt", "w", 8) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
        with pytest.raises(ValueError, match="it is a compressed archive"):
            load_checkpoint(tmp_path / "bomb.pt", network=TINY)

    def test_every_truncation_is_a_sentence(self, tiny_content: bytes, network, tmp_path: Path) -> None:
        torch.save(network.state_dict(), tmp_path / "w.pt")
        for content in (tiny_content, (tmp_path / "w.pt").read_bytes()):
            for length in (1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
                with pytest.raises(ValueError, match=r"not a whole safetensors file|read safely"):
                    load_checkpoint(Path("w"), network=TINY, content=content[:length])

    def test_what_was_checked_is_what_is_used(self, tiny_content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "w.safetensors"
        path.write_bytes(b"swapped meanwhile")
        assert describes_itself(path, tiny_content)
        assert load_checkpoint(path, content=tiny_content).network.config.width == 8


def resident() -> float:
    """Bytes of memory that this process takes."""
    with open("/proc/self/statm", encoding="ascii") as facts:  # noqa: PTH123
        return int(facts.read().split()[1]) * 4096


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["joints", "width", "units", "modules", "light_units", "light_convs", "attention"]
SPEC_KEYS = ["skeleton", "input_size", "padding", "mean", "std", "sigma", "decode"]
QUIET = settings(
    max_examples=25, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@QUIET
@given(st.sampled_from(["config", "spec"]), st.sampled_from(KEYS + SPEC_KEYS), JSON)
def test_no_metadata_is_more_than_a_sentence(tiny_content: bytes, part: str, key: str, value: Any) -> None:
    header, tensors = parts(tiny_content)
    described = json.loads(header["__metadata__"][part])
    described[key] = value
    header["__metadata__"][part] = json.dumps(described)
    loaded_or_refused(joined(header, tensors))


@QUIET
@given(st.dictionaries(st.sampled_from(["config", "spec", "note", "format"]), JSON, min_size=1))
def test_no_metadata_of_another_kind_is_more_than_a_sentence(tiny_content: bytes, changes: dict[str, Any]) -> None:
    header, tensors = parts(tiny_content)
    header["__metadata__"].update(changes)
    loaded_or_refused(joined(header, tensors))


@QUIET
@given(st.data())
def test_no_header_is_more_than_a_sentence(tiny_content: bytes, data: st.DataObject) -> None:
    header, tensors = parts(tiny_content)
    name = data.draw(st.sampled_from(sorted(header)))
    if data.draw(st.booleans()) and isinstance(header[name], dict):
        header[name][data.draw(st.sampled_from(["dtype", "shape", "data_offsets"]))] = data.draw(JSON)
    else:
        header[name] = data.draw(JSON)
    loaded_or_refused(joined(header, tensors))


@QUIET
@given(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=16), st.sampled_from([True, False]))
def test_no_damage_to_a_pickled_file_is_more_than_a_sentence(place: int, damage: bytes, zipped: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.pt"
        torch.save(
            {"state_dict": {"head.weight": torch.ones(17, 16, 1, 1)}}, path, _use_new_zipfile_serialization=zipped
        )
        content = bytearray(path.read_bytes())
    place %= len(content)
    content[place : place + len(damage)] = damage
    loaded_or_refused(bytes(content))


def loaded_or_refused(content: bytes) -> None:
    """Read a checkpoint, which may fail with ValueError and nothing else."""
    said = ""
    try:
        load_checkpoint(Path("w"), content=content, network=None if content[8:9] == b"{" else TINY)
    except ValueError as error:
        said = str(error)
    assert printable(said) == said
