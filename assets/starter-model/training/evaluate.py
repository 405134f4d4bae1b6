"""Measures a model through the program's own command line.

    python evaluate.py DATA CALOTYPE OUT [--model FOLDER] [--steps N] [--sampler NAME] [--guidance G] [--known WORDS_FILE]

Prints, and writes to OUT/scores.json: how often the judge (judge.py) sees the thing and the style that were asked for, and
how often the border has the colour that was asked for, in 300 pictures of things and styles that were trained together; the
things in the (thing, style) pairs of them that were not; and both things in 100 scenes of two that were not. Pictures stay in OUT.
"""
import argparse, json, random, subprocess
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL
from PIL import Image

import judge as judging
from scenes import Stock
from train_vae import SIDE_PX, psnr
from vocabulary import COLOURS, TAUGHT, with_article


HERE = Path(__file__).resolve().parent


def ground(picture):
    """The named colour that is nearest to the border's."""
    a = np.asarray(picture.convert("RGB"), np.float32)
    b = max(2, a.shape[0] // 32)
    border = np.concatenate([a[:b].reshape(-1, 3), a[-b:].reshape(-1, 3), a[:, :b].reshape(-1, 3), a[:, -b:].reshape(-1, 3)])
    middle = np.median(border, axis=0)
    return min(COLOURS, key=lambda name: np.square(middle - COLOURS[name]).sum())


def halves(picture):
    """The left and the right half's middle square."""
    side = picture.width // 2
    top = (picture.height - side) // 2
    return [picture.crop((x, top, x + side, top + side)) for x in (0, picture.width - side)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("calotype", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps")
    parser.add_argument("--sampler")
    parser.add_argument("--schedule")
    parser.add_argument("--guidance")
    parser.add_argument("--known", type=Path, help="only things of this list, and only the first two styles")
    parser.add_argument("--share", type=float, default=1.0, help="of the pictures to make")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    stock, judge, rng = Stock(args.data), judging.load(args.data), random.Random(5)
    options = [word for name in ("model", "steps", "sampler", "schedule", "guidance") if getattr(args, name)
               for word in (f"--{name}", str(getattr(args, name)))]

    def draw(prompt, seed, file):
        if not file.exists():
            subprocess.run([args.calotype, "generate", prompt, "--seed", str(seed), "--output", file, *options],
                           check=True, capture_output=True)
        return Image.open(file).convert("RGB")

    icons = stock.trained
    if args.known:
        known = set(args.known.read_text().splitlines())
        icons = [icon for icon in icons if icon.thing in known and icon.style in ("glossy", "flat")]
    scores, misses = {}, []
    renders = [stock.example(rng, SIDE_PX, stock.icons[i], "large")[0] for i in sorted(stock.held_out)]
    vae = AutoencoderKL.from_pretrained((args.model or HERE.parent) / "vae").float()
    scores["reconstruction of held-out renders, dB"] = round(psnr(vae, renders), 2)
    chosen = rng.sample(icons, min(len(icons), int(300 * args.share)))
    right = {"thing": 0, "style": 0, "colour": 0}
    for i, icon in enumerate(chosen):
        colour = rng.choice(list(COLOURS))
        picture = draw(f"{with_article(icon.style + ' ' + icon.thing)} on {with_article(colour)} background", 1000 + i,
                       args.out / f"in-{i:03}.png")
        thing, style = judging.look(judge, [picture])[0]
        seen = ground(picture)
        right["thing"] += thing == icon.thing
        right["style"] += style == icon.style
        right["colour"] += seen == colour
        if thing != icon.thing or style != icon.style or seen != colour:
            misses.append(f"in-{i:03} {icon.style} {icon.thing} on {colour}: {style} {thing} on {seen}")
    scores["in vocabulary"] = {name: round(100 * n / len(chosen), 1) for name, n in right.items()} | {"pictures": len(chosen)}
    print(scores, flush=True)
    if not args.known:
        held = [stock.icons[i] for i in sorted(stock.held_out) if stock.icons[i].thing in TAUGHT][:int(100 * args.share)]
        right = {"thing": 0, "style": 0}
        for i, icon in enumerate(held):
            picture = draw(f"{with_article(icon.style + ' ' + icon.thing)} on a white background", 2000 + i,
                           args.out / f"held-{i:03}.png")
            thing, style = judging.look(judge, [picture])[0]
            right["thing"] += thing == icon.thing
            right["style"] += style == icon.style
            if thing != icon.thing:
                misses.append(f"held-{i:03} {icon.style} {icon.thing}: {style} {thing}")
        scores["held out"] = {name: round(100 * n / len(held), 1) for name, n in right.items()} | {"pictures": len(held)}
        print(scores["held out"], flush=True)
        right, count = {"both": 0, "either": 0}, int(100 * args.share)
        for i in range(count):
            while True:
                a = rng.choice(stock.trained)
                b = rng.choice(stock.of_style[a.style])
                if a.thing != b.thing and stock.is_held_out_pair(a, b):
                    break
            picture = draw(f"{with_article(a.style + ' ' + a.thing)} and {with_article(b.thing)} on {with_article(rng.choice(list(COLOURS)))} background",
                           3000 + i, args.out / f"pair-{i:03}.png")
            seen = {thing for thing, _ in judging.look(judge, halves(picture))}
            right["both"] += {a.thing, b.thing} <= seen
            right["either"] += bool({a.thing, b.thing} & seen)
            if not {a.thing, b.thing} <= seen:
                misses.append(f"pair-{i:03} {a.style} {a.thing} and {b.thing}: {', '.join(sorted(seen))}")
        scores["pairs"] = {name: round(100 * n / count, 1) for name, n in right.items()} | {"pictures": count}
        print(scores["pairs"], flush=True)
    (args.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    (args.out / "misses.txt").write_text("\n".join(misses) + "\n")


if __name__ == "__main__":
    main()
