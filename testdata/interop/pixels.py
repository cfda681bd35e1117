"""Pixels: some hundred pictures of every kind, as winnow decodes and resizes them, against Pillow.

usage: pixels.py PIXELS [--keep DIR]

PIXELS is the compiled testdata/tools/pixels. Every picture is looked at whole and through a few of the
filters and fits, chosen by a seed. The bytes must be equal. Where winnow refuses a file that Pillow reads, the
refusal must be one that REFUSED lists; where Pillow refuses a file, winnow must, too.
"""

import base64
import collections
import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import warnings

import numpy as np
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
TESTDATA = os.path.join(HERE, "..", "..", "models", "image", "testdata")
sys.path.insert(0, TESTDATA)
import make  # noqa: E402 # of the pictures beside winnow's decoders

# Kinds of pictures that winnow refuses though Pillow reads them, by the start of their names.
REFUSED = (
    "tiff-ycbcr",
    "tiff-1-tiff_ccitt",
    "tiff-float",  # no colours: what is white?
    "tiff-int32",
    "tiff-jpeg",
    "tiff-lab",
    "tiff-zstd",
    "tiff-lzma",
)
# Kinds that winnow reads and Pillow does not.
MORE = ("bmp-rgba-40", "bmp-ten", "bmp-444", "tiff-hand-l16-be-0")
SIZES = ((1, 1), (7, 5), (16, 16), (33, 50), (64, 48), (3, 200), (200, 3))
warnings.simplefilter("ignore")


