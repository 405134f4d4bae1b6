"""A judge of pictures that has nothing to do with the model: a small network that tells things and styles of real renders.

    python judge.py DATA --minutes 6      # writes DATA/judge.pt, prints how often it is right on renders it has not seen

It sees all things in all styles, those too that are kept from the model, at 64 x 64 pixels: turned, moved, enlarged, on
grounds of any colour, blurred and noisy. --scenes N says in the end how often it is right on N scenes of one thing as the
model is taught them: more than that no model can be expected to reach.
"""
import argparse, math, time
import random as pseudo
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from scenes import Stock
from vocabulary import COLOURS, SETS, THINGS

SIDE_PX = 64
STYLES = list(SETS)


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.norm = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        return F.relu(x + self.second(F.relu(self.norm(x))))


class Judge(nn.Module):
    """[N, 3, 64, 64] of -1 to 1 to scores of things [N, T], and of the styles that each thing may have [N, T, 3]."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(3, 32), Block(32, 64), Block(64, 128), Block(128, 256))
        self.thing, self.style = nn.Linear(256 * 4, len(THINGS)), nn.Linear(256 * 4, len(THINGS) * len(STYLES))

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.blocks(x), 2).flatten(1)
        x = F.dropout(x, 0.2, self.training)
        return self.thing(x), self.style(x).unflatten(1, (len(THINGS), len(STYLES)))


def cut_outs(stock):
    """[N, 4, 64, 64]: colours times alpha, and alpha, with room for turning around them."""
    return torch.stack([torch.from_numpy(stock.cut_out(icon, SIDE_PX, False)).permute(2, 0, 1) for icon in stock.icons])


def batch(cuts, chosen, random):
    """Pictures of the chosen cut-outs, [N, 3, 64, 64] of -1 to 1."""
    n = len(chosen)
    draw = lambda low, high: torch.rand(n, generator=random) * (high - low) + low
    scale, angle, dx, dy = draw(0.72, 1.12), draw(-0.12, 0.12), draw(-0.12, 0.12), draw(-0.12, 0.12)
    flip = torch.where(draw(0, 1) < 0.25, -1.0, 1.0)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    grid = torch.stack([torch.stack([cos * flip, -sin, dx], 1), torch.stack([sin * flip, cos, dy], 1)], 1)
    rgba = F.grid_sample(cuts[chosen], F.affine_grid(grid, (n, 4, SIDE_PX, SIDE_PX), align_corners=False), align_corners=False)
    # Half of the grounds are of the colours that scenes have, among them white and black.
    named = torch.tensor(list(COLOURS.values()))[torch.randint(0, len(COLOURS), (n,), generator=random)] / 255
    ground = torch.where(draw(0, 1)[:, None] < 0.5, named, torch.rand(n, 3, generator=random))[:, :, None, None]
    x = rgba[:, :3] + ground * (1 - rgba[:, 3:])
    small = int(torch.randint(44, SIDE_PX + 1, (1,), generator=random))
    x = F.interpolate(F.interpolate(x, (small, small), mode="bilinear", antialias=True, align_corners=False),
                      (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
    x = x * draw(0.85, 1.12)[:, None, None, None] + draw(-0.06, 0.06)[:, None, None, None]
    x = x + torch.randn(x.shape, generator=random) * 0.02
    return x.clamp(0, 1) * 2 - 1


def load(data):
    judge = Judge()
    judge.load_state_dict(torch.load(Path(data) / "judge.pt"))
    return judge.eval()


@torch.no_grad()
def look(judge, pictures):
    """(thing, style) of each PIL picture."""
    x = torch.stack([torch.from_numpy(np.asarray(p.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), np.float32))
                     for p in pictures]).permute(0, 3, 1, 2) / 127.5 - 1
    thing, style = judge(x)
    return [(THINGS[t], STYLES[s]) for t, s in zip(thing.argmax(1).tolist(), style[torch.arange(len(x)), thing.argmax(1)].argmax(1).tolist())]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=0)
    parser.add_argument("--more", action="store_true", help="go on from DATA/judge.pt")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(7)
    random = torch.Generator().manual_seed(7)
    stock = Stock(args.data)
    cuts = cut_outs(stock)
    things = torch.tensor([THINGS.index(icon.thing) for icon in stock.icons])
    styles = torch.tensor([STYLES.index(icon.style) for icon in stock.icons])
    judge = Judge()
    if args.more:
        kept = torch.load(args.data / "judge.pt")
        judge.load_state_dict({name: value for name, value in kept.items() if value.shape == judge.state_dict()[name].shape}, strict=False)
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=1e-2)
    began, step = time.time(), 0
    while (share := (time.time() - began) / (args.minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (0.5 + 0.5 * math.cos(math.pi * share)) + 1e-5
        chosen = torch.randint(0, len(cuts), (128,), generator=random)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            thing, style = judge(batch(cuts, chosen, random))
        thing, style = thing.float(), style[torch.arange(len(chosen)), things[chosen]].float()
        loss = F.cross_entropy(thing, things[chosen], label_smoothing=0.05) + F.cross_entropy(style, styles[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            right = (thing.argmax(1) == things[chosen]).float().mean()
            print(step, round(time.time() - began), "loss %.3f things %.2f" % (loss.item(), right), flush=True)
    judge.eval()
    right = torch.zeros(2)
    for _ in range(40):
        chosen = torch.randint(0, len(cuts), (128,), generator=random)
        with torch.no_grad():
            thing, style = judge(batch(cuts, chosen, random))
            style = style[torch.arange(len(chosen)), things[chosen]]
        right += torch.stack([(thing.argmax(1) == things[chosen]).float().mean(), (style.argmax(1) == styles[chosen]).float().mean()])
    print("on new renders: things %.1f %%, styles %.1f %%" % tuple(right / 40 * 100))
    torch.save(judge.state_dict(), args.data / "judge.pt")
    if args.scenes:
        chosen, rng = torch.randint(0, len(stock.trained), (args.scenes,), generator=random), pseudo.Random(1)
        icons = [stock.trained[i] for i in chosen.tolist()]
        seen = look(judge, [Image.fromarray(stock.example(rng, 192, icon, "large")[0]) for icon in icons])
        right = [sum(found[i] == (icon.thing, icon.style)[i] for found, icon in zip(seen, icons)) for i in range(2)]
        print("on scenes: things %.1f %%, styles %.1f %%" % tuple(100 * n / args.scenes for n in right))


if __name__ == "__main__":
    main()
