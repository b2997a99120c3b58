"""The parity ladder as a table for a person."""

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = "rung    crops   heatmap difference   joints   near ties   drift (crop px)   verdict"


def parity_table(ladder: Sequence[Mapping[str, Any]]) -> str:
    """One line a rung; `ladder` holds `Parity.facts()`."""
    lines = [COLUMNS, *(_line(rung) for rung in ladder)]
    if any(rung["near_ties"] for rung in ladder):
        farthest = max(rung["near_tie_drift_px"] for rung in ladder)
        lines.append(f"near ties: the arg-max may jump between equal cells; they moved up to {farthest:.3g} px")
    return "\n".join(lines)


def _line(rung: Mapping[str, Any]) -> str:
    share = rung["heatmap_difference"] / rung["heatmap_range"] if rung["heatmap_range"] else float("nan")
    return (
        f"{rung['rung']:6} {rung['crops']:6d}   {share:8.1e} of range   {rung['joints']:6d}   {rung['near_ties']:9d}   "
        f"{rung['drift_px']:15.4f}   {'ok' if rung['passed'] else 'FAILED'}"
    )
