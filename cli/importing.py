"""The command that takes networks of other programs: import."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .command import Command, add_skeleton, number, size, skeleton_of

if TYPE_CHECKING:
    from ..export.importing import ImportOptions


def three(text: str) -> tuple[float, float, float]:
    """Parse "0.485,0.456,0.406"."""
    values = [number(part) for part in text.split(",")]
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"{text!r}, expected three numbers, such as 0.485,0.456,0.406")
    return values[0], values[1], values[2]


def _add_import(parser: argparse.ArgumentParser) -> None:
    from ..export.importing import PRECISIONS, ImportOptions
    from ..pose.heatmap import DECODE_METHODS, FRAMES
    from .calibrating import add_calibration
    from .web import add_web

    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="one heatmap for each joint of a crop")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    parser.add_argument("--name", help="name of the network in the bundle; default: the file's")
    parser.add_argument("--size", type=size, metavar="HxW", help="input size, where the file leaves it open")
    parser.add_argument("--output", metavar="NAME", help="the output with the heatmaps, where there are several")
    parser.add_argument("--spec", type=Path, metavar="FILE", help="the words below in a JSON file; options go before")
    usual = ImportOptions
    words = parser.add_argument_group("what a file does not say of its network (HRNet's are the defaults)")
    words.add_argument("--mean", type=three, metavar="X,X,X", help=f"of values from 0 to 1 ({_shown(usual.mean)})")
    words.add_argument("--std", type=three, metavar="X,X,X", help=f"of values from 0 to 1 ({_shown(usual.std)})")
    words.add_argument("--colour", choices=("rgb", "bgr"), help=f"order of channels, mean and std ({usual.colour})")
    words.add_argument("--frame", choices=FRAMES, help=f"frame of its heatmaps and crops ({usual.frame})")
    words.add_argument("--decode", choices=DECODE_METHODS, help=f"decoding of its heatmaps ({usual.decode})")
    words.add_argument("--sigma", type=number, help=f"of its targets, in cells ({usual.sigma:g})")
    words.add_argument("--padding", type=number, help=f"growth of boxes before they are cropped ({usual.padding:g})")
    add_skeleton(words, "COCO's or MPII's, by the number of joints")
    parser.add_argument("--precisions", default="fp32", help=f"comma-separated: {', '.join(PRECISIONS)} (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="data folder to verify on, instead of noise")
    add_web(parser)
    add_calibration(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _import(options: argparse.Namespace) -> int:
    from ..export.foreign_graph import read_foreign
    from ..export.importing import import_bundle
    from ..export.verify import photograph_crops
    from ..files import refuse_inputs
    from .calibrating import calibration_of, progress
    from .networks import say_bundle
    from .web import web_runtime

    inputs = [options.model, options.spec, options.skeleton, options.calibration, options.data]
    refuse_inputs({"--out": options.out}, inputs)
    words, runtime = _words(options), web_runtime(options)
    graph = read_foreign(options.model, options.size, words.colour, options.output)
    spec = words.spec(graph)
    bundle = import_bundle(
        graph,
        spec,
        options.out,
        name=options.name or options.model.stem,
        precisions=options.precisions.split(","),
        calibration=calibration_of(options),
        crops=photograph_crops(options.data, spec) if options.data else None,
        web=runtime,
        overwrite=options.overwrite,
        progress=progress,
    )
    if not options.json:
        batch = "any batch" if graph.batch is None else f"batches of {graph.batch}"
        frame = f"frame {spec.frame!r}, decoded by {spec.decode!r}"
        print(
            f"{spec.input_size[0]}x{spec.input_size[1]}, stride {spec.stride}, {batch}; {spec.skeleton.name}; {frame}"
        )
    say_bundle(bundle, as_json=options.json)
    return 0


def _words(options: argparse.Namespace) -> "ImportOptions":
    """Those of --spec, with those of the other options in their place."""
    from ..export.importing import ImportOptions, read_import_options

    words = read_import_options(options.spec) if options.spec else ImportOptions()
    named = ("mean", "std", "colour", "frame", "decode", "sigma", "padding")
    told = {name: value for name in named if (value := getattr(options, name)) is not None}
    skeleton = skeleton_of(options)
    return replace(words, **told, **({"skeleton": skeleton} if skeleton else {}))


def _shown(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


COMMANDS = (
    Command(
        "import",
        "Import an ONNX file of another program to a bundle.",
        "lehrnet import vitpose.onnx --out bundle --frame udp --decode udp --precisions fp16,int8 --calibration coco/",
        _add_import,
        _import,
    ),
)