def jpegs():
    for w, h in SIZES:
        px = make.scene(w, h, w)
        rgb, grey = Image.fromarray(px[..., :3]), Image.fromarray(px[..., 0])
        for sub in (0, 1, 2):
            for extra in ({}, {"progressive": True}):
                yield f"jpeg-{w}x{h}-{sub}-{len(extra)}.jpg", make.save(rgb, "jpeg", quality=75, subsampling=sub, **extra)
        yield f"jpeg-{w}x{h}-grey.jpg", make.save(grey, "jpeg", quality=90)
        cmyk = make.save(Image.fromarray(np.dstack([px[..., :3], px[..., 3] // 2]), "CMYK"), "jpeg", quality=92)
        yield f"jpeg-{w}x{h}-cmyk.jpg", cmyk
        at = cmyk.index(b"Adobe") + 11
        yield f"jpeg-{w}x{h}-ycck.jpg", cmyk[:at] + b"\2" + cmyk[at + 1 :]
        start, end = cmyk.index(b"\xff\xee"), cmyk.index(b"\xff\xee") + 16
        yield f"jpeg-{w}x{h}-cmyk-plain.jpg", cmyk[:start] + cmyk[end:]
        yield f"jpeg-{w}x{h}-rgb.jpg", make.save(rgb, "jpeg", keep_rgb=True)
    px = make.scene(60, 41, 2)
    rgb = Image.fromarray(px[..., :3])
    for q in (1, 10, 50, 95, 100):
        yield f"jpeg-q{q}.jpg", make.save(rgb, "jpeg", quality=q)
    for n in (1, 3, 7):
        yield f"jpeg-restart-{n}.jpg", make.save(rgb, "jpeg", restart_marker_blocks=n)
        yield f"jpeg-restart-rows-{n}.jpg", make.save(rgb, "jpeg", restart_marker_rows=n, progressive=True)
    for turn in range(1, 9):
        yield f"jpeg-exif-{turn}.jpg", make.save(rgb, "jpeg", exif=turned(turn))
    yield "jpeg-comment.jpg", make.save(rgb, "jpeg", comment=b"x" * 60000)
    yield "jpeg-icc.jpg", make.save(rgb, "jpeg", icc_profile=profile())
    whole = make.save(rgb, "jpeg")
    yield "jpeg-tail.jpg", whole + b"\0" * 1000
    yield "jpeg-no-end.jpg", whole[:-2]
    yield "jpeg-cut.jpg", whole[: len(whole) // 2]
    at = whole.index(b"\xff\xc0")
    yield "jpeg-12-bits.jpg", whole[: at + 4] + b"\x0c" + whole[at + 5 :]
    yield "jpeg-lossless.jpg", whole[: at + 1] + b"\xc3" + whole[at + 2 :]
    for name in sorted(os.listdir(os.path.join(TESTDATA, "odd"))):
        if name.endswith(".jpg"):
            with open(os.path.join(TESTDATA, "odd", name), "rb") as f:
                yield f"jpeg-odd-{name}", f.read()


def turned(turn):
    exif = Image.Exif()
    exif[0x112] = turn
    return exif


def profile():
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def pngs():
    rng = np.random.default_rng(5)
    for w, h in SIZES[:5]:
        px = make.scene(w, h, h)
        wide = px.astype(np.uint16) * 256 + rng.integers(0, 256, px.shape)
        for inter in (False, True):
            tag = f"{w}x{h}{'-i' if inter else ''}"
            for depth in (1, 2, 4, 8):
                yield f"png-{tag}-l{depth}.png", make.png(px[..., :1] >> (8 - depth), depth, 0, interlaced=inter)
                n = 1 << depth
                palette = make.chunk(b"PLTE", rng.integers(0, 256, n * 3, dtype=np.uint8).tobytes())
                index = (px[..., 1:2] >> (8 - depth)).astype(np.uint8)
                yield f"png-{tag}-p{depth}.png", make.png(index, depth, 3, palette, interlaced=inter)
                alpha = make.chunk(b"tRNS", rng.integers(0, 256, max(n - 1, 1), dtype=np.uint8).tobytes())
                yield f"png-{tag}-p{depth}-alpha.png", make.png(index, depth, 3, palette + alpha, interlaced=inter)
            for name, part, colour in (("l", px[..., :1], 0), ("la", px[..., 1::2], 4), ("rgb", px[..., :3], 2), ("rgba", px, 6)):
                yield f"png-{tag}-{name}8.png", make.png(part, 8, colour, interlaced=inter, parts=2)
            for name, part, colour in (("l", wide[..., :1], 0), ("la", wide[..., 1::2], 4), ("rgb", wide[..., :3], 2), ("rgba", wide, 6)):
                yield f"png-{tag}-{name}16.png", make.png(part, 16, colour, interlaced=inter)
    px = make.scene(40, 30, 1)
    rgb, rgba, grey = Image.fromarray(px[..., :3]), Image.fromarray(px), Image.fromarray(px[..., 0])
    one = struct.pack(">H", int(px[3, 4, 0]))
    yield "png-l-trns.png", make.png(px[..., :1], 8, 0, make.chunk(b"tRNS", one))
    yield "png-l16-trns.png", make.png(px[..., :1].astype(np.uint16) * 257, 16, 0, make.chunk(b"tRNS", one))
    yield "png-rgb-trns.png", make.png(px[..., :3], 8, 2, make.chunk(b"tRNS", b"".join(struct.pack(">H", int(v)) for v in px[3, 4, :3])))
    yield "png-rgb16-trns.png", make.png(px[..., :3].astype(np.uint16) * 257, 16, 2, make.chunk(b"tRNS", b"\0" * 6))
    yield "png-l1-trns.png", make.png(px[..., :1] >> 7, 1, 0, make.chunk(b"tRNS", b"\0\1"))
    yield "png-gamma.png", make.png(px[..., :3], 8, 2, make.chunk(b"gAMA", struct.pack(">I", 100000)))
    yield "png-icc.png", make.save(rgb, "png", icc_profile=profile())
    for turn in range(1, 9):
        yield f"png-exif-{turn}.png", make.save(rgba, "png", exif=turned(turn))
    for name, first in (("", False), ("-default", True)):
        yield f"png-moving{name}.png", make.save(rgba, "png", save_all=True, default_image=first, append_images=[rgba.rotate(180), rgba.rotate(90)])
    yield "png-moving-grey.png", make.save(grey, "png", save_all=True, append_images=[grey.rotate(180)])
    whole = make.save(rgba, "png")
    yield "png-no-end.png", whole[:-12]
    yield "png-cut.png", whole[: len(whole) // 2]
    yield "png-tail.png", whole + b"tail"
    at = whole.index(b"IDAT")
    yield "png-crc.png", whole[: at + 30] + bytes([whole[at + 30] ^ 1]) + whole[at + 31 :]


def gifs():
    for w, h in SIZES:
        px = make.scene(w, h, 3)
        rgb = Image.fromarray(px[..., :3])
        for colours in (2, 5, 100, 256):
            p = rgb.quantize(colours)
            for inter in (0, 1):
                yield f"gif-{w}x{h}-{colours}-{inter}.gif", make.save(p, "gif", interlace=inter)
            yield f"gif-{w}x{h}-{colours}-alpha.gif", make.save(p, "gif", transparency=1)
    px = make.scene(50, 40, 3)
    rgb, rgba, grey = Image.fromarray(px[..., :3]), Image.fromarray(px), Image.fromarray(px[..., 0])
    frames = [rgb.rotate(a) for a in (90, 180)]
    for disposal in (0, 1, 2, 3):
        yield f"gif-moving-{disposal}.gif", make.save(rgb, "gif", save_all=True, append_images=frames, disposal=disposal)
        yield f"gif-moving-alpha-{disposal}.gif", make.save(rgba, "gif", save_all=True, append_images=[rgba.rotate(90)], disposal=disposal)
    yield "gif-grey.gif", make.save(grey, "gif")
    yield "gif-1.gif", make.save(grey.convert("1"), "gif")
    yield "gif-comment.gif", make.save(rgb.quantize(9), "gif", comment=b"c" * 1000)
    yield "gif-87a.gif", b"GIF87a" + make.save(rgb.quantize(9), "gif")[6:]
    whole = make.save(rgb.quantize(200), "gif")
    yield "gif-cut.gif", whole[: len(whole) // 2]
    yield "gif-no-end.gif", whole[:-1]


def webps():
    for w, h in SIZES:
        px = make.scene(w, h, 9)
        rgb, rgba = Image.fromarray(px[..., :3]), Image.fromarray(px)
        for name, im in (("rgb", rgb), ("rgba", rgba)):
            for quality in (5, 60, 100):
                yield f"webp-{w}x{h}-{name}-q{quality}.webp", make.save(im, "webp", quality=quality)
            yield f"webp-{w}x{h}-{name}-lossless.webp", make.save(im, "webp", lossless=True, quality=80)
            yield f"webp-{w}x{h}-{name}-moving.webp", make.save(im, "webp", save_all=True, append_images=[im.rotate(180)], quality=70)
    px = make.scene(70, 55, 9)
    rgb, rgba = Image.fromarray(px[..., :3]), Image.fromarray(px)
    for turn in range(1, 9):
        yield f"webp-exif-{turn}.webp", make.save(rgb, "webp", exif=turned(turn).tobytes())
    for method in (0, 3, 6):
        yield f"webp-method-{method}.webp", make.save(rgba, "webp", method=method, quality=50, alpha_quality=30)
    yield "webp-palette.webp", make.save(rgb.quantize(7).convert("RGB"), "webp", lossless=True)
    yield "webp-two.webp", make.save(rgb.quantize(2).convert("RGB"), "webp", lossless=True)
    yield "webp-icc.webp", make.save(rgb, "webp", icc_profile=profile())
    whole = make.save(rgb, "webp")
    yield "webp-cut.webp", whole[: len(whole) // 2]


def bmps():
    px = make.scene(37, 29, 4)
    rgb, grey = Image.fromarray(px[..., :3]), Image.fromarray(px[..., 0])
    yield "bmp-rgb.bmp", make.save(rgb, "bmp")
    yield "bmp-rgba.bmp", make.save(Image.fromarray(px), "bmp")
    yield "bmp-l.bmp", make.save(grey, "bmp")
    yield "bmp-1.bmp", make.save(grey.convert("1"), "bmp")
    for colours in (2, 16, 200, 256):
        yield f"bmp-p{colours}.bmp", make.save(rgb.quantize(colours), "bmp")
    index = np.asarray(rgb.quantize(16))
    palette = rgb.quantize(16).getpalette()[:48]
    quads = b"".join(bytes([palette[i + 2], palette[i + 1], palette[i], 0]) for i in range(0, 48, 3))
    triples = b"".join(bytes([palette[i + 2], palette[i + 1], palette[i]]) for i in range(0, 48, 3))
    rows4 = np.pad(index, ((0, 0), (0, 3)))[::-1]
    packed = (rows4[:, ::2] << 4 | rows4[:, 1::2]).astype(np.uint8).tobytes()
    yield "bmp-4.bmp", make.bmp(37, 29, 4, 0, b"", quads, packed)
    yield "bmp-rle8.bmp", make.bmp(37, 29, 8, 1, b"", quads, make.rle8(index // 4 * 4))
    yield "bmp-rle4.bmp", make.bmp(37, 29, 4, 2, b"", quads, rle4(index))
    offset = 14 + 12 + len(triples)
    yield "bmp-os2.bmp", struct.pack("<2sIHHIIHHHH", b"BM", offset + len(packed), 0, 0, offset, 12, 37, 29, 1, 4) + triples + packed
    row24 = np.pad(px[..., 2::-1].reshape(29, -1), ((0, 0), (0, 1)))[::-1].tobytes()
    yield "bmp-os2-24.bmp", struct.pack("<2sIHHIIHHHH", b"BM", 26 + len(row24), 0, 0, 26, 12, 37, 29, 1, 24) + row24
    wide = px[..., [2, 1, 0, 3]][::-1].tobytes()
    for name, masks in (("bgra", (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), ("rgba", (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
                        ("bgrx", (0xFF0000, 0xFF00, 0xFF, 0)), ("xbgr", (0xFF000000, 0xFF0000, 0xFF00, 0)), ("abgr", (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
                        ("ten", (0x3FF00000, 0xFFC00, 0x3FF, 0))):
        for size in (40, 56, 108, 124):
            yield f"bmp-{name}-{size}.bmp", masked(37, 29, 32, size, masks, wide)
    word = (px[..., 0] >> 4).astype("<u2") << 8 | (px[..., 1] >> 4).astype("<u2") << 4 | (px[..., 2] >> 4) | (px[..., 3] >> 4).astype("<u2") << 12
    rows16 = np.pad(word, ((0, 0), (0, 1)))[::-1].astype("<u2").tobytes()
    for name, masks in (("565", (0xF800, 0x7E0, 0x1F, 0)), ("555", (0x7C00, 0x3E0, 0x1F, 0)), ("444", (0xF00, 0xF0, 0xF, 0xF000)), ("1555", (0x7C00, 0x3E0, 0x1F, 0x8000))):
        for size in (40, 56, 124):
            yield f"bmp-{name}-{size}.bmp", masked(37, 29, 16, size, masks, rows16)
    whole = make.save(rgb, "bmp")
    yield "bmp-cut.bmp", whole[: len(whole) // 2]


def masked(w, h, bits, size, masks, pixels):
    """A BMP with colour masks: behind a header of 40 bytes, or in a longer one."""
    info = struct.pack("<IiiHHIIiiII", size, w, h, 1, bits, 3, len(pixels), 0, 0, 0, 0)
    info += struct.pack("<IIII", *masks)[: 12 if size == 40 else 16]
    info += b"\0" * (size - len(info))
    offset = 14 + len(info)
    return struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + info + pixels


def rle4(index):
    out = b""
    for row in index[::-1]:
        i = 0
        while i < len(row):
            n = 1
            while i + n < len(row) and n < 255 and row[i + n] == row[i]:
                n += 1
            if n == 1 and len(row) - i >= 4:
                a = row[i : i + 4]
                out += bytes([0, 4, a[0] << 4 | a[1], a[2] << 4 | a[3]])
                n = 4
            else:
                out += bytes([n, row[i] << 4 | row[i]])
            i += n
        out += b"\0\0"
    return out + b"\0\1"


def tiffs():
    px = make.scene(45, 34, 6)
    rgb, rgba, grey = Image.fromarray(px[..., :3]), Image.fromarray(px), Image.fromarray(px[..., 0])
    kinds = {"rgb": rgb, "rgba": rgba, "l": grey, "1": grey.convert("1"), "p": rgb.quantize(50), "la": Image.fromarray(px[..., 1::2], "LA"),
             "cmyk": Image.fromarray(px, "CMYK"), "i16": Image.fromarray(px[..., 0].astype(np.uint16) * 257), "lab": Image.fromarray(px[..., :3], "LAB"),
             "ycbcr": rgb.convert("YCbCr"), "rgbx": Image.fromarray(px, "RGBX")}
    for name, im in kinds.items():
        for comp in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
            yield f"tiff-{name}-{comp}.tif", make.save(im, "tiff", compression=comp)
            if name in ("rgb", "l", "rgba") and comp in ("tiff_lzw", "tiff_adobe_deflate"):
                yield f"tiff-{name}-{comp}-predictor.tif", make.save(im, "tiff", compression=comp, tiffinfo={317: 2})
            yield f"tiff-{name}-{comp}-strips.tif", make.save(im, "tiff", compression=comp, tiffinfo={278: 5})
    for comp in ("group3", "group4", "tiff_ccitt"):
        yield f"tiff-1-{comp}.tif", make.save(kinds["1"], "tiff", compression=comp)
    yield "tiff-jpeg-rgb.tif", make.save(rgb, "tiff", compression="jpeg")
    yield "tiff-jpeg-l.tif", make.save(grey, "tiff", compression="jpeg")
    for comp in ("zstd", "lzma"):
        yield f"tiff-{comp}.tif", make.save(rgb, "tiff", compression=comp)
    yield "tiff-float.tif", make.save(grey.convert("F"), "tiff")
    yield "tiff-int32.tif", make.save(grey.convert("I"), "tiff")
    yield "tiff-pages.tif", make.save(rgb, "tiff", save_all=True, append_images=[rgba.rotate(90)])
    for turn in range(1, 9):
        yield f"tiff-exif-{turn}.tif", make.save(rgb, "tiff", exif=turned(turn))
    for order in "<>":
        tag = "le" if order == "<" else "be"
        for inverted in (0, 1):
            yield f"tiff-hand-l-{tag}-{inverted}.tif", make.tiff(order, px[..., :1], 8, inverted)
            yield f"tiff-hand-l16-{tag}-{inverted}.tif", make.tiff(order, px[..., :1].astype(np.uint16) * 256 + 77, 16, inverted)
        yield f"tiff-hand-rgb-{tag}.tif", make.tiff(order, px[..., :3], 8, 2)
        yield f"tiff-hand-rgb16-{tag}.tif", make.tiff(order, px[..., :3].astype(np.uint16) * 256 + 200, 16, 2)
        for extra in (0, 1, 2):
            yield f"tiff-hand-rgba-{tag}-{extra}.tif", make.tiff(order, px, 8, 2, {338: extra})
            yield f"tiff-hand-rgba16-{tag}-{extra}.tif", make.tiff(order, px.astype(np.uint16) * 256 + 99, 16, 2, {338: extra})
            yield f"tiff-hand-la-{tag}-{extra}.tif", make.tiff(order, px[..., 1::2], 8, 1, {338: extra})
        yield f"tiff-hand-planar-{tag}.tif", make.tiff(order, px[..., :3], 8, 2, planar=True)
        yield f"tiff-hand-tiles-{tag}.tif", make.tiff(order, px[..., :3], 8, 2, tile=16)
        yield f"tiff-hand-tiles-l-{tag}.tif", make.tiff(order, px[..., :1], 8, 1, tile=32)
        yield f"tiff-hand-cmyk-{tag}.tif", make.tiff(order, px, 8, 5)
    whole = make.save(rgb, "tiff", compression="tiff_lzw")
    yield "tiff-cut.tif", whole[: len(whole) // 2]
    raw = make.tiff("<", px[..., :3], 8, 2)
    yield "tiff-cut-raw.tif", raw[: len(raw) - 500]


def reference(data, exif):
    """What a Python program gives a model: upright, on white, RGB."""
    im = Image.open(io.BytesIO(data))
    im.load()
    if im.mode.startswith("I;16"):  # winnow takes the high bytes, where Pillow clips at 255
        high = np.asarray(im).astype(np.uint16) >> 8
        if im.format == "TIFF" and im.tag_v2.get(262) == 0:  # Pillow forgets that 0 is white
            high = 255 - high
        grey = Image.fromarray(high.astype(np.uint8))
        grey.info = {k: v for k, v in im.info.items() if k != "transparency"}
        grey.getexif()[0x112] = im.getexif().get(0x112, 1)
        im = grey
    if exif:
        im = ImageOps.exif_transpose(im)
    if im.mode in ("RGBA", "LA", "P", "PA", "RGBa", "La"):
        im = im.convert("RGBA")
        white = Image.new("RGBA", im.size, (255, 255, 255, 255))
        white.alpha_composite(im)
        im = white
    return im.convert("RGB")


def fits(rng, w, h):
    """Options as winnow and as Pillow take them."""
    yield {"Height": h, "Width": w, "Filter": "bicubic"}, lambda im: im
    for _ in range(3):
        name = rng.choice(sorted(make.FILTERS))
        how = make.FILTERS[name]
        rw, rh = rng.randint(1, 80), rng.randint(1, 80)
        o = {"Height": rh, "Width": rw, "Filter": name}
        kind = rng.choice(("squash", "crop", "letterbox"))
        if kind == "crop":
            side = max(rw, rh) + rng.randint(0, 20)
            if side * max(w, h) // min(w, h) > 1 << 13:
                continue
            yield o | {"Crop": True, "Shortest": side}, lambda im, a=(side, rh, rw, how): make.shortest(im, *a)
        elif kind == "letterbox":
            fill = tuple(rng.randrange(256) for _ in range(3))
            yield o | {"Letterbox": True, "Fill": fill}, lambda im, a=(rw, rh), how=how, fill=fill: pad(im, a, how, fill)
        else:
            yield o, lambda im, a=(rw, rh), how=how: im.resize(a, how)


def pad(im, size, how, fill):
    fitted = ImageOps.contain(im, size, how)
    if min(fitted.size) == 0:  # Pillow fails, winnow keeps one pixel
        fitted = im.resize((max(1, fitted.width), max(1, fitted.height)), how)
        out = Image.new("RGB", size, fill)
        out.paste(fitted, (round((size[0] - fitted.width) / 2), round((size[1] - fitted.height) / 2)))
        return out
    return ImageOps.pad(im, size, how, color=fill)


def main():
    with tempfile.TemporaryDirectory() as temp:
        folder = sys.argv[3] if sys.argv[2:3] == ["--keep"] else temp
        child = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        wrong, counts = [], collections.Counter()
        for kind in (jpegs, pngs, gifs, webps, bmps, tiffs):
            for name, data in kind():
                check(child, folder, name, data, wrong, counts)
        child.stdin.close()
        if child.wait() != 0:
            wrong.append("the tool failed")
    print(f"{counts['pictures']} pictures, {counts['equal']} views equal, {counts['both']} pictures refused by both, "
          f"{counts['refused']} by winnow alone, {counts['more']} by Pillow alone, as listed")
    for line in wrong:
        print("  " + line)
    if wrong or counts["pictures"] < 300:
        sys.exit("pixels.py: FAIL")


def check(child, folder, name, data, wrong, counts):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(data)
    counts["pictures"] += 1
    rng = random.Random(name)
    exif = rng.random() < 0.75
    try:
        want, trouble = reference(data, exif), None
    except Exception as e:  # Pillow raises whatever comes
        want, trouble = Image.new("RGB", (8, 8)), e
    answers = []
    for options, view in fits(rng, *want.size):
        child.stdin.write(json.dumps({"File": path, "Options": options | {"EXIF": exif}}) + "\n")
        child.stdin.flush()
        a = json.loads(child.stdout.readline())
        if "pixels" not in a:
            if trouble is None and not name.startswith(REFUSED):
                wrong.append(f"{name}: winnow refuses it ({a['error']}), Pillow reads it as {want.size}")
            counts["both" if trouble else "refused"] += 1
            return
        if trouble is not None and name.startswith(MORE):
            counts["more"] += 1
            return
        if trouble is not None:
            wrong.append(f"{name}: Pillow refuses it ({trouble}), winnow does not")
            return
        got = np.frombuffer(base64.b64decode(a["pixels"]), np.uint8).astype(int)
        diff = np.abs(got - np.frombuffer(view(want).tobytes(), np.uint8))
        if diff.any():
            wrong.append(f"{name} {options}: {np.count_nonzero(diff)} of {diff.size} bytes differ, by up to {diff.max()}")
            return
        counts["equal"] += 1


main()
