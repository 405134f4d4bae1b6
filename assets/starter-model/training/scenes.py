"""Composes scenes of one to three things on a ground, in pixels, with captions."""
import json, random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vocabulary import COLOURS, PLACES, THINGS, caption

# As many things were rendered at first: what is kept from training was chosen among them, and has stayed.
FIRST_THINGS = 311
# Mirrored, these say something else or are plainly wrong.
NOT_MIRRORED = {"question mark", "hourglass done", "soccer ball", "100", "trumpet", "guitar", "violin", "alarm clock",
                "stop sign", "watch", "stopwatch", "pool 8 ball", "banjo", "sports medal"}

# How often scenes are of which kind.
KINDS = {"large": 0.42, "small": 0.05, "pair": 0.30, "several": 0.05, "trio": 0.09, "group": 0.09}
# Where three things stand: shares of the free room from the left and from the top. The first stands above.
THREE = [(0.5, 0.05), (0.03, 0.95), (0.97, 0.95)]


@dataclass(frozen=True)
class Icon:
    """One thing in one style."""
    index: int
    style: str
    thing: str
    tags: tuple


@dataclass
class Scene:
    """What is to be seen: `kind` is one of large, small, pair, several (of one thing), trio, group
    (one thing and two of another); `ground` has one colour, or two for a gradient."""
    kind: str
    style: str
    things: list
    ground: tuple
    layout: str = ""
    place: str = ""
    count: int = 1


class Stock:
    """The rendered things, and what of them is kept out of training."""

    def __init__(self, data):
        self.pictures = np.load(Path(data) / "icons.npy", mmap_mode="r")
        self.icons = [Icon(i, f["style"], f["thing"], tuple(f["tags"]))
                      for i, f in enumerate(json.loads((Path(data) / "icons.json").read_text()))]
        rng = random.Random(2026)
        by_thing = {}
        for icon in self.icons:
            by_thing.setdefault(icon.thing, []).append(icon)
        # One style of every third thing is never trained; the thing itself is, in its other two styles.
        numbered = sorted(THINGS[:FIRST_THINGS]) + THINGS[FIRST_THINGS:]
        chosen = rng.sample(numbered[:FIRST_THINGS], 100)
        self.held_out = {rng.choice(by_thing[thing]).index for thing in chosen}
        self.trained = [icon for icon in self.icons if icon.index not in self.held_out]
        # Pairs of things whose numbers add up to a multiple of 20 are never trained together.
        self.number = {thing: i for i, thing in enumerate(numbered)}
        self.of_style = {}
        for icon in self.trained:
            self.of_style.setdefault(icon.style, []).append(icon)

    def is_held_out_pair(self, a, b):
        return (self.number[a.thing] + self.number[b.thing]) % 20 == 0

    def scene(self, rng, icon=None, kind=None):
        """A random scene around `icon`, or around any trained one."""
        icon = icon or rng.choice(self.trained)
        kind = kind or rng.choices(list(KINDS), KINDS.values())[0]
        scene = Scene(kind, icon.style, [icon], self.ground(rng))
        if kind == "small":
            scene.place = rng.choice(list(PLACES))
        elif kind == "several":
            scene.count = rng.choice([2, 2, 3])
        elif kind == "pair":
            scene.things = self.together(icon, 2, rng)
            scene.layout = rng.choices(["beside", "above"], [0.75, 0.25])[0]
        elif kind == "group":
            scene.things = self.together(icon, 2, rng)
        elif kind == "trio":
            scene.things = self.together(icon, 3, rng)
        return scene

    def together(self, icon, count, rng):
        """`icon` and others of its style, in any order, no two of which are kept from being trained together."""
        things = [icon]
        while len(things) < count:
            other = rng.choice(self.of_style[icon.style])
            if not any(other.thing == one.thing or self.is_held_out_pair(other, one) for one in things):
                things.append(other)
        return rng.sample(things, count)

    @staticmethod
    def ground(rng):
        if rng.random() < 0.25:
            return ("white",)
        if rng.random() < 0.12:
            return tuple(rng.sample(list(COLOURS), 2))
        return (rng.choice(list(COLOURS)),)

    def cut_out(self, icon, side, mirrored):
        """The thing, `side` pixels wide: colours times alpha, and alpha, both f32 of 0 to 1."""
        rgba = np.asarray(self.pictures[icon.index], dtype=np.float32) / 255
        rgba[..., :3] *= rgba[..., 3:]
        planes = [Image.fromarray(rgba[..., c]).resize((side, side), Image.Resampling.LANCZOS) for c in range(4)]
        out = np.clip(np.stack([np.asarray(p) for p in planes], -1), 0, 1)
        return out[:, ::-1] if mirrored else out

    def draw(self, scene, side, rng):
        """The scene as [side, side, 3] uint8."""
        top = np.array(COLOURS[scene.ground[0]], dtype=np.float32) / 255
        bottom = np.array(COLOURS[scene.ground[-1]], dtype=np.float32) / 255
        t = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
        canvas = np.broadcast_to(top * (1 - t) + bottom * t, (side, side, 3)).copy()
        for icon, left, upper, share in self.places(scene, rng):
            width = max(8, round(side * share))
            mirrored = icon.thing not in NOT_MIRRORED and scene.kind != "large" and rng.random() < 0.3
            cut = self.cut_out(icon, width, mirrored)
            x, y = round((side - width) * left), round((side - width) * upper)
            part = canvas[y:y + width, x:x + width]
            part[:] = part * (1 - cut[..., 3:]) + cut[..., :3]
        return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)

    @staticmethod
    def places(scene, rng):
        """(icon, share of the free room from the left, from the top, share of the side) of each thing to draw."""
        near = lambda at, by: min(1.0, max(0.0, at + rng.uniform(-by, by)))
        first = scene.things[0]
        if scene.kind == "large":
            share = rng.choice([0.94, 0.94, 0.8])
            yield first, near(0.5, 0.3), near(0.5, 0.3), share
        elif scene.kind == "small":
            left, upper = PLACES[scene.place]
            yield first, near(left, 0.06), near(upper, 0.06), rng.uniform(0.44, 0.5)
        elif scene.kind == "several":
            share = {2: 0.47, 3: 0.46}[scene.count]
            for left, upper in [(0.03, 0.5), (0.97, 0.5)] if scene.count == 2 else THREE:
                yield first, left, upper, share
        elif scene.kind in ("trio", "group"):
            things = scene.things if scene.kind == "trio" else [first, scene.things[1], scene.things[1]]
            for icon, (left, upper) in zip(things, THREE):
                yield icon, left, upper, 0.46
        else:
            spots = [(0.03, 0.5), (0.97, 0.5)] if scene.layout == "beside" else [(0.5, 0.03), (0.5, 0.97)]
            for icon, (left, upper) in zip(scene.things, spots):
                yield icon, left, near(upper, 0.05) if scene.layout == "beside" else upper, 0.47

    def example(self, rng, side, icon=None, kind=None):
        """(picture, caption) of a random scene."""
        scene = self.scene(rng, icon, kind)
        return self.draw(scene, side, rng), caption(scene, rng)
