"""The indexes of a workspace load in faiss-cpu and find the same neighbours.

usage: index.py WORKSPACE [--queries 200] [--search FILE.json] [--winnow BINARY --config FILE]

For every finished index and each of its parts, the base and the segments: the file loads, has the rows of its
ids.parquet, and holds the vectors of the embedding's table. A flat index must give the neighbours of an exact search in numpy; an IVF index must reach
the recall@10 that index.json records (less 0.02 for another choice of queries), at its own nprobe.
--search compares with `winnow search --json`: {"query": ID, "embedding": NAME, "results": [{"asset_id", "score"}, …]}
or a list of such objects. --winnow runs 40 searches an embedding by a file of queries, and those with --exact, too.
"""

import glob
import json
import os
import subprocess
import tempfile

import faiss
import numpy as np
import pyarrow.parquet as pq

from workspace import Workspace, arguments, run, unit

K = 10


def main(report):
    p = arguments(__doc__)
    p.add_argument("--queries", type=int, default=200)
    p.add_argument("--search", metavar="FILE.json")
    p.add_argument("--winnow")
    p.add_argument("--config")
    args = p.parse_args()
    ws = Workspace(args.workspace)
    current = dict(ws.embeddings())
    faiss.cvar.distance_compute_blas_threshold = 20  # the exact search of many rows goes through BLAS
    for f in sorted(glob.glob(ws.path("indexes", "*", "*", "index.json"))):
        name = f.split(os.sep)[-3]
        if name not in current:
            report.check(False, os.path.relpath(f, ws.root), f"there are no vectors of embedding {name}")
            continue
        with open(f, encoding="utf8") as fh:
            about = json.load(fh)
        for number, part in enumerate(about["parts"]):
            check(report, ws, name, current[name], about, number, part, args.queries)
    if args.search:
        with open(args.search, encoding="utf8") as fh:
            found = json.load(fh)
        for s in found if isinstance(found, list) else [found]:
            check_search(report, ws, s, current)
    if args.winnow:
        for name in current:
            run_searches(report, ws, args, name, current)


