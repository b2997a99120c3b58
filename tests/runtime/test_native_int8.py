"""INT8 in our CPU engine against integers in NumPy and PyTorch: kernels, whole networks, damaged files, the export."""

import struct
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxsim")

from lehrnet.benchmarks.native_door import Door, DoorEngine, IntegerOperator  # noqa: E402
from lehrnet.export.native import ENTRIES, HEADER, WITH_TYPES, native_bytes, native_tensors  # noqa: E402
from lehrnet.model import NetworkConfig  # noqa: E402
from lehrnet.tests.runtime.embed_builds import MARKS  # noqa: E402
from lehrnet.tests.runtime.native_twins import (  # noqa: E402
    MOST,
    SMALL,
    crops_of,
    defined_sums,
    integer_twin,
    steps_of,
)

pytestmark = [*MARKS, pytest.mark.usefixtures("one_thread")]
WIDTHS = (4, 8, 12, 16, 20, 24, 32, 36, 48, 64, 96, 128, 256, 384)  # of the family's maps: 16 to 48, doubled thrice
KINDS = {
    "width 4": replace(SMALL, width=4),
    "width 12": replace(SMALL, width=12, units=2),
    "width 24": replace(SMALL, width=24),
    "width 32": replace(SMALL, width=32),
    "lean": replace(SMALL, width=16, attention=False),
    "literal": replace(SMALL, width=16, light_convs=False),
    "dense": replace(SMALL, width=16, light_convs=False, light_units=False, attention=False),
    "several modules": replace(SMALL, units=2, modules=(2, 1, 3)),
}
PARTS = ("stage1", "transition", "stage2.exchanges.0.branches", "stage3.exchanges.0.paths", "stage4")
A_QUARTER = 0.25
"""Of what rounding itself changes: a number halfway between two steps may be rounded to either, and such a difference
grows on its way through the network. With all parts in INT8 at once little would be left to tell it by."""


def operator_of(
    rng: np.random.Generator, channels: int, outputs: int, *, light: bool, stride: int = 1, extreme: bool = False
) -> IntegerOperator:
    """Factors of 1 and no bias, so that the results are the sums; a partial conv's are powers of 2, so exact."""

    def weights(*shape: int) -> np.ndarray:
        found = rng.integers(-MOST, MOST + 1, shape, np.int8)
        return np.where(found < 0, -MOST, MOST).astype(np.int8) if extreme else found

    quarter = channels // 4
    return IntegerOperator(
        weight=weights(outputs, channels) if light else weights(outputs, channels, 3, 3),
        factors=np.ones(outputs, np.float32),
        bias=np.zeros(outputs, np.float32),
        steps=(0.5, 2.0),
        partial=weights(quarter, quarter, 3, 3) if light else None,
        partial_factors=np.full(quarter, 2.0**-9, np.float32) if light else None,
        stride=stride,
    )


def maps_of(rng: np.random.Generator, *shape: int, extreme: bool = False) -> np.ndarray:
    """From 0 on to beyond the last step, in halves of a step among others."""
    whole = rng.integers(0, 2, shape) * 1000 if extreme else rng.integers(0, 300, shape)
    return (whole / 4).astype(np.float32)


def assert_exact(door: Door, operator: IntegerOperator, maps: np.ndarray) -> None:
    wanted = defined_sums(operator, maps).astype(np.float32)
    for instructions in door.instructions():
        found = door.run_operator(operator, maps, instructions)
        np.testing.assert_array_equal(found, wanted, err_msg=instructions)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", WIDTHS)
def test_sums_of_an_lconv_are_numpys_to_the_last_bit(door: Door, channels: int, stride: int) -> None:
    rng = np.random.default_rng(channels)
    for outputs, (people, height, width) in ((channels, (1, 6, 4)), (channels + 5, (3, 4, 10))):
        operator = operator_of(rng, channels, outputs, light=True, stride=stride)
        assert_exact(door, operator, maps_of(rng, people, height, width, channels))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", WIDTHS[:8])
