"""Pictures of ours as other programs read them: sd-parsers and sd-prompt-reader on PNG, JPEG and WebP.

    peers_read.py PATH/TO/calotype

Makes pictures with the built-in model and compares every field that a peer knows with what was asked. Prints a
line for each file and peer, and ends with 1 if a field differs.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import sd_parsers
from sd_prompt_reader.image_data_reader import ImageDataReader

# What is asked, and the words in which A1111 has it.
PICTURES = {
    "plain": dict(prompt="a glossy fox on a sky blue background", seed=100),
    "negative": dict(
        prompt="a (glossy:1.2) fox, in snow\nwith a second line",
        negative="blurry, low quality\nand more",
        seed=4294967297,
        sampler=("euler-a", "Euler a"),
        steps=4,
        guidance="7.5",
    ),
    "scripts": dict(
        prompt="un renard élégant, 一只狐狸, лиса \U0001f98a",
        negative="flou, 模糊",
        seed=7,
        sampler=("dpmpp-2m", "DPM++ 2M"),
        schedule=("karras", "Karras"),
        steps=5,
        guidance="4",
    ),
    "size": dict(prompt="a flat lemon: ratio 3:2, steps: many", seed=3, steps=3, width=192, height=128),
}


def make(calotype, path, asked):
    command = [calotype, "generate", asked["prompt"], "--seed", str(asked["seed"]), "--output", str(path)]
    for name in ("negative", "steps", "guidance", "width", "height"):
        if name in asked:
            command += [f"--{name}", str(asked[name])]
    for name in ("sampler", "schedule"):
        if name in asked:
            command += [f"--{name}", asked[name][0]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def expected(asked):
    """Only what was asked: the rest are the model's defaults."""
    fields = {"prompt": asked["prompt"], "negative": asked.get("negative", ""), "seed": str(asked["seed"])}
    for name in ("steps", "guidance"):
        if name in asked:
            fields[name] = str(asked[name])
    for name in ("sampler", "schedule"):
        if name in asked:
            fields[name] = asked[name][1]
    fields["size"] = f"{asked.get('width', 128)}x{asked.get('height', 128)}"
    fields["model"] = "Calotype starter"
    return fields


def by_sd_parsers(path):
    info = sd_parsers.ParserManager().parse(str(path))
    sampler = info.samplers[0]
    first = lambda prompts: prompts[0].value if prompts else ""
    fields = {
        "prompt": first(sampler.prompts),
        "negative": first(sampler.negative_prompts),
        "seed": sampler.parameters.get("seed"),
        "steps": sampler.parameters.get("steps"),
        "guidance": sampler.parameters.get("cfg_scale"),
        "schedule": sampler.parameters.get("scheduler"),
        "sampler": sampler.name,
        "model": sampler.model.name,
        "size": info.metadata.get("Size"),
    }
    return {name: None if value is None else str(value) for name, value in fields.items()}


def by_sd_prompt_reader(path):
    with contextlib.redirect_stdout(io.StringIO()):
        reader = ImageDataReader(str(path))
    said = reader.parameter
    return {
        "prompt": reader.positive,
        "negative": reader.negative,
        "seed": said["seed"],
        "steps": said["steps"],
        "guidance": said["cfg"],
        "sampler": said["sampler"],
        "model": said["model"],
        "size": f"{reader.width}x{reader.height}",
    }


PEERS = {"sd-parsers": by_sd_parsers, "sd-prompt-reader": by_sd_prompt_reader}


def main():
    calotype = os.path.abspath(sys.argv[1])
    is_wrong = False
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CALOTYPE_DATA"] = folder
        for name, asked in PICTURES.items():
            for ending in ("png", "jpg", "webp"):
                path = Path(folder) / f"{name}.{ending}"
                make(calotype, path, asked)
                for peer, read in PEERS.items():
                    try:
                        found = read(path)
                    except Exception as error:
                        found = {"error": repr(error)}
                    # A peer does not know every field.
                    wanted = {key: value for key, value in expected(asked).items() if key in found or "error" in found}
                    wrong = {key: (value, found.get(key)) for key, value in wanted.items() if found.get(key) != value}
                    is_wrong |= bool(wrong)
                    print(f"{path.name:15} {peer:17} {len(wanted) - len(wrong)} of {len(wanted)} fields", wrong or "")
    sys.exit(is_wrong)


if __name__ == "__main__":
    main()
