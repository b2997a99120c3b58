"""Files of weights, from their bytes and without trust: safetensors, and what torch.save wrote.

Nothing pickled is executed, nothing larger than the file is allocated, and whatever is wrong is a ValueError.
"""

import io
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..parsing import parse, parse_json, printable

LARGEST_FILE = 2 << 30  # bytes; HRNet-W32 with its optimizer and its average has half a gigabyte
LARGEST_HEADER = 16 << 20  # bytes; that of lehrnet_w32 has 0.2 million
MOST_TENSORS = 1 << 16
METADATA = "__metadata__"
DTYPES: dict[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
ZIP, PICKLE = b"PK\x03\x04", b"\x80"
SIZED = b"bytearray\n"  # torch.load would make one of any size
ALONE = "save its state_dict() alone with torch.save and take that"
PLAINLY = """if you trust it, three lines of Python make a plain file of it where its own framework is installed:
    import torch
    content = torch.load("the file", weights_only=False)
    torch.save(content.state_dict() if isinstance(content, torch.nn.Module) else content["state_dict"], "plain.pth")"""


@dataclass(frozen=True)
class _Entry:
    """A tensor in the header of a safetensors file."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"its type is {self.dtype[:20]}, expected {', '.join(DTYPES)}; convert it to F32")
        begin, end = self.data_offsets
        if len(self.shape) > 8 or min(self.shape, default=0) < 0:
            raise ValueError(f"its shape is {self.shape[:9]}, expected at most 8 sides from 0")
        if end - begin != prod(self.shape) * DTYPES[self.dtype].itemsize:
            raise ValueError(f"it takes {end - begin} bytes, which shape {self.shape} of {self.dtype} does not")


def read_content(path: Path, kind: str) -> bytes:
    """A file's content, read once; FileNotFoundError, or ValueError for what no file of that kind can be."""
    if not path.exists():
        raise FileNotFoundError(f"no {kind} at {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file, expected a {kind}")
    if path.suffix.lower() == ".onnx":
        raise ValueError(
            f"{path} is an ONNX graph, expected a {kind}: `lehrnet import {path} --out BUNDLE` takes graphs"
        )
    with path.open("rb") as file:
        content = file.read(min(path.stat().st_size, LARGEST_FILE) + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{path} has more than {LARGEST_FILE} bytes, too many for a {kind} of this family")
    return content


def is_pickled(content: bytes) -> bool:
    """Whether torch.save may have written it, by its first bytes: a zip archive, or a bare pickle as before 2020."""
    return content.startswith((ZIP, PICKLE)) and not _may_be_safetensors(content)


def read_safetensors(content: bytes) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    """The metadata and the tensors, which are views of `content`; ValueError says what is wrong."""
    header, entries = _header(content)
    metadata = parse(Mapping[str, str], {}, METADATA)
    if METADATA in header:
        metadata = _texts(header[METADATA])
    tensors = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # they are read only
        start = len(content) - max((entry.data_offsets[1] for entry in entries.values()), default=0)
        for name, entry in entries.items():
            dtype, count = DTYPES[entry.dtype], prod(entry.shape)
            begin = start + entry.data_offsets[0]
            flat = torch.frombuffer(content, dtype=dtype, count=count, offset=begin) if count else torch.empty(0)
            tensors[name] = flat.to(dtype).reshape(entry.shape)
    return metadata, tensors


def unpickled(content: bytes) -> Any:
    """What torch.save wrote, of plain types and tensors; ValueError for all else, of which nothing is executed."""
    if not content:
        raise ValueError("it is empty")
    if not is_pickled(content):
        raise ValueError(f"it is no file of torch.save: it begins with {content[:8]!r}")
    if content.startswith(ZIP):
        _check_archive(content)
    if SIZED in content:
        raise ValueError(f"it asks for memory (a bytearray), which tensors do not need; {ALONE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and old types of storage
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a malformed pickle raises whatever its instructions run into
        raise ValueError(_reason(error)) from error


def why_not_plain(tensor: Tensor) -> str:
    """What keeps a tensor from being a weight; empty where nothing does."""
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
    if not plain or tensor.is_quantized or tensor.dtype not in DTYPES.values():
        return f"is a {tensor.layout} tensor of {tensor.dtype}, expected plain float32, float16 or bfloat16"
    return ""


def is_finite(tensor: Tensor) -> bool:
    """Whether a plain tensor holds neither NaN nor infinity."""
    # NumPy does not know bfloat16, and is several times faster than torch on many small tensors.
    return bool(np.isfinite(tensor.detach().float().numpy()).all())


def _may_be_safetensors(content: bytes) -> bool:
    length = struct.unpack("<Q", content[:8])[0] if len(content) > 8 else 0
    return 2 <= length <= len(content) - 8 and content[8:9] == b"{"


def _header(content: bytes) -> tuple[dict[str, Any], dict[str, _Entry]]:
    """The header as JSON and its tensors, which lie end to end from the header on to the end of the file."""
    if len(content) < 8:
        raise ValueError(f"it has {len(content)} bytes")
    length = struct.unpack("<Q", content[:8])[0]
    if length > len(content) - 8:
        raise ValueError(f"its header would have {length} bytes, but the file has {len(content)}")
    if length > LARGEST_HEADER:
        raise ValueError(f"its header has {length} bytes, expected at most {LARGEST_HEADER}")
    header = parse_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError(f"its header is a {type(header).__name__}, expected an object")
    if len(header) > MOST_TENSORS:
        raise ValueError(f"its header names {len(header)} tensors, expected at most {MOST_TENSORS}")
    entries = {name: parse(_Entry, value, printable(name)) for name, value in header.items() if name != METADATA}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.data_offsets[0] != end:
            raise ValueError(f"{printable(name)} begins at byte {entry.data_offsets[0]}, expected {end}")
        end = entry.data_offsets[1]
    if end != len(content) - 8 - length:
        raise ValueError(f"its tensors take {end} bytes, but {len(content) - 8 - length} follow the header")
    return header, entries


def _texts(metadata: Any) -> Mapping[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError(f"its {METADATA} are not texts by name")
    return metadata


def _check_archive(content: bytes) -> None:
    """A zip of torch.save holds its parts as they are; a compressed or overlapping one could be of any size."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, RuntimeError, EOFError, struct.error, IndexError) as error:
        raise ValueError(f"it is not whole ({printable(str(error))}); copy it again") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is a compressed archive, expected a file of torch.save; unpack it first")
    if sum(entry.file_size for entry in entries) > len(content):
        raise ValueError("its parts are larger than the file itself; it was not written by torch.save")
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise ValueError(f"it is a TorchScript program, which is not run; {ALONE}")
    if not any(entry.filename.endswith("data.pkl") for entry in entries):
        raise ValueError("it is a zip archive, but not one of torch.save")


def _reason(error: Exception) -> str:
    """One line of what torch.load says, without its advice to execute the file."""
    text = str(error)
    if named := re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported class ([\w.]+)|function ([\w.]+)", text):
        return f"it holds more than tensors ({named[0][-80:]}), which may be code and is not run; {PLAINLY}"
    if operand := re.search(r"Unsupported operand (\d+)", text):
        return f"its pickle has instruction {operand[1]}, which tensors do not need and which is not run; {ALONE}"
    line = printable(text.strip().split("\n")[0].split(". ")[0])[:160]
    return f"it is damaged ({type(error).__name__}{f': {line}' if line else ''}); copy it again"
