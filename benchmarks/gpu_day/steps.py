"""The steps of a GPU's day, and how a step's process is started."""

import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "lehrnet.benchmarks.gpu_day"
ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


@dataclass(frozen=True)
class Step:
    """A measurement with a process of its own."""

    name: str
    what: str
    module: str
    """Its module in `gpu_day.work`, which has the function `work`."""
    worth: int
    """Steps of more worth run first."""
    limit_s: float
    """Its process group is killed after so many seconds."""
    least_s: float = 15
    """It is not started with less time than this."""
    needs: tuple[str, ...] = ()
    """Packages beside NumPy without which it says that it cannot run; what else is missing costs it some figures."""
    takes_the_rest: bool = False
    """Whether it may take all the time that is left, beyond `limit_s`."""
    on_every_machine: bool = False
    """Whether it runs again on another machine than the one that did it: it leaves files that others need."""


STEPS = (
    Step("build", "kernels by nvcc for this GPU", "build", 100, 90, on_every_machine=True),
    Step("tests", "tests/runtime/test_on_a_gpu.py, each verdict", "on_gpu_tests", 90, 150, needs=("torch", "pytest")),
    Step("kernels", "EMA, crop and decode beside copies", "kernel_times", 80, 60, needs=("torch",)),
    Step(
        "forms", "torch_fp16 beside eager PyTorch and HRNet-W32", "form_times", 70, 100, needs=("torch", "safetensors")
    ),
    Step("pipeline", "1080p frames to keypoints", "pipeline_times", 60, 60, needs=("torch", "safetensors")),
    Step("sanitize", "compute-sanitizer over crop, decode and EMA", "sanitize", 50, 75),
    Step("speed", "training by batch, bfloat16 on and off", "training_times", 40, 75, needs=("torch", "cv2")),
    Step("others", "ONNX Runtime and TensorRT-RTX", "others", 30, 100, needs=("torch", "safetensors")),
    Step("compiled", "torch.compile beside torch_fp16", "compile_times", 20, 150, 60, needs=("torch", "safetensors")),
    Step("train", "recipe short on the carried pack", "train", 10, 0, 45, needs=("torch", "cv2"), takes_the_rest=True),
)
"""By worth: `train` takes what the others leave."""


def by_worth(names: tuple[str, ...] = ()) -> list[Step]:
    """The named steps, or all, those of most worth first; ValueError for an unknown name."""
    known = {step.name: step for step in STEPS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no step {unknown[0]!r}; the steps are {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(names)] if names else list(STEPS)
    return sorted(chosen, key=lambda step: -step.worth)


@dataclass(frozen=True)
class Settings:
    """What all steps of a day are told."""

    carried: Path | None = None
    """The folder that `gpu_day.carry` made."""
    rehearse: bool = False
    train_minutes: float = 25.0
    """The end of the training's schedule, over all calls; the goal's time."""

    def command(self, step: Step, out: Path, scratch: Path, seconds: float) -> list[str]:
        """The command that runs a step: its JSON goes to `out`, its other files below `scratch`."""
        command = [sys.executable, "-m", f"{PACKAGE}.work", step.name, "--out", str(out), "--scratch", str(scratch)]
        command += ["--seconds", f"{seconds:.0f}", "--train-minutes", str(self.train_minutes)]
        command += ["--carried", str(self.carried)] if self.carried else []
        return [*command, "--stand-in"] if self.rehearse else command
