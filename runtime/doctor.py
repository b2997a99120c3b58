"""Diagnosis of the backends on this machine: what works, what is missing, and how to fix it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .backends.library_path import MISSING, find_library, library_fault
from .bundle import IN_ENGINES_ONLY, Artefact, open_bundle
from .compatibility import ENGINE_LIBRARIES, Library, Machine, differences


@dataclass(frozen=True)
class Finding:
    """Diagnosis of a backend, of a requirement of one, or of a bundle's file."""

    name: str
    works: bool
    found: str
    """Version or description; else the reason why it does not work."""
    fix: str = ""
    """How to fix it; empty if it works."""
    backend: bool = False
    """Whether it is a backend, which runs networks by itself."""


def examine() -> list[Finding]:
    """Check every backend and its requirements; failures are returned as findings, never raised."""
    return [
        check() for check in (_own_engine, _onnxruntime_cpu, _onnxruntime_cuda, _torch, _gpu, _tensorrt, _tensorrt_rtx)
    ]


def examine_bundle(root: Path) -> list[Finding]:
    """Check which files of a bundle run here; ValueError for an incomplete or damaged bundle."""
    bundle = open_bundle(root)
    return [_artefact(name, artefact) for name, artefact in bundle.artefacts.items()]


def _artefact(name: str, artefact: Artefact) -> Finding:
    match artefact.form:
        case "weights":
            torch = _torch()
            return Finding(f"bundle: {name}", torch.works, f"{artefact.file}, by PyTorch", torch.fix)
        case "graph":
            return _graph(f"bundle: {name}", artefact)
        case "native":
            fix = library_fault(artefact.requires)
            return Finding(f"bundle: {name}", not fix, f"{artefact.file}, by lehrnet's engine", fix)
    return _engine(f"bundle: {name}", artefact)


def _graph(name: str, artefact: Artefact) -> Finding:
    engines_only = IN_ENGINES_ONLY.intersection(artefact.requires)
    if engines_only:
        build = f"lehrnet build-engine BUNDLE --artefact {Path(artefact.file).stem}"
        return Finding(name, False, f"{artefact.file} runs as an engine only ({', '.join(engines_only)})", build)
    runtime = _onnxruntime_cpu()
    return Finding(name, runtime.works, f"{artefact.file}, by ONNX Runtime", runtime.fix)


def _engine(name: str, artefact: Artefact) -> Finding:
    built = artefact.built_for
    assert built is not None
    graph = Path(artefact.file).stem.removesuffix(f"_{built.library}")
    rebuild = f"build it here: lehrnet build-engine BUNDLE --artefact {graph}"
    try:
        from .cuda.driver import describe_gpu  # noqa: PLC0415 - a machine without CUDA gets a finding, not an error

        gpu = describe_gpu(0)
        version = import_module(ENGINE_LIBRARIES[built.library].module).__version__
    except (ImportError, RuntimeError) as error:
        return Finding(name, False, f"{artefact.file}: {error}", rebuild)
    reasons = differences(built, Machine(built.library, version, gpu.compute_capability, gpu.name))
    found = f"{artefact.file}: {'; '.join(reasons)}" if reasons else f"{artefact.file}, on {gpu.name}"
    return Finding(name, not reasons, found, rebuild if reasons else "")


def _own_engine() -> Finding:
    def look() -> str:
        library = find_library()
        if library is None:
            raise RuntimeError("no liblehrnet")
        return library

    return _looked("lehrnet's CPU engine", look, MISSING, backend=True)


def _onnxruntime_cpu() -> Finding:
    def look() -> str:
        return f"{import_module('onnxruntime').__version__}"

    return _looked("ONNX Runtime, CPU", look, "pip install 'lehrnet[cpu]'", backend=True)


def _onnxruntime_cuda() -> Finding:
    def look() -> str:
        onnxruntime = import_module("onnxruntime")
        providers = onnxruntime.get_available_providers()
        if "CUDAExecutionProvider" not in providers:
            raise RuntimeError(f"{onnxruntime.__version__} has only {', '.join(providers)}")
        gpus = _count_gpus()
        if gpus == 0:
            raise RuntimeError(f"{onnxruntime.__version__} has CUDA, but there is no GPU or no driver")
        return f"{onnxruntime.__version__}, {gpus} GPUs"

    fix = "pip uninstall onnxruntime; pip install 'lehrnet[gpu]'; NVIDIA's driver"
    return _looked("ONNX Runtime, CUDA", look, fix, backend=True)


def _torch() -> Finding:
    def look() -> str:
        torch = import_module("torch")
        return f"{torch.__version__}, " + (f"CUDA {torch.version.cuda}" if torch.cuda.is_available() else "CPU")

    return _looked("PyTorch", look, "pip install 'lehrnet[train]'", backend=True)


def _gpu() -> Finding:
    def look() -> str:
        from .cuda.driver import count_gpus, describe_gpu  # noqa: PLC0415 - it may be missing

        if count_gpus() == 0:
            raise RuntimeError("cuda-python is there, but finds no GPU or no driver")
        gpu = describe_gpu(0)
        return (
            f"{gpu.name}, compute capability {gpu.compute_capability}, CUDA {gpu.driver}, "
            f"{gpu.free_mib} of {gpu.total_mib} MiB free"
        )

    return _looked("GPU", look, "NVIDIA's driver, and pip install 'lehrnet[tensorrt]' for cuda-python")


def _tensorrt() -> Finding:
    return _engine_library("tensorrt")


def _tensorrt_rtx() -> Finding:
    return _engine_library("tensorrt_rtx")


def _engine_library(name: Library) -> Finding:
    library = ENGINE_LIBRARIES[name]

    def look() -> str:
        try:
            version = import_module(library.module).__version__
        except ImportError as error:
            version = import_module(library.builder).__version__
            raise RuntimeError(f"{version} builds engines, but none runs: {error}") from error
        if _count_gpus() == 0:
            raise RuntimeError(f"{version} is there, but there is no GPU or no driver")
        return version

    fix = f"{library.install}; to build engines only: {library.install_builder}"
    return _looked(library.title, look, fix, backend=True)


def _looked(name: str, look: Callable[[], str], fix: str, *, backend: bool = False) -> Finding:
    try:
        return Finding(name, True, look(), backend=backend)
    except Exception as error:
        return Finding(name, False, str(error), fix, backend)


def _count_gpus() -> int:
    try:
        from .cuda.driver import count_gpus  # noqa: PLC0415 - it may be missing
    except ImportError:
        return 0
    return count_gpus()
