"""Draws the card's grid of 64 pictures through the program's command line.

    python grid.py CALOTYPE OUT.png [OPTION …]     # options go to `calotype generate`
"""
import random, subprocess, sys, tempfile
from pathlib import Path

from PIL import Image

from vocabulary import COLOURS, SETS, THINGS, with_article


def prompts():
    """48 prompts of one thing, 16 of two, drawn from a fixed seed."""
    rng = random.Random(64)
    for i in range(64):
        style, colour = rng.choice(list(SETS)), rng.choice(list(COLOURS))
        thing, other = rng.sample(THINGS, 2)
        said = with_article(f"{style} {thing}") + (f" and {with_article(other)}" if i >= 48 else "")
        yield f"{said} on {with_article(colour)} background"


def main(calotype, out, options):
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        for seed, prompt in enumerate(prompts(), 100):
            file = Path(folder) / f"{seed}.png"
            subprocess.run([calotype, "generate", prompt, "--seed", str(seed), "--output", file, *options],
                           check=True, capture_output=True)
            pictures.append(Image.open(file).convert("RGB").resize((96, 96), Image.Resampling.LANCZOS))
            print(seed, prompt)
    grid = Image.new("RGB", (16 * 96, 4 * 96))
    for i, picture in enumerate(pictures):
        grid.paste(picture, (i % 16 * 96, i // 16 * 96))
    grid.quantize(256, method=Image.Quantize.MEDIANCUT).save(out, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
