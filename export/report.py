"""The parity ladder as a table of text."""

from collections.abc import Sequence

from .verify import Rung

HEADER = ("rung", "people", "heatmap max", "mean", "median px", "p99 px", "over 3 px", "OKS", "AP", "verdict")


def ladder_rows(ladder: Sequence[Rung]) -> list[tuple[str, ...]]:
    """A header and one row per rung: heatmap differences as shares of their range, distances in crop px."""
    return [HEADER, *(_row(rung) for rung in ladder)]


def parity_table(ladder: Sequence[Rung]) -> str:
    """A text table with one line per rung, and the fault of the first bad rung."""
    rows = ladder_rows(ladder)
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    ties = [rung.parity for rung in ladder if rung.artefact.precision == "fp32" and rung.parity.near_ties]
    if ties:
        lines.append(
            f"fp32: {ties[0].near_ties} of {ties[0].joints} joints are near-ties, whose arg-max may jump between "
            f"nearly equal cells: not judged"
        )
    lines += [f"first bad rung: {rung.name}: {rung.fault}" for rung in ladder if not rung.passed][:1]
    return "\n".join(lines)


def _row(rung: Rung) -> tuple[str, ...]:
    drift = rung.drift
    spread = drift.heatmap_range or float("nan")
    return (
        rung.name,
        str(drift.people),
        f"{drift.heatmap_max / spread:.1e}",
        f"{drift.heatmap_mean / spread:.1e}",
        f"{drift.median_px:.3f}",
        f"{drift.p99_px:.2f}",
        f"{drift.moved:.2%}",
        f"{drift.oks:.4f}",
        "-" if drift.ap is None else f"{drift.ap:.4f}",
        "ok" if rung.passed else "FAILED",
    )
