"""Validated parsing of JSON into dataclasses, with errors that name the key.

Manifests, checkpoint metadata and results are dataclasses: annotations define the types of their fields, and
`__post_init__` checks their values. Later code does not check types again.
"""

import dataclasses
import json
import math
import types
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
LARGEST_INTEGER = 2**63 - 1
LONGEST_TEXT = 10_000
LARGEST_JSON = 4 << 30  # bytes; COCO's largest label file has half a gigabyte


def read_json(
    path: Path, max_bytes: int = LARGEST_JSON, *, leave_out: frozenset[str] = frozenset(), nan: bool = False
) -> Any:
    """Read a JSON file; FileNotFoundError, or ValueError that names the file and the fault.

    Keys in `leave_out` are dropped during parsing, to save memory. `nan` accepts NaN and Infinity, for readers that
    leave out the entries that hold them.
    """
    if not path.exists():
        raise FileNotFoundError(f"no file at {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file, expected a JSON file")
    if path.stat().st_size > max_bytes:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, expected at most {max_bytes}")
    with naming(path):
        return parse_json(path.read_bytes(), leave_out=leave_out, nan=nan)


def parse_json(content: str | bytes, *, leave_out: frozenset[str] = frozenset(), nan: bool = False) -> Any:
    """Parse JSON; NaN and Infinity, which are not JSON, are accepted only with `nan`. ValueError for invalid text."""
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        del content
        hook = _without(leave_out) if leave_out else None
        return json.loads(text, parse_constant=float if nan else _no_number, object_hook=hook)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no JSON text in UTF-8: {error}") from error
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Prefix the message of a ValueError with the file's name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse(kind: type[T], value: Any, key: str = "") -> T:
    """Convert parsed JSON to `kind`; ValueError names the invalid key, its value and what was expected.

    A kind is a dataclass, bool, int, float, str, Any, Literal, Mapping, tuple, or a union of them. Unknown keys of a
    dataclass are ignored: a later version may have added them.
    """
    return _parse(kind, value, key)


def _parse(kind: Any, value: Any, key: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, key)
    if origin in (Union, types.UnionType):
        return _union(arguments, value, key)
    if origin is Literal:
        if not isinstance(value, str | int) or value not in arguments:
            raise ValueError(f"{_told(key, value)}, expected {' or '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, key)
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(value, Mapping), key, value, "an object")
        return {str(name): _parse(arguments[1], each, _below(key, name)) for name, each in value.items()}
    return _plain(kind, value, key)


def _plain(kind: Any, value: Any, key: str) -> Any:
    if kind is Any:
        return value
    if kind is None or kind is types.NoneType:
        _expect(value is None, key, value, "null")
    elif kind is bool:
        _expect(isinstance(value, bool), key, value, "true or false")
    elif kind is int:
        _expect(isinstance(value, int) and not isinstance(value, bool), key, value, "a whole number")
        _expect(abs(value) <= LARGEST_INTEGER, key, value, "a whole number of 64 bits")
    elif kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        _expect(number and abs(value) <= LARGEST_INTEGER and math.isfinite(value), key, value, "a finite number")
        return float(value)
    elif kind is str:
        _expect(isinstance(value, str), key, value, "a text")
        _expect(len(value) <= LONGEST_TEXT, key, value, f"at most {LONGEST_TEXT} characters")
        _expect(printable(value) == value, key, value, "a text without control characters")
    else:
        raise TypeError(f"no rule for {kind} at {key}")
    return value


def _dataclass(kind: Any, value: Any, key: str) -> Any:
    _expect(isinstance(value, Mapping), key, value, "an object")
    hints = _hints(kind)
    given = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            given[field.name] = _parse(hints[field.name], value[field.name], _below(key, field.name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{_below(key, field.name)} is missing")
    try:
        return kind(**given)
    except ValueError as error:
        raise ValueError(f"{key}: {error}" if key else str(error)) from error


def _union(kinds: Sequence[Any], value: Any, key: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not types.NoneType]
    for kind in wanted[:-1]:
        try:
            return _parse(kind, value, key)
        except ValueError:
            continue
    return _parse(wanted[-1], value, key)


def _tuple(kinds: Sequence[Any], value: Any, key: str) -> tuple[Any, ...]:
    _expect(isinstance(value, list | tuple), key, value, "a list")
    if kinds[-1] is Ellipsis:
        kinds = [kinds[0]] * len(value)
    _expect(len(value) == len(kinds), key, value, f"{len(kinds)} items")
    return tuple(
        _parse(kind, item, f"{key}[{index}]") for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _expect(fits: bool, key: str, value: Any, wanted: str) -> None:
    if not fits:
        raise ValueError(f"{_told(key, value)}, expected {wanted}")


def _told(key: str, value: Any) -> str:
    shown = repr(value)
    return f"{key or 'it'} is {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _below(key: str, name: object) -> str:
    return f"{key}.{printable(str(name))}" if key else printable(str(name))


def _without(keys: frozenset[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def dropped(entry: dict[str, Any]) -> dict[str, Any]:
        for key in keys:
            entry.pop(key, None)
        return entry

    return dropped


def _no_number(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no number of JSON")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def device_index(device: str) -> int | None:
    """GPU index of "cuda" or "cuda:N"; None for "cpu"; ValueError for anything else."""
    kind, _, index = device.partition(":")
    if device == "cpu":
        return None
    if kind == "cuda" and (index or "0").isdecimal():
        return int(index or 0)
    raise ValueError(f"device is {device!r}, expected cpu, cuda, cuda:N or auto")


def printable(text: str) -> str:
    """Escape control characters, so that a text cannot control the terminal; line ends and tabs are kept."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs") else _escaped(letter)
        for letter in text
    )


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
