"""Sustained throughput over minutes, with power and throttling on a Jetson."""

import time
from collections.abc import Callable
from typing import Any

from . import jetson
from .latency import Subject, end_to_end, picture

WINDOWS = 10  # parts of the run, compared to detect a slow-down
SLOWED = 0.95  # share of the first window's rate below which the run has slowed down


def measure(
    subject: Subject, people: int, minutes: float, watch: Callable[[float], None] = lambda _: None
) -> dict[str, Any]:
    """People per second over `minutes`, by tenths of the run; on a Jetson also energy and throttling."""
    if not 0 < minutes < 24 * 60:
        raise ValueError(f"{minutes} minutes: expected more than 0 and less than a day")
    encoded, boxes = picture(people)
    end_to_end(subject, encoded, boxes)
    counts, started, length = [0] * WINDOWS, time.monotonic(), 60 * minutes
    with jetson.watching() as samples:
        while (passed := time.monotonic() - started) < length:
            end_to_end(subject, encoded, boxes)
            counts[min(int(WINDOWS * passed / length), WINDOWS - 1)] += people
            watch(passed)
    seconds = time.monotonic() - started
    rates = [round(count * WINDOWS / length, 2) for count in counts]
    facts: dict[str, Any] = {
        "minutes": minutes,
        "people_in_a_frame": people,
        "people_per_s": round(sum(counts) / seconds, 2),
        "people_per_s_by_tenth": rates,
        "slowed_down": rates[-1] < SLOWED * rates[0],
    }
    if samples:
        facts["jetson"] = jetson.summary(samples, sum(counts), seconds)
    return facts


def over_power_modes(modes: list[int], run: Callable[[], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Results of `run` in each of a Jetson's power modes, by name; the original mode is restored."""
    before = jetson.power_mode()
    found = {}
    try:
        for mode in modes:
            jetson.set_power_mode(mode)
            found[jetson.power_mode().name] = run()
    finally:
        jetson.set_power_mode(before.number)
    return found


def describe(facts: dict[str, Any]) -> str:
    """The figures as text."""
    rates = " ".join(f"{rate:.1f}" for rate in facts["people_per_s_by_tenth"])
    slower = ", slower at its end" if facts["slowed_down"] else ""
    text = f"{facts['people_per_s']:.1f} people/s over {facts['minutes']:g} min{slower} (by tenths: {rates})"
    energy = facts.get("jetson")
    if energy is None or energy["watts"] is None:
        return text
    throttled = ", throttled" if energy["throttled"] else ""
    return f"{text}; {energy['watts']} W, {energy['millijoules_per_person']} mJ a person{throttled}"
