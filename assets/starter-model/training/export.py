"""Writes the trained parts as the model folder that is built into the program.

    python export.py DATA MODEL_FOLDER     # the text encoder, the U-Net in shards, the VAE; f16; tokenizer and scheduler stay

The folder's tokenizer/, scheduler/, model_index.json and calotype.json are kept as they are.
"""
import shutil, sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from train_unet import fresh_text_encoder, fresh_unet


def main(data, folder):
    state = torch.load(data / "state.pt")
    unet, text = fresh_unet(), fresh_text_encoder(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    weights = list(unet.parameters()) + list(text.parameters())
    with torch.no_grad():
        for p, mean in zip(weights, state["mean"], strict=True):
            p.copy_(mean)
    vae = AutoencoderKL.from_pretrained(data / "vae")
    vae.register_to_config(scaling_factor=round(state["scale"], 5))
    for name, part in (("unet", unet), ("text_encoder", text), ("vae", vae)):
        shutil.rmtree(folder / name, ignore_errors=True)
        part.half().save_pretrained(folder / name, max_shard_size="15MB")
    print("step", state["step"], "scale", state["scale"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
