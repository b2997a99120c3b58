"""Cost of a network, with the paper's figures."""

from dataclasses import asdict
from typing import Any

from ..model.config import variant
from ..model.cost import network_cost
from ..model.places import VIEWS
from ..pose.spec import COCO, MPII
from .paper import WHY_THEY_DIFFER, paper_cost


def describe(name: str, input_size: tuple[int, int], joints: int) -> dict[str, Any]:
    """Parameters and multiply-adds by stage, branch and kind of block, with the paper's figures if it has any."""
    if any(side < 32 or side % 32 for side in input_size):
        raise ValueError(f"size is {input_size[0]}x{input_size[1]}, expected multiples of 32")
    config = variant(name, joints)
    cost = network_cost(config, input_size)
    facts: dict[str, Any] = {
        "variant": name,
        "joints": joints,
        "input_size": list(input_size),
        "params": cost.params,
        "macs": cost.macs,
        **{f"by_{view}": [asdict(part) for part in cost.by(view)] for view in VIEWS},
    }
    printed = paper_cost(name)
    if printed is not None:
        ours = [network_cost(config, size).macs for size in (COCO.input_size, MPII.input_size)]
        facts["paper"] = {
            "params_m": [cost.params / 1e6, printed.params_m],
            "macs_g_256x192": [ours[0] / 1e9, printed.coco_macs_g],
            "macs_g_256x256": [ours[1] / 1e9, printed.mpii_macs_g],
            "why_they_differ": WHY_THEY_DIFFER[name],
        }
    return facts


def describe_text(facts: dict[str, Any]) -> str:
    """The result of `describe` as text."""
    height, width = facts["input_size"]
    lines = [
        f"{facts['variant']}, {facts['joints']} joints, {height}x{width}, one crop",
    ]
    for view in VIEWS:
        lines += ["", f"{'by ' + view:16} {'parameters':>12} {'multiply-adds':>15} {'share':>7}"]
        for part in facts[f"by_{view}"]:
            share = part["macs"] / facts["macs"]
            lines.append(f"{part['part']:16} {part['params']:12,} {part['macs']:15,} {share:7.1%}")
    lines += ["", f"{'all':16} {facts['params']:12,} {facts['macs']:15,} {1:7.1%}"]
    if "paper" in facts:
        paper = facts["paper"]
        lines += ["", f"{'':24} {'ours':>8} {'paper':>8}"]
        for label, key in (
            ("parameters, M", "params_m"),
            ("multiply-adds, G, 256x192", "macs_g_256x192"),
            ("multiply-adds, G, 256x256", "macs_g_256x256"),
        ):
            ours, printed = paper[key]
            lines.append(f"{label:25} {ours:7.3f} {printed:8.1f}")
        lines += ["", paper["why_they_differ"]]
    return "\n".join(lines)
