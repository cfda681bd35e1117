"""Near-duplicates among real pictures: N pictures (20,000), a fifth of them planted copies
- cropped to 95 %, recompressed, or resized; not flipped -, found by `winnow duplicates` and
by comparing all pairs of vectors with numpy. Prints recall and precision over pairs of rows,
and writes build/bench/duplicates.json. A picture is a piece of one of scikit-image's photos
with two of Debian's tuxpaint stamps on it; seeded, so that two runs are the same.

    python3 duplicates.py [N] [FOLDER]     with .deps/venv-interop, after make demo and make build
"""
import csv
import functools
import json
import os
import pathlib
import random
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIDE = 192
WAYS = [(0.05, None), (0.1, None), (0.05, 4), (0.1, 4)]  # distance, bits of the difference hash


@functools.cache
def sources():
    def load(path, mode, side):
        p = Image.open(path).convert(mode)
        p.thumbnail((side, side))
        return p
    photos = [load(p, "RGB", 800) for p in sorted((ROOT / ".deps/data/photos").glob("*.*"))]
    stamps = [load(p, "RGBA", SIDE) for p in sorted((ROOT / ".deps/data/tuxpaint").rglob("*.png"))]
    return photos, stamps


def original(r, photos, stamps):
    p = r.choice(photos)
    side = int(min(p.size) * r.uniform(0.35, 0.8))
    x, y = r.randint(0, p.width - side), r.randint(0, p.height - side)
    p = p.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    for _ in range(2):
        s = r.choice(stamps)
        w = r.randint(SIDE // 3, int(SIDE * 0.6))
        s = s.resize((w, max(w * s.height // s.width, 8)), Image.Resampling.BICUBIC)
        p.paste(s, (r.randint(-10, SIDE - w), r.randint(-10, SIDE // 2)), s)
    return p


def planted(r, p):
    kind = r.choice(["crop", "recompress", "resize"])
    if kind == "crop":
        w, h = round(p.width * 0.95), round(p.height * 0.95)
        x, y = r.randint(0, p.width - w), r.randint(0, p.height - h)
        return p.crop((x, y, x + w, y + h)), 92
    if kind == "resize":
        f = r.uniform(0.5, 1.5)
        return p.resize((round(p.width * f), round(p.height * f)), Image.Resampling.BICUBIC), 92
    return p, r.randint(50, 80)


def part(args):
    """Makes the originals [lo, hi) with their copies; returns their ids."""
    folder, lo, hi = args
    photos, stamps = sources()
    out = []
    for i in range(lo, hi):
        r = random.Random(i)
        p = original(r, photos, stamps)
        name = f"p{i:05d}"
        p.save(folder / f"{name}.jpg", quality=92)
        out.append(name)
        if i % 8 == 0:
            for c in range(2):
                q, quality = planted(r, p)
                q.save(folder / f"{name}-{c}.jpg", quality=quality)
                out.append(f"{name}-{c}")
    return out


def components(pairs, n):
    root = np.arange(n)

    def find(a):
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        return a

    for a, b in pairs:
        a, b = find(a), find(b)
        root[max(a, b)] = min(a, b)
    return np.array([find(i) for i in range(n)])


def within(vectors, least):
    for lo in range(0, len(vectors), 1000):
        a, b = np.nonzero(vectors[lo:lo + 1000] @ vectors.T >= least)
        a += lo
        yield from zip(a[a < b], b[a < b])


def count(labels):
    sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def compare(said, true):
    both = said.astype(np.int64) * (len(said) + 1) + true
    both[(said < 0) | (true < 0)] = -1
    hits = count(both)
    return hits / max(count(true), 1), hits / max(count(said), 1)


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "build/bench/duplicates")
    winnow = os.environ.get("WINNOW", str(ROOT / "build/winnow"))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.jsonl"
    if not manifest.exists():  # a second run goes on with the pictures of the first
        originals = n * 4 // 5
        with ProcessPoolExecutor() as pool:
            parts = pool.map(part, [(folder / "pictures", lo, min(lo + 250, originals)) for lo in range(0, originals, 250)])
            names = [name for p in parts for name in p]
        manifest.write_text("".join(json.dumps({"asset_id": i, "uri": f"pictures/{i}.jpg"}) + "\n" for i in names))
    rows = [json.loads(line)["asset_id"] for line in manifest.read_text().splitlines()]
    (folder / "winnow.yaml").write_text("workspace: ./workspace\nsources: [{manifest: ./manifest.jsonl}]\n"
                                        "embeddings: [{name: image, model: efficientnet-lite0, of: image}]\n")
    subprocess.run([winnow, "run", "-q"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    at = {i: k for k, i in enumerate(rows)}
    vectors = np.zeros((len(rows), 1280), np.float32)
    for f in (folder / "workspace/embeddings/image").rglob("*.parquet"):
        t = pq.read_table(f, columns=["asset_id", "vector"])
        v = t["vector"].combine_chunks().values.to_numpy().reshape(-1, 1280)
        vectors[[at[i] for i in t["asset_id"].to_pylist()]] = v
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    truth = np.array([int(i[1:6]) for i in rows])  # p00012-1 is a copy of p00012
    table = []
    for d, bits in WAYS:
        also = [] if bits is None else ["--phash", str(bits)]
        subprocess.run([winnow, "duplicates", "-q", "--distance", str(d), "--out", "all.csv", *also], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        said = np.full(len(rows), -1)
        with open(folder / "all.csv", newline="") as f:
            for row in csv.DictReader(f):
                said[at[row["asset_id"]]] = int(row["group"])
        how = f"distance {d}" + ("" if bits is None else f", {bits} bits")
        against = [("planted", truth)]
        if bits is None:
            against.insert(0, ("all pairs compared", components(within(vectors, 1 - d), len(rows))))
        for what, true in against:
            recall, precision = compare(said, true)
            print(f"{how:<22}  against {what:<19}  recall {recall:.4f}  precision {precision:.4f}", flush=True)
            table.append({"case": f"{len(rows)} pictures, {how}, {what}", "recall": recall, "precision": precision})
    (ROOT / "build/bench").mkdir(parents=True, exist_ok=True)
    (ROOT / "build/bench/duplicates.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
