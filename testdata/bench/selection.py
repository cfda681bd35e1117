"""How fast winnow chooses, how much memory that takes, and how well the picks cover the rest: `make bench-select`.

usage: selection.py [--rounds 3] [--only NAME,...] [--out build/bench/select.json]

build/bench/select must be there: `make bench-select` sees to it. It makes the data: rows of 384 numbers, clustered or
without any structure, from a fixed seed.

  speed   20,000 rows, 200 picks: seconds of winnow and of ../peers/selection.py (numpy), in turn; the ratio is the median
          over the rounds of numpy's by winnow's
  cover   100,000 rows, 2,000 picks, vectors kept as 16-bit numbers: the cover radius, which is the largest cosine distance
          of a row to the nearest pick, beside that of exact k-center on 32-bit numbers; both measured here in double precision
  million 1,000,000 rows, 10,000 picks: seconds against 180, peak memory against 2,000 MB
  noise   the same without structure, where no bound helps; no bars

Ends with a table, and writes it as a list of {case, unit, ours, peer, ratio, bar, ok}. bar is the least ratio that is
wanted; for a radius, seconds and memory beside a limit, the most. Exit status 1: a bar was missed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BENCH = os.path.join(ROOT, "build", "bench")
WORK = os.path.join(BENCH, "work", "select")
DIM = 384


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", help="names of cases, with commas between")
    p.add_argument("--out", default=os.path.join(BENCH, "select.json"))
    args = p.parse_args()
    os.makedirs(WORK, exist_ok=True)
    table = []
    for name, case in {"speed": speed, "cover": cover, "million": million, "noise": noise}.items():
        if not args.only or name in args.only.split(","):
            case(table, args.rounds)
    show(table)
    with open(args.out, "w", encoding="utf8") as f:
        json.dump(table, f, indent=1)
        f.write("\n")
    return 0 if all(r["ok"] for r in table) else 1


def row(table, case, unit, ours, peer, ratio, bar, most=False):
    ok = bar is None or (ratio <= bar if most else ratio >= bar)
    table.append({"case": case, "unit": unit, "ours": ours, "peer": peer, "ratio": ratio, "bar": bar, "ok": ok})


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"selection.py: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def winnow(n, k, *more):
    return run(os.path.join(BENCH, "select"), "-n", str(n), "-d", str(DIM), "-k", str(k), *more)


def numpy_peer(k):
    return run(sys.executable, "-B", os.path.join(ROOT, "testdata", "peers", "selection.py"), os.path.join(WORK, "rows.f32"), str(DIM), str(k), os.path.join(WORK, "peer.i32"))


def speed(table, rounds):
    for data in ("clusters", "noise"):
        ours, theirs = [], []
        for i in range(rounds):
            ours.append(winnow(20000, 200, "-data", data, "-write", WORK)["seconds"])
            theirs.append(numpy_peer(200)["seconds"])
            print(f"bench      20,000 {data}, round {i + 1} of {rounds}: winnow {ours[-1]:.2f} s, numpy {theirs[-1]:.2f} s", flush=True)
        ratio = statistics.median(b / a for a, b in zip(ours, theirs))
        row(table, f"20,000 rows, 200 picks, {data} / numpy", "s", statistics.median(ours), statistics.median(theirs), ratio, 1)


def cover(table, _):
    for data in ("clusters", "noise"):
        winnow(100000, 2000, "-data", data, "-compact", "-write", WORK)
        numpy_peer(2000)
        rows = np.fromfile(os.path.join(WORK, "rows.f32"), np.float32).reshape(-1, DIM)
        ours, exact = (radius(rows, np.fromfile(os.path.join(WORK, f), np.int32)) for f in ("picks.i32", "peer.i32"))
        print(f"bench      100,000 {data}: cover radius {ours:.6f}, exact {exact:.6f}", flush=True)
        row(table, f"100,000 rows, 2,000 picks, {data}: cover radius / exact", "distance", ours, exact, ours / exact, 1.05, most=True)
    os.remove(os.path.join(WORK, "rows.f32"))


def radius(rows, picks):
    most = 0.0
    for lo in range(0, len(rows), 10000):
        near = 1 - (rows[lo:lo + 10000] @ rows[picks].T)
        at = near.argmin(1)  # again in double precision
        d = 1 - np.einsum("ij,ij->i", rows[lo:lo + 10000].astype(np.float64), rows[picks[at]].astype(np.float64))
        most = max(most, float(d.max()))
    return most


def million(table, _, data="clusters", bar=1):
    r = winnow(1000000, 10000, "-data", data, "-compact")
    print(f"bench      1,000,000 {data}: {r}", flush=True)
    row(table, f"1,000,000 rows, 10,000 picks, {data}: time / limit", "s", r["seconds"], 180, r["seconds"] / 180, bar, most=True)
    row(table, f"1,000,000 rows, 10,000 picks, {data}: processor time", "s", r["cpu_seconds"], None, None, None)
    row(table, f"1,000,000 rows, 10,000 picks, {data}: memory / limit", "MB", r["rss_mb"], 2000, r["rss_mb"] / 2000, bar, most=True)


def noise(table, rounds):
    million(table, rounds, "noise", None)


def show(table):
    width = max((len(r["case"]) for r in table), default=0)
    print(f"\n{'':{width}}  {'winnow':>10} {'other':>10}  {'ratio':>8} {'bar':>6}")
    for r in table:
        cells = ["" if r[k] is None else f"{r[k]:.5g}" for k in ("ours", "peer", "ratio", "bar")]
        print(f"{r['case']:{width}}  {cells[0]:>10} {cells[1]:>10}  {cells[2]:>8} {cells[3]:>6}  {'' if r['ok'] else 'MISSED '}{r['unit']}")
    print(f"\n{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    sys.exit(main())
