"""Speed-up of our forms and CUDA graphs in PyTorch on a GPU, over the same weights eager and compiled.

python -m lehrnet.benchmarks.studies.torch_gpu --out benchmarks/results/torch_gpu.json

Times are the GPU's own, by CUDA events around the network, from crops to heatmaps. Not yet run: no GPU was at hand.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...model.checkpoint import DEFAULT_WEIGHTS, Checkpoint, load_checkpoint, save_checkpoint
from ...model.network import create_model
from ...runtime.pytorch.forms import TorchForm
from ...runtime.pytorch.graph_session import TorchGraphSession
from ..interleave import race
from ..results import write_result

EAGER = "eager, FP16"
COMPILED = "torch.compile(mode=max-autotune), FP16"
OURS = "torch_fp16"
LARGER = "hrnet_w32 as torch_fp16"


def measure(batches: tuple[int, ...], rounds: int, forms: tuple[str, ...]) -> dict[str, Any]:
    """Milliseconds, and speed-ups over eager, by batch."""
    stream = torch.cuda.Stream()
    checkpoint = load_checkpoint(DEFAULT_WEIGHTS)
    network = checkpoint.network.cuda().half()
    sessions = {name: _session(DEFAULT_WEIGHTS, stream, TorchForm.parse(name)) for name in forms}
    with tempfile.TemporaryDirectory() as folder:
        hrnet = Path(folder) / "model.safetensors"
        save_checkpoint(hrnet, Checkpoint(create_model("hrnet_w32").eval(), checkpoint.spec))
        sessions[LARGER] = _session(hrnet, stream, TorchForm())
    compiled = torch.compile(network, mode="max-autotune")
    by_batch = {}
    for batch in batches:
        crops = torch.randn(batch, 3, *checkpoint.spec.input_size, device="cuda", dtype=torch.float16)
        subjects: dict[str, Callable[[], object]] = {EAGER: partial(network, crops), COMPILED: partial(compiled, crops)}
        for name, session in sessions.items():
            prepared = session.prepared(session.bucket(batch))
            with session.capture() as graph:
                session.enqueue(prepared)
            subjects[name] = partial(graph.launch, session.stream)
        torch.cuda.synchronize()  # the crops and the weights were made on another stream
        with torch.inference_mode(), torch.cuda.stream(stream):
            result = race(subjects, EAGER, rounds, warm_up=5, timed=partial(by_events, stream))
        by_batch[str(batch)] = {"milliseconds": result.milliseconds, "speed_up": result.speed_up}
    return {"gpu": torch.cuda.get_device_name(), "rounds": rounds, "by_batch": by_batch}


def by_events(stream: torch.cuda.Stream, run: Callable[[], object]) -> float:
    """Milliseconds of a run on a stream, measured by CUDA events."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record(stream)
    run()
    end.record(stream)
    end.synchronize()
    return start.elapsed_time(end)


def _session(path: Path, stream: torch.cuda.Stream, form: TorchForm) -> TorchGraphSession:
    return TorchGraphSession(path, "cuda", form=form, stream=stream.cuda_stream)


def main() -> None:
    """Measure, print a table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", default="1,8,64", help="comma-separated (%(default)s)")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--forms", default=OURS, help="comma-separated, as torch_fp16,torch_fp16_dense2 (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU here; see `lehrnet doctor`")
    batches = tuple(int(batch) for batch in options.batch.split(","))
    figures = measure(batches, options.rounds, tuple(options.forms.split(",")))
    for batch, result in figures["by_batch"].items():
        print(f"batch {batch}, {figures['gpu']}")
        for name, time in result["milliseconds"].items():
            print(f"  {name:40} {time['p50']:8.3f} ms  {result['speed_up'][name]['p50']:6.2f} times eager")
    if options.out:
        write_result(options.out, "python -m lehrnet.benchmarks.studies.torch_gpu", figures)


if __name__ == "__main__":
    main()
