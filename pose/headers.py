"""Image size from the first bytes of a file, without decoding."""

import struct
from dataclasses import dataclass
from pathlib import Path

KINDS = "JPEG, PNG, WebP, BMP, GIF or TIFF"
HEAD = 1 << 16  # bytes read first; a JPEG with a large thumbnail needs more
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF markers, without DHT, JPG and DAC
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a segment
_EXIF, _ORIENTATION = b"Exif\0\0", 0x112
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 0x100, 0x101, 3


@dataclass(frozen=True)
class Header:
    """Facts from an image file's header."""

    kind: str
    """ "JPEG", "PNG", ..."""
    width: int
    """Width of the stored pixels."""
    height: int
    turned: bool = False
    """Whether the EXIF orientation of a JPEG swaps width and height."""


def read_header(path: Path) -> Header:
    """Read the header of an image file; ValueError for another kind of file, OSError if it cannot be read."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        if head.startswith(b"\xff\xd8"):
            found = _jpeg(head)
            return found if found is not None else _required(_jpeg(head + file.read()), path)
        if head[:4] in (b"II*\0", b"MM\0*"):
            return _required(_tiff(head + file.read()), path)
    return _required(_other(head), path)


def header_of(content: bytes) -> Header | None:
    """Parse the header from the content of a file; None if it is not a supported image."""
    if content.startswith(b"\xff\xd8"):
        return _jpeg(content)
    return _tiff(content) if content[:4] in (b"II*\0", b"MM\0*") else _other(content[:HEAD])


def _required(header: Header | None, path: Path) -> Header:
    if header is None:
        raise ValueError(f"{path} is not an image that lehrnet reads, expected {KINDS}")
    return header


def _other(head: bytes) -> Header | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return _sized("PNG", *struct.unpack(">II", head[16:24]))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    if head[:2] == b"BM" and len(head) >= 26:
        width, height = struct.unpack("<ii", head[18:26])
        return _sized("BMP", width, abs(height))  # a negative height means rows from top to bottom
    if head[:6] in (b"GIF87a", b"GIF89a") and len(head) >= 10:
        return _sized("GIF", *struct.unpack("<HH", head[6:10]))
    return None


def _sized(kind: str, width: int, height: int, *, turned: bool = False) -> Header | None:
    return Header(kind, width, height, turned) if width > 0 and height > 0 else None


def _webp(head: bytes) -> Header | None:
    form, body = head[12:16], head[20:30]
    if len(body) < 10:
        return None
    if form == b"VP8X":
        return _sized("WebP", 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little"))
    if form == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return _sized("WebP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if form == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return _sized("WebP", width & 0x3FFF, height & 0x3FFF)
    return None


def _jpeg(content: bytes) -> Header | None:
    """Parse a JPEG header; None also if the content ends before the frame size."""
    offset, turned = 2, False
    while offset + 4 <= len(content):
        if content[offset] != 0xFF:
            return None
        marker = content[offset + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            offset += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(content[offset + 2 : offset + 4], "big")
        segment = content[offset + 4 : offset + 2 + length]
        if marker in _JPEG_FRAMES:
            if len(segment) < 5:
                return None
            height, width = struct.unpack(">HH", segment[1:5])
            return _sized("JPEG", width, height, turned=turned)
        if marker == 0xE1 and segment.startswith(_EXIF):
            turned = _orientation(segment[len(_EXIF) :]) >= 5
        offset += 2 + length
    return None


def _orientation(exif: bytes) -> int:
    """EXIF orientation, 1 to 8; 1 if absent."""
    return _tiff_entries(exif).get(_ORIENTATION, 1) if exif[:4] in (b"II*\0", b"MM\0*") else 1


def _tiff(content: bytes) -> Header | None:
    entries = _tiff_entries(content)
    return _sized("TIFF", entries.get(_TIFF_WIDTH, 0), entries.get(_TIFF_HEIGHT, 0))


def _tiff_entries(content: bytes) -> dict[int, int]:
    """Integer values of the first image file directory, by tag."""
    order = "<" if content[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        found = {}
        for number in range(min(count, 512)):
            tag, kind = struct.unpack_from(f"{order}HH", content, start + 2 + 12 * number)
            form = "H" if kind == _TIFF_SHORT else "I"
            (found[tag],) = struct.unpack_from(order + form, content, start + 10 + 12 * number)
    except struct.error:
        return {}
    return found
