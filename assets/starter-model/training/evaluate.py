"""Measures a model through the program's own command line.

    python evaluate.py DATA CALOTYPE OUT [--model FOLDER] [--steps N] [--sampler NAME] [--guidance G] [--known WORDS_FILE]

Prints, and writes to OUT/scores.json: how often the judge (judge.py) sees the thing and the style that were asked for, and
how often the border has the colour that was asked for, in 300 pictures of things and styles that were trained together; the
things in the (thing, style) pairs of them that were not; both things in 100 scenes of two that were not; all in 50 scenes of
three different things, and all in 50 of one thing and two of another. Pictures stay in OUT.
"""
import argparse, json, os, random, subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL
from PIL import Image

import judge as judging
from scenes import THREE, Stock
from train_vae import SIDE_PX, psnr
from vocabulary import COLOURS, in_a_row, plural, with_article


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


def thirds(picture):
    """The three squares where the things of a scene of three stand: above, below on the left, below on the right."""
    side = round(picture.width * 0.46)
    corners = [(round((picture.width - side) * left), round((picture.height - side) * upper)) for left, upper in THREE]
    return [picture.crop((x, y, x + side, y + side)) for x, y in corners]


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

    def draw(job):
        """One picture; a process for each core makes most of them in a time, and the bytes are the same."""
        prompt, seed, name = job
        file = args.out / f"{name}.png"
        if not file.exists():
            subprocess.run([args.calotype, "generate", prompt, "--seed", str(seed), "--output", file, *options],
                           check=True, capture_output=True, env=os.environ | {"RAYON_NUM_THREADS": "1"})
        return Image.open(file).convert("RGB")

    def draw_all(jobs):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(draw, jobs))

    scores, misses = {}, []
    renders = [stock.example(rng, SIDE_PX, stock.icons[i], "large")[0] for i in sorted(stock.held_out)]
    vae = AutoencoderKL.from_pretrained((args.model or HERE.parent) / "vae").float()
    scores["reconstruction of held-out renders, dB"] = round(psnr(vae, renders), 2)

    def one_thing(title, icons, colours, name, seed):
        """Scores of pictures of one thing each."""
        jobs = [(f"{with_article(icon.style + ' ' + icon.thing)} on {with_article(colour)} background", seed + i, f"{name}-{i:03}")
                for i, (icon, colour) in enumerate(zip(icons, colours))]
        right = {"thing": 0, "style": 0, "colour": 0}
        for job, icon, colour, picture in zip(jobs, icons, colours, draw_all(jobs)):
            (thing, style), seen = judging.look(judge, [picture])[0], ground(picture)
            found = {"thing": thing == icon.thing, "style": style == icon.style, "colour": seen == colour}
            for what, is_right in found.items():
                right[what] += is_right
            if not all(found.values()):
                misses.append(f"{job[2]} {job[0]}: {style} {thing} on {seen}")
        scores[title] = {what: round(100 * n / len(jobs), 1) for what, n in right.items()} | {"pictures": len(jobs)}
        print(title, scores[title], flush=True)

    icons = stock.trained
    if args.known:
        known = set(args.known.read_text().splitlines())
        icons = [icon for icon in icons if icon.thing in known and icon.style in ("glossy", "flat")]
    chosen = rng.sample(icons, min(len(icons), int(300 * args.share)))
    one_thing("trained things and styles", chosen, [rng.choice(list(COLOURS)) for _ in chosen], "in", 1000)
    if not args.known:
        held = [stock.icons[i] for i in sorted(stock.held_out)][:int(100 * args.share)]
        one_thing("held-out things and styles", held, ["white" for _ in held], "held", 2000)
        pairs, jobs = [], []
        while len(pairs) < int(100 * args.share):
            a = rng.choice(stock.trained)
            b = rng.choice(stock.of_style[a.style])
            if a.thing != b.thing and stock.is_held_out_pair(a, b):
                colour = with_article(rng.choice(list(COLOURS)))
                said = f"{with_article(a.style + ' ' + a.thing)} and {with_article(b.thing)} on {colour} background"
                jobs.append((said, 3000 + len(pairs), f"pair-{len(pairs):03}"))
                pairs.append({a.thing, b.thing})
        both = either = 0
        for job, pair, picture in zip(jobs, pairs, draw_all(jobs)):
            seen = {thing for thing, _ in judging.look(judge, halves(picture))}
            both += pair <= seen
            either += bool(pair & seen)
            if not pair <= seen:
                misses.append(f"{job[2]} {job[0]}: {', '.join(sorted(seen))}")
        count = max(1, len(pairs))
        scores["held-out pairs"] = {"both": round(100 * both / count, 1), "one at least": round(100 * either / count, 1), "pictures": len(pairs)}
        print("held-out pairs", scores["held-out pairs"], flush=True)
        def three_things(title, name, seed, count, say):
            """Scores of scenes of three: `say` gives what is asked for of `count` things, and what is to be seen."""
            jobs, asked = [], []
            for i in range(int(50 * args.share)):
                style = rng.choice(list(stock.of_style))
                said, things = say(style, [icon.thing for icon in rng.sample(stock.of_style[style], count)])
                jobs.append((f"{said} on {with_article(rng.choice(list(COLOURS)))} background", seed + i, f"{name}-{i:03}"))
                asked.append(sorted(things))
            right = {"all three": 0, "two at least": 0}
            for job, things, picture in zip(jobs, asked, draw_all(jobs)):
                seen = [thing for thing, _ in judging.look(judge, thirds(picture))]
                found = sum(min(seen.count(thing), things.count(thing)) for thing in set(things))
                right["all three"] += found == 3
                right["two at least"] += found >= 2
                if found < 3:
                    misses.append(f"{job[2]} {job[0]}: {', '.join(seen)}")
            scores[title] = {what: round(100 * n / max(1, len(jobs)), 1) for what, n in right.items()} | {"pictures": len(jobs)}
            print(title, scores[title], flush=True)

        three_things("three different things", "trio", 4000, 3, lambda style, things: (
            in_a_row([with_article(f"{style} {things[0]}")] + [with_article(thing) for thing in things[1:]]), things))
        three_things("one thing and two of another", "group", 5000, 2, lambda style, things: (
            f"{with_article(style + ' ' + things[0])} and two {plural(things[1])}", [things[0], things[1], things[1]]))
    (args.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    (args.out / "misses.txt").write_text("\n".join(misses) + "\n")


if __name__ == "__main__":
    main()