def test_sums_of_a_dense_conv_are_numpys_to_the_last_bit(door: Door, channels: int, stride: int) -> None:
    rng = np.random.default_rng(channels)
    operator = operator_of(rng, channels, channels + 3, light=False, stride=stride)
    assert_exact(door, operator, maps_of(rng, 3, 6, 4, channels))


@pytest.mark.parametrize("light", [True, False])
@pytest.mark.parametrize("sign", [1, -1, 0])
def test_nothing_saturates_where_all_is_as_large_as_it_can_be(door: Door, light: bool, sign: int) -> None:
    """Weights of 127 or -127, numbers of 0 or 127, and partial convs' outputs of 127 or -127."""
    rng, channels = np.random.default_rng(0), 64
    operator = operator_of(rng, channels, channels, light=light, extreme=True)
    if sign:
        signed = np.full_like(operator.weight, sign * MOST)
        partial = None if operator.partial is None else np.full_like(operator.partial, sign * MOST)
        operator = replace(operator, weight=signed, partial=partial)
    maps = np.full((1, 6, 4, channels), 1e6, np.float32) if sign else maps_of(rng, 2, 6, 4, channels, extreme=True)
    assert_exact(door, operator, maps)


def test_what_is_not_a_number_is_the_last_step(door: Door) -> None:
    operator = operator_of(np.random.default_rng(0), 8, 8, light=False)
    maps = np.full((1, 6, 4, 8), np.nan, np.float32)
    for instructions in door.instructions():
        found = door.run_operator(operator, maps, instructions)
        np.testing.assert_array_equal(found, defined_sums(operator, np.full_like(maps, np.inf)).astype(np.float32))


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_heatmaps_are_the_twins_for_every_kind_of_network(door: Door, network_of, config: NetworkConfig) -> None:
    network, size = network_of(config), (64, 96)
    crops = crops_of(2, size)
    every, floats = steps_of(network, crops), integer_twin(network, {}, crops)
    for part in PARTS:
        steps = {path: each for path, each in every.items() if path.startswith(part)}
        assert steps
        wanted, content = integer_twin(network, steps, crops), native_bytes(network, steps)
        rounding = np.abs(wanted - floats).mean()
        for instructions in door.instructions():
            engine = DoorEngine(door, content, size, instructions, max_batch=2)
            difference = np.abs(engine.run(crops) - wanted).mean()
            engine.close()
            assert difference < A_QUARTER * rounding, (part, instructions)


def test_the_whole_network_drifts_no_further_than_its_twin(door: Door, network_of) -> None:
    """Odd grids: crops of 128x96 have 4x3 cells at 1/32."""
    network, size = network_of(replace(SMALL, width=32)), (128, 96)
    crops = crops_of(3, size)
    steps, floats = steps_of(network, crops), integer_twin(network, {}, crops)
    drift = np.abs(integer_twin(network, steps, crops) - floats).mean()
    for instructions in door.instructions():
        found = DoorEngine(door, native_bytes(network, steps), size, instructions, max_batch=3).run(crops)
        assert np.abs(found - floats).mean() < 1.5 * drift


def test_a_file_with_types_may_hold_floats_only(door: Door, network_of) -> None:
    network, crops = network_of(SMALL), crops_of(2, (64, 96))
    wanted, content = DoorEngine(door, native_bytes(network), (64, 96), "plain").run(crops), native_bytes(network, {})
    np.testing.assert_array_equal(DoorEngine(door, content, (64, 96), "plain").run(crops), wanted)


@pytest.mark.parametrize("size", [(32, 32), (128, 96)])
def test_batches_and_threads_do_not_change_a_bit(door: Door, network_of, size: tuple[int, int]) -> None:
    network, crops = network_of(SMALL), crops_of(5, size)
    content = native_bytes(network, steps_of(network, crops_of(1, (64, 64))))
    for instructions in door.instructions():
        wanted = DoorEngine(door, content, size, instructions).run(crops)
        assert np.isfinite(wanted).all()
        for max_batch, threads in ((1, 3), (3, 2), (5, 1)):
            engine = DoorEngine(door, content, size, instructions, max_batch=max_batch, threads=threads)
            np.testing.assert_array_equal(engine.run(crops), wanted)
            engine.close()


