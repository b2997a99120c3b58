"""Import of ONNX files of other programs as bundles: FP32 as it is, the rest by the same calibration and ladder."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from ..calibration.calibrate import Calibration, Progress
from ..parsing import naming, parse, printable, read_json
from ..pose.batches import LabelledBatch
from ..pose.heatmap import DecodeMethod, Frame
from ..pose.skeleton import Skeleton
from ..pose.spec import PoseSpec, spec_for
from ..runtime.bundle import Artefact, Bundle, new_bundle_folder, open_bundle, write_manifest
from .card import write_card
from .foreign_graph import Colour, ForeignGraph
from .graph import OPSET, opset, tool_versions
from .package import ranges_beside, saved, verified
from .precisions import GRAPHS, PrecisionWriter
from .web_graphs import write_page

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8_cpu")
"""What an imported graph can be written in; equal forms are of our own networks."""
LARGEST_FILE = 1 << 20  # bytes
LONGEST_NAME = 255


@dataclass(frozen=True)
class ImportOptions:
    """What a graph's shapes do not say of it. The defaults are HRNet's."""

    mean: tuple[float, float, float] = PoseSpec.mean
    """Of values between 0 and 1, in the order of `colour`."""
    std: tuple[float, float, float] = PoseSpec.std
    colour: Colour = "rgb"
    """Order of the input's channels."""
    frame: Frame = "hrnet"
    decode: DecodeMethod = PoseSpec.decode
    sigma: float = PoseSpec.sigma
    """Of the target Gaussian, in cells."""
    padding: float = PoseSpec.padding
    skeleton: Skeleton | None = None
    """None: COCO's or MPII's, by the number of joints."""

    def spec(self, graph: ForeignGraph) -> PoseSpec:
        """The pose spec of a graph whose input takes RGB; ValueError where they do not fit."""
        (r, g, b), (r_std, g_std, b_std) = self.mean, self.std
        if self.colour == "bgr":
            (r, b), (r_std, b_std) = (b, r), (b_std, r_std)
        usual = spec_for(graph.joints, self.skeleton)
        return PoseSpec(
            skeleton=usual.skeleton,
            input_size=graph.size,
            padding=self.padding,
            mean=(r, g, b),
            std=(r_std, g_std, b_std),
            sigma=self.sigma,
            decode=self.decode,
            frame=self.frame,
            stride=graph.stride,
        )


def read_import_options(path: Path) -> ImportOptions:
    """Read them from a JSON file, whose keys are those of `ImportOptions`; ValueError for unknown keys and values."""
    content = read_json(path, LARGEST_FILE)
    with naming(path):
        unknown = sorted(set(content) - set(ImportOptions.__dataclass_fields__)) if isinstance(content, dict) else []
        if unknown:
            raise ValueError(f"it has {unknown[0]!r}, expected {', '.join(ImportOptions.__dataclass_fields__)}")
        return parse(ImportOptions, content)


def import_bundle(
    graph: ForeignGraph,
    spec: PoseSpec,
    out: Path,
    *,
    name: str,
    precisions: Iterable[str] = ("fp32",),
    calibration: Calibration | None = None,
    crops: Iterable[LabelledBatch] | None = None,
    web: Path | None = None,
    overwrite: bool = False,
    progress: Progress = lambda things, _, __: things,
) -> Bundle:
    """Write a bundle of a foreign graph under `out` and return it; `name` is its variant, such as the file's stem.

    The ladder is climbed as by `export_bundle`, from the graph's own FP32; nothing is written where a rung fails. `web`
    adds a page as there; ValueError where the graph takes no single person.
    """
    names = _checked_names(precisions, graph)
    batch = (1, None) if graph.batch is None else (graph.batch, graph.batch)
    with new_bundle_folder(out, overwrite=overwrite) as folder:
        path = folder / "fp32.onnx"
        onnx.save(graph.model, str(path))
        facts = {"opset": opset(path), "tools": tool_versions(), "measured": {"nodes": len(graph.model.graph.node)}}
        artefacts = {"fp32": Artefact.of(path, precision="fp32", **facts)}
        others = [each for each in names if each != "fp32"]
        if others:
            writer = PrecisionWriter(path, spec, calibration, ranges_beside(out), progress)
            artefacts |= {each: saved(folder, each, writer.write(GRAPHS[each].precision)) for each in others}
            if crops is None and writer.judge is not None:
                crops = writer.judge.batches
        artefacts = {each: replace(artefact, batch=batch) for each, artefact in artefacts.items()}
        bundle = Bundle(folder, _variant(name), spec, True, _note(spec), artefacts, graph.names)
        write_manifest(bundle)
        bundle = replace(bundle, artefacts={**artefacts, **verified(bundle, crops)})
        write_manifest(bundle)
        write_card(bundle)
        if web is not None:
            write_page(bundle, web)
    return open_bundle(out)


def _variant(name: str) -> str:
    return printable(name).encode()[:LONGEST_NAME].decode(errors="ignore") or "imported"


def _note(spec: PoseSpec) -> str:
    return f"imported from ONNX; frame {spec.frame!r}, {spec.decode!r} decoding and normalization as told or assumed"


def _checked_names(precisions: Iterable[str], graph: ForeignGraph) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(("fp32", *precisions)))
    unknown = [name for name in names if name not in PRECISIONS]
    if unknown:
        raise ValueError(f"precisions are {', '.join(unknown)}; of an imported graph there are {', '.join(PRECISIONS)}")
    own = graph.model.opset_import[0].version
    if own < OPSET and "int8" in names:
        raise ValueError(f"the graph stays at opset {own}, but INT8 beside FP16 needs {OPSET}; take int8_cpu")
    return names
