"""Skeletons that users bring: in the category of a COCO label file, or in a JSON or TOML file of their own.

    name = "hand5"                                      # any but lehrnet's own
    joints = ["wrist", "thumb", "index", "left_x", "right_x"]
    limbs = [["wrist", "thumb"], [0, 2]]                # by name, or by number from 0
    flip_pairs = [["left_x", "right_x"]]                # left out: joints whose names differ in left and right
    sigmas = [0.03, 0.04, 0.04, 0.05, 0.05]             # left out: one value for all
    upper_body = ["wrist"]                              # left out: what lies above the hips of a body

`keypoints` and `skeleton` are COCO's words for joints and limbs; the numbers in `skeleton` begin with 1.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..parsing import naming, parse, parse_json
from .sides import Pairs, mirror_pairs, side_and_stem, upper_half, usual_limbs, without_partner
from .skeleton import ONE_SIGMA, SKELETONS, Skeleton

log = logging.getLogger(__name__)

LARGEST_FILE = 1 << 30  # bytes: label files are skeleton files, too
OWN_KEYS = ("flip_pairs", "sigmas", "upper_body")
"""What COCO's form does not have, and a file may say."""


def read_skeleton(path: Path) -> Skeleton:
    """Read a skeleton from a JSON or TOML file, or from the category of a COCO label file.

    Raises FileNotFoundError, or ValueError naming the file and what is wrong in it: no joints, two of one name, limbs
    and pairs of joints that it does not have, a joint in two pairs.
    """
    if not path.exists():
        raise FileNotFoundError(f"no skeleton file at {path}")
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} is no file that can hold a skeleton, expected JSON or TOML")
    with naming(path):
        content = _toml(path) if path.suffix.lower() == ".toml" else parse_json(path.read_bytes(), nan=True)
        if isinstance(content, dict) and "categories" in content:
            found = skeleton_of(content)
            if found is None:
                raise ValueError("none of its categories has keypoints, so it holds no skeleton")
            return found
        return described(content, path.stem)


def skeleton_of(content: Mapping[str, Any]) -> Skeleton | None:
    """The skeleton of a label file by its categories with keypoints; None without any.

    Several categories must have the same joints. COCO's and MPII's joints give lehrnet's own skeletons, unless the
    file has own `flip_pairs`, `sigmas` or `upper_body`, which stand in the category or beside `categories`.
    """
    listed = content.get("categories")
    categories = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    jointed = [each for each in categories if each.get("keypoints")]
    if not jointed and any("keypoints" in each for each in categories):
        raise ValueError("its categories have 0 joints (keypoints), expected at least 1")
    if not jointed:
        return None
    chosen = next((each for each in jointed if each.get("name") == "person"), jointed[0])
    others = [each for each in jointed if each.get("keypoints") != chosen.get("keypoints")]
    if others:
        raise ValueError(
            f"its categories {_called(chosen)} and {_called(others[0])} have other joints; name one set with --skeleton"
        )
    own = {key: content[key] for key in OWN_KEYS if key in content}
    return described({**own, **chosen}, lenient=True)


def described(facts: Any, name: str = "", *, lenient: bool = False) -> Skeleton:
    """The skeleton that an object of JSON or TOML describes; `name` is for one without a name.

    `lenient` is for label files, whose `skeleton` is often that of other joints: where it names a joint that does not
    exist, none of its limbs is taken, and a body gets the usual ones; the log says so.
    """
    if not isinstance(facts, Mapping):
        raise ValueError(f"it holds {type(facts).__name__}, expected an object with joints")
    key = "keypoints" if "keypoints" in facts else "joints"
    if key not in facts:
        raise ValueError("it has no joints, expected their names in a list")
    joints = parse(tuple[str, ...], facts[key], key)
    known = next((each for each in SKELETONS.values() if each.joints == joints), None)
    if known is not None and key == "keypoints" and not any(own in facts for own in OWN_KEYS):
        return known
    called = parse(str, facts.get("name", ""), "name") or name
    _check_joints(called, joints)
    skeleton = Skeleton(
        name=f"{called}{len(joints)}" if key == "keypoints" else called,
        joints=joints,
        sigmas=parse(tuple[float, ...], facts["sigmas"], "sigmas") if "sigmas" in facts else (ONE_SIGMA,) * len(joints),
        flip_pairs=_flip_pairs(facts, joints),
        limbs=_limbs(facts, joints, lenient=lenient),
        upper_body=_upper_body(facts, joints),
    )
    _say(skeleton, by_name="flip_pairs" not in facts)
    return skeleton


