"""From what a user names to an archive, a job, and what a run must keep to when it goes on."""

import os
from pathlib import Path
from typing import Any

from ...runtime.bundle import file_sha256, manifest_sha256, open_bundle
from .archive import PART_PICTURES, SEGMENT_S, Archive, list_archive
from .run import Counts, Engine
from .step import Job


def open_job(
    source: str,
    bundle: Path,
    out: Path,
    *,
    boxes: Path | None = None,
    category: int | None = None,
    part_pictures: int = PART_PICTURES,
    segment_s: float = SEGMENT_S,
    engine: Engine = "local",
    workers: int = 1,
    threads: int | None = None,
    detector: Path | None = None,
    **settings: Any,
) -> tuple[Archive, Job, dict[str, Any]]:
    """List an archive and check the bundle; `settings` are those of `Job`.

    Returns the archive, the job, and the facts that a run which goes on must share. `threads` are those of a worker:
    by default its share of this machine's cores, of Ray's actors one. Raises as `list_archive` and `open_bundle`.
    """
    found = open_bundle(bundle)
    if boxes is not None and detector is not None:
        raise ValueError("--boxes and --detector were both given, expected at most one of them")
    archive = list_archive(
        source if "://" in source else str(Path(source).resolve()),
        found.spec,
        boxes,
        part_pictures=part_pictures,
        segment_s=segment_s,
        leave_out=out,
        category=category,
    )
    if threads is None:
        threads = 1 if engine == "ray" else max((os.cpu_count() or 1) // max(workers, 1), 1)
    job = Job(
        archive.address,
        bundle.resolve(),
        out.resolve(),
        threads=threads,
        detector=None if detector is None else detector.resolve(),
        video_boxes=None if boxes is None or archive.parts[0].segment is None else boxes.resolve(),
        category=archive.category,
        **settings,
    )
    facts = {
        "bundle": manifest_sha256(bundle),
        "artefact": job.artefact,
        "boxes": None if boxes is None else _sha256(boxes),
        "detector": None if detector is None else _sha256(detector),
        "detector_settings": None if detector is None else [job.detector_kind, *vars(job.detector_options).values()],
        "max_pixels": job.max_pixels,
    }
    return archive, job, facts


def describe(counts: Counts, archive: Archive, out: Path) -> str:
    """One sentence on a run."""
    kept = f", {counts.kept} of them kept from before" if counts.kept else ""
    missed = f" ({archive.left_out} more without boxes)" if archive.left_out else ""
    return (
        f"{counts.rows} images{missed}, {counts.people} people, {counts.errors} errors in {counts.parts} parts{kept}, "
        f"{counts.seconds:.1f} s, written to {out}"
    )


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}")
    return file_sha256(path)
