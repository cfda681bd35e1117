"""How fast winnow builds and searches indexes, beside faiss-cpu, in how much memory, and what new rows cost: `make bench-index`.

usage: index.py [--rounds 3] [--rows 200000] [--large 2000000] [--winnow build/winnow] [--out build/bench/index.json]

In turn, in one run, with the same rows, factory, nprobe and number of threads: winnow's own way to build (a sample,
training, the lists of ranges of rows, written and merged on disk) through build/bench/index, and ../peers/index.py in
memory. Processor time of each; the recall of both is against the same exact search. OMP_WAIT_POLICY is passive for both.

Then --large rows of 384 numbers through the real binary: `winnow index` under memory: 1GB (processor time, seconds and
the peak of RssAnon), single searches of its folder, and one more `winnow index` after 1 % new rows.

Ends with a table, and writes it as a list of {case, unit, ours, peer, ratio, bar, ok}. bar is the most that ours may be
of the other; for recall the least. Exit status 1: a bar was missed.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BENCH = os.path.join(ROOT, "build", "bench")
WORK = os.path.join(BENCH, "work", "index")
DIM, CENTRES, FILES, THREADS = 384, 20_000, 20, 2
FACTORIES = {"IVF1024,Flat": 16, "IVF1024,SQ8": 16, "OPQ48_384,IVF1024,PQ48np": 32}
ENV = {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMAXPROCS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--rows", type=int, default=200_000)
    p.add_argument("--large", type=int, default=2_000_000, help="0 leaves it out")
    p.add_argument("--factory", nargs="*", default=list(FACTORIES))
    p.add_argument("--keep", action="store_true", help="leave the workspace in build/bench/work")
    p.add_argument("--winnow", default=os.path.join(ROOT, "build", "winnow"))
    p.add_argument("--out", default=os.path.join(BENCH, "index.json"))
    args = p.parse_args()
    begin = time.time()
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    table = Table()
    if args.rows:
        race(table, args.rows, args.factory, args.rounds)
    if args.large:
        large(table, args.winnow, args.large)
    if not args.keep:
        shutil.rmtree(WORK)
    table.show(begin)
    with open(args.out, "w", encoding="utf8") as f:
        json.dump(table.rows, f, indent=1)
        f.write("\n")
    return 0 if all(r["ok"] for r in table.rows) else 1


def rows(n, seed):
    """Unit rows around centres, as embeddings are."""
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIM), np.float32)
    rng = np.random.default_rng(seed)
    v = centres[rng.integers(0, CENTRES, n)]
    v += 0.7 * rng.standard_normal((n, DIM), np.float32)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return v


def race(table, n, factories, rounds):
    path = os.path.join(WORK, "rows.f32")
    rows(n, 1).tofile(path)
    for factory in factories:
        nprobe = FACTORIES.get(factory, 16)
        seen = []
        for k in range(rounds):
            both = {}
            for who in ("ours", "peer") if k % 2 == 0 else ("peer", "ours"):
                both[who] = ours(path, factory, nprobe) if who == "ours" else peer(path, factory, nprobe)
            exact = both["peer"].pop("exact_rows")
            found = np.array(both["ours"].pop("found")).reshape(len(exact), -1)
            both["ours"]["recall"] = float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact)]))
            seen.append(both)
            shown = "; ".join(f"{who} " + ", ".join(f"{s} {both[who][s]:.2f}" for s in ("train", "add", "search", "recall")) for who in both)
            print(f"bench      {factory}, round {k + 1} of {rounds}: {shown}", flush=True)
        title = f"{factory}, {n:,} rows"
        for name, steps, bar in (("train", ["train"], None), ("add", ["add"], None), ("train + add", ["train", "add"], 1.1), ("1,000 searches", ["search"], 1.1)):
            a, b = ([sum(r[who][s] for s in steps) for r in seen] for who in ("ours", "peer"))
            table.add(f"{title}: {name} / faiss-cpu", "CPU s", a, b, [x / y for x, y in zip(a, b)], bar)
        a, b = ([r[who]["recall"] for r in seen] for who in ("ours", "peer"))
        table.add(f"{title}: recall@10 / faiss-cpu", "", a, b, [x / y for x, y in zip(a, b)], 0.99, least=True)
    os.remove(path)


def ours(path, factory, nprobe):
    return run([os.path.join(BENCH, "index"), "build", path, str(DIM), "--factory", factory, "--nprobe", str(nprobe), "--temp", WORK])


def peer(path, factory, nprobe):
    return run([sys.executable, "-B", os.path.join(ROOT, "testdata", "peers", "index.py"), path, str(DIM), "--factory", factory, "--nprobe", str(nprobe), "--threads", str(THREADS)])


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, env=ENV)
    if done.returncode:
        raise SystemExit(f"index.py: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def large(table, winnow, n):
    """The real binary, from vectors to an index, and on."""
    folder = os.path.join(WORK, "large")
    os.makedirs(folder)
    config = os.path.join(folder, "winnow.yaml")
    files = "file://" + folder
    with open(config, "w", encoding="utf8") as f:  # JSON is YAML
        json.dump({"workspace": files + "/ws", "sources": [{"manifest": files + "/rows_*.jsonl"}],
                   "embeddings": [{"name": "v", "of": "text", "vectors": {"files": files + "/v_*.npy", "ids": files + "/ids_*.txt", "dim": DIM},
                                   "index": {"memory": "1GB", "recall": 0.95}}]}, f)
    for k in range(FILES):
        shard(folder, k, n // FILES)
    for step in ("ingest", "embed"):
        command(winnow, step, config)
    print(f"data       {n:,} rows are in a workspace", flush=True)
    full = command(winnow, "index", config)
    meta = newest(folder)
    print(f"bench      {full}, {meta['factory']}, nprobe {meta['nprobe']}, recall {meta['recall_at_10']}", flush=True)
    title = f"{n:,} rows, memory: 1GB, {meta['factory']}"
    table.add(f"{title}: winnow index", "s", [full["seconds"]], None, None, None)
    table.add(f"{title}: winnow index", "CPU s", [full["cpu"]], None, None, None)
    table.add(f"{title}: peak of RssAnon / limit", "MB", [full["anon"]], [1200], [full["anon"] / 1200], 1)
    table.add(f"{title}: recall@10 / asked for", "", [meta["recall_at_10"]], [0.95], [meta["recall_at_10"] / 0.95], 1, least=True)
    at = os.path.dirname(glob.glob(os.path.join(folder, "ws", "indexes", "v", meta["id"], "index.json"))[0])
    q = run([os.path.join(BENCH, "index"), "query", at, str(DIM)])
    table.add(f"{title}: one search, median / 50 ms", "ms", [1000 * q["median"]], [50], [q["median"] / 0.05], 1)
    table.add(f"{title}: one search, 95 % / 50 ms", "ms", [1000 * q["p95"]], [50], [q["p95"] / 0.05], 1)
    shard(folder, FILES, n // 100)
    for step in ("ingest", "embed"):
        command(winnow, step, config)
    new = command(winnow, "index", config)
    meta = newest(folder)
    if len(meta["parts"]) != 2:
        raise SystemExit(f"index.py: the index has {len(meta['parts'])} parts after new rows")
    limit = 0.03 * full["seconds"] + 1
    print(f"bench      1 % more: {new}", flush=True)
    table.add("1 % new rows / 3 % of all + 1 s", "s", [new["seconds"]], [limit], [new["seconds"] / limit], 1)
    table.add("1 % new rows: peak of RssAnon / limit", "MB", [new["anon"]], [1200], [new["anon"] / 1200], 1)


def shard(folder, k, n):
    np.save(os.path.join(folder, f"v_{k:02}.npy"), rows(n, 100 + k))
    ids = [f"asset-{k:02}-{i:06}" for i in range(n)]
    with open(os.path.join(folder, f"ids_{k:02}.txt"), "w", encoding="utf8") as f:
        f.writelines(i + "\n" for i in ids)
    with open(os.path.join(folder, f"rows_{k:02}.jsonl"), "w", encoding="utf8") as f:
        f.writelines(f'{{"asset_id": "{i}", "text": "row {i}"}}\n' for i in ids)


def newest(folder):
    found = []
    for name in glob.glob(os.path.join(folder, "ws", "indexes", "v", "*", "index.json")):
        with open(name, encoding="utf8") as f:
            found.append(json.load(f))
    return max(found, key=lambda m: m["number"])


def command(winnow, step, config):
    """Runs winnow: {seconds, cpu, anon} of the whole process, anon the most MB of RssAnon that were seen."""
    log = os.path.join(os.path.dirname(config), "log")
    peak = [0.0]
    with open(log, "w+", encoding="utf8") as err:
        begin = time.perf_counter()
        p = subprocess.Popen([winnow, step, "-c", config, "--json"], stdout=subprocess.PIPE, stderr=err, text=True, cwd=ROOT, env=ENV)

        def watch():
            try:
                while True:
                    with open(f"/proc/{p.pid}/status", encoding="utf8") as f:
                        for line in f:
                            if line.startswith("RssAnon:"):
                                peak[0] = max(peak[0], int(line.split()[1]) / 1000)
                    time.sleep(0.02)
            except (OSError, ValueError):
                pass

        threading.Thread(target=watch, daemon=True).start()
        out = p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begin
        if p.returncode:
            err.seek(0)
            raise SystemExit(f"index.py: winnow {step} -c {config} ended with {p.returncode}:\n{err.read()[-2000:]}{out[-2000:]}")
    return {"seconds": round(seconds, 2), "cpu": round(usage.ru_utime + usage.ru_stime, 2), "anon": round(peak[0], 1)}


class Table:
    def __init__(self):
        self.rows = []

    def add(self, case, unit, a, b, ratios, bar, least=False):
        ratio = statistics.median(ratios) if ratios else None
        ok = bar is None or (ratio >= bar if least else ratio <= bar)
        self.rows.append({"case": case, "unit": unit, "ours": statistics.median(a), "peer": statistics.median(b) if b else None, "ratio": ratio, "bar": bar, "ok": ok})

    def show(self, begin):
        width = max((len(r["case"]) for r in self.rows), default=0)
        print(f"\n{'':{width}}  {'winnow':>10} {'other':>10}  {'ratio':>8} {'bar':>6}")
        for r in self.rows:
            cells = ["" if r[k] is None else f"{r[k]:.4g}" for k in ("ours", "peer", "ratio", "bar")]
            print(f"{r['case']:{width}}  {cells[0]:>10} {cells[1]:>10}  {cells[2]:>8} {cells[3]:>6}  {'' if r['ok'] else 'MISSED '}{r['unit']}")
        print(f"\n{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the end, {time.time() - begin:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
