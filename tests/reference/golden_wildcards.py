"""What the wildcard language's own library can draw from random templates: every alternative, not how it draws."""

import json
import random

from dynamicprompts.generators import CombinatorialPromptGenerator, RandomPromptGenerator

COUNT = 200
# More alternatives than this are left out: the test draws them by chance.
MOST = 60
BOUNDS = ["", "", "", "2$$", "1-2$$", "-2$$", "1-$$", "2$$ and $$", "0-1$$", " "]


def text(rng):
    return "".join(rng.choice("abcdef ") for _ in range(rng.randint(0, 3)))


def choice(rng, depth):
    options = [template(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    return "{" + rng.choice(BOUNDS) + "|".join(options) + "}"


def template(rng, depth):
    made = text(rng)
    return made + choice(rng, depth) + text(rng) if depth and rng.random() < 0.6 else made


def wildcards(out):
    rng = random.Random(20)
    cases = {}
    while len(cases) < COUNT:
        made = template(rng, 2)
        if "{" not in made:
            continue
        try:
            drawn = {str(one) for one in CombinatorialPromptGenerator().generate(made, max_prompts=4 * MOST)}
        except Exception:  # noqa: BLE001: a bound above the number of options is refused in some places
            continue
        # Of equal options the combinatorial generator knows one, the random one all: where they differ, neither is used.
        by_chance = {str(one) for one in RandomPromptGenerator(seed=1).generate(made, num_images=400)}
        if len(drawn) <= MOST and by_chance <= drawn:
            cases[made] = sorted(drawn)
    lines = ",\n".join(json.dumps(case) for case in cases.items())
    (out / "wildcards.json").write_text(f"[\n{lines}\n]\n")
