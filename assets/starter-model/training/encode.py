"""Draws scenes and encodes them once, so that training sees latents only.

    python encode.py DATA SIDE_PX SCENES TOKENIZER     # writes DATA/latents-SIDE.pt

The file holds z [N, 4, SIDE/8, SIDE/8] f16 (the middle of the encoder's distribution, not scaled), and ids [N, 4, 77]
int16: four captions of every scene.
"""
import random, sys, time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from scenes import Stock
from vocabulary import caption

CAPTIONS = 4


def main(data, side, scenes, tokenizer):
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    stock = Stock(data)
    rng = random.Random(side)
    vae = AutoencoderKL.from_pretrained(data / "vae", torch_dtype=torch.bfloat16).eval().to(memory_format=torch.channels_last)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer)
    z, texts, began = [], [], time.time()
    for first in range(0, scenes, 32):
        pictures = []
        for i in range(first, min(first + 32, scenes)):
            scene = stock.scene(rng, stock.trained[i % len(stock.trained)])
            pictures.append(stock.draw(scene, side, rng))
            texts += [caption(scene, rng) for _ in range(CAPTIONS)]
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(torch.bfloat16) / 127.5 - 1  # channels last already
        z.append(vae.encode(x).latent_dist.mean.half())
        if first % 1024 == 0:
            print(first, round(time.time() - began), flush=True)
    z = torch.cat(z)
    ids = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    torch.save({"z": z, "ids": ids.view(len(z), CAPTIONS, 77).to(torch.int16)}, data / f"latents-{side}.pt")
    print(tuple(z.shape), "std %.4f" % z.float().std().item(), "seconds", round(time.time() - began))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
