"""What the names of joints say: the side of the body, the partner in a mirror, the half of a body, and its limbs."""

import re
from collections.abc import Sequence
from typing import Literal

Side = Literal["left", "right"]
Pairs = tuple[tuple[int, int], ...]
_SIDES: dict[str, Side] = {"left": "left", "l": "left", "right": "right", "r": "right"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")  # LeftEarBase is three words, L_F_Paw too
_LOWER = frozenset(("hip", "pelvis", "knee", "ankle", "foot", "heel", "toe"))
_BODY = frozenset(("shoulder", "hip"))
"""Joints that a body has, by which it is told from a hand or a face."""
_LIMBS = (
    *(("ankle", "knee"), ("knee", "hip"), ("shoulder", "hip"), ("shoulder", "elbow"), ("elbow", "wrist")),
    *(("neck", "shoulder"), ("neck", "head"), ("nose", "eye"), ("eye", "ear")),
)
"""Between joints of one side, or of one side and the middle."""
_ACROSS = ("shoulder", "hip")
"""Joints that are connected with their partner."""


def side_and_stem(name: str) -> tuple[Side | None, str]:
    """The side that a joint's name begins or ends with, and the rest in lower case; None and all of it without one.

    >>> side_and_stem("Left Shoulder"), side_and_stem("R_F_Paw"), side_and_stem("ear.l"), side_and_stem("nose")
    (('left', 'shoulder'), ('right', 'f_paw'), ('left', 'ear'), (None, 'nose'))
    """
    words = [word.lower() for word in _WORD.findall(name)]
    for place in (0, -1):
        if len(words) > 1 and words[place] in _SIDES:
            rest = words[1:] if place == 0 else words[:-1]
            return _SIDES[words[place]], "_".join(rest)
    return None, "_".join(words)


def mirror_pairs(names: Sequence[str]) -> Pairs:
    """The (left, right) joints whose names differ in the side alone, in the order of the left ones."""
    places: dict[tuple[Side | None, str], int] = {side_and_stem(name): place for place, name in enumerate(names)}
    return tuple(
        (place, places["right", stem])
        for (side, stem), place in places.items()
        if side == "left" and ("right", stem) in places
    )


def without_partner(names: Sequence[str], pairs: Pairs) -> list[str]:
    """Names that say a side, but are in no pair."""
    paired = {place for pair in pairs for place in pair}
    return [name for place, name in enumerate(names) if side_and_stem(name)[0] and place not in paired]


def upper_half(names: Sequence[str]) -> tuple[int, ...]:
    """The joints above a body's hips; of what is no body, none."""
    words = [set(side_and_stem(name)[1].split("_")) for name in names]
    if not set().union(*words) >= _BODY:
        return ()
    return tuple(place for place, of_joint in enumerate(words) if not of_joint & _LOWER)


def usual_limbs(names: Sequence[str]) -> Pairs:
    """The lines that a drawing of a body has, as far as its joints are named in the usual words; else none."""
    places: dict[tuple[Side | None, str], int] = {side_and_stem(name): place for place, name in enumerate(names)}
    if not {stem for _, stem in places} >= _BODY:
        return ()
    found = {(left, right) for left, right in mirror_pairs(names) if side_and_stem(names[left])[1] in _ACROSS}
    for one, two in _LIMBS:
        for (side, stem), place in places.items():
            others = (side, None) if side else ("left", "right", None)
            if stem == one:
                found |= {(place, places[other, two]) for other in others if (other, two) in places}
    return tuple(sorted(found))
