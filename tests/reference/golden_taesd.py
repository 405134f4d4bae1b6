"""TAESD's decoder by diffusers' AutoencoderTiny: a narrow one as files in every way they are named, and one of the true
size whose weights are a formula, so that they need no file.
"""

import shutil

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from golden_models import save
from tiny_models import randn, randomize

WIDTH = 4


def taesd(folder, golden):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    narrow = autoencoder(WIDTH)
    randomize(narrow, 400)
    settle(narrow.decoder.layers, randn(401, 1, 4, 12, 12))
    narrow = narrow.half()
    narrow.save_pretrained(folder / "tiny")
    narrow = AutoencoderTiny.from_pretrained(folder / "tiny").float()
    decoder = narrow.half().decoder.layers.state_dict()
    # The original's first layer is the clamp, without weights.
    original = {renumbered(name, 1): tensor.clone() for name, tensor in decoder.items()}
    save_file(original, folder / "taesd_decoder.safetensors")
    torch.save(original, folder / "taesdxl_decoder.pth")
    both = {f"taesd_decoder.{name}": tensor for name, tensor in original.items()}
    encoder = {name: tensor.clone() for name, tensor in narrow.encoder.layers.state_dict().items()}
    both |= {f"taesd_encoder.{name}": tensor for name, tensor in encoder.items()}
    both |= {"vae_scale": torch.tensor(0.18215), "vae_shift": torch.tensor(0.0)}
    save_file(both, folder / "taesd.safetensors")
    save_file(encoder, folder / "taesd_encoder.safetensors")
    many = {name: tensor[:, :1].repeat(1, 16, 1, 1) if name == "1.weight" else tensor for name, tensor in original.items()}
    save_file({name: tensor.contiguous() for name, tensor in many.items()}, folder / "taesd3_decoder.safetensors")

    narrow = narrow.float()
    latents, odd = randn(410, 1, 4, 6, 4) * 1.5, randn(411, 2, 4, 1, 3) * 1.5
    full = autoencoder(64)
    fill(full.decoder.layers)
    wide = randn(412, 1, 4, 4, 5) * 1.5
    tensors = {
        "narrow.latents": latents, "narrow.decoded": narrow.decode(latents).sample,
        "odd.latents": odd, "odd.decoded": narrow.decode(odd).sample,
        "full.latents": wide, "full.decoded": full.decode(wide).sample,
    }  # fmt: skip
    for name in ("narrow", "full"):
        values = tensors[f"{name}.decoded"]
        print(f"{name}: mean {values.mean():.3f}, deviation {values.std():.3f}, within {(values.abs() <= 1).float().mean():.0%}")
    save(golden / "taesd.safetensors", tensors)


def autoencoder(width):
    widths = (width,) * 4
    return AutoencoderTiny(encoder_block_out_channels=widths, decoder_block_out_channels=widths).eval()


def settle(layers, latents):
    """Pictures in the middle of their range, as trained ones are."""
    with torch.no_grad():
        drawn = layers(latents)
        layers[-1].weight *= 0.25 / drawn.std(dim=(0, 2, 3)).reshape(3, 1, 1, 1)
        layers[-1].bias += 0.5 - layers(latents).mean(dim=(0, 2, 3))


def renumbered(name, by):
    number, rest = name.split(".", 1)
    return f"{int(number) + by}.{rest}"


def fill(layers):
    """Each value by its place among all, tensor by tensor in the order of the layers."""
    at = 0
    with torch.no_grad():
        for p in layers.parameters():
            places = torch.arange(at, at + p.numel(), dtype=torch.int64)
            at += p.numel()
            unit = (places * 2654435761 % 2**32).double() / 2**32 - 0.5
            fan_in = p[0].numel() if p.dim() == 4 else 4
            p.copy_((unit * 2.6 / fan_in**0.5).float().reshape(p.shape))
