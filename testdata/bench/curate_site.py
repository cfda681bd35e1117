"""Makes a site of N assets with made-up vectors, to measure `winnow curate` on many
candidates: python3 curate_site.py FOLDER N DIM, then in FOLDER: winnow run,
/usr/bin/time -v winnow curate --dry-run wide. The vectors are noisy copies of N/100
centres, as pictures of few kinds are; seeded, so that two sites are the same."""
import pathlib
import sys

import numpy as np

folder, n, dim = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
folder.mkdir(parents=True, exist_ok=True)
r = np.random.default_rng(7)
centres = r.standard_normal((max(n // 100, 1), dim), dtype=np.float32)
with open(folder / "ids.txt", "w") as ids, open(folder / "manifest.jsonl", "w") as manifest:
    for i in range(n):
        ids.write(f"row-{i:08d}\n")
        manifest.write(f'{{"asset_id": "row-{i:08d}", "text": "row {i}", "metadata": {{"camera": "c{i % 7}", "taken": {i}}}}}\n')
out = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=np.float16, shape=(n, dim))
for lo in range(0, n, 50_000):
    hi = min(lo + 50_000, n)
    out[lo:hi] = centres[r.integers(0, len(centres), hi - lo)] + 0.7 * r.standard_normal((hi - lo, dim), dtype=np.float32)
out.flush()
(folder / "winnow.yaml").write_text(f"""workspace: ./workspace
sources: [{{manifest: ./manifest.jsonl}}]
embeddings: [{{name: v, of: text, vectors: {{files: ./vectors.npy, ids: ./ids.txt, dim: {dim}}}}}]
batches:
  - {{name: wide, select: [{{diversity: {{embedding: v}}}}, {{weights: {{by: metadata.taken, strength: 0.1}}}}], quotas: [{{per: metadata.camera, share: 0.2}}], size: {max(n // 100, 10)}}}
""")
