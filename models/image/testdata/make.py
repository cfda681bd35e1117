"""Small pictures of every kind, and what Pillow makes of them.

    make.py            writes the pictures beside it and expected.json

Pillow's numbers are kept as hashes of raw RGB bytes: of the whole picture, as
the Python peer loads it (alpha put on white), and of resizes. To see where a
resize goes wrong, `make.py --raw DIR` also writes the bytes themselves.
Made with Pillow 13.0.0 and numpy.
"""

import hashlib
import io
import json
import os
import struct
import sys
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
RAW = sys.argv[2] if sys.argv[1:2] == ["--raw"] else None
SIZE = (24, 20)  # height, width of the resize of every picture
FILTERS = {
    "nearest": Image.NEAREST,
    "box": Image.BOX,
    "bilinear": Image.BILINEAR,
    "bicubic": Image.BICUBIC,
    "lanczos": Image.LANCZOS,
}
warnings.simplefilter("ignore")


def scene(w, h, seed=0):
    """Gradients, edges and noise in R, G, B, A."""
    y, x = np.mgrid[0:h, 0:w]
    rng = np.random.default_rng(seed)
    r = 255 * x / max(w - 1, 1)
    g = 255 * y / max(h - 1, 1)
    b = 127 + 127 * np.sin(x * y / 40)
    a = np.clip(400 * np.hypot(x - w / 2, y - h / 2) / max(w, h) - 20, 0, 255)
    px = np.stack([r, g, b, a], 2)
    px[h // 4 : h // 2, w // 4 : w // 2, :3] = (250, 5, 20)
    px[..., :3] += rng.normal(0, 8, (h, w, 3))
    return np.clip(px, 0, 255).astype(np.uint8)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(rows, bpp):
    """PNG rows, each with another filter."""
    out, up = b"", np.zeros(rows.shape[1], np.uint8)
    for i, row in enumerate(rows):
        left = np.concatenate([np.zeros(bpp, np.uint8), row[:-bpp]])
        corner = np.concatenate([np.zeros(bpp, np.uint8), up[:-bpp]])
        a, b, c = (v.astype(int) for v in (left, up, corner))
        p = a + b - c
        pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
        paeth = np.where((pa <= pb) & (pa <= pc), a, np.where(pb <= pc, b, c))
        pred = [0 * a, a, b, (a + b) // 2, paeth][i % 5]
        out += bytes([i % 5]) + ((row.astype(int) - pred) & 255).astype(np.uint8).tobytes()
        up = row
    return out


def png(samples, depth, colour, extra=b"", interlaced=False, parts=1):
    """samples: h × w × channels, of depth bits. Every filter is used in turn."""
    h, w, ch = samples.shape

    def pack(s):
        if depth == 16:
            return s.astype(">u2").view(np.uint8).reshape(s.shape[0], -1)
        if depth == 8:
            return s.astype(np.uint8).reshape(s.shape[0], -1)
        bits = np.unpackbits(s.astype(np.uint8).reshape(s.shape[0], -1, 1), axis=2)[:, :, 8 - depth :]
        return np.packbits(bits.reshape(s.shape[0], -1), axis=1)

    bpp = max(1, ch * depth // 8)
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        data = b""
        for x, y, dx, dy in passes:
            part = samples[y::dy, x::dx]
            if part.size:
                data += filtered(pack(part), bpp)
    else:
        data = filtered(pack(samples), bpp)
    z = zlib.compress(data, 9)
    step = -(-len(z) // parts)
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + extra
        + b"".join(chunk(b"IDAT", z[i : i + step]) for i in range(0, len(z), step))
        + chunk(b"IEND", b"")
    )


def bmp(w, h, bits, compression, head_extra, palette, pixels, size=40, flip=1):
    offset = 14 + size + len(head_extra if size == 40 else b"") + len(palette)
    info = struct.pack("<IiiHHIIiiII", size, w, h * flip, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0)
    return struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + info + head_extra + palette + pixels


def tiff(order, samples, bits, photometric, more=None, planar=False, tile=0):
    """An uncompressed TIFF, its pixels behind the directory."""
    h, w, ch = samples.shape
    samples = samples.astype(f"{order}u2" if bits == 16 else "u1")
    if tile:
        samples = np.pad(samples, ((0, -h % tile), (0, -w % tile), (0, 0)))
        parts = [samples[y : y + tile, x : x + tile].tobytes() for y in range(0, h, tile) for x in range(0, w, tile)]
    elif planar:
        parts = [samples[..., c].tobytes() for c in range(ch)]
    else:
        parts = [samples.tobytes()]
    tags = {256: w, 257: h, 258: [bits] * ch, 259: 1, 262: photometric, 277: ch, 284: 2 if planar else 1}
    tags |= {322: tile, 323: tile} if tile else {278: h}
    tags |= more or {}
    at, counts = (324, 325) if tile else (273, 279)
    tags |= {at: [0] * len(parts), counts: [len(p) for p in parts]}
    size = 8 + 2 + 12 * len(tags) + 4
    tail_size = sum(4 * len(v) for v in tags.values() if isinstance(v, list) and len(v) > 1)
    offset = size + tail_size
    for p in range(len(parts)):
        tags[at][p] = offset
        offset += len(parts[p])
    directory, tail = b"", b""
    for tag in sorted(tags):
        v = tags[tag] if isinstance(tags[tag], list) else [tags[tag]]
        kind = 4 if tag in (at, counts) else 3
        body = struct.pack(order + ("I" if kind == 4 else "H") * len(v), *v)
        if len(body) > 4:
            directory += struct.pack(order + "HHII", tag, kind, len(v), size + len(tail))
            tail += body.ljust(4 * len(v), b"\0")
        else:
            directory += struct.pack(order + "HHI", tag, kind, len(v)) + body.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + directory + b"\0\0\0\0" + tail + b"".join(parts)


def rle8(rows):
    out = b""
    for row in rows[::-1]:
        i = 0
        while i < len(row):
            n = 1
            while i + n < len(row) and n < 255 and row[i + n] == row[i]:
                n += 1
            if n == 1 and len(row) - i >= 5:  # as they are
                out += bytes([0, 5, *row[i : i + 5], 0])
                n = 5
            else:
                out += bytes([n, row[i]])
            i += n
        out += b"\0\0"
    return out + b"\0\1"


def save(im, fmt, **kw):
    b = io.BytesIO()
    im.save(b, fmt, **kw)
    return b.getvalue()


def gif_parts(data):
    """Header with palette, and everything after it."""
    n = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return data[:n], data[n:]


def pictures():
    px = scene(37, 29)
    rgba = Image.fromarray(px)
    rgb, l = Image.fromarray(px[..., :3]), Image.fromarray(px[..., 0])
    p = rgb.quantize(60)
    la = Image.fromarray(np.dstack([px[..., 1], px[..., 3]]), "LA")
    cmyk = Image.fromarray(np.dstack([px[..., :3], px[..., 3] // 2]), "CMYK")
    rng = np.random.default_rng(3)
    wide = px.astype(np.uint16) * 256 + rng.integers(0, 256, px.shape)
    out = {}

    for name, sub in (("444", 0), ("422", 1), ("420", 2)):
        out[f"rgb-{name}.jpg"] = save(rgb, "jpeg", quality=85, subsampling=sub)
        out[f"rgb-{name}-progressive.jpg"] = save(rgb, "jpeg", quality=70, subsampling=sub, progressive=True)
    out["restarts.jpg"] = save(rgb, "jpeg", quality=85, restart_marker_blocks=2)
    out["grey.jpg"] = save(l, "jpeg")
    out["cmyk.jpg"] = save(cmyk, "jpeg")
    out["keep-rgb.jpg"] = save(rgb, "jpeg", keep_rgb=True)
    for turn in (2, 3, 4, 5, 6, 7, 8):
        exif = Image.Exif()
        exif[0x112] = turn
        out[f"exif-{turn}.jpg"] = save(rgb, "jpeg", exif=exif)
    exif = Image.Exif()
    exif[0x112] = 6
    out["exif-6.png"] = save(rgba, "png", exif=exif)
    out["exif-6.webp"] = save(rgb, "webp", exif=exif.tobytes(), quality=80)

    out["rgb.png"] = png(px[..., :3], 8, 2)
    out["rgba.png"] = png(px, 8, 6, parts=3)
    out["rgba-interlaced.png"] = png(px, 8, 6, interlaced=True)
    out["la.png"] = png(px[..., 1::2], 8, 4)
    out["l.png"] = png(px[..., :1], 8, 0)
    out["l-transparent.png"] = png(px[..., :1] // 8 * 8, 8, 0, chunk(b"tRNS", b"\0\x40"))
    out["rgb-transparent.png"] = png(px[..., :3] // 64 * 64, 8, 2, chunk(b"tRNS", b"\0\x40\0\x40\0\x40"))
    for d in (1, 2, 4):
        out[f"l{d}.png"] = png(px[..., :1] >> (8 - d), d, 0)
        out[f"l{d}-interlaced.png"] = png(px[..., :1] >> (8 - d), d, 0, interlaced=True)
    out["l16.png"] = png(wide[..., :1], 16, 0)
    out["la16.png"] = png(wide[..., 1::2], 16, 4)
    out["rgb16.png"] = png(wide[..., :3], 16, 2)
    out["rgba16.png"] = png(wide, 16, 6)
    index = np.asarray(p)[..., None]
    palette = bytes(p.getpalette()[:180])
    for d in (1, 2, 4, 8):
        n = min(1 << d, 60)
        ch = chunk(b"PLTE", palette[: n * 3])
        out[f"p{d}.png"] = png(index % n, d, 3, ch)
        out[f"p{d}-transparent.png"] = png(index % n, d, 3, ch + chunk(b"tRNS", bytes((i * 37) % 256 for i in range(n - 1))))
    out["p-one-transparent.png"] = png(index, 8, 3, chunk(b"PLTE", palette) + chunk(b"tRNS", b"\xff\xff\0"))
    out["p-short-palette.png"] = png(index, 8, 3, chunk(b"PLTE", palette[:60]))
    out["p-interlaced.png"] = png(index % 16, 4, 3, chunk(b"PLTE", palette[:48]), interlaced=True)
    out["tiny.png"] = png(px[:1, :1], 8, 6)
    out["line.png"] = png(px[:1], 8, 6)
    out["column.png"] = png(px[:, :1, :3], 8, 2)

    out["p.gif"] = save(p, "gif")
    out["p-transparent.gif"] = save(p, "gif", transparency=int(index[5, 5, 0]))
    out["p-interlaced.gif"] = save(p, "gif", interlace=1)
    out["l.gif"] = save(l, "gif", optimize=False)
    out["two-frames.gif"] = save(p, "gif", save_all=True, append_images=[p.transpose(Image.ROTATE_180)])
    small, (head, rest) = p.crop((3, 4, 20, 15)), gif_parts(save(p.crop((3, 4, 20, 15)), "gif", optimize=False))
    for name, control in (("part", b""), ("part-transparent", b"\x21\xf9\x04\x01\0\0\x05\0")):
        at = rest.index(b",")
        frame = struct.pack("<HHHH", 3, 4, *small.size)
        out[f"{name}.gif"] = b"GIF89a" + struct.pack("<HH", 37, 29) + head[10:] + control + b"," + frame + rest[at + 9 :]

    out["rgb.bmp"] = save(rgb, "bmp")
    out["p.bmp"] = save(p, "bmp")
    out["l.bmp"] = save(l, "bmp")
    out["1.bmp"] = save(l.convert("1"), "bmp")
    out["rgba.bmp"] = save(rgba, "bmp")
    r5 = (px[..., 0] >> 3).astype("<u2")
    five = (r5 << 10) | ((px[..., 1] >> 3).astype("<u2") << 5) | (px[..., 2] >> 3)
    six = (r5 << 11) | ((px[..., 1] >> 2).astype("<u2") << 5) | (px[..., 2] >> 3)
    row16 = lambda a: np.pad(a, ((0, 0), (0, a.shape[1] % 2)))[::-1].astype("<u2").tobytes()
    out["555.bmp"] = bmp(37, 29, 16, 0, b"", b"", row16(five))
    out["565.bmp"] = bmp(37, 29, 16, 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F), b"", row16(six))
    bgr = np.pad(px[..., 2::-1].reshape(29, -1), ((0, 0), (0, 1)))
    out["top-down.bmp"] = bmp(37, 29, 24, 0, b"", b"", bgr.tobytes(), flip=-1)
    bgrp = b"".join(bytes([palette[i + 2], palette[i + 1], palette[i], 0]) for i in range(0, 180, 3))
    flat = index[..., 0] // 8 * 8
    out["rle8.bmp"] = bmp(37, 29, 8, 1, b"", bgrp, rle8(flat))
    four = np.pad(index[..., 0] % 16, ((0, 0), (0, 3)))[::-1]
    out["p4.bmp"] = bmp(37, 29, 4, 0, b"", bgrp[:64], (four[:, ::2] << 4 | four[:, 1::2]).astype(np.uint8).tobytes())

    for comp in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        out[f"rgb-{comp}.tif"] = save(rgb, "tiff", compression=comp)
    out["rgba.tif"] = save(rgba, "tiff")
    out["l.tif"] = save(l, "tiff")
    out["p.tif"] = save(p, "tiff")
    out["l16.tif"] = save(Image.fromarray(wide[..., 0].astype(np.uint16)), "tiff")

    out["la.tif"] = save(la, "tiff", compression="tiff_lzw")
    out["cmyk.tif"] = save(cmyk, "tiff", compression="tiff_adobe_deflate")
    out["predictor.tif"] = save(rgb, "tiff", compression="tiff_lzw", tiffinfo={317: 2})
    out["strips.tif"] = save(rgb, "tiff", compression="packbits", tiffinfo={278: 5})
    for group in (3, 4):
        out[f"group{group}.tif"] = save(l.convert("1"), "tiff", compression=f"group{group}")
    out["tiles.tif"] = tiff(">", px[..., :3], 8, 2, tile=16)
    out["planes.tif"] = tiff("<", px[..., :3], 8, 2, planar=True)
    out["multiplied.tif"] = tiff("<", px, 8, 2, {338: 1})
    out["multiplied16.tif"] = tiff(">", wide, 16, 2, {338: 1})
    out["white-is-0.tif"] = tiff(">", px[..., :1], 8, 0)
    out["turned.tif"] = tiff("<", px[..., :3], 8, 2, {274: 6})

    big = Image.fromarray(scene(64, 50, 5)[..., :3])
    out["lossy.webp"] = save(rgb, "webp", quality=70)
    out["lossy-even.webp"] = save(big, "webp", quality=40)
    out["lossless.webp"] = save(rgb, "webp", lossless=True)
    out["lossy-alpha.webp"] = save(rgba, "webp", quality=70)
    out["lossless-alpha.webp"] = save(rgba, "webp", lossless=True, exact=True)
    out["moving.webp"] = save(rgba, "webp", save_all=True, append_images=[rgba.rotate(90, expand=False)], quality=60)

    out["large.jpg"] = save(Image.fromarray(scene(320, 280, 9)[..., :3]).resize((640, 560)), "jpeg", quality=60)
    out["scene.png"] = png(scene(300, 200, 7)[..., :3] // 32 * 32, 8, 2)
    out["tall.png"] = png(scene(23, 611, 8)[..., :3] // 32 * 32, 8, 2)
    return out


def load(data, name, exif):
    im = Image.open(io.BytesIO(data))
    if im.mode == "I;16":
        return Image.fromarray((np.asarray(im) >> 8).astype(np.uint8)).convert("RGB")  # as image.go says
    if exif:
        im = ImageOps.exif_transpose(im)
    if im.mode in ("RGBA", "LA", "P"):  # as the Python peer does
        im = im.convert("RGBA")
        bg = Image.new("RGBA", im.size, (255, 255, 255, 255))
        bg.alpha_composite(im)
        im = bg
    return im.convert("RGB")


def shortest(im, size, height, width, how):
    w, h = im.size
    w, h = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
    im = im.resize((w, h), how)
    top, left = int(round((h - height) / 2.0)), int(round((w - width) / 2.0))
    return im.crop((left, top, left + width, top + height))


def digest(im, name):
    raw = im.tobytes()
    if RAW:
        with open(os.path.join(RAW, name), "wb") as f:
            f.write(raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def main():
    files, resizes, crops, pads = [], [], [], []
    made = pictures()
    for name, data in made.items():
        with open(os.path.join(HERE, name), "wb") as f:
            f.write(data)
    for name in sorted(os.listdir(os.path.join(HERE, "odd"))):
        if name.endswith(".jpg"):
            with open(os.path.join(HERE, "odd", name), "rb") as f:
                made["odd/" + name] = f.read()
    for name, data in made.items():
        exif = name.startswith("exif")
        im = load(data, name, exif)
        small = im.resize(SIZE[::-1], Image.BICUBIC)
        files.append({"file": name, "exif": exif, "width": im.width, "height": im.height,
                      "rgb": digest(im, name + ".rgb"), "small": digest(small, name + ".small")})
        if name in ("scene.png", "tall.png", "rgb-420.jpg", "tiny.png", "line.png"):
            w, h = im.size
            for how, f in FILTERS.items():
                for rw, rh in ((224, 224), (7, 5), (w, 31), (33, h), (w, h), (w + 1, h - 1 or 1), (1, 1), (601, 3)):
                    key = f"{name}.{how}.{rw}x{rh}"
                    resizes.append({"file": name, "filter": how, "width": rw, "height": rh, "rgb": digest(im.resize((rw, rh), f), key)})
        if name in ("scene.png", "tall.png", "rgb-420.jpg", "exif-6.jpg"):
            for size, rh, rw in ((40, 32, 32), (64, 64, 64), (65, 40, 64), (256, 224, 224)):
                key = f"{name}.crop.{size}.{rw}x{rh}"
                crops.append({"file": name, "exif": exif, "filter": "bicubic", "shortest": size, "width": rw, "height": rh,
                              "rgb": digest(shortest(im, size, rh, rw, Image.BICUBIC), key)})
        if name in ("scene.png", "tall.png", "rgb-420.jpg", "exif-6.jpg", "rgba.png", "l.bmp", "line.png"):
            for rh, rw in ((64, 64), (32, 50), (51, 30), (29, 37), (224, 224)):
                for how in ("bicubic", "nearest"):
                    key = f"{name}.pad.{how}.{rw}x{rh}"
                    pad = ImageOps.pad(im, (rw, rh), FILTERS[how], color=(114, 5, 250))
                    pads.append({"file": name, "exif": exif, "filter": how, "letterbox": [114, 5, 250], "width": rw, "height": rh,
                                 "rgb": digest(pad, key)})
    blend = Image.fromarray(np.stack([np.tile(np.arange(256, dtype=np.uint8), (256, 1))] * 3 + [np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 256))], 2))
    white = Image.new("RGBA", blend.size, (255, 255, 255, 255))
    white.alpha_composite(blend)
    with open(os.path.join(HERE, "expected.json"), "w") as f:
        json.dump({"size": SIZE, "blend": digest(white.convert("RGB"), "blend"), "files": files, "resizes": resizes, "crops": crops, "pads": pads}, f, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main()
