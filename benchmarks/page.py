"""HTML report of results: a self-contained file with SVG plots."""

import html
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_text
from .atlas import roofs
from .gpu_day.table import gpu_name, kept_day, rows_of
from .latency import STAGES
from .paper import paper_table

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("the page needs matplotlib: pip install 'lehrnet[export]'") from error

Result = Mapping[str, Any]
Rows = list[tuple[str, ...]]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .7rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f6f6f6 }
svg { max-width: 100%; height: auto } p.why { color: #666 }
"""
LEAST_GMACS = 0.05  # lower figures of the paper are in other units
LAYERS = 12  # number of longest layers shown
BLUE, ORANGE, GREY = "#1f77b4", "#ff7f0e", "#999999"


def write_page(path: Path, results: Mapping[str, Result]) -> None:
    """Write a report of results by name (of machine or file); ValueError if none can be shown."""
    shown = [section for section in SECTIONS if any(section[1] in result for result in results.values())]
    if not shown and not any("gpu_day" in result for result in results.values()):
        raise ValueError("none of the results can be shown: give some of `lehrnet bench`, `bench --paper`, precisions")
    parts = [f"<h1>lehrnet: {html.escape(', '.join(results))}</h1>", _machines(results)]
    for title, key, draw in shown:
        having = {name: result for name, result in results.items() if key in result}
        parts.append(f"<h2>{title}</h2>\n{draw(having)}")
    parts.append(f"<h2>On a GPU, beside the goals</h2>\n{_gpu(results)}")
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>lehrnet report</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>\n<body>{"".join(parts)}</body></html>\n'
    )
    write_text(path, page)


def _machines(results: Mapping[str, Result]) -> str:
    rows: Rows = [("result", "command", "processor", "cores", "vector flags", "commit")]
    for name, result in results.items():
        machine = result.get("machine", {})
        flags = " ".join(machine.get("vector_flags", []))
        facts = (result.get("command"), machine.get("processor"), machine.get("cores"), flags, machine.get("commit"))
        rows.append((name, *(str(fact or "-") for fact in facts)))
    return _table(rows)


def _accuracy(_: Mapping[str, Result]) -> str:
    """AP against multiply-adds, from the paper's table."""
    rows = [row for row in paper_table("table1_coco_val2017") if row["flops_g"] and row["ap"]]
    odd = [row for row in rows if float(row["flops_g"]) < LEAST_GMACS]
    rows = [row for row in rows if row not in odd]

    def draw(axes: Axes) -> None:
        for row in rows:
            ours = row["method"] == "Ours"
            point = (float(row["flops_g"]), float(row["ap"]))
            axes.plot(*point, "o", color=ORANGE if ours else BLUE, markersize=8 if ours else 5)
            axes.annotate(row["backbone"], point, textcoords="offset points", xytext=(4, 3), fontsize=6)
        axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.set_xlabel("multiply-adds, G (as the paper prints them)")
        axes.set_ylabel("AP, COCO val2017")

    left_out = "".join(f" Left out: {row['backbone']}, printed with {row['flops_g']} G." for row in odd)
    return (
        f"<p class=why>Printed by the paper (its Table 1), not measured here.{html.escape(left_out)}</p>{_plot(draw)}"
    )


def _latency_against_cost(results: Mapping[str, Result]) -> str:
    parts = []
    for name, result in results.items():
        networks = result["networks"]
        batches = list(next(iter(networks.values()))["latency"])

        def draw(axes: Axes, networks: Result = networks, batches: Sequence[str] = batches) -> None:
            for batch, colour in zip(batches, (BLUE, ORANGE, GREY, "#2ca02c"), strict=False):
                for network, row in networks.items():
                    time = row["latency"][batch]["milliseconds"]["p50"] / int(batch)
                    axes.plot(row["macs"] / 1e9, time, "o", color=colour)
                    point = (row["macs"] / 1e9, time)
                    axes.annotate(network, point, textcoords="offset points", xytext=(4, 3), fontsize=6)
                axes.plot([], [], "o", color=colour, label=f"batch {batch}")
            axes.margins(x=0.1)
            axes.set_xlabel("multiply-adds, G")
            axes.set_ylabel("ms a person, network only")
            axes.set_ylim(bottom=0)
            axes.legend()

        rows = [
            ("network", "parameters, M", "paper", "multiply-adds, G", "paper", *(f"ms, batch {b}" for b in batches))
        ]
        for network, row in networks.items():
            paper = row["paper"]
            times = (f"{row['latency'][batch]['milliseconds']['p50']:.1f}" for batch in batches)
            cost = (f"{row['params'] / 1e6:.2f}", str(paper.get("params_m", "-")), f"{row['macs'] / 1e9:.2f}")
            rows.append((network, *cost, str(paper.get("macs_g", "-")), *times))
        parts.append(f"<h3>{html.escape(name)}</h3>{_plot(draw)}{_table(rows)}")
    return "<p class=why>One exporter, one runtime, one interleaved run; random weights.</p>" + "".join(parts)


def _stages(results: Mapping[str, Result]) -> str:
    bars = {
        f"{name}: {subject}, {batch}": figures
        for name, result in results.items()
        for subject, facts in result["subjects"].items()
        for batch, figures in facts["batches"].items()
    }

    def draw(axes: Axes) -> None:
        left = [0.0] * len(bars)
        for stage in STAGES:
            widths = [figures[stage]["p50"] for figures in bars.values()]
            axes.barh(list(bars), widths, left=left, label=stage)
            left = [one + other for one, other in zip(left, widths, strict=True)]
        axes.set_xlabel("ms, p50")
        axes.invert_yaxis()
        axes.legend(fontsize=7)

    rows: Rows = [("result, graph, people", *STAGES, "end to end", "p90", "p99", "+-", "ms a person")]
    for bar, figures in bars.items():
        whole = figures["end to end"]
        cells = [figures[stage]["p50"] for stage in STAGES]
        cells += [whole["p50"], whole["p90"], whole["p99"], whole["dispersion"], figures["per_person_ms"]]
        rows.append((bar, *(f"{cell:.2f}" for cell in cells)))
    return _plot(draw, height=1 + 0.45 * len(bars)) + _table(rows)


def _batch_curve(results: Mapping[str, Result]) -> str:
    def draw(axes: Axes) -> None:
        for name, result in results.items():
            for subject, facts in result["subjects"].items():
                batches = [int(batch) for batch in facts["batches"]]
                speeds = [figures["people_per_s"] for figures in facts["batches"].values()]
                axes.plot(batches, speeds, "o-", label=f"{name}: {subject}")
        axes.set_xlabel("people in a frame")
        axes.set_ylabel("people a second, end to end")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)

    return _plot(draw)


