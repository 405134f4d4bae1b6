#!/usr/bin/env python3
"""Puts CUDA 13.0 together from the wheels that NVIDIA publishes on PyPI, in a folder of its own: enough to build Calotype
with `--features cuda` on a machine without CUDA. Usage: root.py FOLDER. What is there already is kept."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

# One release of CUDA: newer ones make PTX that the drivers of CUDA 13.0 (580) refuse. Of CUDA 12 there are no wheels with
# the compiler.
WHEELS = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-curand==10.4.0.35",
    "nvidia-cublas==13.0.2.14",
]

# For each library that is linked: its file, the prefix of its functions, and the status that they return when the file is
# not there (CUDA_ERROR_STUB_LIBRARY, CUBLAS_STATUS_NOT_INITIALIZED, CURAND_STATUS_INITIALIZATION_FAILED,
# NVRTC_ERROR_INTERNAL_ERROR).
FORWARDED = {
    "cuda": ("libcuda.so.1", "cu", 34),
    "cublas": ("libcublas.so.13", "cublas", 1),
    "cublasLt": ("libcublasLt.so.13", "cublasLt", 1),
    "curand": ("libcurand.so.10", "curand", 203),
    "nvrtc": ("libnvrtc.so.13", "nvrtc", 11),
}


def unpack(root: pathlib.Path) -> None:
    """Downloads the wheels and lays their files out as a CUDA folder."""
    wheels = root / "wheels"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
    subprocess.run(pip + WHEELS, check=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                _, found, inside = entry.filename.partition("nvidia/cu13/")
                if not found or not inside or entry.is_dir():
                    continue
                target = root / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
        wheel.unlink()
    # Wheels keep no permissions.
    for program in [*(root / "bin").iterdir(), root / "nvvm/bin/cicc"]:
        if program.is_file():
            program.chmod(0o755)
    (root / "lib64").symlink_to("lib")
    # The static runtime opens the driver by itself.
    shutil.copyfile(root / "lib/libcudart_static.a", root / "lib/libcudart.a")


def functions(root: pathlib.Path, file: str, prefix: str) -> list[str]:
    """The names of a library's functions: the driver's from its header, for it comes with the card's driver alone."""
    if prefix == "cu":
        names = set(re.findall(r"\bcu[A-Z]\w+", (root / "include/cuda.h").read_text(errors="replace")))
        # The header keeps the newest form of some under a name with its version.
        return sorted(names)
    lines = subprocess.run(["nm", "-D", "--defined-only", str(root / "lib" / file)], check=True, capture_output=True, text=True)
    names = {line.split()[-1].split("@")[0] for line in lines.stdout.splitlines()}
    return sorted(name for name in names if re.fullmatch(prefix + r"[A-Za-z]\w*", name))


def forward(root: pathlib.Path) -> None:
    """Makes the archives that are linked in place of the libraries."""
    source = pathlib.Path(__file__).with_name("forward.c")
    for name, (file, prefix, status) in FORWARDED.items():
        with tempfile.TemporaryDirectory() as folder:
            listed = "".join(f"FORWARD({function})\n" for function in functions(root, file, prefix))
            (pathlib.Path(folder) / "functions.h").write_text(listed)
            words = [f'-DFILE_NAME="{file}"', f"-DSTATUS={status}"]
            words += [f"-D{word.upper()}=calotype_{word}_{name}" for word in ("slots", "find", "enter")]
            made = f"{folder}/forward.o"
            subprocess.run(["gcc", "-c", "-O2", "-fPIC", f"-I{folder}", *words, str(source), "-o", made], check=True)
            archive = root / "lib" / f"lib{name}.a"
            archive.unlink(missing_ok=True)
            subprocess.run(["ar", "rcs", str(archive), made], check=True)


def main() -> None:
    root = pathlib.Path(sys.argv[1]).resolve()
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        unpack(root)
        (root / "complete").write_text("\n".join(WHEELS) + "\n")
    forward(root)
    print(root)


if __name__ == "__main__":
    main()
