"""Trains the autoencoder, from an earlier one of the same shape or from nothing.

    python train_vae.py DATA --minutes 30 [--init FOLDER]      # writes DATA/vae, every five minutes

The loss is L1 and L1 of the gradients over three scales, and the squared error; KL keeps the latents near a normal
distribution. The last third of the time is spent on whole pictures, since group norm looks at all of one.
"""
import argparse, os, random, time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from scenes import Stock

SIDE_PX = 192


def fresh():
    return AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[32, 64, 96, 128], layers_per_block=1, latent_channels=4, norm_num_groups=16,
        sample_size=SIDE_PX, mid_block_add_attention=False)


def picture_loss(y, x):
    loss = 4 * F.mse_loss(y, x)
    for _ in range(3):
        loss = loss + (y - x).abs().mean() + 1.5 * (
            (y.diff(dim=2) - x.diff(dim=2)).abs().mean() + (y.diff(dim=3) - x.diff(dim=3)).abs().mean())
        y, x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
    return loss


def crops(pool, rng, side, count):
    """[count, 3, side, side] of -1 to 1; mostly of places where something is to be seen."""
    out = []
    while len(out) < count:
        picture = pool[rng.randrange(len(pool))]
        y, x = rng.randrange(0, SIDE_PX - side + 1), rng.randrange(0, SIDE_PX - side + 1)
        crop = picture[y:y + side, x:x + side]
        if crop.std() > 8 or rng.random() < 0.15:
            out.append(crop)
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def psnr(vae, pictures):
    """Mean over pictures of the PSNR in dB, the latents being the middle of their distribution."""
    each = []
    for i in range(0, len(pictures), 8):
        x = torch.from_numpy(np.stack(pictures[i:i + 8])).permute(0, 3, 1, 2).float() / 127.5 - 1
        y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
        error = ((y - x) / 2).pow(2).mean((1, 2, 3))
        each += (-10 * error.log10()).tolist()
    return sum(each) / len(each)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--whole", type=float, default=0.67, help="share of the time after which whole pictures are trained on")
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(1)
    rng = random.Random(1)
    stock = Stock(args.data)
    pool = [stock.example(rng, SIDE_PX)[0] for _ in range(3000)]
    held_out = [stock.example(rng, SIDE_PX, stock.icons[i], "large")[0] for i in sorted(stock.held_out)][:24]
    vae = AutoencoderKL.from_pretrained(args.init) if args.init else fresh()
    vae.float()
    print("before: %.2f dB" % psnr(vae, held_out), flush=True)
    optimizer = torch.optim.AdamW(vae.parameters(), args.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    began = saved = time.time()
    step, running = 0, None
    while (share := (time.time() - began) / (args.minutes * 60)) < 1:
        x = crops(pool, rng, 64, 24) if share < args.whole else crops(pool, rng, SIDE_PX, 4)
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 50) * (1 - share) ** 1.2 + 1e-5
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = vae.encode(x).latent_dist
            y = vae.decode(latents.sample()).sample
        kl = 0.5 * (latents.mean.float() ** 2 + latents.var.float() - 1 - latents.logvar.float()).mean()
        loss = picture_loss(y.float(), x) + 1e-5 * kl
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        running = loss.item() if running is None else 0.97 * running + 0.03 * loss.item()
        if step % 50 == 0:
            print(step, round(time.time() - began), "loss %.4f" % running, "kl %.1f" % kl.item(),
                  "std %.2f" % latents.mean.float().std().item(), flush=True)
        if time.time() - saved > 300:
            saved = time.time()
            vae.save_pretrained(args.data / "vae.new")
            os.system(f"rm -rf {args.data}/vae && mv {args.data}/vae.new {args.data}/vae")
            print("held out: %.2f dB" % psnr(vae, held_out), flush=True)
    print("after: %.2f dB" % psnr(vae, held_out))
    vae.save_pretrained(args.data / "vae")


if __name__ == "__main__":
    main()
