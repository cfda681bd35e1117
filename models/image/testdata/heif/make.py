"""Small HEIC and AVIF pictures, and what Python makes of them.

    make.py            writes the pictures beside it, and of each a PNG

AVIF is written and read by Pillow 13.0.0 itself, HEIC by pillow-heif 1.8.1 (x265,
libde265). The PNGs are the results, upright, with alpha where there is one.
"""

import io
import os

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
pillow_heif.register_heif_opener()


def scene(w, h):
    """Smooth colours, an edge, a hole in the alpha."""
    y, x = np.mgrid[0:h, 0:w]
    px = np.stack([255 * x / (w - 1), 255 * y / (h - 1), 127 + 100 * np.sin(x / 9 + y / 13), 255 + 0 * x], 2)
    px[h // 4 : h // 2, w // 4 : w // 2, :3] = (230, 40, 60)
    px[..., 3] = np.clip(np.hypot(x - w * 0.7, y - h * 0.6) * 12 - 60, 0, 255)
    return px.round().astype(np.uint8)


def main():
    px = scene(96, 64)
    rgb, rgba, grey = Image.fromarray(px[..., :3]), Image.fromarray(px), Image.fromarray(px[..., 1])
    out = {}
    for sub in ("4:2:0", "4:2:2", "4:4:4"):
        out[f"rgb-{sub.replace(':', '')}.avif"] = (rgb, "AVIF", {"quality": 85, "subsampling": sub, "speed": 8})
    out["rgba.avif"] = (rgba, "AVIF", {"quality": 85, "subsampling": "4:4:4", "speed": 8})
    out["grey.avif"] = (grey, "AVIF", {"quality": 85, "subsampling": "4:0:0", "speed": 8})
    turn = Image.Exif()
    turn[0x112] = 6
    out["turned.avif"] = (rgb, "AVIF", {"quality": 85, "subsampling": "4:4:4", "exif": turn.tobytes(), "speed": 8})
    out["limited.avif"] = (rgb, "AVIF", {"quality": 85, "subsampling": "4:4:4", "range": "limited", "speed": 8})
    out["moving.avif"] = (rgb, "AVIF", {"quality": 85, "subsampling": "4:4:4", "save_all": True,
                                        "append_images": [rgb.transpose(Image.ROTATE_180)], "speed": 8})
    for sub in (420, 422, 444):
        out[f"rgb-{sub}.heic"] = (rgb, "HEIF", {"quality": 85, "chroma": sub})
    out["rgba.heic"] = (rgba, "HEIF", {"quality": 85, "chroma": 444})
    out["grey.heic"] = (grey, "HEIF", {"quality": 85})
    out["turned.heic"] = (rgb, "HEIF", {"quality": 85, "chroma": 444, "exif": turn.tobytes()})
    for name, (im, fmt, kw) in out.items():
        b = io.BytesIO()
        im.save(b, fmt, **kw)
        write(name, b.getvalue())
    deep = pillow_heif.HeifFile()
    deep.add_frombytes("RGB;16", rgb.size, (px[..., :3].astype(np.uint16) * 257).tobytes())
    b = io.BytesIO()
    deep.save(b, quality=85, chroma=444, save_to_12bit=False)
    write("deep.heic", b.getvalue())


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)
    im = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if im.mode not in ("RGB", "RGBA"):
        im = im.convert("RGB")
    print(name, len(data), im.mode, im.size)
    im.save(os.path.join(HERE, name + ".png"), optimize=True)


main()
