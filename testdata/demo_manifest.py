#!/usr/bin/env python3
"""demo_manifest.py FOLDER: write FOLDER/manifest.jsonl, the demo's list of pictures.

FOLDER holds the unpacked Debian package tuxpaint-stamps-default. Each picture
with a caption becomes a line: asset_id (its path below stamps/, without .png),
uri (relative to the manifest), caption (English) and metadata. Mirror images,
which have no caption of their own, are left out. Needs nothing but Python 3.
"""
import json
import os
import struct
import sys

# PNG colour types (the byte after width, height and bit depth).
COLORS = {0: "gray", 2: "rgb", 3: "palette", 4: "gray+alpha", 6: "rgb+alpha"}
LANGUAGES = ("de", "es", "fr", "ja", "ru", "zh_CN")


def png_header(path):
    """Width, height and colour type of a PNG file."""
    with open(path, "rb") as f:
        head = f.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        sys.exit(f"demo_manifest.py: {path} is no PNG file; unpack the package again")
    width, height, _, color = struct.unpack(">IIBB", head[16:26])
    return width, height, COLORS.get(color, str(color))


def captions(path):
    """The English caption (first line) and the others by language."""
    with open(path, encoding="utf-8") as f:
        lines = [line.strip() for line in f]
    others = {}
    for line in lines[1:]:
        key, eq, text = line.partition("=")
        if eq and text.strip():
            others[key.removesuffix(".utf8")] = text.strip()
    return lines[0], others


def row(root, path):
    """One line of the manifest, for the picture at path."""
    asset_id = os.path.relpath(path, os.path.join(root, "usr/share/tuxpaint/stamps")).removesuffix(".png")
    folders = asset_id.split("/")
    width, height, color = png_header(path)
    caption, others = captions(path.removesuffix(".png") + ".txt")
    metadata = {
        "category": folders[0],
        "kind": folders[1] if len(folders) > 2 else folders[0],
        "cartoon": "cartoon" in folders,
        "width": width,
        "height": height,
        "color": color,
        "languages": 1 + len(others),
    }
    for lang in LANGUAGES:
        metadata["caption_" + lang.lower()] = others.get(lang)
    return {"asset_id": asset_id, "uri": os.path.relpath(path, root), "caption": caption, "metadata": metadata}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = sys.argv[1]
    stamps = os.path.join(root, "usr/share/tuxpaint/stamps")
    rows = []
    for folder, _, files in os.walk(stamps):
        for name in files:
            path = os.path.join(folder, name)
            if name.endswith(".png") and os.path.exists(path.removesuffix(".png") + ".txt"):
                rows.append(row(root, path))
    if not rows:
        sys.exit(f"demo_manifest.py: no pictures below {stamps}; run: ./setup.sh demo")
    rows.sort(key=lambda r: r["asset_id"])
    out = os.path.join(root, "manifest.jsonl")
    with open(out + ".new", "w", encoding="utf-8", newline="\n") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=False) + "\n")
    os.replace(out + ".new", out)
    print(f"{out}: {len(rows)} pictures in {len({r['metadata']['category'] for r in rows})} categories")


if __name__ == "__main__":
    main()
