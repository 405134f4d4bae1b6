"""10,000 random Unicode texts through CLIPTokenizer with CLIP's own vocabulary: a checksum for every 100 of them.

The texts are made from a congruential generator, here and in tests/it/golden/tokens.rs, so that they need not be kept.
"""

import gzip
import json

from transformers import CLIPTokenizer

COUNT, BLOCK = 10_000, 100
# Inclusive ranges of code points; the first ones are drawn most often.
RANGES = [
    (0x61, 0x7A), (0x61, 0x7A), (0x20, 0x20), (0x21, 0x7E), (0x41, 0x5A), (0xA0, 0x24F), (0x300, 0x36F),
    (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF),
    (0x2000, 0x206F), (0x2070, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF),
    (0xFB00, 0xFFFD), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0x0, 0x1F), (0x80, 0x9F),
    (0xE000, 0xF8FF), (0x10000, 0x10FFFF),
]  # fmt: skip


class Draws:
    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % bound


def text(draws):
    out = []
    for _ in range(1 + draws.below(48)):
        first, last = RANGES[min(draws.below(len(RANGES)), draws.below(len(RANGES)))]
        out.append(chr(first + draws.below(last - first + 1)))
    return "".join(out)


def clip(assets):
    lines = gzip.decompress((assets / "clip" / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode().split("\n")
    merges = [tuple(line.split(" ")) for line in lines[1 : 49152 - 256 - 2 + 1]]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    entries = letters + [c + "</w>" for c in letters] + ["".join(pair) for pair in merges]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    assert len(entries) == 49408
    return CLIPTokenizer({entry: i for i, entry in enumerate(entries)}, merges, model_max_length=77)


def random_texts(out, assets):
    tokenizer, draws, sums = clip(assets), Draws(1), []
    for _ in range(COUNT // BLOCK):
        checksum = 0xCBF29CE484222325
        for _ in range(BLOCK):
            for token in [*tokenizer(text(draws), add_special_tokens=False)["input_ids"], 2**32 - 1]:
                checksum = ((checksum ^ token) * 0x100000001B3) % 2**64
        sums.append(f"{checksum:016x}")
    (out / "random_texts.json").write_text(json.dumps(sums) + "\n")
