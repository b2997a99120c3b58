"""A common interface to TensorRT 10, TensorRT 11 and TensorRT-RTX. All their differences are handled in this file.

- Strong typing: a flag of `create_network` in 10; always on in 11 and RTX.
- Targets: RTX builds for a list of compute capabilities, without a GPU; TensorRT tunes on the local GPU, and can make
  engines that other GPUs run too (hardware compatibility).
- Timing cache and DLA: TensorRT only. RTX tunes at run time.
"""

from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from ..runtime.compatibility import ENGINE_LIBRARIES, Compatibility, Library
from ..runtime.inputs import BUCKETS

OLDEST = 10
MIB = 1 << 20
AMPERE = 8.0


@dataclass(frozen=True)
class Settings:
    """Build settings of an engine."""

    batches: tuple[int, ...] = BUCKETS
    """Largest batch of each optimization profile; a batch runs in the smallest profile that holds it."""
    workspace_mib: int | None = None
    """Memory limit for the builder's tactics; None: the library's own limit."""
    capabilities: tuple[str, ...] = ()
    """RTX: target compute capabilities, such as "8.6" or "12.0"; empty: all that the library supports from 8.0 on.

    RTX has no FP32 matrix products on Turing (7.5): build its engines from an FP16 graph."""
    hardware: Compatibility = "none"
    version_compatible: bool = False
    dla_core: int | None = None
    timing_cache: Path | None = None

    def __post_init__(self) -> None:
        if not self.batches or sorted(set(self.batches)) != list(self.batches) or self.batches[0] < 1:
            raise ValueError(f"batches are {self.batches}, expected growing whole numbers from 1, such as 1,8,32")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise ValueError(f"workspace is {self.workspace_mib} MiB, expected at least 1")


class TrtLibrary:
    """A loaded TensorRT or TensorRT-RTX."""

    def __init__(self, name: Library, module: ModuleType) -> None:
        self.name: Library = name
        self.trt = module
        self.version: str = module.__version__
        if self.name == "tensorrt" and self.major < OLDEST:
            raise RuntimeError(f"TensorRT {self.version} is too old: its graphs are untyped; install 10 or newer")

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def network(self, builder: Any) -> Any:
        """An empty, strongly typed network."""
        flags = self.trt.NetworkDefinitionCreationFlag
        if self.name == "tensorrt" and self.major == OLDEST:
            return builder.create_network(1 << int(flags.STRONGLY_TYPED))
        return builder.create_network(0)

    def add_plugins(self) -> None:
        """Register the EMA plugin; RuntimeError if the library does not support plugins."""
        if self.name == "tensorrt_rtx":
            raise RuntimeError("TensorRT-RTX has no plugins, and this graph has our operator: build fp16 or fp32")
        try:
            plugin = import_module("tensorrt.plugin")
        except ImportError as error:
            raise RuntimeError(
                f"TensorRT {self.version} has no tensorrt.plugin ({error}): build fp16 or fp32"
            ) from error
        from .trt_plugin import kernel_ptx, register_ema  # noqa: PLC0415 - it takes cuda-python

        register_ema(self.trt, plugin, kernel_ptx())

    def check(self, settings: Settings) -> None:
        """Raise ValueError for settings that this library does not support."""
        if self.name == "tensorrt_rtx":
            absent = {
                "a DLA core": settings.dla_core is not None,
                "a timing cache": settings.timing_cache is not None,
                "hardware compatibility": settings.hardware != "none",
            }
            if any(absent.values()):
                words = " and ".join(name for name, asked in absent.items() if asked)
                raise ValueError(f"TensorRT-RTX does not support {words}; leave that out, or use --library tensorrt")
            unknown = set(settings.capabilities) - set(self.capabilities())
            if unknown:
                known = ", ".join(self.capabilities())
                raise ValueError(
                    f"TensorRT-RTX {self.version} does not support compute capability {', '.join(sorted(unknown))}; "
                    f"it supports {known}"
                )
        elif settings.capabilities:
            raise ValueError("TensorRT builds for the GPU it runs on; --capabilities is for TensorRT-RTX")

    def capabilities(self) -> tuple[str, ...]:
        """RTX: the compute capabilities that the library can build for."""
        names = [name for name in dir(self.trt.ComputeCapability) if name.startswith("SM")]
        return tuple(sorted((f"{name[2:-1]}.{name[-1]}" for name in names), key=float))

    def targets(self, settings: Settings) -> tuple[str, ...]:
        """RTX: the compute capabilities to build for by these settings."""
        return settings.capabilities or tuple(each for each in self.capabilities() if float(each) >= AMPERE)

    def configure(self, config: Any, settings: Settings) -> None:
        """Apply the settings, except for the profiles, to a builder's config."""
        trt = self.trt
        if settings.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if settings.workspace_mib is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib * MIB)
        if self.name == "tensorrt_rtx":
            targets = self.targets(settings)
            config.num_compute_capabilities = len(targets)
            for index, capability in enumerate(targets):
                member = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}")
                config.set_compute_capability(member, index)
            return
        if settings.hardware != "none":
            config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, settings.hardware.upper())
        if settings.dla_core is not None:
            config.default_device_type = trt.DeviceType.DLA
            config.DLA_core = settings.dla_core
            config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        if settings.timing_cache is not None:
            kept = settings.timing_cache.read_bytes() if settings.timing_cache.is_file() else b""
            config.set_timing_cache(config.create_timing_cache(kept), False)


def load_library(name: Library | Literal["auto"] = "auto") -> TrtLibrary:
    """Load a library; "auto" takes TensorRT if it is installed, else RTX. ImportError says how to install it."""
    reasons = []
    names = tuple(ENGINE_LIBRARIES) if name == "auto" else (name,)
    for each in names:
        for module in (ENGINE_LIBRARIES[each].module, ENGINE_LIBRARIES[each].builder):
            try:
                return TrtLibrary(each, import_module(module))
            except ImportError as error:
                reasons.append(f"{module}: {error}")
    install = " or ".join(ENGINE_LIBRARIES[each].install_builder for each in names)
    raise ImportError(f"no TensorRT here ({'; '.join(reasons)}): {install}")


class Log:
    """A TensorRT logger that keeps messages and errors, and counts warnings by text, since many are repeated."""

    def __init__(self, library: TrtLibrary) -> None:
        self.lines: list[str] = []
        self.warnings: Counter[str] = Counter()
        self.errors: list[str] = []
        base, log = library.trt.ILogger, self

        class Logger(base):
            def __init__(self) -> None:
                base.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                log.take(severity.name, message)

        self.logger = Logger()

    def take(self, severity: str, message: str) -> None:
        """Record a message."""
        if severity == "VERBOSE":
            return
        self.lines.append(f"{severity}: {message}")
        if severity == "WARNING":
            self.warnings[message.partition("\n")[0][:160]] += 1
        elif severity.endswith("ERROR"):
            self.errors.append(message)

    def clear(self) -> None:
        """Discard all messages, before another build."""
        self.lines.clear()
        self.warnings.clear()
        self.errors.clear()


def progress_monitor(library: TrtLibrary, show: Any) -> Any:
    """A TensorRT progress monitor for the outermost phases; `show(name, steps)` makes a progress bar."""
    base = library.trt.IProgressMonitor

    class Monitor(base):
        def __init__(self) -> None:
            base.__init__(self)
            self.bars: dict[str, Any] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.bars[phase_name] = show(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:  # noqa: ARG002 - TensorRT names its arguments
            if phase_name in self.bars:
                self.bars[phase_name].update(1)
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self.bars:
                self.bars.pop(phase_name).close()

    return Monitor()
