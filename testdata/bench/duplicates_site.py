"""Makes a site of N assets with made-up vectors of DIM numbers and planted duplicates,
to measure `winnow duplicates`: python3 duplicates_site.py FOLDER N DIM, then in FOLDER:
winnow run, /usr/bin/time -v winnow duplicates --distance 0.05 --out all.csv, and
python3 duplicates_site.py FOLDER --check compares the groups with planted.npy.

The vectors are noisy copies of N/100 centres, at distances of 0.3 and more from each
other. A tenth of the rows are near copies (distance 0.001 to 0.02) of earlier ones:
most of them pairs and triples, and some groups of 50. Seeded, so that two sites are the
same."""
import csv
import pathlib
import sys

import numpy as np


def make(folder, n, dim):
    folder.mkdir(parents=True, exist_ok=True)
    r = np.random.default_rng(11)
    centres = r.standard_normal((max(n // 100, 1), dim), dtype=np.float32)
    copies = n // 10
    originals = n - copies
    of = np.arange(n)
    large = r.choice(originals, max(copies // 500, 1), replace=False)  # a tenth of the copies, 50 each
    of[originals:] = np.where(r.random(copies) < 0.1, large[r.integers(0, len(large), copies)], r.integers(0, originals, copies))
    order = r.permutation(n)  # copies stand anywhere
    out = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=np.float16, shape=(n, dim))
    base = np.empty((originals, dim), np.float16)
    for lo in range(0, originals, 50_000):
        hi = min(lo + 50_000, originals)
        v = centres[r.integers(0, len(centres), hi - lo)] + r.standard_normal((hi - lo, dim), dtype=np.float32)
        base[lo:hi] = v / np.linalg.norm(v, axis=1, keepdims=True)
    out[order[:originals]] = base
    for lo in range(originals, n, 50_000):
        hi = min(lo + 50_000, n)
        noise = r.standard_normal((hi - lo, dim), dtype=np.float32)
        noise *= np.sqrt(r.uniform(0.002, 0.03, (hi - lo, 1)) / dim)
        out[order[lo:hi]] = base[of[lo:hi]].astype(np.float32) + noise
    out.flush()
    truth = np.empty(n, np.int64)
    truth[order] = of
    np.save(folder / "planted.npy", truth)
    with open(folder / "ids.txt", "w") as ids, open(folder / "manifest.jsonl", "w") as manifest:
        for i in range(n):
            ids.write(f"row-{i:08d}\n")
            manifest.write(f'{{"asset_id": "row-{i:08d}", "text": "row {i}"}}\n')
    (folder / "winnow.yaml").write_text(f"""workspace: ./workspace
sources: [{{manifest: ./manifest.jsonl}}]
embeddings: [{{name: v, of: text, vectors: {{files: ./vectors.npy, ids: ./ids.txt, dim: {dim}}}}}]
""")


def pairs(sizes):
    return int(sum(s * (s - 1) // 2 for s in sizes))


def check(folder):
    truth = np.load(folder / "planted.npy")
    found = np.full(len(truth), -1)
    with open(folder / "all.csv", newline="") as f:
        for row in csv.DictReader(f):
            found[int(row["asset_id"][4:])] = int(row["group"])
    want = pairs(np.unique(truth, return_counts=True)[1])
    grouped = found >= 0
    said = pairs(np.unique(found[grouped], return_counts=True)[1])
    both = pairs(np.unique(np.stack([truth[grouped], found[grouped]]), axis=1, return_counts=True)[1])
    print(f"{want} pairs planted, {said} found, {both} of them planted: recall {both / want:.5f}, precision {both / said:.5f}")
    return both / want, both / said


if __name__ == "__main__":
    where = pathlib.Path(sys.argv[1])
    if sys.argv[2] == "--check":
        sys.exit(0 if min(check(where)) >= 0.99 else 1)
    make(where, int(sys.argv[2]), int(sys.argv[3]))
