"""The figures of a GPU's day beside their goals: the README's table, and the section of `lehrnet bench --html`.

python -m lehrnet.benchmarks.gpu_day.table FOLDER    # FOLDER holds results.json; README.md and its JSON are written
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files import write_text
from .states import COMMAND, RESULTS, read_results
from .steps import ROOT

BEGIN, END = "<!-- gpu: filled by `python -m lehrnet.benchmarks.gpu_day.table FOLDER` -->", "<!-- /gpu -->"
KEPT = ROOT / "benchmarks" / "results" / "gpu_day.json"
"""The results that the README and the page show."""
NOT_MEASURED = "not measured"
Figures = Mapping[str, Mapping[str, Any]]
"""The result of each step, by its name."""


@dataclass(frozen=True)
class Row:
    """A figure: what it is, its goal, and how it is read off the results; KeyError or TypeError where it is missing."""

    what: str
    goal: str
    read: Callable[[Figures], str]


def _verdicts(figures: Figures) -> str:
    counts = figures["tests"]["counts"]
    return ", ".join(f"{counts[name]} {name.lower()}" for name in sorted(counts))


def _sanitized(figures: Figures) -> str:
    return "; ".join(f"{tool}: {found['summary']}" for tool, found in figures["sanitize"]["tools"].items())


def _ema(figures: Figures) -> str:
    """By branch, at the batch that fills the GPU."""
    by_width = {name: row for name, row in figures["kernels"]["kernels"]["ema"].items() if name.endswith("float16")}
    rows = [row["64"] for row in by_width.values()]
    times = ", ".join(f"{row['over_bandwidth']:.2f}" for row in rows)
    copies = ", ".join(f"{row['over_copy']:.2f}" for row in rows)
    return f"{times} by branch; of a copy of their size {copies}"


def _by_batch(figures: Figures, ratio: Callable[[Mapping[str, Any]], float]) -> str:
    return "; ".join(f"{ratio(row):.2f}" for row in figures["forms"]["by_batch"].values())


def _over_hrnet(row: Mapping[str, Any]) -> float:
    return row["speed_up"]["torch_fp16"]["p50"] / row["speed_up"]["hrnet_w32 as torch_fp16"]["p50"]


def _over_eager(row: Mapping[str, Any]) -> float:
    return row["speed_up"]["torch_fp16"]["p50"]


def _milliseconds(row: Mapping[str, Any]) -> float:
    return row["milliseconds"]["torch_fp16"]["p50"]


def _compiled(figures: Figures) -> str:
    rows = figures["compiled"]["compiled_by_batch"]
    name = next(name for name in next(iter(rows.values()))["speed_up"] if name.startswith("torch.compile"))
    ratios = (
        f"{row['speed_up']['torch_fp16']['p50'] / row['speed_up'][name]['p50']:.2f} at batch {batch}"
        for batch, row in rows.items()
    )
    return "; ".join(ratios)


def _best_end_to_end(figures: Figures) -> Mapping[str, Any]:
    return max(figures["pipeline"]["by_frames"].values(), key=lambda row: row["people_per_s"])


def _end_to_end(figures: Figures) -> str:
    best, alone = _best_end_to_end(figures), figures["pipeline"]["by_frames"]["1"]
    return (
        f"{best['share_of_network']:.0%}: {best['people_per_s']:.0f} people/s; "
        f"{alone['latency_ms']['p50']:.2f} ms for one frame"
    )


def _training(figures: Figures) -> str:
    speeds = figures["speed"]["people_per_s"]
    return "; ".join(f"{row['lehrnet_w32']:.0f} ({name})" for name, row in speeds.items())


def _ap(figures: Figures) -> str:
    train = figures["train"]
    minutes = train["place"]["elapsed_s"] / 60
    return f"{train['best_ap']:.3f} after {minutes:.1f} min, {train['people']} people"


ROWS = (
    Row("tests on the GPU", "all passed", _verdicts),
    Row("compute-sanitizer", "0 errors", _sanitized),
    Row("EMA as one kernel, FP16, batch 64: times of its bytes at the rate of copies", "at most 2", _ema),
    Row("`torch_fp16`, batch 1; 8; 64: ms", "", lambda figures: _by_batch(figures, _milliseconds)),
    Row("its speed over eager FP16", "at least 4 at batch 1", lambda figures: _by_batch(figures, _over_eager)),
    Row("over HRNet-W32 in the same form", "above 1", lambda figures: _by_batch(figures, _over_hrnet)),
    Row("over `torch.compile`", "", _compiled),
    Row("1080p frames to keypoints, of the network's rate alone", "at least 80%", _end_to_end),
    Row("training, people a second", "", _training),
    Row("held-out AP of `short` in 25 minutes", "at least 0.55", _ap),
)
"""The goals are those of the issue that asked for this day."""


def rows_of(day: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """What, goal and figure of each row; a figure that no step gave on a GPU is "not measured"."""
    steps = (day or {}).get("steps", {})
    results = {name: record.get("result") or {} for name, record in steps.items()}
    figures = {name: result for name, result in results.items() if not result.get("stand_in", True)}
    return [(row.what, row.goal, _read(row, figures)) for row in ROWS]


def _read(row: Row, figures: Figures) -> str:
    try:
        return row.read(figures) or NOT_MEASURED
    except (KeyError, IndexError, TypeError, ValueError, StopIteration):
        return NOT_MEASURED


def gpu_name(day: Mapping[str, Any]) -> str:
    """The GPU's name by the first step that told it; "a GPU" if none did."""
    machines = ((record.get("result") or {}).get("machine", {}) for record in day["steps"].values())
    return next((machine["gpus"][0]["name"] for machine in machines if machine.get("gpus")), "a GPU")


def markdown(day: Mapping[str, Any] | None) -> str:
    """The README's table."""
    title = "on a GPU" if day is None else f"on {gpu_name(day)}"
    lines = [f"| {title} | goal | measured |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows_of(day))])


def kept_day() -> Mapping[str, Any] | None:
    """The results that the repository holds; None until a GPU was measured."""
    return read_results(KEPT) if KEPT.is_file() else None


def fill(text: str, day: Mapping[str, Any] | None) -> str:
    """A README with the table between its marks; ValueError without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no place for the table: a line {BEGIN} and a line {END}")
    return f"{before}{BEGIN}\n{markdown(day)}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the README and keep the results; refused for a rehearsal's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--keep", type=Path, default=KEPT, metavar="FILE", help="where the results are kept")
    options = parser.parse_args(arguments)
    path = options.folder / RESULTS
    try:
        day = read_results(path)
        if all(figure == NOT_MEASURED for *_, figure in rows_of(day)):
            raise ValueError(f"{path} holds no figure of a GPU: a rehearsal's are not entered; run `{COMMAND}` on one")
        readme = fill(options.readme.read_text(encoding="utf-8"), day)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"gpu_day.table: {error}", file=sys.stderr)
        return 2
    write_text(options.keep, json.dumps(content, indent=1) + "\n")
    write_text(options.readme, readme)
    print(markdown(day))
    return 0


if __name__ == "__main__":
    sys.exit(main())
