"""Make the small pictures that the scripts use, from the pictures inside the scikit-image package.

    python3 make.py OUT_DIR        (needs scikit-image, pillow)

Public domain or CC0: astronaut (NASA), camera, chelsea, coffee, hubble_deep_field (NASA), moon (NASA),
rocket, clock_motion, brick, grass, gravel. Four cuts of each, 160 x 120, JPEG, and a manifest with captions.
"""
import json
import os
import sys

import skimage
from PIL import Image

SUBJECTS = {
    "astronaut.png": ("people", "an astronaut in an orange suit"),
    "camera.png": ("people", "a man with a film camera"),
    "chelsea.png": ("animals", "a tabby cat looks up"),
    "coffee.png": ("food", "a cup of coffee on a wooden table"),
    "hubble_deep_field.jpg": ("space", "far galaxies"),
    "moon.png": ("space", "the surface of the moon"),
    "rocket.jpg": ("space", "a rocket at its launch pad"),
    "clock_motion.png": ("things", "a clock on a wall"),
    "brick.png": ("texture", "a wall of bricks"),
    "grass.png": ("texture", "grass from above"),
    "gravel.png": ("texture", "grey gravel"),
}

out = sys.argv[1]
data = os.path.join(os.path.dirname(skimage.__file__), "data")
rows = []
for name, (kind, caption) in SUBJECTS.items():
    im = Image.open(os.path.join(data, name)).convert("RGB")
    w, h = im.size
    for k, (x, y) in enumerate([(0, 0), (0.2, 0), (0, 0.2), (0.2, 0.2)]):
        cut = im.crop((int(x * w), int(y * h), int((x + 0.8) * w), int((y + 0.8) * h))).resize((160, 120), Image.BICUBIC)
        stem = f"{name.split('.')[0]}-{k}"
        cut.save(os.path.join(out, stem + ".jpg"), quality=80)
        rows.append({"asset_id": stem, "uri": stem + ".jpg", "caption": f"{caption}, cut {k}", "metadata": {"kind": kind, "cut": k, "sharp": name != "clock_motion.png"}})
with open(os.path.join(out, "manifest.jsonl"), "w") as f:
    for r in rows:
        f.write(json.dumps(r) + "\n")
