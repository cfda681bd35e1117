"""How fast winnow lays rows out, and how good its maps and clusters are: `make bench-project`.

usage: project.py WORKSPACE SETS UMAP_PYTHON [--rounds 5] [--only NAME,...] [--out build/bench/project.json]

WORKSPACE is the demo's, SETS the labeled sets of functions_data.py, UMAP_PYTHON an interpreter that has umap-learn.
build/bench/project must be there: `make bench-project` sees to it. All get the same exact graph of 14 neighbours (umap-learn
counts the row itself: n_neighbors=15), and run in turn, each round with another seed.

  maps       the demo's two embeddings, and 20,000 rows on 40 bent sheets with noise: the ratio of seconds is the median over
             the rounds of winnow's by umap-learn's; trustworthiness (15 neighbours) is the mean over them
  measure    winnow's trustworthiness beside scikit-learn's
  grow       20,000 rows of which 15,000 were there before, and a layout through 4,000 landmarks: no bars
  clusters   adjusted mutual information of winnow's clusters with the labels, beside scikit-learn's HDBSCAN on winnow's map
  million    1,000 × 1,000 rows on a torus: seconds, and memory beside the graph against 400 MB

Ends with a table, and writes it as a list of {case, unit, ours, peer, ratio, bar, ok}. Exit status 1: a bar was missed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

import faiss
import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_mutual_info_score

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))
from workspace import Workspace, unit  # noqa: E402

BENCH = os.path.join(ROOT, "build", "bench")
WORK = os.path.join(BENCH, "work", "project")
K = 14
TRUST = 0.005  # that winnow may lack
table = []


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("workspace")
    p.add_argument("sets")
    p.add_argument("umap_python")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", help="names of cases, with commas between")
    p.add_argument("--out", default=os.path.join(BENCH, "project.json"))
    args = p.parse_args()
    for name, case in {"maps": maps, "measure": measure, "grow": grow, "clusters": clusters, "million": million}.items():
        if not args.only or name in args.only.split(","):
            case(args)
    show()
    with open(args.out, "w", encoding="utf8") as f:
        json.dump(table, f, indent=1)
        f.write("\n")
    return 0 if all(r["ok"] for r in table) else 1


def row(case, unit_, ours, peer, ratio, bar, most=False):
    ok = bar is None or bool(ratio <= bar if most else ratio >= bar)
    table.append({"case": case, "unit": unit_, "ours": ours, "peer": peer, "ratio": ratio, "bar": bar, "ok": ok})


def winnow(*command):
    done = subprocess.run([os.path.join(BENCH, "project"), *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"project.py: {' '.join(done.args)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


class Umap:
    """The peer, which stays up, so that what it has compiled is compiled."""

    def __init__(self, python):
        script = os.path.join(ROOT, "testdata", "peers", "layout.py")
        self.process = subprocess.Popen([python, "-B", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def fit(self, folder, seed):
        self.process.stdin.write(json.dumps({"dir": folder, "k": K, "seed": seed}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("project.py: umap-learn ended: see above")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---- the data


def save(name, x):
    """Writes rows and their exact neighbours to a folder and returns it."""
    folder = os.path.join(WORK, name)
    os.makedirs(folder, exist_ok=True)
    x = unit(x).astype("<f4")
    x.tofile(os.path.join(folder, "vectors.f32"))
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    cosines, found = index.search(x, K + 1)
    other = found != np.arange(len(x))[:, None]
    other[other.all(1), K] = False  # equal vectors may have crowded the row itself out
    found[other].astype("<i4").tofile(os.path.join(folder, "rows.i32"))
    np.maximum(0, 1 - cosines[other]).astype("<f4").tofile(os.path.join(folder, "far.f32"))
    return folder


def demo(args):
    ws = Workspace(args.workspace)
    return {f"demo, {name}": save(name, ws.vectors(name, fp)[2]) for name, fp in ws.embeddings()}


def sheets():
    """20,000 rows of 128 numbers on 40 bent sheets of 6 dimensions that touch, with noise, in random order."""
    rng = np.random.default_rng(7)
    n, d, many, wide = 20000, 128, 40, 6
    centre, along, bend = (rng.normal(size=s) / np.sqrt(d) for s in ((many, d), (many, wide, d), (many, wide, d)))
    which = rng.choice(many, n, p=rng.dirichlet(np.full(many, 2)))
    z = 0.6 * rng.normal(size=(n, wide))
    x = 0.9 * centre[which] + 0.3 * rng.normal(size=(n, d)) / np.sqrt(d)
    for c in range(many):
        at = which == c
        x[at] += z[at] @ along[c] + 0.5 * (z[at] ** 2 - 0.36) @ bend[c]
    return save("sheets", x)


# ---- the cases


def maps(args):
    peer, threads = Umap(args.umap_python), Umap(args.umap_python)  # apart: what each has compiled stays compiled
    for name, folder in {**demo(args), "20,000 rows": sheets()}.items():
        seeded, parallel, ours, theirs = [], [], [], []
        for seed in range(args.rounds):
            a, b = winnow("-dir", folder, "-seed", seed), peer.fit(folder, seed)
            theirs.append(winnow("-dir", folder, "-points", "umap.f32")["trust"])
            c = threads.fit(folder, None)
            ours.append(a["trust"])
            seeded.append((a["seconds"], b["seconds"]))
            parallel.append((a["seconds"], c["seconds"]))
            print(f"bench      {name}, round {seed + 1} of {args.rounds}: winnow {a['seconds']:.2f} s ({a['cpu_seconds']:.2f} of processors), trustworthiness {ours[-1]:.4f}; umap-learn "
                  f"{b['seconds']:.2f} s ({b['cpu_seconds']:.2f}), {theirs[-1]:.4f}; parallel {c['seconds']:.2f} s ({c['cpu_seconds']:.2f})", flush=True)
        for what, pairs, bar in (("umap-learn, seeded", seeded, 0.6), ("umap-learn, parallel", parallel, 1)):
            mine, other = (statistics.median(p) for p in zip(*pairs))
            row(f"{name}: layout / {what}", "s", mine, other, statistics.median(a / b for a, b in pairs), bar, most=True)
        mine, other = statistics.mean(ours), statistics.mean(theirs)
        row(f"{name}: trustworthiness − umap-learn's", "", mine, other, mine - other, -TRUST)
    peer.close()
    threads.close()


def measure(args):
    for name, folder in demo(args).items():
        ours = winnow("-dir", folder)["trust"]
        points = np.fromfile(os.path.join(folder, "points.f32"), "<f4").reshape(-1, 2)
        vectors = np.fromfile(os.path.join(folder, "vectors.f32"), "<f4").reshape(len(points), -1)
        theirs = trustworthiness(vectors.astype(np.float64), points.astype(np.float64), n_neighbors=15, metric="cosine")
        row(f"{name}: |trustworthiness − scikit-learn's|", "", ours, theirs, abs(ours - theirs), 1e-5, most=True)


def grow(_):
    folder = sheets()
    whole = winnow("-dir", folder)
    for what, options in (("15,000 laid out, 5,000 placed", ["-old", 15000]), ("4,000 landmarks", ["-landmarks", 4000])):
        r = winnow("-dir", folder, *options)
        row(f"20,000 rows, {what}: trustworthiness − of all laid out", "", r["trust"], whole["trust"], r["trust"] - whole["trust"], None)


def clusters(args):
    both = []
    for name in ("stamps", "captions", "digits", "openmoji", "packages"):
        with open(os.path.join(args.sets, name, "rows.json"), encoding="utf8") as f:
            labels = [r["labels"][0] for r in json.load(f)]
        folder = save(name, np.fromfile(os.path.join(args.sets, name, "vectors.f32"), "<f4").reshape(len(labels), -1))
        r = winnow("-dir", folder)
        ours = adjusted_mutual_info_score(labels, np.fromfile(os.path.join(folder, "clusters.i32"), "<i4"))
        points = np.fromfile(os.path.join(folder, "points.f32"), "<f4").reshape(-1, 2)
        theirs = adjusted_mutual_info_score(labels, HDBSCAN(min_cluster_size=10, copy=True).fit_predict(points))
        row(f"{name}: {r['clusters']} clusters, agreement with {len(set(labels))} labels / HDBSCAN on the map", "AMI", ours, theirs, ours / theirs, None)
        both.append((ours, theirs))
    ours, theirs = (statistics.mean(x) for x in zip(*both))
    row("mean agreement / HDBSCAN on the map", "AMI", ours, theirs, ours / theirs, 1)


def million(_):
    r = winnow("-sheet", 1000)
    row("1,000,000 rows through 200,000 landmarks: time", "s", r["seconds"], None, None, None)
    row("1,000,000 rows: memory beside the graph / limit", "MB", r["grown_mb"], 400, r["grown_mb"] / 400, 1, most=True)


def show():
    width = max((len(r["case"]) for r in table), default=0)
    print(f"\n{'':{width}}  {'winnow':>10} {'other':>10}  {'ratio':>8} {'bar':>6}")
    for r in table:
        cells = ["" if r[k] is None else f"{r[k]:.4g}" for k in ("ours", "peer", "ratio", "bar")]
        print(f"{r['case']:{width}}  {cells[0]:>10} {cells[1]:>10}  {cells[2]:>8} {cells[3]:>6}  {'' if r['ok'] else 'MISSED '}{r['unit']}")
    print(f"\n{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    sys.exit(main())
