"""Our CPU engine against ONNX Runtime, in one interleaved run on one thread, and what share of the machine it reaches.

python -m lehrnet.benchmarks.native --out benchmarks/results/native_cpu.json
python -m lehrnet.benchmarks.native --int8 --out benchmarks/results/native_int8_cpu.json
python -m lehrnet.benchmarks.held_to_avx2 -m lehrnet.benchmarks.native --out benchmarks/results/native_avx2.json

On one thread the time is the thread's own on the processor: what other programs take of a shared machine is not in it,
what they take of its caches and of the core's other half is.
"""

import argparse
import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..calibration.graph import read_graph
from ..calibration.steps import Steps, operator_steps
from ..calibration.units import convs_of, quantizable_units
from ..export.graph import export_module
from ..export.native import NATIVE, NATIVE_INT8, native_bytes
from ..model.forms import deploy
from ..model.network import PoseNetwork, create_model
from ..pose.spec import COCO
from ..runtime.devices import cpu_fact
from .engine_steps import by_kind
from .held_to_avx2 import HELD
from .interleave import by_the_clock, race
from .native_door import BUILT, Door, DoorEngine
from .paper_card import deployed, graph_subject
from .results import write_result

SIZE = COCO.input_size
REFERENCE, FP32 = "hrnet_w32, ONNX Runtime", "lehrnet_w32 fp32, ONNX Runtime"
ONNX_SUBJECTS = {
    REFERENCE: "hrnet_w32",
    FP32: "lehrnet_w32",
    "rtmpose_s, ONNX Runtime": "rtmpose_s",
    "rtmpose_m, ONNX Runtime": "rtmpose_m",
}


def measure(
    door: Door, instructions: tuple[str, ...], batches: tuple[int, ...], rounds: int, threads: int
) -> dict[str, Any]:
    """For every batch the times and the speed-ups over HRNet, and for every set of instructions its steps."""
    torch.manual_seed(0)
    by_batch, steps = {}, {}
    subjects = _onnx_subjects(threads)
    network = native_bytes(create_model("lehrnet_w32"))
    for batch in batches:
        crops = np.random.default_rng(0).standard_normal((batch, 3, *SIZE), dtype=np.float32)
        engines = {
            f"lehrnet_w32 {NATIVE}, {name}": DoorEngine(door, network, SIZE, name, max_batch=batch, threads=threads)
            for name in instructions
        }
        runs = {**subjects, **{name: engine.run for name, engine in engines.items()}}
        timed = by_the_thread if threads == 1 else by_the_clock
        result = race({name: partial(run, crops) for name, run in runs.items()}, REFERENCE, rounds, timed=timed)
        by_batch[str(batch)] = {"milliseconds": result.milliseconds, "speed_up": result.speed_up}
        if batch == 1:
            for name, engine in zip(instructions, engines.values(), strict=True):
                steps[name] = _shares(door, engine, name, crops, rounds)
        for engine in engines.values():
            engine.close()
    return {"threads": threads, "rounds": rounds, "input_size": SIZE, "by_batch": by_batch, "steps": steps}


def measure_int8(
    door: Door, instructions: tuple[str, ...], batches: tuple[int, ...], rounds: int, threads: int
) -> dict[str, Any]:
    """INT8 against FP32 in our engine, for every set of instructions a race of the two by themselves."""
    torch.manual_seed(0)
    network = create_model("lehrnet_w32").eval()
    packed = {NATIVE: native_bytes(network), NATIVE_INT8: native_bytes(network, _any_steps(network))}
    by_set: dict[str, Any] = {}
    for name in instructions:
        by_batch, steps = {}, {}
        for batch in batches:
            crops = np.random.default_rng(0).standard_normal((batch, 3, *SIZE), dtype=np.float32)
            engines = {
                artefact: DoorEngine(door, content, SIZE, name, max_batch=batch, threads=threads)
                for artefact, content in packed.items()
            }
            timed = by_the_thread if threads == 1 else by_the_clock
            runs = {artefact: partial(engine.run, crops) for artefact, engine in engines.items()}
            result = race(runs, NATIVE, rounds, timed=timed)
            by_batch[str(batch)] = {"milliseconds": result.milliseconds, "speed_up": result.speed_up}
            for artefact, engine in engines.items():
                if batch == 1:
                    steps[artefact] = _shares(door, engine, name, crops, rounds)
                engine.close()
        by_set[name] = {"by_batch": by_batch, "steps": steps}
    return {"threads": threads, "rounds": rounds, "input_size": SIZE, "by_set": by_set}


