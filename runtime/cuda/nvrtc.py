"""Compilation of the CUDA kernels by NVRTC, without nvcc, for machines without precompiled kernels.

Run as a script, it writes PTX for CUDA 12, whose drivers refuse the output of CUDA 13's nvcc; the driver compiles the
PTX for the local GPU on first load. `make kernels` runs it in an environment with NVRTC of CUDA 12 and isolated (-I),
since a script's own folder would otherwise come first on the path.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

KERNELS = Path(__file__).resolve().parents[1] / "kernels"
SOURCE = KERNELS / "kernels.cu"
OLDEST = "compute_72"
"""Xavier; all later GPUs can run PTX of this architecture."""


def compile_kernels(architecture: str) -> bytes:
    """Compile to PTX text ("compute_72": this and later GPUs) or to machine code ("sm_87": these GPUs only).

    ImportError if cuda-python or NVRTC is missing; RuntimeError with NVRTC's message if compilation fails.
    """
    nvrtc: Any = import_module("cuda.bindings.nvrtc")
    headers = sorted(KERNELS.glob("*.h"))
    texts, names = [header.read_bytes() for header in headers], [header.name.encode() for header in headers]
    source = SOURCE.read_bytes()
    try:
        code, program = nvrtc.nvrtcCreateProgram(source, SOURCE.name.encode(), len(headers), texts, names)
    except RuntimeError as error:  # cuda-python loads the library at the first call
        raise ImportError(f"NVRTC is not installed: {error}") from error
    if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"NVRTC failed with {code.name}")
    try:
        options = [
            b"--std=c++17",
            b"--device-as-default-execution-space",
            f"--gpu-architecture={architecture}".encode(),
        ]
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            words = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
            raise RuntimeError(f"NVRTC could not compile {SOURCE.name} for {architecture}: {words.decode()[:2000]}")
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
