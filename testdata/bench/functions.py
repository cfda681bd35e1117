"""How well functions find their class, by combination and number of anchors: `make bench-functions`.

usage: functions.py [--draws 10] [--classes 12] [--only SET,...] [--out build/bench/functions.json]

functions_data.py has made the sets and build/bench/functions fits and ranks with the project's own mathematics: `make
bench-functions` sees to both. For each class of a set, each draw takes n random rows of it as anchors, all positive and of
weight 1; every combination is fitted to the same anchors; the average precision is that of the ranking of all rows that are no
anchors. A class takes part if 10 of its rows are left, and if it is at most half of its set.

A figure is the mean over classes of the mean over draws. Intervals are 95 %, by bootstrap over the classes and, in each, over its
draws; those of ratios are paired. `digits` is two runs: of five digits each, 80 rows stay among 400 of each other digit.

Ends with tables, and writes a list of {case, unit, ours, peer, ratio, low, high, bar, ok}: ours is lda, the default, and peer the
mean of the anchors, as most tools have it; low and high bound the ratio. Then come all combinations, as {case, unit, ours, low,
high}. Exit status 1: a bar was missed.
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BENCH = os.path.join(ROOT, "build", "bench")
DATA = os.path.join(BENCH, "data", "functions")

SETS = {  # name: (pictures?, runs)
    "stamps": (True, [[]]),
    "openmoji": (True, [[]]),
    "digits": (True, [["-rare", "0,2,4,6,8"], ["-rare", "1,3,5,7,9"]]),
    "captions": (False, [[]]),
    "packages": (False, [[]]),
}
COUNTS = [1, 5, 20, 50]
COMBINES = ["lda", "classifier", "mean", "max", "sum"]
RARE = 0.04
BARS = {5: 1.2, 20: 1.4, 50: 1.8}  # rare classes of pictures


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--draws", type=int, default=10)
    p.add_argument("--classes", type=int, default=12, help="of a set, for each number of anchors")
    p.add_argument("--only", help="names of sets, with commas between")
    p.add_argument("--out", default=os.path.join(BENCH, "functions.json"))
    args = p.parse_args()
    names = args.only.split(",") if args.only else list(SETS)
    rows, detail = [], []
    found = {name: measure(name, args) for name in names}
    for name in names:
        compare(rows, detail, name, found[name], {n: 1.0 for n in COUNTS})
    rare = [r for name in names if SETS[name][0] for r in found[name] if r["share"] <= RARE]
    compare(rows, detail, f"rare classes of pictures (at most {RARE:.0%})", rare, BARS)
    show(rows, detail)
    with open(args.out, "w", encoding="utf8") as f:
        json.dump(rows + detail, f, indent=1)
        f.write("\n")
    return 0 if all(r["ok"] for r in rows) else 1


def measure(name, args):
    out = []
    for more in SETS[name][1]:
        command = [os.path.join(BENCH, "functions"), "-set", os.path.join(DATA, name), "-draws", str(args.draws),
                   "-classes", str(args.classes), "-n", ",".join(map(str, COUNTS)), *more]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"functions.py: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
        out += [json.loads(line) for line in done.stdout.splitlines()]
    print(f"bench      {name}: {len(out)} combinations of class, anchors and function, {args.draws} draws each", flush=True)
    return out


def compare(rows, detail, name, found, bars):
    """One row a number of anchors, the default beside the mean; and one for every combination."""
    for n in COUNTS:
        ap = {c: np.array([r["ap"] for r in found if r["n"] == n and r["combine"] == c]) for c in COMBINES}  # classes × draws
        if not len(ap["lda"]):
            continue
        again = resample(ap)
        for c in COMBINES:
            low, high = np.quantile(again[c], [0.025, 0.975])
            detail.append({"case": f"{name}, {n} anchors, {c}", "unit": "mean average precision", "ours": ap[c].mean(), "low": low, "high": high})
        low, high = np.quantile(again["lda"] / again["mean"], [0.025, 0.975])
        ours, peer, bar = ap["lda"].mean(), ap["mean"].mean(), bars.get(n)
        rows.append({
            "case": f"{name}, {len(ap['lda'])} classes, {n} anchors: lda / mean", "unit": "mean average precision", "ours": ours, "peer": peer,
            "ratio": ours / peer, "low": low, "high": high, "bar": bar, "ok": bar is None or bool(ours / peer >= bar),
        })


def resample(ap, times=1000):
    """The mean average precision of each combination in each resample; the resamples are the same for all."""
    rng = np.random.default_rng(1)
    classes, draws = ap["lda"].shape
    out = {c: np.empty(times) for c in ap}
    for t in range(times):
        at = rng.integers(classes, size=(classes, 1)), rng.integers(draws, size=(classes, draws))
        for c, a in ap.items():
            out[c][t] = a[at].mean()
    return out


def show(rows, detail):
    by = {r["case"]: r for r in detail}
    heads = sorted({c.rsplit(", ", 1)[0] for c in by}, key=list(dict.fromkeys(c.rsplit(", ", 1)[0] for c in by)).index)
    width = max(len(h) for h in heads)
    print(f"\n{'mean average precision':{width}}" + "".join(f"  {c:^18}" for c in COMBINES))
    for h in heads:
        cells = (by[f"{h}, {c}"] for c in COMBINES)
        print(f"{h:{width}}" + "".join(f"  {r['ours']:.3f} ({r['low']:.3f}–{r['high']:.3f})" for r in cells))
    width = max(len(r["case"]) for r in rows)
    print(f"\n{'':{width}}  {'lda':>6} {'mean':>6}  {'ratio':>6} {'95 %':>11}  {'bar':>4}")
    for r in rows:
        bar = "" if r["bar"] is None else f"{r['bar']:.1f}"
        print(f"{r['case']:{width}}  {r['ours']:6.3f} {r['peer']:6.3f}  {r['ratio']:6.2f} {r['low']:5.2f}–{r['high']:.2f}  {bar:>4}  {'' if r['ok'] else 'MISSED'}")


if __name__ == "__main__":
    sys.exit(main())