def _say(skeleton: Skeleton, *, by_name: bool) -> None:
    """Log what was taken from names or assumed."""
    pairs = f"{len(skeleton.flip_pairs)} pairs{' by their names' if by_name else ''}"
    log.warning("skeleton %s: %d joints, %s, %d limbs", skeleton.name, len(skeleton), pairs, len(skeleton.limbs))
    alone = without_partner(skeleton.joints, skeleton.flip_pairs)
    if alone:
        log.warning("%s has no partner in a mirror%s", alone[0], f", nor have {len(alone) - 1} more" * (len(alone) > 1))


def _check_joints(called: str, joints: tuple[str, ...]) -> None:
    """Raise what a skeleton of these joints would, before anything refers to them."""
    Skeleton(called, joints, (ONE_SIGMA,) * len(joints), (), (), ())


def _flip_pairs(facts: Mapping[str, Any], joints: Sequence[str]) -> Pairs:
    """The pairs of the file, the left joint first where the names say which; else those of the names."""
    if "flip_pairs" not in facts:
        return mirror_pairs(joints)
    pairs = _pairs("flip_pairs", facts["flip_pairs"], joints, first=0)
    return tuple((two, one) if side_and_stem(joints[one])[0] == "right" else (one, two) for one, two in pairs)


def _limbs(facts: Mapping[str, Any], joints: Sequence[str], *, lenient: bool) -> Pairs:
    key, first = ("skeleton", 1) if "skeleton" in facts else ("limbs", 0)
    if not facts.get(key):
        return usual_limbs(joints)
    try:
        return _pairs(key, facts[key], joints, first)
    except ValueError as error:
        if not lenient:
            raise
        usual = usual_limbs(joints)
        instead = ", but a body's usual ones" if usual else ""
        log.warning("no limbs are taken from the label file%s: its %s", instead, error)
        return usual


def _upper_body(facts: Mapping[str, Any], joints: Sequence[str]) -> tuple[int, ...]:
    if "upper_body" not in facts:
        return upper_half(joints)
    listed = facts["upper_body"]
    if not isinstance(listed, list | tuple):
        raise ValueError(f"upper_body is {listed!r:.60}, expected a list of joints")
    return tuple(_joint("upper_body", each, joints, first=0) for each in listed)


def _pairs(key: str, listed: Any, joints: Sequence[str], first: int) -> Pairs:
    """Pairs of joints by name or by number, where the first joint has the number `first`."""
    if not isinstance(listed, list | tuple):
        raise ValueError(f"{key} is {listed!r:.60}, expected a list of pairs of joints")
    for pair in listed:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"{key} holds {pair!r:.60}, expected pairs of two joints")
    return tuple((_joint(key, one, joints, first), _joint(key, other, joints, first)) for one, other in listed)


def _joint(key: str, said: Any, joints: Sequence[str], first: int) -> int:
    if isinstance(said, str) and said in joints:
        return joints.index(said)
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said - first < len(joints):
        return said - first
    raise ValueError(
        f"{key} names joint {said!r:.60}, but the {len(joints)} joints are "
        f"{', '.join(joints[:3])}{', ...' if len(joints) > 3 else ''}, counted from {first}"
    )


def _called(category: Mapping[str, Any]) -> str:
    return json.dumps(category.get("name"))[:60]


def _toml(path: Path) -> Any:
    """Parse a TOML file, which Python reads from 3.11 on."""
    try:
        import tomllib  # noqa: PLC0415  # pyright: ignore[reportMissingImports] - Python 3.10 has none
    except ImportError as error:
        raise ValueError("TOML needs Python 3.11; write the skeleton as JSON") from error
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no TOML: {error}") from error
