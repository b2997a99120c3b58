"""TensorRT engines built from a bundle's graphs and added to its manifest with the machine they were built for."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..files import write_bytes, write_text
from ..runtime.bundle import ENGINE, Artefact, Bundle, open_bundle, write_manifest
from ..runtime.compatibility import BuiltFor
from .trt_library import Log, Settings, TrtLibrary, load_library, progress_monitor

FRAME = ((64, 64), (720, 1280), (2160, 3840))
"""Minimum, optimum and maximum (height, width) of the frame of a whole graph's profile, px."""
WHOLE_PEOPLE = (1, 8, 32)
"""Minimum, optimum and maximum number of people in that profile."""


@dataclass(frozen=True)
class Built:
    """A serialized engine, with its build time and the builder's log."""

    content: bytes
    layers: int
    seconds: float
    warnings: dict[str, int]
    log: tuple[str, ...]


def build_engine(
    path: Path,
    settings: Settings,
    library: TrtLibrary,
    log: Log,
    show: Callable[[str, int], Any] | None = None,
) -> Built:
    """Build an engine from an ONNX file; ValueError with the parser's or the builder's message if it fails."""
    library.check(settings)
    log.clear()
    builder = library.trt.Builder(log.logger)
    network = library.network(builder)
    parser = library.trt.OnnxParser(network, log.logger)
    if not parser.parse_from_file(str(path)):
        words = parser.get_error(0).desc() if parser.num_errors else "; ".join(log.errors)
        raise ValueError(f"{path} cannot be parsed by {library.name} {library.version}: {words}")
    config = builder.create_builder_config()
    library.configure(config, settings)
    for profile in _profiles(builder, network, settings):
        config.add_optimization_profile(profile)
    if show is not None:
        config.progress_monitor = progress_monitor(library, show)
    started = time.monotonic()
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ValueError(f"{path} was parsed but not built: {'; '.join(log.errors) or 'no reason given'}")
    if settings.timing_cache is not None:
        write_bytes(settings.timing_cache, bytes(config.get_timing_cache().serialize()))
    seconds = round(time.monotonic() - started, 1)
    return Built(bytes(engine), network.num_layers, seconds, dict(log.warnings), tuple(log.lines))


def add_engine(
    root: Path,
    artefact: str,
    settings: Settings | None = None,
    library: TrtLibrary | None = None,
    show: Callable[[str, int], Any] | None = None,
) -> str:
    """Build an engine from a bundle's graph, add it to the bundle and return its name, such as "fp16_tensorrt_rtx".

    The engine and the builder's log are written beside the graph, the manifest last: the bundle is always consistent.
    """
    bundle = open_bundle(root)
    library, settings = library or load_library(), settings or Settings()
    graph = bundle.path(artefact)
    if graph.suffix != ".onnx":
        raise ValueError(f"{artefact!r} of {root} is {graph.name}, expected an ONNX graph, such as fp16")
    if "lehrnet_plugin" in bundle.artefacts[artefact].requires:
        library.add_plugins()
    built = build_engine(graph, settings, library, Log(library), show)
    name = f"{graph.stem}_{library.name}"
    path = root / f"{name}{ENGINE}"
    write_bytes(path, built.content)
    write_text(path.with_suffix(".log"), "\n".join(built.log) + "\n")
    source = bundle.artefacts[artefact]
    engine = Artefact.of(
        path,
        precision=source.precision,
        output=source.output,
        batch=(1, settings.batches[-1]),
        tools={library.name: library.version},
        measured={"layers": built.layers, "seconds": built.seconds, "warnings": sum(built.warnings.values())},
        built_for=_built_for(settings, library),
        batches=settings.batches,
        graph_sha256=source.sha256,
    )
    write_manifest(_with(bundle, name, engine))
    return name


def _with(bundle: Bundle, name: str, artefact: Artefact) -> Bundle:
    return replace(bundle, artefacts={**bundle.artefacts, name: artefact})


def _built_for(settings: Settings, library: TrtLibrary) -> BuiltFor:
    gpu = None if library.name == "tensorrt_rtx" else _gpu()
    capabilities = library.targets(settings) if gpu is None else (gpu.compute_capability,)
    return BuiltFor(
        library=library.name,
        version=library.version,
        compute_capabilities=capabilities,
        system=platform.system(),
        machine=platform.machine(),
        gpu=None if gpu is None else gpu.name,
        driver=None if gpu is None else gpu.driver,
        hardware=settings.hardware,
        version_compatible=settings.version_compatible,
        dla_core=settings.dla_core,
    )


def _gpu() -> Any:
    from ..runtime.cuda.driver import describe_gpu  # noqa: PLC0415 - RTX builds where there is no CUDA

    return describe_gpu(0)


def _profiles(builder: Any, network: Any, settings: Settings) -> list[Any]:
    """One optimization profile per batch bucket; a single one for a whole graph, whose frame size varies too."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    whole = any(len(tensor.shape) == 3 for tensor in inputs)
    least = 1
    profiles = []
    for most in (settings.batches[-1],) if whole else settings.batches:
        profile = builder.create_optimization_profile()
        for tensor in inputs:
            shape = tuple(tensor.shape)
            if whole and len(shape) == 3:  # the frame
                profile.set_shape(tensor.name, *((*side, 3) for side in FRAME))
            elif whole:
                profile.set_shape(tensor.name, *((people, *shape[1:]) for people in WHOLE_PEOPLE))
            else:
                profile.set_shape(tensor.name, (least, *shape[1:]), (most, *shape[1:]), (most, *shape[1:]))
        profiles.append(profile)
        least = most + 1
    return profiles
