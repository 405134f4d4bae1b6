"""Writes tests/fixtures/recipes: small pictures with the recipes of other programs, and what they say.

    make_recipe_files.py

A1111's files are written by sd-prompt-reader's own writer; the others by what their programs write with: Pillow's PngInfo
for PNG texts, piexif for EXIF. Byte orders and places that no library writes are laid out here by hand.
"""

import gzip
import json
import struct
import zlib
from pathlib import Path
from xml.sax.saxutils import escape

import piexif
import piexif.helper
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sd_prompt_reader.image_data_reader import ImageDataReader

from recipe_texts import FILES

FOLDER = Path(__file__).parents[1] / "fixtures" / "recipes"


def picture(side=8):
    return Image.new("RGB", (side, side), (200, 120, 40))


def png(path, texts):
    info = PngInfo()
    late = []
    for kind, keyword, text in texts:
        if kind == "iTXt":
            info.add_itxt(keyword, text)
        elif kind == "late":
            late.append(keyword.encode() + b"\0" + text.encode())
        else:
            # Bytes, so that what is no Latin-1 becomes UTF-8 in a tEXt chunk, as many programs write it.
            info.add_text(keyword, text.encode(), zip=kind == "zTXt")
    picture().save(path, "PNG", pnginfo=info)
    if late:
        data = path.read_bytes()
        chunks = b"".join(struct.pack(">I", len(c)) + b"tEXt" + c + struct.pack(">I", zlib.crc32(b"tEXt" + c)) for c in late)
        # Before IEND, which is 12 bytes long.
        path.write_bytes(data[:-12] + chunks + data[-12:])


def xmp_png(path, text):
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description><dc:description><rdf:Alt><rdf:li xml:lang="x-default">a fox</rdf:li></rdf:Alt></dc:description>'
        "<xmp:CreatorTool>Draw Things</xmp:CreatorTool><exif:UserComment><rdf:Alt>"
        f'<rdf:li xml:lang="x-default">{escape(text, {chr(34): "&quot;"})}</rdf:li></rdf:Alt></exif:UserComment>'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    png(path, [("iTXt", "XML:com.adobe.xmp", packet)])


def tiff(order, entries):
    """A TIFF: `entries` of the first directory as (tag, type, bytes); the second's under the tag 0x8769."""
    e = ">" if order == "MM" else "<"
    second = entries.pop(0x8769, {})

    def directory(at, entries, after):
        """The directory at `at` and its values behind it; `after` is put behind all and may be pointed at."""
        size = 2 + 12 * len(entries) + 4
        values, body, value_at = b"", b"", at + size
        for tag, (kind, data) in sorted(entries.items()):
            count = len(data) if kind != 4 else 1
            if data is after:
                # The pointer: behind all values.
                total = sum(len(d) for k, d in entries.values() if d is not after and len(d) > 4)
                body += struct.pack(e + "HHII", tag, kind, 1, at + size + total)
            elif len(data) <= 4:
                body += struct.pack(e + "HHI", tag, kind, count) + data.ljust(4, b"\0")
            else:
                body += struct.pack(e + "HHII", tag, kind, count, value_at + len(values))
                values += data
        return struct.pack(e + "H", len(entries)) + body + struct.pack(e + "I", 0) + values

    pointer = b"pointer"
    if second:
        entries[0x8769] = (4, pointer)
    header = (b"MM\0*" if order == "MM" else b"II*\0") + struct.pack(e + "I", 8)
    first = directory(8, entries, pointer)
    return header + first + (directory(8 + len(first), second, None) if second else b"")


CODES = {
    "unicode-be": lambda text: b"UNICODE\0" + text.encode("utf-16-be"),
    "unicode-le": lambda text: b"UNICODE\0" + text.encode("utf-16-le"),
    "ascii": lambda text: b"ASCII\0\0\0" + text.encode(),
}


def exif(path, form, ifd0=(), comment=None, order="MM"):
    if order == "MM" and not ifd0 and comment[0] == "unicode-be":
        # As A1111 and its relatives do it.
        data = piexif.helper.UserComment.dump(comment[1], encoding="unicode")
        block = piexif.dump({"Exif": {piexif.ExifIFD.UserComment: data}})
    else:
        entries = {tag: (2, text.encode() + b"\0") for tag, text in ifd0}
        if comment:
            entries[0x8769] = {0x9286: (7, CODES[comment[0]](comment[1]))}
        block = b"Exif\0\0" + tiff(order, entries)
    picture().save(path, form, exif=block, **({"lossless": True} if form == "WEBP" else {}))


def stealth(path, signature, text):
    content = gzip.compress(text.encode(), mtime=0) if "comp" in signature else text.encode()
    data = signature.encode() + struct.pack(">I", len(content) * 8) + content
    bits = [byte >> shift & 1 for byte in data for shift in range(7, -1, -1)]
    is_alpha = "png" in signature
    side = 8
    while side * side * (1 if is_alpha else 3) < len(bits):
        side += 8
    image = picture(side)
    if is_alpha:
        image.putalpha(255)
    at = 0
    for x in range(side):
        for y in range(side):
            pixel = list(image.getpixel((x, y)))
            for channel in [3] if is_alpha else range(3):
                pixel[channel] = pixel[channel] & 0xFE | (bits[at] if at < len(bits) else 0)
                at += 1
            image.putpixel((x, y), tuple(pixel))
    image.save(path, "PNG", optimize=True)


def write(name, container, texts):
    if container.startswith("reader."):
        path = FOLDER / f"{name}.{container[7:]}"
        # The writer keeps a JPEG's quality, which only a JPEG has.
        plain = FOLDER / f"plain.{container[7:]}"
        picture().save(plain)
        form = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[container[7:]]
        ImageDataReader.save_image(plain, path, form, texts)
        plain.unlink()
    elif container == "png":
        path = FOLDER / (f"{name}.jpeg" if name.endswith("named-jpeg") else f"{name}.png")
        png(path, texts)
    elif container == "xmp.png":
        path = FOLDER / f"{name}.png"
        xmp_png(path, texts)
    elif container == "stealth":
        path = FOLDER / f"{name}.png"
        stealth(path, *texts)
    else:
        path = FOLDER / f"{name}.{container[5:]}"
        exif(path, {"jpg": "JPEG", "webp": "WEBP"}[container[5:]], **texts)
    return path.name


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    expected = {write(name, container, texts): said for name, container, texts, said in FILES}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
    total = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{len(expected)} pictures, {total} bytes")


if __name__ == "__main__":
    main()
