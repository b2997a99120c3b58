"""The packed network in INT8: units chosen by the accuracy budget, judged as our own engine computes them."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ..calibration.steps import FLOAT_UNITS, operator_steps
from ..files import write_bytes
from ..model.checkpoint import Checkpoint
from ..model.config import variant_name
from ..pose.drift import Drift
from ..runtime.session import open_artefact
from .native import NATIVE_INT8, lone_bundle, native_bytes
from .precisions import PrecisionWriter


def write_native_int8(writer: PrecisionWriter, checkpoint: Checkpoint, path: Path) -> Mapping[str, Any]:
    """Write the packed network of the fastest mix within the budget and return what was measured.

    ValueError without calibration, and for a budget that cannot be kept.
    """

    def built(units: Sequence[str]) -> bytes:
        steps = operator_steps(writer.graph, writer.convs_of(units), writer.thresholds)
        return native_bytes(checkpoint.network, steps)

    content, measured = writer.choose(NATIVE_INT8, built, lambda made: _judged(made, writer, checkpoint), FLOAT_UNITS)
    write_bytes(path, content)
    return measured


def _judged(content: bytes, writer: PrecisionWriter, checkpoint: Checkpoint) -> Drift:
    """The drift of a packed network, which the library runs from a bundle only."""
    assert writer.judge is not None
    with tempfile.TemporaryDirectory() as folder:
        variant = variant_name(checkpoint.network.config)
        bundle = lone_bundle(Path(folder), content, NATIVE_INT8, variant, checkpoint.spec)
        with closing(open_artefact(bundle, NATIVE_INT8, "cpu")) as session:
            return writer.judge.drift_of(session)
