"""Hostile picture files, and how long and how much memory `calotype info` takes for each.

    hostile_files.py PATH/TO/calotype [FOLDER]

Prints a line for each and ends with 1 when one takes more than 100 ms of computing or 50 MiB more than a plain picture, or
ends by a signal. Linux only. With FOLDER the files are kept.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

MOST_SECONDS = 0.100
MOST_MIB = 50


def chunk(kind, data, length=None):
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=1, height=1, before=b"", pixels=None, after=b"", colour=2):
    channels = {0: 1, 2: 3, 6: 4}[colour]
    if pixels is None:
        pixels = zlib.compress(b"\0" + b"\7" * (width * channels), 1) if height == 1 else zeros(height * (1 + width * channels))
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def zeros(count, level=9):
    """So many zero bytes, packed."""
    packer, packed = zlib.compressobj(level), []
    while count > 0:
        packed.append(packer.compress(bytes(min(count, 1 << 20))))
        count -= 1 << 20
    return b"".join(packed) + packer.flush()


def text(keyword, data):
    return chunk(b"tEXt", keyword + b"\0" + data)


def jpeg(exif=b"", width=8, height=8, scan=b""):
    app1 = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif if exif else b""
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + app1 + b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + scan + b"\xff\xd9"


def webp(*chunks, size=None):
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(d) if n is None else n) + d + b"\0" * (len(d) & 1) for k, d, n in chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def vp8l(width, height, rest=b"\x88\x88\x08"):
    return b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + rest


def vp8x(width, height, flags=0x08):
    return bytes([flags, 0, 0, 0]) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]


def exif_of(entries, second=b""):
    """A little-endian directory of (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + b"\0\0\0\0" + second


def stealth(side):
    """Transparent black that promises a gigabyte of hidden text."""
    bits = b"".join(bytes([byte >> shift & 1 for shift in range(7, -1, -1)]) for byte in b"stealth_pngcomp\x7f\xff\xff\xff")
    rows = bytearray(side * (1 + side * 4))
    for at, bit in enumerate(bits):
        rows[at * (1 + side * 4) + 1 + 3] = bit
    return png(side, side, pixels=zlib.compress(bytes(rows), 9), colour=6)


def net():
    """A graph whose texts double sixty times, with three thousand samplers."""
    nodes = {"t0": {"class_type": "PrimitiveString", "inputs": {"value": "0123456789"}}}
    for at in range(1, 61):
        before = [f"t{at - 1}", 0]
        nodes[f"t{at}"] = {"class_type": "StringConcatenate", "inputs": {"string_a": before, "string_b": before}}
    nodes["p"] = {"class_type": "CLIPTextEncode", "inputs": {"text": ["t60", 0]}}
    for at in range(3000):
        link = [str((at + 1) % 3000), 0]
        inputs = {"positive": ["p", 0], "negative": ["p", 0], "latent_image": link, "model": link, "seed": 1}
        nodes[str(at)] = {"class_type": "KSampler", "inputs": inputs}
    return json.dumps(nodes).encode()


def files():
    mib = 1 << 20
    infotext = b"x\nSteps: 20, " + b"a: b, " * mib
    yield "plain", png()
    yield "text-length-lies", png(before=chunk(b"tEXt", b"parameters\0x", length=0x7FFFFFFF))
    yield "text-of-60-mib", png(before=text(b"parameters", b"x" * 60 * mib))
    yield "texts-of-60-mib", png(before=b"".join(text(b"parameters", b"x" * mib) for _ in range(60)))
    yield "a-million-texts", png(before=text(b"a", b"b") * mib)
    yield "late-text-of-60-mib", png(after=text(b"parameters", b"x" * 60 * mib))
    yield "ztxt-bomb", png(before=chunk(b"zTXt", b"parameters\0\0" + zeros(1 << 30)))
    yield "itxt-bomb", png(before=chunk(b"iTXt", b"parameters\0\1\0\0\0" + zeros(1 << 30)))
    yield "many-bombs", png(before=chunk(b"zTXt", b"parameters\0\0" + zeros(8 * mib - 1)) * 100)
    yield "infotext-of-6-mib", png(before=text(b"parameters", infotext))
    yield "deep-json", png(before=text(b"parameters", b'{"a":' * 100_000) + text(b"prompt", b"[" * mib))
    yield "net-of-nodes", png(before=text(b"prompt", net()))
    yield "exif-of-60-mib", png(before=chunk(b"eXIf", exif_of([(0x9286, 2, 60 * mib, 26)]) + b"x" * 60 * mib))
    yield "profile-bomb", png(before=chunk(b"iCCP", b"x\0\0" + zeros(1 << 30)))
    yield "png-8192", png(8192, 8192)
    yield "png-65535", png(65535, 65535, pixels=b"")
    yield "png-8192-with-text", png(8192, 8192, before=text(b"parameters", b"a fox"))
    yield "stealth-2048", stealth(2048)
    yield "idat-longer-than-picture", png(1, 1, pixels=zeros(1 << 30))
    yield "jpeg-8000", jpeg(width=8000, height=8000)
    yield "jpeg-65535", jpeg(width=65535, height=65535)
    yield "exif-circle", jpeg(exif_of([(0x8769, 4, 1, 8)] * 64))
    yield "exif-one-value-often", jpeg(exif_of([(0x9286, 7, 60_000, 8)] * 64) + b"x" * 60_000)
    yield "exif-lengths-lie", jpeg(exif_of([(0x9286, 7, 0xFFFFFFFF, 0xFFFFFFFF), (0x8769, 4, 1, 0xFFFFFFFE), (0x10E, 4, 0x7FFFFFFF, 0)]))
    yield "webp-16384", webp((b"VP8L", vp8l(16384, 16384), None))
    yield "webp-8192", webp((b"VP8L", vp8l(8192, 8192), None))
    yield "webp-riff-lies", webp((b"VP8L", vp8l(8, 8), None), size=0xFFFFFFFE)
    yield "webp-exif-lies", webp((b"VP8X", vp8x(8, 8), None), (b"VP8L", vp8l(8, 8), None), (b"EXIF", b"II*\0", 0xFFFFFFF0))
    yield "webp-canvas-lies", webp((b"VP8X", vp8x(1 << 24, 1 << 24), None), (b"VP8L", vp8l(8, 8), None))
    yield "webp-exif-of-60-mib", webp((b"VP8X", vp8x(8, 8), None), (b"VP8L", vp8l(8, 8), None), (b"EXIF", exif_of([(0x9286, 2, 60 * mib, 26)]) + b"x" * 60 * mib, None))
    yield "bmp-8192", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 8192, 8192, 1, 24, 0, 0, 0, 0, 0, 0)
    yield "tiff-8192", exif_of([(256, 4, 1, 8192), (257, 4, 1, 8192), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 8192), (279, 4, 1, 8192 * 8192)])


def run(calotype, path):
    """Exit code, seconds of computing and peak MiB of one run."""
    child = subprocess.Popen([calotype, "info", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write_all(folder):
    """In a process of its own: what this one has held in memory counts for its children."""
    child = os.fork()
    if child == 0:
        for name, data in files():
            (folder / name).write_bytes(data)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("the files could not be written")


def main():
    calotype = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        worst, plain = [], None
        write_all(folder)
        for path in sorted(folder.iterdir(), key=lambda path: (path.name != "plain", path.name)):
            # Computing time, the best of three: what else the machine does is not the file's fault.
            code, seconds, peak = min((run(calotype, path) for _ in range(3)), key=lambda run: run[1])
            plain = plain or (seconds, peak)
            seconds, peak = seconds - plain[0], peak - plain[1]
            is_bad = code not in (0, 1) or seconds > MOST_SECONDS or peak > MOST_MIB
            worst += [path.name] * is_bad
            print(f"{path.name:26} {path.stat().st_size / 1024:9.0f} KiB  exit {code:3}  {1000 * seconds:7.1f} ms  {peak:7.1f} MiB {'<<<' * is_bad}")
    sys.exit(bool(worst))


if __name__ == "__main__":
    main()
