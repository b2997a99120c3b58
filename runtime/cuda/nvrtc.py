"""The CUDA kernels compiled by NVRTC, which needs no nvcc: for a machine that they were not compiled for.

As a script it writes PTX for CUDA 12, whose drivers refuse what CUDA 13's nvcc makes. The driver finishes that PTX for
the GPU that is there, when it is first loaded. `make kernels` runs it in an environment that has NVRTC of CUDA 12,
isolated (-I), for a script's own folder would come first, and this one has a cuda.py.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

KERNELS = Path(__file__).resolve().parents[1] / "kernels"
SOURCE = KERNELS / "kernels.cu"
OLDEST = "compute_72"
"""Xavier; every GPU since runs its PTX."""


def compile_kernels(architecture: str) -> bytes:
    """PTX for "compute_72" and later GPUs, which is text, or machine code for "sm_87" alone.

    ImportError where cuda-python or NVRTC is missing, RuntimeError with NVRTC's words where it refuses.
    """
    nvrtc: Any = import_module("cuda.bindings.nvrtc")
    headers = sorted(KERNELS.glob("*.h"))
    texts, names = [header.read_bytes() for header in headers], [header.name.encode() for header in headers]
    source = SOURCE.read_bytes()
    try:
        code, program = nvrtc.nvrtcCreateProgram(source, SOURCE.name.encode(), len(headers), texts, names)
    except RuntimeError as error:  # cuda-python looks for the library at the first call
        raise ImportError(f"NVRTC is not installed: {error}") from error
    if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"NVRTC gave {code.name}")
    try:
        options = [
            b"--std=c++17",
            b"--device-as-default-execution-space",
            f"--gpu-architecture={architecture}".encode(),
        ]
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            words = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
            raise RuntimeError(f"NVRTC refused {SOURCE.name} for {architecture}: {words.decode()[:2000]}")
        if architecture.startswith("compute_"):
            return _text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program).removesuffix(b"\0")
        return _text(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _text(size_of: Any, read: Any, program: Any) -> bytes:
    _, size = size_of(program)
    text = b" " * size
    read(program, text)  # cuda-python writes into it
    return text


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(compile_kernels(OLDEST))
