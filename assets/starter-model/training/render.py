"""Renders every thing of things.txt in three styles to 256 x 256 RGBA pictures.

    python render.py NODE_MODULES DATA     # writes DATA/icons.npy [N, 256, 256, 4] uint8 and DATA/icons.json
"""
import io, json, re, sys
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from vocabulary import SETS, THINGS

SIDE_PX = 256


def main(modules, data):
    emoji = json.loads((modules / "emojibase-data/en/data.json").read_text())
    by_name = {entry["label"]: entry for entry in emoji}
    pictures, facts = [], []
    for style, package in SETS.items():
        icons = json.loads((modules / "@iconify-json" / package / "icons.json").read_text())
        for thing in THINGS:
            slug = re.sub(r"[^a-z0-9]+", "-", thing.lower()).strip("-")
            icon = icons["icons"].get(slug)
            if icon is None:
                print("missing:", style, thing)
                continue
            width = icon.get("width", icons.get("width", 32))
            height = icon.get("height", icons.get("height", 32))
            svg = (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                   f'viewBox="0 0 {width} {height}" width="{SIDE_PX}" height="{SIDE_PX}">{icon["body"]}</svg>')
            png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIDE_PX, height=SIDE_PX))
            pictures.append(np.asarray(Image.open(io.BytesIO(png)).convert("RGBA").resize((SIDE_PX, SIDE_PX))))
            facts.append({"style": style, "thing": thing, "tags": by_name[thing].get("tags", [])})
    data.mkdir(parents=True, exist_ok=True)
    np.save(data / "icons.npy", np.stack(pictures))
    (data / "icons.json").write_text(json.dumps(facts))
    print(len(pictures), "pictures")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
