"""How long it takes until a single file of f16 is a model in f32, beside torch's reading and converting it.

    python load_vs_torch.py CALOTYPE FILE.safetensors [ROUNDS]

Both in turn, in fresh processes, from a warm page cache. Ours is the program's own clock, from the command to "model
ready": header, tokenizer, weights, the layers, the colours of the previews. torch's is safetensors.torch.load_file and a
`.to(float32)` of every tensor. Each runs three times in direct succession, and the middle one in time counts: a virtual
machine gives memory back to its host when it lies free for some seconds, and whoever comes next pays for fetching it. Also
user and system time of the same spans and the process's memory at their ends.
Needs torch and safetensors; Linux only.
"""

import os
import re
import statistics
import subprocess
import sys

TORCH = """
import os, sys, time, torch
from safetensors.torch import load_file
before = os.times()
start = time.perf_counter()
tensors = {name: tensor.to(torch.float32) for name, tensor in load_file(sys.argv[1]).items()}
seconds, after = time.perf_counter() - start, os.times()
print(seconds, after.user + after.system - before.user - before.system)
"""


def torch_once(file):
    out = subprocess.run([sys.executable, "-c", TORCH, file], check=True, capture_output=True, text=True).stdout
    return tuple(map(float, out.split()))


def status(pid, key):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def ours_once(program, file):
    command = [program, "generate", "x", "--model", file, "--width", "64", "--height", "64", "--output", os.devnull + ".png",
               "--precision", "f32"]
    environment = {**os.environ, "CALOTYPE_LOG": "calotype=debug"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
        for line in run.stderr:
            if found := re.search(r"seconds=([0-9.e-]+)", line) if "model ready" in line else None:
                times = open(f"/proc/{run.pid}/stat").read().rpartition(")")[2].split()
                cpu = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
                memory = status(run.pid, "VmRSS"), status(run.pid, "VmHWM")
                run.kill()
                return float(found[1]), cpu, *memory
    sys.exit(f"{program} did not load {file}")


def main(program, file, rounds=5):
    with open(file, "rb") as whole:
        while whole.read(1 << 24):
            pass
    walls, cpus = [], []
    for _ in range(int(rounds)):
        theirs = sorted(torch_once(file) for _ in range(3))[1]
        ours = sorted(ours_once(program, file) for _ in range(3))[1]
        walls.append(ours[0] / theirs[0])
        cpus.append(ours[1] / theirs[1])
        print(
            f"torch {theirs[0]:.2f} s, cpu {theirs[1]:.2f} s; ours {ours[0]:.2f} s, cpu {ours[1]:.2f} s; ratio"
            f" {walls[-1]:.2f}, cpu {cpus[-1]:.2f}; resident {ours[2]:.0f} MiB, at most {ours[3]:.0f} MiB",
            flush=True,
        )
    print(f"median ratio {statistics.median(walls):.2f}, of cpu time {statistics.median(cpus):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
