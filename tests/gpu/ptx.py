#!/usr/bin/env python3
"""Compiles our own kernels for NVIDIA cards as the program will (NVRTC) and down to a card's code (nvcc), and runs their
arithmetic on the processor. Usage: ptx.py CUDA_FOLDER."""

import ctypes
import pathlib
import subprocess
import sys
import tempfile

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "src/kernels/cuda/source"
# As own/mod.rs puts them together.
NAMES = ["values", "geglu", "norm", "finish", "attention", "convolution"]
CAPABILITIES = ["75", "80", "90"]


def compiled(library: ctypes.CDLL, source: bytes, capability: str) -> str:
    """PTX, as the program has it made."""
    program = ctypes.c_void_p()
    status = library.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None)
    assert status == 0, f"nvrtcCreateProgram: {status}"
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture=compute_{capability}".encode())
    status = library.nvrtcCompileProgram(program, len(options), options)
    size = ctypes.c_size_t()
    if status != 0:
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        sys.exit(log.value.decode())
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, text)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return text.value.decode()


def check(line: str) -> None:
    """Refuses what ptxas says of spilled registers, or of more room than a block has without being asked for it."""
    assert "spill" not in line or "0 bytes spill stores, 0 bytes spill loads" in line, line
    shared = [word for word in line.split(", ") if word.endswith("bytes smem")]
    assert all(int(word.split()[0]) <= 48 << 10 for word in shared), line


def main() -> None:
    root = pathlib.Path(sys.argv[1])
    # It opens the first by its name alone.
    ctypes.CDLL(str(root / "lib/libnvrtc-builtins.so.13.0"))
    library = ctypes.CDLL(str(root / "lib/libnvrtc.so.13"))
    source = b"".join((SOURCES / f"{name}.cu").read_bytes() for name in NAMES)
    with tempfile.TemporaryDirectory() as folder:
        for capability in CAPABILITIES:
            text = compiled(library, source, capability)
            ptx = pathlib.Path(folder) / "kernels.ptx"
            ptx.write_text(text)
            words = [str(root / "bin/ptxas"), f"--gpu-name=sm_{capability}", "-v", str(ptx), "-o", f"{folder}/kernels.cubin"]
            said = subprocess.run(words, check=True, capture_output=True, text=True).stderr
            for line in said.splitlines():
                check(line)
            print(f"compute capability {capability}: {text.count('.entry')} kernels, {said.count('Used')} assembled")
        program = f"{folder}/emulate"
        emulate = pathlib.Path(__file__).with_name("emulate.cpp")
        subprocess.run(["g++", "-std=c++20", "-O2", "-mf16c", "-pthread", str(emulate), "-o", program], check=True)
        subprocess.run([program], check=True)


if __name__ == "__main__":
    main()
