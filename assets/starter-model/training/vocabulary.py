"""The words of the built-in model: things, styles, colours, places, and how captions put them."""
from pathlib import Path

HERE = Path(__file__).parent
# All that is rendered, taught, and told apart by the judge.
THINGS = (HERE / "things.txt").read_text().splitlines()
# What else a thing is called: "car" is the automobile.
SYNONYMS = {}
for line in (HERE / "synonyms.txt").read_text().splitlines():
    word, thing = line.split(" = ")
    SYNONYMS.setdefault(thing, []).append(word)
# What came later than the rest, and is therefore shown twice as often.
LATER = (HERE / "later.txt").read_text().splitlines()

# Each style is one set of pictures, a package of the npm registry.
SETS = {"glossy": "fluent-emoji", "flat": "fluent-emoji-flat", "cartoon": "noto"}

STYLE_WORDS = {
    "glossy": ["glossy", "glossy", "glossy 3d", "shiny"],
    "flat": ["flat", "flat", "flat vector", "simple flat"],
    "cartoon": ["cartoon", "cartoon", "drawn"],
}

COLOURS = {
    "white": (255, 255, 255), "black": (20, 20, 22), "red": (214, 40, 40), "orange": (247, 127, 0),
    "yellow": (255, 209, 60), "green": (64, 145, 80), "teal": (20, 150, 150), "sky blue": (135, 206, 250),
    "blue": (40, 90, 200), "navy": (20, 33, 80), "purple": (120, 60, 170), "pink": (255, 150, 190),
    "brown": (120, 80, 50), "gray": (140, 140, 140), "cream": (250, 240, 215), "mint": (170, 235, 205),
    "lavender": (205, 190, 245),
}

# Where a small thing stands: shares of the free room from the left and from the top.
PLACES = {
    "in the middle": (0.5, 0.5), "on the left": (0.0, 0.5), "on the right": (1.0, 0.5),
    "at the top": (0.5, 0.0), "at the bottom": (0.5, 1.0),
    "in the top left": (0.0, 0.0), "in the top right": (1.0, 0.0),
    "in the bottom left": (0.0, 1.0), "in the bottom right": (1.0, 1.0),
}


def with_article(words):
    """"an owl", "a fox"."""
    return ("an " if words[0].lower() in "aeiou" else "a ") + words


PLURALS = {"glass of milk": "glasses of milk", "ox": "oxen", "goose": "geese", "moose": "moose", "mouse": "mice", "fish": "fish",
           "scarf": "scarves", "maple leaf": "maple leaves", "snowman": "snowmen", "meat on bone": "meats on bones"}


def plural(thing):
    """"foxes", "cherries" as it stands, "teddy bears": good enough for captions."""
    if thing in PLURALS:
        return PLURALS[thing]
    if thing.endswith("s") and not thing.endswith(("ss", "us")):
        return thing
    if thing.endswith(("x", "ch", "sh", "ss", "us")):
        return thing + "es"
    if thing.endswith("y") and thing[-2] not in "aeiou":
        return thing[:-1] + "ies"
    return thing + "s"


def named(icon, rng):
    """The thing's name, sometimes with one of its tags behind it, sometimes something else that it is called."""
    how = rng.random()
    if icon.tags and how < 0.10:
        return f"{icon.thing}, {rng.choice(icon.tags)}"
    if icon.thing in SYNONYMS and how < 0.35:
        return rng.choice(SYNONYMS[icon.thing])
    return icon.thing


def in_a_row(parts):
    """"a fox, an owl and a bus"."""
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def caption(scene, rng):
    """One of many ways to say what is in a scene (see scenes.py)."""
    style = rng.choice(STYLE_WORDS[scene.style])
    how = rng.choices(["before", "behind", "unsaid"], [0.70, 0.27, 0.03])[0]
    front = f"{style} " if how == "before" else ""
    first = scene.things[0]
    if scene.kind == "pair":
        second = scene.things[1]
        one, two = with_article(front + first.thing), with_article(rng.choice([front, ""]) + second.thing)
        said = rng.choice(
            [f"{one} and {two}", f"{one} and {two}", f"{one} next to {two}", f"{one} to the left of {two}",
             f"{two} to the right of {one}"] if scene.layout == "beside"
            else [f"{one} above {two}", f"{two} below {one}"])
    elif scene.kind == "trio":
        articled = [with_article(front + first.thing)] + [with_article(icon.thing) for icon in scene.things[1:]]
        said = in_a_row(rng.sample(articled, 3))
    elif scene.kind == "group":
        # The one stands above, the two below.
        one = with_article(rng.choice([front, ""]) + first.thing)
        two = f"two {front}{plural(scene.things[1].thing)}"
        said = rng.choice([f"{one} and {two}", f"{two} and {one}", f"{one} above {two}"])
    elif scene.kind == "several":
        said = f"{ {2: 'two', 3: 'three'}[scene.count] } {front}{plural(first.thing)}"
    else:
        words = front + named(first, rng)
        if scene.kind == "small":
            words = "small " + words
        said = with_article(words) if rng.random() < 0.65 else words
        if scene.kind == "small" and rng.random() < 0.75:
            said += f" {scene.place}"
    parts = [said]
    if how == "behind":
        parts.append(f"{style} style")
    ground = scene.ground
    if len(ground) == 2:
        parts.append(f"on a {ground[0]} to {ground[1]} gradient")
    elif ground[0] != "white" or rng.random() < 0.4:
        parts.append(rng.choice([f"on a {ground[0]} background", f"on a {ground[0]} background", f"{ground[0]} background"]))
    return (", " if rng.random() < 0.3 else " ").join(parts).replace("on a orange", "on an orange")
