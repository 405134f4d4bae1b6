"""Draws the same prompts from the same seeds with diffusers and with the program, and compares the pixels.

    python beside_diffusers.py CALOTYPE MODEL_FOLDER
"""
import subprocess, sys, tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image

PROMPTS = ["a glossy fox on a sky blue background", "a flat castle on a mint background",
           "a cartoon owl on a navy background", "a glossy cat and a red apple on a yellow background"]


def main(calotype, folder):
    torch.set_num_threads(2)
    pipe = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    side = str(pipe.unet.config.sample_size * 8)
    with tempfile.TemporaryDirectory() as out:
        for seed, prompt in enumerate(PROMPTS, 100):
            theirs = np.asarray(pipe(prompt, num_inference_steps=20, guidance_scale=4.0,
                                     generator=torch.Generator().manual_seed(seed)).images[0], np.float64)
            file = Path(out) / f"{seed}.png"
            subprocess.run([calotype, "generate", prompt, "--seed", str(seed), "--output", file, "--sampler", "ddim",
                            "--schedule", "model", "--steps", "20", "--guidance", "4", "--precision", "f32",
                            "--width", side, "--height", side], check=True, capture_output=True)
            ours = np.asarray(Image.open(file).convert("RGB"), np.float64)
            off = np.abs(ours - theirs)
            decibels = 10 * np.log10(255 ** 2 / max(np.square(off).mean(), 1e-12))
            print(f"{prompt}: {np.count_nonzero(off)} of {off.size} values differ, by {off.max():.0f} of 255 at most, {decibels:.1f} dB")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
