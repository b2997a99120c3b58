"""Packs and states as accidents and people who mean harm leave them."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lehrnet.cli import main
from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.parsing import printable
from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.batches import Batches
from lehrnet.training.pack import read_pack, write_pack
from lehrnet.training.recipe import Recipe
from lehrnet.training.shards import read_shard
from lehrnet.training.state import read_state
from lehrnet.training.trainer import STATE, Run, Trainer

SPEC = PoseSpec(input_size=(64, 64))
RECIPE = Recipe(spec=SPEC, epochs=2, batch=1, average=0.9, weight_decay=0.01)
TINY = NetworkConfig(width=8, units=1, modules=(1, 1, 1))
QUIET = settings(
    max_examples=40, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def arrays_of(pack: Path) -> dict[str, Any]:
    with np.load(pack / "pack_000.npz") as file:
        return dict(file)


def rewritten(pack: Path, **changes: Any) -> Path:
    np.savez(pack / "pack_000.npz", **{**arrays_of(pack), **changes})
    return pack


def jpeg(height: int, width: int) -> np.ndarray:
    return cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1]


class TestPack:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"size": np.array([1 << 20, 1 << 20])}, "crops are of .*1048576.* expected sides from 32 to 4096"),
            ({"size": np.array([80, 80, 3])}, "crops are of"),
            ({"size": np.array([8.0, 8.0])}, "size is float64"),
            ({"bytes": np.zeros(3, np.uint8)}, "lengths do not add up to the 3 bytes"),
            ({"bytes": np.zeros(0, np.uint8)}, "lengths do not add up to the 0 bytes"),
            ({"lengths": np.array([-5, 1 << 40])}, "lengths do not add up"),
            ({"lengths": np.array([1 << 62, 1 << 62])}, "lengths do not add up"),
            ({"lengths": np.array([10])}, "keypoints are of 2 people, but lengths of 1"),
            ({"areas": np.array([1.0, np.nan])}, "areas are not finite and positive"),
            ({"areas": np.array([1.0, 0.0])}, "areas are not finite and positive"),
            ({"areas": np.array([1.0])}, "areas are of 1 people"),
            ({"keypoints": np.full((2, 17, 3), np.nan)}, "keypoints are not finite"),
            ({"keypoints": np.full((2, 17, 3), 3.0)}, "a visibility other than 0, 1, 2"),
            ({"keypoints": np.ones((2, 17, 2))}, r"shape \(2, 17, 2\), expected \(N, K, 3\)"),
            ({"keypoints": np.ones((2, 51))}, "keypoints is float64 with shape"),
            ({"held_out": np.array([1, 0])}, "held_out is int64 with shape"),
            ({"sources": np.array(["a", "\x1b[31m"])}, "sources are empty or have control characters"),
            ({"sources": np.array([None, None])}, "sources is object"),
            ({"format": np.array("lehrnet-pack-1")}, "its format is 'lehrnet-pack-1', expected"),
            ({"format": np.array(3)}, "format is int64"),
        ],
    )
    def test_an_array_that_is_not_a_pack_s_is_a_sentence(self, packed: Path, changes: dict, message: str) -> None:
        with pytest.raises(ValueError, match=f"pack_000.npz cannot be read as part of a pack: .*{message}"):
            read_pack(rewritten(packed, **changes))

    def test_a_missing_array_is_named(self, packed: Path) -> None:
        kept = {name: value for name, value in arrays_of(packed).items() if name != "areas"}
        np.savez(packed / "pack_000.npz", **kept)
        with pytest.raises(ValueError, match="it has no areas"):
            read_pack(packed)

    def test_a_header_that_asks_for_terabytes_gets_none(self, packed: Path) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 42,)})
        with zipfile.ZipFile(packed / "pack_000.npz") as old:
            parts = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(packed / "pack_000.npz", "w") as new:
            for name, content in {**parts, "areas.npy": header.getvalue()}.items():
                new.writestr(name, content)
        with pytest.raises(ValueError, match="its shape does not fit the 0 bytes"):
            read_pack(packed)

    def test_a_compressed_shard_is_not_unpacked(self, packed: Path) -> None:
        np.savez_compressed(packed / "pack_000.npz", **{**arrays_of(packed), "bytes": np.zeros(1 << 20, np.uint8)})
        with pytest.raises(ValueError, match="it is compressed"):
            read_pack(packed)

    @pytest.mark.parametrize(
        ("picture", "message"),
        [
            (np.random.default_rng(0).integers(0, 256, 500, np.uint8), "does not decode as a JPEG, expected 80x80"),
            (jpeg(40, 80), "is of 40x80, expected 80x80"),
            (cv2.imencode(".png", np.zeros((80, 80, 3), np.uint8))[1], "does not decode as a JPEG"),
            (jpeg(80, 80)[:30], "does not decode as a JPEG"),
        ],
    )
    def test_a_damaged_picture_is_named_by_its_row(self, packed: Path, picture: np.ndarray, message: str) -> None:
        first = arrays_of(packed)
        whole = first["bytes"][: first["lengths"][0]]
        lengths = np.array([len(whole), len(picture)])
        pack = read_pack(rewritten(packed, bytes=np.concatenate((whole, picture)), lengths=lengths))
        with ThreadPoolExecutor(2) as threads:
            assert pack.decode(np.array([0]), threads).shape == (1, 80, 80, 3)
            with pytest.raises(ValueError, match=f"pack_000.npz, row 1: the picture {message}"):
                pack.take(np.array([1])).decode(np.array([0]), threads)

    def test_a_header_of_gigapixels_is_not_decoded(self, packed: Path) -> None:
        bomb = jpeg(80, 80).copy()
        frame = bytes(bomb).index(b"\xff\xc0")
        bomb[frame + 5 : frame + 9] = 0x75, 0x30, 0x75, 0x30  # 30,000 x 30,000
        pack = read_pack(rewritten(packed, bytes=np.tile(bomb, 2), lengths=np.array([len(bomb)] * 2)))
        with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError, match="is of 30000x30000, expected 80x80"):
            pack.decode(np.array([0]), threads)

    def test_shards_of_other_joints_do_not_mix(self, packed: Path) -> None:
        np.savez(packed / "pack_001.npz", **{**arrays_of(packed), "keypoints": np.ones((2, 16, 3))})
        with pytest.raises(ValueError, match="80x80 with 16 joints and 80x80 with 17 joints; expected one kind"):
            read_pack(packed)

    def test_a_person_without_an_area_is_left_out_alone(self, data_folder: Path, tmp_path: Path) -> None:
        people = read_coco(data_folder)
        people.areas[0] = np.nan
        result = write_pack(tmp_path / "pack", {"one": people}, SPEC)
        assert (result.people, len(result.bad)) == (1, 1)
        assert "1 people without a finite place and a positive area" in result.bad[0]

    def test_the_command_packs_the_rest_and_says_that_a_check_failed(self, data_folder, tmp_path, capsys) -> None:
        (data_folder / "images" / "000000000001.jpg").write_bytes(b"no picture")
        assert main(["pack", str(data_folder), "--out", str(tmp_path / "packed")]) == 1
        assert "1 people, without those of 1 bad images" in capsys.readouterr().out
        assert len(read_pack(tmp_path / "packed")) == 1

    @QUIET
    @given(
        st.sampled_from(["size", "lengths", "bytes", "keypoints", "areas", "held_out", "sources", "format"]), st.data()
    )
    def test_no_array_is_more_than_a_sentence(self, packed: Path, name: str, data: st.DataObject) -> None:
        kinds = ["<i8", "<f8", "|u1", "|b1", "<U3", ">i8", "<f4", "<c16", "<M8[s]", "|S2"]
        kind = np.dtype(data.draw(st.sampled_from(kinds)))
        shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=3)))
        content = data.draw(st.binary(min_size=kind.itemsize * 64, max_size=kind.itemsize * 64))
        strange = np.frombuffer(content, kind)[: int(np.prod(shape))].reshape(shape)
        kept = arrays_of(packed)
        buffer = packed.parent / "strange.npz"
        np.savez(buffer, **{**kept, name: strange})
        read_or_refused(lambda: read_shard(buffer))

    @QUIET
    @given(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=12))
    def test_no_damage_to_a_shard_is_more_than_a_sentence(self, packed: Path, place: int, damage: bytes) -> None:
        content = bytearray((packed / "pack_000.npz").read_bytes())
        place %= len(content)
        content[place : place + len(damage)] = damage
        (packed.parent / "damaged.npz").write_bytes(content)
        read_or_refused(lambda: read_shard(packed.parent / "damaged.npz"))


def read_or_refused(read: Callable[[], Any]) -> None:
    """Call what may fail with a printable ValueError and nothing else."""
    said = ""
    try:
        read()
    except ValueError as error:
        said = str(error)
    assert printable(said) == said


def trainer(pack: Path, out: Path) -> Trainer:
    torch.manual_seed(0)
    people = Batches(read_pack(pack), SPEC, torch.device("cpu"))
    return Trainer(PoseNetwork(TINY), RECIPE, people, None, Run(out))


class Trap:
    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self):
        return (Path.touch, (self.sprung,))


class TestState:
    @pytest.fixture
    def run(self, packed: Path, tmp_path: Path) -> Path:
        trainer(packed, tmp_path / "run").train()
        return tmp_path / "run"

    def test_a_whole_state_is_read(self, packed: Path, run: Path) -> None:
        again = trainer(packed, run)
        again.resume()
        assert (again.step, again.progress) == (4, 1)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "it is empty"),
            (b"no state at all", "it is no file of torch.save: it begins with"),
            (b"PK\x03\x04 cut", "it is not whole"),
            (b"\x80\x02}q\x00.", "identity is missing|it is damaged"),
        ],
    )
    def test_a_file_that_is_no_state_is_a_sentence(self, packed, run, content: bytes, message: str) -> None:
        (run / STATE).write_bytes(content)
        with pytest.raises(ValueError, match=f"state.pt cannot be read: ({message}).*; remove it and start again"):
            trainer(packed, run).resume()

    def test_a_truncated_state_is_a_sentence(self, packed: Path, run: Path) -> None:
        content = (run / STATE).read_bytes()
        for length in (1, 100, len(content) // 2, len(content) - 1):
            (run / STATE).write_bytes(content[:length])
            with pytest.raises(ValueError, match=r"state\.pt cannot be read: .*or copy it whole"):
                trainer(packed, run).resume()

    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_in_a_state_is_not_run(self, packed: Path, run: Path, tmp_path: Path, zipped: bool) -> None:
        sprung = tmp_path / "sprung"
        if zipped:
            torch.save({"identity": Trap(sprung)}, run / STATE)
        else:
            (run / STATE).write_bytes(pickle.dumps({"identity": Trap(sprung)}, 2))
        with pytest.raises(ValueError, match="cannot be read: it (holds more than tensors|is damaged)"):
            trainer(packed, run).resume()
        assert not sprung.exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: ["a"], "it holds a list, expected a dictionary"),
            (lambda state: {"step": 1}, "identity is missing"),
            (lambda state: {**state, "identity": 3}, "identity is a int, expected a text"),
            (lambda state: {**state, "identity": "[]"}, r"identity is \[\], expected an object"),
            (lambda state: {**state, "step": 1.5}, "step is 1.5, expected a whole number"),
            (lambda state: {**state, "step": -1}, "step -1"),
            (lambda state: {**state, "step": 1 << 40}, "but the run has 4"),
            (lambda state: {**state, "elapsed_s": float("nan")}, "elapsed_s is nan, expected a finite number"),
            (lambda state: {**state, "best": "1"}, "best is '1', expected a finite number"),
            (lambda state: {**state, "best": 7.0}, "best 7.0"),
            (lambda state: {**state, "network": []}, "network is a list"),
            (lambda state: {**state, "network": {}}, "network is not of this network: .* is missing"),
            (lambda state: {**state, "network": {**state["network"], "x": 1}}, "x is surplus"),
            (lambda state: with_weight(state, torch.zeros(3)), r"network.head.weight has shape \(3,\), expected"),
            (lambda state: with_weight(state, "a"), "network.head.weight is a str, expected a tensor"),
            (lambda state: with_weight(state, torch.full((17, 8, 1, 1), torch.inf)), "values that are not finite"),
            (lambda state: with_weight(state, torch.zeros((17, 8, 1, 1)).double()), "is a .* tensor of torch.float64"),
            (lambda state: {**state, "average": {}}, "average is not of this network"),
            (lambda state: {**state, "optimizer": {}}, "optimizer.state is a NoneType"),
            (lambda state: {**state, "optimizer": {"state": {9999: {}}}}, "but has one more"),
            (lambda state: {**state, "optimizer": {"state": {0: {"step": 1}}}}, "does not hold exp_avg"),
        ],
    )
    def test_a_state_that_does_not_fit_names_its_key(self, packed: Path, run: Path, change, message: str) -> None:
        torch.save(change(torch.load(run / STATE, weights_only=True)), run / STATE)
        with pytest.raises(ValueError, match=f"state.pt cannot be read: .*{message}"):
            trainer(packed, run).resume()

    def test_a_setting_that_an_earlier_version_did_not_have_is_its_default(self, packed: Path, run: Path) -> None:
        state = torch.load(run / STATE, weights_only=True)
        identity = json.loads(state["identity"])
        assert identity["spec"].pop("frame") == "edges"
        torch.save({**state, "identity": json.dumps(identity)}, run / STATE)
        trainer(packed, run).resume()
        identity["spec"]["frame"] = "hrnet"
        torch.save({**state, "identity": json.dumps(identity)}, run / STATE)
        with pytest.raises(ValueError, match="of another run: spec was"):
            trainer(packed, run).resume()

    def test_the_optimizer_s_settings_are_the_recipe_s_whatever_the_state_says(self, packed: Path, run: Path) -> None:
        state = torch.load(run / STATE, weights_only=True)
        state["optimizer"]["param_groups"] = [{"lr": "high", "params": None}]
        torch.save(state, run / STATE)
        again = trainer(packed, run)
        again.resume()
        assert [group["weight_decay"] for group in again.optimizer.param_groups] == [0.01, 0.0]

    @QUIET
    @given(
        st.sampled_from(["identity", "network", "optimizer", "average", "step", "elapsed_s", "best"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=8,
        ),
    )
    def test_no_content_of_a_state_is_more_than_a_sentence(self, tmp_path: Path, key: str, value: Any) -> None:
        state = {"identity": "{}", "network": {}, "optimizer": {"state": {}}, "average": {}}
        torch.save({**state, "step": 1, "elapsed_s": 1.0, "best": 0.5, key: value}, tmp_path / STATE)
        network = torch.nn.Linear(1, 1)

        def read() -> None:
            read_state(tmp_path / STATE).check(network, torch.optim.Adam(network.parameters()), None, 4)

        read_or_refused(read)


def with_weight(state: dict[str, Any], weight: Any) -> dict[str, Any]:
    return {**state, "network": {**state["network"], "head.weight": weight}}
