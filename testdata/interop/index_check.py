"""Indexes that Go wrote load in faiss-cpu with the same results, and faiss-cpu's load in Go.

usage: index_check.py DIR

DIR holds, as the test of io/index writes them: rows.f32, queries.f32, expect.json, and for each case of it
<case>.faiss with the rows and scores that Go's search gave. The script searches the same with faiss-cpu, then
writes theirs-<case>.faiss and theirs-<case>.json for the test to search.
"""

import json
import os
import sys

import faiss
import numpy as np

from workspace import Report


def main(report, folder):
    with open(os.path.join(folder, "expect.json"), encoding="utf8") as f:
        want = json.load(f)
    dim, k = want["dim"], want["k"]
    rows = np.fromfile(os.path.join(folder, "rows.f32"), "<f4").reshape(-1, dim)
    queries = np.fromfile(os.path.join(folder, "queries.f32"), "<f4").reshape(-1, dim)
    faiss.cvar.distance_compute_blas_threshold = 20
    for case in want["cases"]:
        name, p = case["name"], case["params"]
        path = os.path.join(folder, name + ".faiss")
        for flags in (0, faiss.IO_FLAG_MMAP):
            index = faiss.read_index(path, flags)
            how = f"{name}, {'mapped' if flags else 'loaded'}"
            report.check((index.ntotal, index.d, index.metric_type) == (len(rows), dim, faiss.METRIC_INNER_PRODUCT), f"{how}: rows and dimension")
            if p["kind"] != "flat":
                ivf = faiss.extract_index_ivf(index)
                report.check((ivf.nlist, ivf.nprobe) == (p["nlist"], p["nprobe"]), f"{how}: lists and probes", f"{ivf.nlist} {ivf.nprobe}")
            compare(report, how, *index.search(queries, k), np.array(case["scores"], np.float32).reshape(-1, k), np.array(case["rows"]).reshape(-1, k))
        theirs(folder, name, p, rows, queries, k)


def compare(report, what, score, row, want_score, want_row):
    off = np.abs(score - want_score).max()
    # Rows may change places only where their scores are equal within rounding.
    moved = row != want_row
    tied = np.abs(np.take_along_axis(want_score, np.maximum(np.arange(row.shape[1]) - 1, 0)[None].repeat(len(row), 0), 1) - want_score) < 1e-5
    tied |= np.abs(np.take_along_axis(want_score, np.minimum(np.arange(row.shape[1]) + 1, row.shape[1] - 1)[None].repeat(len(row), 0), 1) - want_score) < 1e-5
    tied[:, -1] = True  # the next row, which is not listed, may be as near
    report.check(off < 1e-5 and not (moved & ~tied).any(), f"{what}: the same results", f"scores differ by {off:.1e}, {moved.sum()} of {row.size} rows at ties")


def theirs(folder, name, p, rows, queries, k):
    index = faiss.index_factory(p["dim"], p["factory"], faiss.METRIC_INNER_PRODUCT)
    if p["kind"] != "flat":
        index.train(rows)
        faiss.extract_index_ivf(index).nprobe = p["nprobe"]
    index.add(rows)
    faiss.write_index(index, os.path.join(folder, f"theirs-{name}.faiss"))
    score, row = index.search(queries, k)
    with open(os.path.join(folder, f"theirs-{name}.json"), "w", encoding="utf8") as f:
        json.dump({"scores": score.ravel().tolist(), "rows": row.ravel().tolist()}, f)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    r = Report()
    main(r, sys.argv[1])
    sys.exit(r.code())
