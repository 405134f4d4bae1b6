"""Trains the U-Net and the text encoder together on encoded scenes.

    python train_unet.py DATA LATENTS.. --tokenizer FOLDER --minutes 30 [--init FOLDER] [--batch 64] [--rate 1e-3] [--last 1e-4]
    torchrun --nproc-per-node 2 train_unet.py …      # a process for each core: half as fast again as one with two threads

Goes on from DATA/state.pt if that is there, else begins with the parts of FOLDER, else with nothing. The state is written
every three minutes. Loss: epsilon, weighted by min-SNR-5 (Hang et al. 2023, arXiv:2303.09556), or with --weighting debiased by
one over the root of the SNR (Yu et al. 2023, arXiv:2310.08442), which says more of the noisy end, where what stands where is
settled. 10 % of the captions are empty; the weights that are used are an exponential mean.
"""
import argparse, os, time
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTH = 128
MIN_SNR = 5.0
UNCONDITIONAL = 0.1


def fresh_unet():
    return UNet2DConditionModel(
        sample_size=24, in_channels=4, out_channels=4, block_out_channels=(64, 128, 192), layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH, attention_head_dim=4, norm_num_groups=32)


def fresh_text_encoder(tokenizer):
    end = tokenizer.eos_token_id
    return CLIPTextModel(CLIPTextConfig(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_attention_heads=4, num_hidden_layers=2,
        vocab_size=len(tokenizer), hidden_act="quick_gelu", max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end, projection_dim=WIDTH))


def alphas_cumprod():
    """Stable Diffusion's scaled-linear betas."""
    betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


class Team:
    """The processes that train together: each has its own pictures, all have the mean of the gradients."""

    def __init__(self):
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1:
            dist.init_process_group("gloo")
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // self.size))
        torch.manual_seed(time.time_ns() % 2 ** 31 + self.rank)

    def begin_alike(self, weights):
        """Gives everybody the first process's weights."""
        if self.size > 1:
            for p in weights:
                dist.broadcast(p.data, 0)

    def average(self, weights, number):
        """Averages the gradients, and gives back the mean of everybody's number."""
        if self.size == 1:
            return number
        flat = torch.cat([p.grad.reshape(-1) for p in weights] + [torch.tensor([number])])
        dist.all_reduce(flat)
        flat /= self.size
        start = 0
        for p in weights:
            p.grad.copy_(flat[start:start + p.numel()].view_as(p))
            start += p.numel()
        return flat[-1].item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("latents", type=Path, nargs="+")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--batch", type=int, default=64, help="of each process")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--last", type=float, default=1e-4)
    parser.add_argument("--weighting", choices=["min-snr", "debiased"], default="min-snr")
    parser.add_argument("--scale", type=float, help="of the latents; default: one over their standard deviation")
    args = parser.parse_args()
    team = Team()
    pools = [torch.load(file) for file in args.latents]
    pool = {name: torch.cat([p[name] for p in pools]) for name in ("z", "ids")}
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    empty = tokenizer([""], padding="max_length", max_length=77, return_tensors="pt").input_ids[0]
    if args.init:
        unet = UNet2DConditionModel.from_pretrained(args.init / "unet").float()
        text = CLIPTextModel.from_pretrained(args.init / "text_encoder").float()
    else:
        unet, text = fresh_unet(), fresh_text_encoder(tokenizer)
    # Plain products: torch's fused attention is the slower one on a CPU for so few tokens.
    unet.set_attn_processor(AttnProcessor())
    text.config._attn_implementation = "eager"
    weights = list(unet.parameters()) + list(text.parameters())
    optimizer = torch.optim.AdamW(weights, args.rate, betas=(0.9, 0.99), weight_decay=1e-3)
    mean, step = [p.detach().clone() for p in weights], 0
    scale = args.scale or 1 / pool["z"].float().std().item()
    state_file = args.data / "state.pt"
    if state_file.exists():
        state = torch.load(state_file)
        for p, kept in zip(weights, state["weights"]):
            p.data.copy_(kept)
        mean, step, scale = state["mean"], state["step"], state["scale"]
        optimizer.load_state_dict(state["optimizer"])
    team.begin_alike(weights)
    z, ids = pool["z"].float() * scale, pool["ids"].long()
    if team.rank == 0:
        print("scenes", len(z), "scale %.5f" % scale, "from step", step, flush=True)

    def save():
        torch.save({"weights": [p.detach() for p in weights], "mean": mean, "optimizer": optimizer.state_dict(),
                    "step": step, "scale": scale}, args.data / "state.new")
        os.replace(args.data / "state.new", state_file)

    kept_signal = alphas_cumprod()
    first, began, saved, running, share = step, time.time(), time.time(), None, 0.0
    while share < 1:
        rate = args.last + (args.rate - args.last) * (1 - share) ** 1.2
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step - first + 1) / 100)
        chosen = torch.randint(0, len(z), (args.batch,))
        said = ids[chosen, torch.randint(0, ids.shape[1], (args.batch,))]
        said[torch.rand(args.batch) < UNCONDITIONAL] = empty
        noise, t = torch.randn_like(z[chosen]), torch.randint(0, 1000, (args.batch,))
        a = kept_signal[t][:, None, None, None]
        noisy = a.sqrt() * z[chosen] + (1 - a).sqrt() * noise
        with torch.autocast("cpu", dtype=torch.bfloat16):
            epsilon = unet(noisy, t, text(said)[0]).sample
        snr = kept_signal[t] / (1 - kept_signal[t])
        weight = snr.clamp(max=MIN_SNR) / snr if args.weighting == "min-snr" else snr.rsqrt()
        loss = ((epsilon.float() - noise).pow(2).mean((1, 2, 3)) * weight).mean()
        optimizer.zero_grad()
        loss.backward()
        # The share of the time that is over is everybody's, so that all stop after the same step.
        share = team.average(weights, (time.time() - began) / (args.minutes * 60))
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        step += 1
        keep = min(0.997, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_mul_(mean, keep)
            torch._foreach_add_(mean, [p.detach() for p in weights], alpha=1 - keep)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if team.rank == 0 and step % 50 == 0:
            seconds = time.time() - began
            print(step, round(seconds), "loss %.4f" % running, "rate %.1e" % rate,
                  "%.1f pictures a second" % ((step - first) * args.batch * team.size / seconds), flush=True)
        if team.rank == 0 and time.time() - saved > 180:
            saved = time.time()
            save()
    if team.rank == 0:
        save()
        print("done", step)


if __name__ == "__main__":
    main()
