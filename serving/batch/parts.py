"""Files of a part: written atomically by whoever did it, and checked before they are believed.

json      part-00007.json, a list of COCO results, and part-00007.images.json, with a row for each picture
parquet   part-00007.parquet, a row for each picture
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ...files import atomic_file, write_bytes
from ...parsing import read_json
from .archive import Part
from .rows import Done, Row

if TYPE_CHECKING:
    import pyarrow  # pyright: ignore[reportMissingImports]

Form = Literal["json", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
DIGEST = "lehrnet_part"
"""Under which a part's file says what it holds."""


def write_part(out: Path, part: Part, rows: Sequence[Row], form: Form) -> None:
    """Write the rows of a part; ImportError for Parquet without pyarrow."""
    if form == "parquet":
        _write_parquet(_path(out, part, ".parquet"), part, rows)
        return
    results = [result for row in rows for result in row.people]
    text = ("[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n").encode()
    write_bytes(_path(out, part, ".json"), text)
    facts = {
        DIGEST: part.digest,
        "results_sha256": hashlib.sha256(text).hexdigest(),
        "images": [_image_facts(row) for row in rows],
    }
    write_bytes(
        _path(out, part, ".images.json"), (json.dumps(facts, indent=0) + "\n").encode()
    )  # last: the part is whole


def check_part(out: Path, part: Part, form: Form) -> Done | None:
    """Count what a written part holds; None if it is not there; ValueError if it is damaged or is another part."""
    return _check_parquet(_path(out, part, ".parquet"), part) if form == "parquet" else _check_json(out, part)


def check_parquet_is_there() -> None:
    """Raise ImportError unless Parquet can be written."""
    _pyarrow()


def _path(out: Path, part: Part, suffix: str) -> Path:
    return out / f"part-{part.index:05d}{suffix}"


def _image_facts(row: Row) -> dict[str, Any]:
    facts = {name: value for name, value in asdict(row).items() if name != "people" and value is not None}
    return {**facts, "people": len(row.people)}


def _check_json(out: Path, part: Part) -> Done | None:
    path = _path(out, part, ".images.json")
    if not path.exists():
        return None
    facts = read_json(path)
    match facts:
        case {"images": list(images), "results_sha256": str(expected)} if facts.get(DIGEST) == part.digest:
            results = _path(out, part, ".json")
            found = hashlib.sha256(results.read_bytes()).hexdigest() if results.is_file() else "nothing"
            if found != expected:
                raise ValueError(f"{results} has SHA-256 {found[:12]}..., expected {expected[:12]}...")
            people = sum(int(image["people"]) for image in images)
            return Done(part.index, len(images), people, sum("error" in image for image in images))
    raise ValueError(f"{path} is no part of this run")


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("Parquet takes pyarrow: pip install 'lehrnet[batch]'") from error
    return pyarrow


def _schema(part: Part) -> "pyarrow.Schema":
    arrow = _pyarrow()
    person = arrow.struct(
        [
            ("bbox", arrow.list_(arrow.float64())),
            ("keypoints", arrow.list_(arrow.float64())),
            ("score", arrow.float64()),
        ]
    )
    columns = [
        ("file_name", arrow.string()),
        ("image_id", arrow.string()),
        ("frame", arrow.int64()),
        ("time_s", arrow.float64()),
        ("width", arrow.int32()),
        ("height", arrow.int32()),
        ("people", arrow.list_(person)),
        ("error", arrow.string()),
    ]
    return arrow.schema(columns, metadata={DIGEST: part.digest})


def _write_parquet(path: Path, part: Part, rows: Sequence[Row]) -> None:
    arrow, schema = _pyarrow(), _schema(part)
    values = [{**asdict(row), "image_id": str(row.image_id)} for row in rows]
    table = arrow.Table.from_pylist(values, schema=schema)
    with atomic_file(path) as unfinished:
        arrow.parquet.write_table(table, unfinished, compression="zstd", write_page_checksum=True)


def _check_parquet(path: Path, part: Part) -> Done | None:
    if not path.exists():
        return None
    arrow = _pyarrow()
    try:
        table = arrow.parquet.read_table(path, page_checksum_verification=True)
    except (OSError, arrow.ArrowException) as error:
        raise ValueError(f"{path} is cut off or damaged: {str(error).splitlines()[0]}") from error
    if (table.schema.metadata or {}).get(DIGEST.encode()) != part.digest.encode():
        raise ValueError(f"{path} is no part of this run")
    people = sum(len(people) for people in table.column("people").to_pylist())
    return Done(part.index, table.num_rows, people, table.num_rows - table.column("error").null_count)
