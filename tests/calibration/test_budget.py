from dataclasses import replace
from typing import cast

import pytest

pytest.importorskip("onnxsim")

from lehrnet.calibration.budget import Budget, Effort, Search, UnitSelection, pareto, search
from lehrnet.calibration.judge import Judge
from lehrnet.calibration.target import modelled_seconds
from lehrnet.calibration.units import quantizable_units
from lehrnet.pose.drift import Drift


@pytest.fixture(scope="module")
def found(graph, ranges, judge) -> Search:
    return search(graph, ranges, judge, method="percentile", effort=Effort(1, 4))


def mixes(found: Search, costs: list[float]) -> Search:
    """Mixes of 0, 1, 2, ... units that cost so much OKS."""
    base = found.mixes[0]
    made = [
        UnitSelection(("unit",) * count, 0.1 * count, 1 + 0.1 * count, replace(base.drift, oks=1 - cost))
        for count, cost in enumerate(costs)
    ]
    return Search({}, tuple(made))


def test_each_unit_has_its_own_cost(found: Search, graph, ranges) -> None:
    """A judge that counts: every conv in INT8 costs a thousandth, so that a unit's cost tells which ones it saw."""
    counted: list[tuple[set[str], int | None]] = []

    def count(model, batches: int | None = None) -> Drift:
        behind = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
        convs = {node.name for node in model.graph.node if node.op_type == "Conv" and node.input[0] in behind}
        counted.append((convs, batches))
        return replace(found.mixes[0].drift, oks=1 - len(convs) / 1000)

    units, judge = quantizable_units(graph), cast("Judge", count)
    tried = search(graph, ranges, judge, method="percentile", effort=Effort(1, 2))
    assert counted[: len(units)] == [(set(unit.convs), 1) for unit in units]
    assert tried.sensitivity == pytest.approx({unit.name: len(unit.convs) / 1000 for unit in units})
    assert len({len(unit.convs) for unit in units}) > 2
    assert found.sensitivity.keys() == tried.sensitivity.keys()


def test_mixes_go_from_none_to_all_and_never_get_slower(found: Search, graph) -> None:
    assert [len(found.mixes[0].units), len(found.mixes[-1].units)] == [0, len(quantizable_units(graph))]
    speeds = [mix.speed for mix in found.mixes]
    assert speeds == sorted(speeds)
    assert found.mixes[0].drift.oks == 1


def test_the_dearest_unit_for_what_it_saves_is_the_last_to_join(found: Search, graph) -> None:
    saved = {
        unit.name: modelled_seconds(graph) - modelled_seconds(graph, unit.convs) for unit in quantizable_units(graph)
    }
    worth = {name: cost / max(saved[name], 1e-9) for name, cost in found.sensitivity.items()}
    (last,) = set(found.mixes[-1].units) - set(found.mixes[-1].units[:-1])
    assert worth[last] == max(worth.values())


def test_a_budget_takes_what_comes_before_the_first_mix_that_breaks_it(found: Search) -> None:
    tried = mixes(found, [0, 0.01, 0.02, 0.05, 0.01])
    assert [len(mix.units) for mix in tried.within(Budget(oks=0.03))] == [1, 2]
    assert tried.within(Budget(oks=0.001)) == ()
    assert tried.closest(Budget(oks=0.001)).oks_drop == pytest.approx(0.01)


def test_pareto_drops_what_another_mix_beats(found: Search) -> None:
    tried = mixes(found, [0, 0.03, 0.02, 0.05])
    assert [len(mix.units) for mix in pareto(tried.mixes)] == [0, 2, 3]


def test_an_ap_budget_needs_labels(found: Search) -> None:
    unlabelled = replace(found.mixes[-1].drift, ap=None)
    with pytest.raises(ValueError, match="--max-oks-drop"):
        Budget(ap=0.01).excess(unlabelled)


def test_a_budget_is_a_share() -> None:
    for limits in ({"ap": -0.1}, {"oks": 1.1}, {}):
        with pytest.raises(ValueError, match="expected a drop of 0 to 1"):
            Budget(**limits)


def test_both_limits_hold_where_both_are_asked_for(found: Search) -> None:
    drift = replace(found.mixes[-1].drift, oks=0.95, oks_error=0.001, ap=0.49, reference_ap=0.5)
    assert Budget(ap=0.02).kept_by(drift)
    assert Budget(oks=0.06).kept_by(drift)
    assert not Budget(ap=0.02, oks=0.04).kept_by(drift)
    assert not Budget(ap=0.005, oks=0.06).kept_by(drift)
    assert str(Budget(ap=0.02, oks=0.04)) == "AP drop within 0.02 and OKS drop within 0.04"


def test_int8_is_faster_in_the_model_than_fp16_and_that_than_fp32(graph, every_conv) -> None:
    assert modelled_seconds(graph, every_conv) < modelled_seconds(graph) < modelled_seconds(graph, other="fp32")


def test_other_people_may_differ_by_the_error_of_their_sample(found: Search) -> None:
    drift = replace(found.mixes[-1].drift, oks=0.955, oks_error=0.004, ap=0.5, reference_ap=0.5)
    assert not Budget(oks=0.04).kept_by(drift)
    assert not Budget(oks=0.04).broken_by(drift)
    assert Budget(oks=0.04).broken_by(replace(drift, oks_error=0.002))
    assert Budget(ap=0.01).broken_by(replace(drift, ap=0.48))