@pytest.fixture
def packed(network_of) -> bytes:
    network = network_of(SMALL)
    return native_bytes(network, steps_of(network, crops_of(1, (64, 64))))


def entries_of(content: bytes) -> list[tuple[int, ...]]:
    """Sizes, offset and type of every tensor."""
    entry, count = ENTRIES[WITH_TYPES], struct.unpack_from("<I", content, 60)[0]
    return [entry.unpack_from(content, HEADER.size + entry.size * place) for place in range(count)]


def test_the_artefact_is_what_its_page_says(network_of) -> None:
    network = network_of(SMALL)
    steps = steps_of(network, crops_of(1, (64, 64)))
    content, tensors = native_bytes(network, steps), list(native_tensors(network, steps))
    assert struct.unpack_from("<I", content, 8) == (2,)
    assert struct.unpack_from("<I", native_bytes(network), 8) == (1,)  # older libraries read what needs no more
    for (*sizes, offset, kind, zero), tensor in zip(entries_of(content), tensors, strict=True):
        assert sizes == [*tensor.shape, *[1] * (4 - tensor.ndim)]
        assert (kind, zero, offset % 64) == (int(tensor.dtype == np.int8), 0, 0)
        np.testing.assert_array_equal(np.frombuffer(content, tensor.dtype, tensor.size, offset), tensor.ravel())


def test_steps_of_another_network_are_refused(network_of) -> None:
    steps = steps_of(network_of(SMALL), crops_of(1, (64, 64)))
    with pytest.raises(ValueError, match="the network has no operator 'stage9'; its steps are of another network"):
        native_bytes(network_of(SMALL), {**steps, "stage9": next(iter(steps.values()))})


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("type", 7, "is of type 7, expected 0, floats"),
        ("type of the stem's weight", 1, "is of bytes, but the stem takes floats"),
        ("type of a weight", 0, "is of type 0, expected|expected"),
        ("type of a unit's second weight", 0, "is .*, expected"),
        ("weight", -128, "has a weight of -128, expected -127 to 127"),
        ("step", 0.0, "has a step of 0, expected a number above 0"),
        ("step", np.nan, "has a step of -?nan, expected a number above 0"),
        ("step", -1.0, "has a step of -1, expected a number above 0"),
        ("step", np.inf, "has a step of inf, expected a number above 0"),
    ],
)
def test_a_damaged_number_is_refused_with_words(
    door: Door, packed: bytes, kind: str, change: float, words: str
) -> None:
    content, entries = bytearray(packed), entries_of(packed)
    whole = [place for place, entry in enumerate(entries) if entry[-2] == 1]
    types = {
        "type": 1,
        "type of the stem's weight": 0,
        "type of a weight": whole[0],
        "type of a unit's second weight": whole[1],
    }
    if kind in types:
        struct.pack_into("<I", content, HEADER.size + 32 * types[kind] + 24, int(change))
    elif kind == "weight":
        struct.pack_into("<b", content, entries[whole[0]][4], int(change))
    else:  # what follows the first operator's weight, factors and bias
        struct.pack_into("<f", content, entries[whole[0] + 3][4], change)
    with pytest.raises(ValueError, match=words):
        DoorEngine(door, bytes(content), (64, 64), "plain")


def test_flipped_bits_and_cut_files_are_refused_or_run(door: Door, packed: bytes) -> None:
    crops, table = crops_of(1, (32, 32)), HEADER.size + 32 * len(entries_of(packed))
    rng = np.random.default_rng(0)
    for place in [*rng.integers(0, table, 300), *rng.integers(table, len(packed), 20)]:
        damaged = bytearray(packed)
        damaged[place] ^= 1 << rng.integers(8)
        try:
            engine = DoorEngine(door, bytes(damaged), (32, 32), "plain")
        except ValueError:
            continue
        engine.run(crops)
        engine.close()
    for length in (63, 64, 65, table - 1, table, len(packed) // 2, len(packed) - 64):
        told = packed[:16] + struct.pack("<Q", length) + packed[24:length]
        with pytest.raises(ValueError, match="the artefact"):
            DoorEngine(door, told[:length], (64, 64), "plain")
