"""How far pictures are from those of f32 with nothing that changes them: python faithful.py CALOTYPE [-- OPTION ..]

Four prompts with a seed each, through `calotype generate`, with the options behind `--` for all of them (a model, a size, steps).
Prints the PSNR of the finished picture for each way of computing, over all pixels of 0 to 255. Needs numpy and pillow.
"""
import subprocess, sys, tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PROMPTS = ["a glossy fox on a sky blue background", "a flat rocket on a navy background",
           "a cartoon apple and an owl on a cream background", "a glossy strawberry on a mint background"]
WAYS = {
    "bf16": ["--precision", "bf16"], "int8": ["--precision", "int8"],
    "guidance from 0.2 to 0.8": ["--guidance-from", "0.2", "--guidance-to", "0.8"],
    "deep cache 2": ["--deep-cache", "2"], "deep cache 3": ["--deep-cache", "3"],
    "token merging 0.5": ["--token-merging", "0.5"],
}


def main(calotype, options):
    def pictures(way):
        with tempfile.TemporaryDirectory() as home:
            out = Path(home) / "picture.png"
            for seed, prompt in enumerate(PROMPTS):
                precision = [] if "--precision" in way else ["--precision", "f32"]
                subprocess.run([calotype, "generate", prompt, "--seed", str(seed + 1), "--output", out, *precision, *way, *options],
                               check=True, capture_output=True)
                yield np.asarray(Image.open(out).convert("RGB"), np.float64)

    plain = list(pictures([]))
    for name, way in WAYS.items():
        errors = [np.square(found - expected).mean() for found, expected in zip(pictures(way), plain)]
        decibels = ["the same" if error == 0 else f"{10 * np.log10(255 ** 2 / error):.1f}" for error in errors]
        print(f"{name}: {', '.join(decibels)} dB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3:] if sys.argv[2:3] == ["--"] else [])