def run_searches(report, ws, args, name, current):
    """Compares searches for assets and for vectors with numpy's."""
    vids, versions, x = ws.vectors(name, current[name])
    pick = np.flatnonzero(ws.live(vids, versions))
    pick = pick[:: max(len(pick) // 40, 1)][:40]
    with tempfile.TemporaryDirectory() as folder:
        assets, npy = os.path.join(folder, "q.jsonl"), os.path.join(folder, "q.npy")
        with open(assets, "w", encoding="utf8") as fh:
            fh.writelines(json.dumps({"asset": vids[i]}) + "\n" for i in pick)
        np.save(npy, x[pick].astype(np.float32))
        flat = all("Flat" == json.load(open(f, encoding="utf8")).get("factory") for f in glob.glob(ws.path("indexes", name, "*", "index.json")))
        for how in ([], ["--exact"]) if flat else (["--exact"],):
            for file in assets, npy:
                cmd = [args.winnow, "search", "-q", "-c", args.config, "-e", name, "-k", str(K), "--queries", file, *how]
                lines = subprocess.run(cmd, check=True, stdout=subprocess.PIPE).stdout.splitlines()
                found = [dict(json.loads(line), query=vids[i], embedding=name) for line, i in zip(lines, pick)]
                report.check(len(lines) == len(pick), f"{' '.join(['search', *how])} by {os.path.basename(file)} in {name}: {len(pick)} answers", f"{len(lines)} answers")
                off = max(distance(ws, s, current, vids, versions, x) for s in found)
                report.check(off < 1e-5, f"they are the {K} nearest of numpy", f"scores differ by {off:.1e}")


def distance(ws, s, current, vids, versions, x):
    """The largest difference of the scores, place by place, from those of all cosines."""
    live = np.array(ws.live(vids, versions))
    u = unit(x)
    q = next(i for i, a in enumerate(vids) if a == s["query"] and live[i])
    cosine = u @ u[q]
    ours = [(r["asset_id"], r["score"]) for r in s["results"]]
    left_out = s["query"] not in [a for a, _ in ours]
    want = sorted((cosine[i] for i in range(len(vids)) if live[i] and not (left_out and i == q)), reverse=True)
    at = {a: i for i, a in enumerate(vids) if live[i]}
    if len(ours) != min(K, len(want)):
        return np.inf
    return max(max(abs(score - w), abs(score - cosine[at[a]])) for (a, score), w in zip(ours, want))


def check(report, ws, name, fingerprint, about, number, part, queries):
    folder = ws.path("indexes", name, part["lists"]["folder"])
    title = os.path.join("indexes", name, about["id"], part["lists"]["name"])
    about = {**flat_keys({k: v for k, v in about.items() if k != "parts"}), "rows": part["rows"]}
    index = faiss.read_index(os.path.join(folder, part["lists"]["name"]))
    ids = pq.read_table(ws.path("indexes", name, part["ids"]["folder"], part["ids"]["name"]))
    keys = ids.column("asset_id").to_pylist()
    kind = "IVF" if faiss.try_extract_index_ivf(index) else "flat"
    report.check(index.ntotal == len(keys) == about.get("rows", len(keys)), f"{title}: {kind} index of {index.ntotal} rows loads",
                 f"ids.parquet has {len(keys)}, index.json says {about.get('rows')}")
    vids, versions, x = ws.vectors(name, fingerprint)
    if "version" in ids.column_names:
        at = {k: i for i, k in enumerate(zip(vids, versions))}
        rows = [at.get(k) for k in zip(keys, ids.column("version").to_pylist())]
    else:
        live = ws.live(vids, versions)
        at = {a: i for i, a in enumerate(vids) if live[i]}
        rows = [at.get(k) for k in keys]
    if None in rows:
        # Rows that were removed or rewritten since the index was built cannot be compared.
        report.note(f"{title}: {rows.count(None)} of {len(rows)} rows are no longer in the embedding's table")
        return
    base = unit(x[rows]).astype(np.float32)
    pick = np.random.default_rng(7).permutation(len(base))[:queries]
    if nprobe := about.get("nprobe"):
        if kind == "IVF":
            faiss.ParameterSpace().set_index_parameter(index, "nprobe", nprobe)
    k = min(K, len(base))
    # Candidates of codes are ordered anew by their exact cosines: the recall is of them.
    candidates = min(k * about.get("refine", 1), len(base))
    score, row = index.search(base[pick], candidates)
    exact = faiss.IndexFlatIP(base.shape[1])
    exact.add(base)
    want, order = exact.search(base[pick], k)
    if kind == "flat":
        d = np.abs(score - want).max()
        # The same rows, but for rows whose scores are equal within rounding.
        same = all(set(np.array(order[q])[want[q] > want[q][-1] + 1e-5]) <= set(row[q]) for q in range(len(pick)))
        report.check(d < 1e-5 and same, f"{title}: {len(pick)} searches give the neighbours of the exact search", f"scores differ by {d:.1e}")
        return
    recall = np.mean([len(set(row[q]) & set(order[q])) / k for q in range(len(pick))])
    hits = row >= 0
    q, j = np.nonzero(hits)
    d = np.abs(score[hits] - (base[pick][q] * base[row[hits]]).sum(1)).max()
    exact_scores = "SQ" not in str(about.get("factory", "")) and "PQ" not in str(about.get("factory", ""))
    report.check(not exact_scores or d < 1e-4, f"{title}: it holds the embedding's vectors", f"scores differ by {d:.1e}")
    recorded = about.get("recallat10")
    if number > 0:
        return  # the recall is that of the base
    if recorded is None:
        report.check(False, f"{title}: recall", f"index.json records none; measured {recall:.3f}")
    else:
        report.check(recall >= recorded - 0.02, f"{title}: recall@{k} {recall:.3f} over {len(pick)} searches", f"index.json says {recorded:.3f}")


def check_search(report, ws, s, current):
    name = s["embedding"]
    vids, versions, x = ws.vectors(name, current[name])
    live = np.array(ws.live(vids, versions))
    u = unit(x)
    try:
        q = next(i for i, a in enumerate(vids) if a == s["query"] and live[i])
    except StopIteration:
        report.check(False, f"search {s['query']}", "the query has no vector")
        return
    cosine = u @ u[q]
    order = [i for i in np.argsort(-cosine, kind="stable") if live[i]]
    ours = [(r["asset_id"], r["score"]) for r in s["results"]]
    if ours and ours[0][0] != s["query"]:
        order = [i for i in order if i != q]  # some searches leave the query itself out
    want = [(vids[i], cosine[i]) for i in order[:len(ours)]]
    off = max((abs(a[1] - b[1]) for a, b in zip(ours, want)), default=1)
    report.check(len(ours) > 0 and off < 1e-5, f"search {s['query']}: {len(ours)} neighbours", f"scores differ by {off:.1e} from the exact search")


def flat_keys(d, out=None):
    """All keys of nested objects, in lower case without underscores."""
    out = {} if out is None else out
    for k, v in d.items():
        if isinstance(v, dict):
            flat_keys(v, out)
        else:
            out.setdefault(k.lower().replace("_", ""), v)
    return out


if __name__ == "__main__":
    run(main)