def _saturated(results: Mapping[str, Result]) -> str:
    rows: Rows = [("result", "streams, one thread and one session each", "people a second")]
    rows += [
        (name, streams, f"{row['people_per_s']:.1f}")
        for name, result in results.items()
        for streams, row in result["saturated"].items()
    ]
    return _table(rows)


def _atlas(results: Mapping[str, Result]) -> str:
    parts = []
    for name, result in results.items():
        atlas = result["atlas"]
        for view in ("kind", "branch"):
            rows = atlas[f"by_{view}"]

            def draw(axes: Axes, rows: Result = rows) -> None:
                places = range(len(rows))
                for shift, key, label in ((-0.2, "time_share", "time"), (0.2, "macs_share", "multiply-adds")):
                    shares = [100 * row[key] for row in rows.values()]
                    axes.barh([place + shift for place in places], shares, height=0.4, label=label)
                axes.set_yticks(list(places), list(rows))
                axes.invert_yaxis()
                axes.set_xlabel("share, %")
                axes.legend()

            parts.append(_plot(draw, height=1 + 0.3 * len(rows)) + _places(f"by {view}", rows))
        slowest = dict(list(atlas["layers"].items())[:LAYERS])
        parts += [_roofline(atlas), _places("the longest layers", slowest)]
        parts.insert(
            0, f"<p class=why>{html.escape(name)}: FP32, batch {atlas['batch']}. {roofs(atlas)}, measured.</p>"
        )
    return "".join(parts)


def _places(title: str, rows: Result) -> str:
    head = (title, "ms", "share of time", "share of multiply-adds", "ms at the machine's limit", "launches")
    cells = [
        (
            place,
            f"{row['milliseconds']:.2f}",
            f"{row['time_share']:.1%}",
            f"{row['macs_share']:.1%}",
            f"{row['limit_milliseconds']:.2f}",
            str(row["launches"]),
        )
        for place, row in rows.items()
    ]
    return _table([head, *cells])


