"""The bundle's README: its files and measurements, with the Pareto curve of the INT8 search as a plot."""

from collections.abc import Sequence

from ..calibration.budget import Budget, Int8Choice
from ..model.checkpoint import ASSUMED_SIZE
from ..runtime.bundle import WEIGHTS, Bundle
from .report import ladder_rows
from .verify import rungs_of

CARD, PLOT = "README.md", "pareto.svg"


def write_card(bundle: Bundle) -> None:
    """Write README.md into the bundle, and pareto.svg if an INT8 search was run."""
    choice = Int8Choice.of(bundle.artefacts["int8"].measured) if "int8" in bundle.artefacts else None
    parts = [_heading(bundle), _files(bundle), _ladder(bundle)]
    if choice is not None and choice.budget is not None:
        parts.append(_pareto(choice, choice.budget))
        _plot(choice, choice.budget, str(bundle.root / PLOT))
    (bundle.root / CARD).write_text("\n".join(parts), encoding="utf-8")


def _heading(bundle: Bundle) -> str:
    height, width = bundle.spec.input_size
    kind = "" if bundle.trained else " **Random weights: its keypoints mean nothing.**"
    note, oks_note = bundle.note or "no note", bundle.spec.skeleton.oks_note
    if ASSUMED_SIZE in note:  # a network finds next to nothing at a size that it was not trained at
        index = note.index(ASSUMED_SIZE)
        note = f"{note[:index]}**Warning: {note[index:]}**"
    return (
        f"# {bundle.variant}, crops of {height}x{width}\n\n"
        f"{len(bundle.spec.skeleton)} joints ({bundle.spec.skeleton.name}), decoded by {bundle.spec.decode!r}.{kind}\n"
        f"Weights: {note}.{f' {oks_note[:1].upper()}{oks_note[1:]}.' if oks_note else ''}\n\n"
        "    lehrnet predict . photo.jpg --out out/\n    lehrnet verify . --data FOLDER\n"
    )


def _files(bundle: Bundle) -> str:
    rows = [("artefact", "file", "MB", "of FP32", "nodes", "opset")]
    whole = bundle.artefacts["fp32"].bytes
    for name, artefact in bundle.artefacts.items():
        share = "-" if name == WEIGHTS else f"{artefact.bytes / whole:.0%}"
        nodes, opset = artefact.measured.get("nodes", "-"), artefact.opset or "-"
        rows.append((name, artefact.file, f"{artefact.bytes / 1e6:.1f}", share, str(nodes), str(opset)))
    return "## Files\n\n" + _table(rows)


def _ladder(bundle: Bundle) -> str:
    ladder = rungs_of(bundle)
    text = (
        "## Parity ladder\n\nThe same crops through PyTorch and through every graph. Heatmap differences are shares of "
        "their range. Distances are in crop px, of joints that the FP32 network is sure of. OKS is against its "
        "keypoints, AP against labels, each person in their own crop.\n\n"
    )
    text += _table(ladder_rows(ladder))
    rounded = [rung for rung in ladder if rung.artefact.precision != "fp32"]
    rows = [("joint", *(f"{rung.name}, px" for rung in rounded))]
    for joint in bundle.spec.skeleton.joints:
        rows.append((joint, *(_spread(rung.drift.by_joint[joint]) for rung in rounded)))
    return text + (f"\nDrift of every joint, median and 99th percentile:\n\n{_table(rows)}" if rounded else "")


def _spread(px: Sequence[float | None]) -> str:
    return " / ".join("-" if each is None else f"{each:.2f}" for each in px)


def _pareto(choice: Int8Choice, budget: Budget) -> str:
    figure = "OKS" if choice.mixes[0].drift.ap_drop is None else "AP"
    rows = [("units in INT8", "multiply-adds in INT8", "modelled speed over FP16", "OKS drop", "AP drop", "")]
    for mix in choice.mixes:
        drop = mix.drift.ap_drop
        rows.append(
            (
                str(len(mix.units)),
                f"{mix.int8_macs:.1%}",
                f"{mix.speed:.3f}",
                f"{mix.drift.oks_drop:.4f}",
                "-" if drop is None else f"{drop:.4f}",
                "chosen" if len(mix.units) == len(choice.units) else "",
            )
        )
    budgets = ", ".join(f"{drop}: {units or 'none'}" for drop, units in choice.units_by_budget.items())
    worst = sorted(choice.sensitivity.items(), key=lambda pair: -pair[1])[:5]
    return (
        f"## INT8 within a budget\n\nChosen for: {budget}. Speed is modelled, "
        f"not measured.\n\n{_table(rows)}\nUnits by {figure} budget: {budgets}. The most sensitive units "
        f"(OKS drop): {', '.join(f'{name} {cost:.4f}' for name, cost in worst)}.\n\n![Pareto]({PLOT})\n"
    )


def _plot(choice: Int8Choice, budget: Budget, path: str) -> None:
    """Plot the OKS and AP drop of each mix against its modelled speed, as SVG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - no plot, no matplotlib

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    by_ap = [mix.drift.ap_drop for mix in choice.mixes if mix.drift.ap_drop is not None]
    drops = [("OKS", "tab:blue", [mix.drift.oks_drop for mix in choice.mixes], budget.oks)]
    for name, colour, dropped, limit in [*drops, *([("AP", "tab:orange", by_ap, budget.ap)] if by_ap else [])]:
        axes.plot([mix.speed for mix in choice.mixes], dropped, "o-", color=colour, label=name)
        if limit is not None:
            axes.axhline(limit, color=colour, linestyle="--", linewidth=1, label=f"{name} budget")
    for mix in choice.mixes:
        point = (mix.speed, mix.drift.oks_drop)
        axes.annotate(f"{mix.int8_macs:.0%}", point, textcoords="offset points", xytext=(0, 6), fontsize=7)
    chosen = next(mix for mix in choice.mixes if len(mix.units) == len(choice.units))
    axes.axvline(chosen.speed, color="0.7", linewidth=1, label="chosen")
    axes.set_xlabel("modelled speed over FP16 (at each point: share of multiply-adds in INT8)")
    axes.set_ylabel("drop")
    axes.legend(fontsize=8)
    figure.savefig(path)


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]) + "\n"
