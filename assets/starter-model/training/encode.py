"""Draws scenes and encodes them once, so that training sees latents only.

    python encode.py DATA SIDE_PX SCENES TOKENIZER [FIRST]     # writes DATA/latents-SIDE.pt

FIRST is the number of the first scene: other numbers are other scenes, so that a later stage sees new ones.

The file holds z [N, 4, SIDE/8, SIDE/8] f16 (the middle of the encoder's distribution, not scaled), and ids [N, 4, 77]
int16: four captions of every scene.
"""
import os, random, sys, time
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as multiprocessing
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from scenes import Stock
from vocabulary import LATER, caption

CAPTIONS = 4
BATCH = 32


def begin(data, side, tokenizer):
    """Makes a process ready: each has one thread, of which two do more than one process with two."""
    global STOCK, CHOICES, SIDE_PX, VAE, TOKENIZER
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    STOCK, SIDE_PX = Stock(data), side
    CHOICES = STOCK.trained + [icon for icon in STOCK.trained if icon.thing in LATER]
    VAE = AutoencoderKL.from_pretrained(data / "vae", torch_dtype=torch.bfloat16).eval().to(memory_format=torch.channels_last)
    TOKENIZER = CLIPTokenizer.from_pretrained(tokenizer)


def encode(first):
    """Latents and ids of the scenes from `first` on, whatever process draws them."""
    rng = random.Random(SIDE_PX * 1_000_000 + first)
    pictures, texts = [], []
    for i in range(first, first + BATCH):
        scene = STOCK.scene(rng, CHOICES[i % len(CHOICES)])
        pictures.append(STOCK.draw(scene, SIDE_PX, rng))
        texts += [caption(scene, rng) for _ in range(CAPTIONS)]
    # Channels last already.
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(torch.bfloat16) / 127.5 - 1
    ids = TOKENIZER(texts, padding="max_length", max_length=77, truncation=True, return_tensors="np").input_ids
    return VAE.encode(x).latent_dist.mean.half().numpy(), ids.reshape(BATCH, CAPTIONS, 77).astype(np.int16)


def main(data, side, scenes, tokenizer, start=0):
    began = time.time()
    with multiprocessing.Pool(os.cpu_count(), begin, (data, side, tokenizer)) as pool:
        parts = []
        for part in pool.imap(encode, range(start, start + scenes, BATCH)):
            parts.append(part)
            if len(parts) % 32 == 0:
                print(len(parts) * BATCH, round(time.time() - began), flush=True)
    z, ids = (torch.from_numpy(np.concatenate(column)) for column in zip(*parts))
    torch.save({"z": z, "ids": ids}, data / (f"latents-{side}.pt" if not start else f"latents-{side}-{start}.pt"))
    print(tuple(z.shape), "std %.4f" % z.float().std().item(), "seconds", round(time.time() - began))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int((sys.argv[5:] or [0])[0]))
