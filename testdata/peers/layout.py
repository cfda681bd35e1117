"""Lays rows out with umap-learn over a given graph of neighbours.

usage: layout.py < requests

Each line of stdin is {"dir": folder, "k": neighbours, "seed": number or null}; null lets umap-learn use all threads, which
it does not with a seed. The folder holds vectors.f32, rows.i32 and far.f32 (see ../bench/project.py), and gets umap.f32.
Answers with a line of JSON: seconds of fit_transform, on the clock and of the processor. Compiling is not counted: the
first request of each kind is run twice.
"""
import json
import os
import sys
import time
import warnings

import numpy as np
import umap

warnings.filterwarnings("ignore")
warm = set()


def fit(folder, k, seed):
    rows = np.fromfile(os.path.join(folder, "rows.i32"), "<i4").reshape(-1, k)
    far = np.fromfile(os.path.join(folder, "far.f32"), "<f4").reshape(-1, k)
    n = len(rows)
    x = np.fromfile(os.path.join(folder, "vectors.f32"), "<f4").reshape(n, -1)
    knn = np.hstack([np.arange(n)[:, None], rows]).astype(np.int32), np.hstack([np.zeros((n, 1)), far]).astype(np.float32), None
    # Smaller sets would get a graph of their own without force_approximation_algorithm.
    m = umap.UMAP(n_neighbors=k + 1, metric="cosine", random_state=seed, n_jobs=1 if seed is not None else -1,
                  precomputed_knn=knn, force_approximation_algorithm=True)
    start, cpu = time.perf_counter(), time.process_time()
    points = m.fit_transform(x)
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    points.astype("<f4").tofile(os.path.join(folder, "umap.f32"))
    return took


for line in sys.stdin:
    q = json.loads(line)
    kind = q["seed"] is None
    if kind not in warm:
        fit(q["dir"], q["k"], q["seed"])
        warm.add(kind)
    print(json.dumps(fit(q["dir"], q["k"], q["seed"])), flush=True)
