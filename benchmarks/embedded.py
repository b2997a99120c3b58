"""ONNX Runtime's own library, which the C++ library of `runtime/embed` loads, as the Python wheel brings it."""

from collections.abc import Sequence
from pathlib import Path


def wheels_library() -> Path:
    """Path of libonnxruntime in the Python wheel; FileNotFoundError if the wheel has none."""
    import onnxruntime  # noqa: PLC0415 - only this asks for it

    folder = Path(onnxruntime.__file__).parent / "capi"
    found: Sequence[Path] = sorted(folder.glob("libonnxruntime.so.*"))
    if not found:
        raise FileNotFoundError(f"no libonnxruntime in {folder}")
    return found[0]