def _any_steps(network: PoseNetwork) -> dict[str, Steps]:
    """Steps of all units as if every map reached to 1: what they are does not change the time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fp32.onnx"
        export_module(deploy(network, SIZE), SIZE, path)
        graph = read_graph(path)
    return operator_steps(graph, convs_of(quantizable_units(graph)), defaultdict(lambda: 1.0))


def by_the_thread(run: Callable[[], object]) -> float:
    """Milliseconds that one run kept this thread's processor busy."""
    start = time.thread_time()
    run()
    return 1e3 * (time.thread_time() - start)


def _onnx_subjects(threads: int) -> dict[str, Callable[[Any], object]]:
    """Networks in ONNX Runtime."""
    subjects: dict[str, Callable[[Any], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, network in ONNX_SUBJECTS.items():
            path = Path(folder) / f"{network}.onnx"
            export_module(deployed(network), SIZE, path)
            subjects[name] = graph_subject(path, threads)
    return subjects


def _shares(door: Door, engine: DoorEngine, instructions: str, crops: Any, rounds: int) -> dict[str, Any]:
    """Each kind of step by the least of its times, measured in turn with the machine's peak."""
    peak, best = 0.0, None
    for _ in range(rounds):
        peak = max(peak, door.peak(instructions, 3))
        times = engine.time_steps(crops, 5)
        best = (
            times
            if best is None
            else [min(pair, key=lambda step: step.milliseconds) for pair in zip(best, times, strict=True)]
        )
    return by_kind(best or [], peak)


def _print_int8(figures: dict[str, Any]) -> None:
    for name, result in figures["by_set"].items():
        print(f"{name}, {figures['threads']} threads, {figures['rounds']} interleaved rounds")
        for batch, race_of in result["by_batch"].items():
            taken, faster = race_of["milliseconds"], race_of["speed_up"][NATIVE_INT8]
            times = ", ".join(f"{artefact} {each['p50']:.1f} ms" for artefact, each in taken.items())
            print(f"  batch {batch}: {times}, {faster['p50']:.2f} times ({faster['p10']:.2f} to {faster['p90']:.2f})")
        if result["steps"]:
            for kind, step in result["steps"][NATIVE]["kinds"].items():
                whole = result["steps"][NATIVE_INT8]["kinds"][kind]
                times = f"{step['milliseconds']:8.3f} ms {whole['milliseconds']:8.3f} ms"
                print(f"  {kind:20} {times} {whole['gmacs']:6.1f} GMAC/s")


def _print(figures: dict[str, Any]) -> None:
    for batch, result in figures["by_batch"].items():
        print(f"batch {batch}, {figures['threads']} threads, {figures['rounds']} interleaved rounds")
        for name, taken in result["milliseconds"].items():
            faster = result["speed_up"][name]
            print(
                f"  {name:40} {taken['p50']:8.1f} ms (p10 {taken['p10']:.1f})   "
                f"{faster['p50']:.2f} times hrnet_w32's speed ({faster['p10']:.2f} to {faster['p90']:.2f})"
            )
    for instructions, steps in figures["steps"].items():
        print(f"{instructions}: steps by their least times; the multiplier's peak is {steps['peak_gmacs']} GMAC/s")
        for name, step in steps["kinds"].items():
            print(f"  {name:20} {step['milliseconds']:8.3f} ms {step['gmacs']:6.1f} GMAC/s {step['of_peak']:5.0%}")


def main() -> None:
    """Measure, print tables, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--door", type=Path, default=BUILT, help="libnative_door.so (default: the preset native's)")
    parser.add_argument("--instructions", help="comma-separated; all but plain if absent")
    parser.add_argument("--batch", default="1,8", help="comma-separated (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--int8", action="store_true", help="INT8 against FP32 in our engine, and nothing else")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    door = Door(options.door)
    usable = [name for name in door.instructions() if name != "plain"] or ["plain"]
    if not options.int8:  # of floats these do nothing that their namesakes do not
        usable = [name for name in usable if not name.endswith("vnni")]
    names = options.instructions.split(",") if options.instructions else usable
    batches = tuple(int(batch) for batch in options.batch.split(","))
    measured = measure_int8 if options.int8 else measure
    figures = measured(door, tuple(names), batches, options.rounds, options.threads)
    figures["held_to"] = os.environ.get(HELD)
    figures["load_average"] = round(os.getloadavg()[0], 1)
    figures["cpu_flags"] = [
        flag for flag in (cpu_fact("flags") + cpu_fact("Features")).split() if re.match("avx|fma|amx|asimd", flag)
    ]
    (_print_int8 if options.int8 else _print)(figures)
    if options.out:
        write_result(options.out, f"python -m lehrnet.benchmarks.native{' --int8' if options.int8 else ''}", figures)


if __name__ == "__main__":
    main()