def _roofline(atlas: Result) -> str:
    """Roofline plot: rate against arithmetic intensity of every layer with multiply-adds."""
    rows = [row for row in atlas["layers"].values() if row["macs"] and row["milliseconds"]]
    rates = list(atlas["copy_gb_per_s"].values())

    def draw(axes: Axes) -> None:
        intensity = [row["macs"] / row["bytes"] for row in rows]
        axes.loglog(intensity, [row["macs"] / row["milliseconds"] / 1e6 for row in rows], ".", color=BLUE, markersize=3)
        ends = [min(intensity) / 2, max(intensity) * 2]
        for rate, label, style in ((max(rates), "cache", "--"), (rates[-1], "memory", "-")):
            points = [ends[0], atlas["gmacs_per_s"] / rate, ends[1]]
            roof = [min(rate * point, atlas["gmacs_per_s"]) for point in points]
            axes.plot(points, roof, style, color=ORANGE, label=f"{label}, {rate:g} GB/s")
        axes.set_xlabel("multiply-adds for each byte that a layer reads or writes")
        axes.set_ylabel("G multiply-adds/s")
        axes.legend(fontsize=7)

    return "<p class=why>Each dot is a layer; the lines are what the machine allows.</p>" + _plot(draw)


def _precisions(results: Mapping[str, Result]) -> str:
    rows = [("result: precision", "MB", "of FP32", "AP, %", "multiply-adds in INT8", "speed over FP32")]
    points = []
    for name, result in results.items():
        for precision, facts in result["precisions"].items():
            speeds = {batch: each["speed_up"][precision]["p50"] for batch, each in result["by_batch"].items()}
            ap, share = facts.get("ap"), facts.get("int8_macs")
            points.append((f"{name}: {precision}", list(speeds.values())[-1], ap))
            rows.append(
                (
                    f"{name}: {precision}",
                    f"{facts['bytes'] / 1e6:.1f}",
                    f"{facts['share_of_fp32']:.0%}",
                    "-" if ap is None else f"{100 * ap:.2f}",
                    "-" if share is None else f"{share:.1%}",
                    ", ".join(f"{speed:.2f} at batch {batch}" for batch, speed in speeds.items()),
                )
            )

    def draw(axes: Axes) -> None:
        for label, speed, ap in points:
            if ap is not None:
                axes.plot(speed, 100 * ap, "o", color=BLUE)
                axes.annotate(label, (speed, 100 * ap), textcoords="offset points", xytext=(4, 3), fontsize=7)
        axes.set_xlabel("speed over FP32, largest batch, ONNX Runtime on this CPU")
        axes.set_ylabel("AP, %")

    return (_plot(draw) if any(ap is not None for *_, ap in points) else "") + _table(rows)


SECTIONS: tuple[tuple[str, str, Callable[[Mapping[str, Result]], str]], ...] = (
    ("Latency against multiply-adds", "networks", _latency_against_cost),
    ("Accuracy against multiply-adds, by the paper", "networks", _accuracy),
    ("Where the time goes", "subjects", _stages),
    ("More people at once", "subjects", _batch_curve),
    ("Several streams at once", "saturated", _saturated),
    ("Branch-time atlas and roofline", "atlas", _atlas),
    ("Precisions", "precisions", _precisions),
)
"""Sections: title, the key of the results they show, and the function that draws them."""


def _gpu(results: Mapping[str, Result]) -> str:
    """The days on GPUs among the results, else the one that the repository keeps, else what was not measured."""
    given = {name: result["gpu_day"] for name, result in results.items() if "gpu_day" in result}
    days: Mapping[str, Result | None] = given or {"benchmarks/results/gpu_day.json": kept_day()}
    parts = []
    for name, day in days.items():
        where = "No GPU was measured yet" if day is None else f"{name}: {gpu_name(day)}"
        rows = [("figure", "goal", "measured"), *((what.replace("`", ""), *rest) for what, *rest in rows_of(day))]
        parts.append(f"<p class=why>{html.escape(where)}</p>{_table(rows)}")
    return "".join(parts)


def _plot(draw: Callable[[Axes], None], height: float = 4.0) -> str:
    """A plot as inline SVG."""
    with rc_context({"svg.hashsalt": "lehrnet", "font.size": 9}):  # the same results give the same file
        figure = Figure(figsize=(8, height), layout="constrained")
        draw(figure.add_subplot())
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]


def _table(rows: Sequence[Sequence[str]]) -> str:
    def line(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    return "<table>" + line(rows[0], "th") + "".join(line(row, "td") for row in rows[1:]) + "</table>"
