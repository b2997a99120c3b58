"""A result of the archive: one row for each picture or frame, also for one that could not be read."""

from dataclasses import dataclass
from typing import Any

from ...pose.data import ImageId


@dataclass(frozen=True)
class Row:
    """What was found in a picture or a frame."""

    file_name: str
    """Path below the archive's root."""
    image_id: ImageId
    """As `lehrnet predict` gives it; of a frame FILE_NAME#FRAME."""
    people: tuple[dict[str, Any], ...] = ()
    """COCO results."""
    width: int | None = None
    height: int | None = None
    frame: int | None = None
    """Number of a video's frame, from 0 on."""
    time_s: float | None = None
    """Of a frame, since the video's first one."""
    error: str | None = None
    """Why there is no result."""


@dataclass(frozen=True)
class Done:
    """A part that is written."""

    part: int
    rows: int
    people: int
    errors: int
    seconds: float = 0.0
    """That it took; 0 for one that stood there already."""

    @classmethod
    def of(cls, part: int, rows: "list[Row]", seconds: float = 0.0) -> "Done":
        """Count the rows of a part."""
        return cls(
            part, len(rows), sum(len(row.people) for row in rows), sum(row.error is not None for row in rows), seconds
        )
