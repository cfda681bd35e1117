"""How fast winnow scores, beside numpy and FAISS, in how much memory, and what new rows cost: `make bench-score`.

usage: score.py [--rounds 3] [--rows 1000000] [--winnow build/winnow] [--out build/bench/score.json]

The data are made once: a workspace with rows of 384 random numbers, brought in from .npy files as `vectors:`, and with
1 % more of them. The peers, and build/bench/score, which multiplies alone, must be there: `make bench-score` sees to it.

Each round runs the real binary, `winnow score`, from a workspace without scores to committed ones, and then each of
../peers/score.py's ways over the same shards: 50 functions of 4 anchors, combine max, asset_ids and scores written as
Parquet. Then lda, which is one product a function. winnow's time is the whole process's: planning, statistics, fits and
the commit are in it. The peers' leaves out imports. A ratio is the median of the rounds' own ratios.

  half    the same over half of the rows: time and memory beside those of all
  new     a run after 1 % new rows, beside 3 % of the round's full run and a second
  product what the product and the maxima reach of the machine's sgemm peak, which is that of OpenBLAS on squares of
          1,024 in the same process, a goroutine a core; by processor time

Ends with a table, and writes it as a list of {case, unit, ours, peer, ratio, bar, ok}. bar is the least ratio that is
wanted; for memory, rows and new rows the most. Exit status 1: a bar was missed.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BENCH = os.path.join(ROOT, "build", "bench")
WORK = os.path.join(BENCH, "work", "score")
DIM, FUNCTIONS, ANCHORS, FILES = 384, 50, 4, 20
MEMORY_MB = 1000


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--rows", type=int, default=1_000_000)
    p.add_argument("--winnow", default=os.path.join(ROOT, "build", "winnow"))
    p.add_argument("--out", default=os.path.join(BENCH, "score.json"))
    args = p.parse_args()
    begin = time.time()
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    bench = Bench(args.winnow, Data(args.winnow, args.rows, os.path.join(BENCH, "data", f"score-{args.rows}")), args.rounds)
    bench.race()
    bench.product()
    shutil.rmtree(WORK)
    show(bench.table, begin)
    with open(args.out, "w", encoding="utf8") as f:
        json.dump(bench.table, f, indent=1)
        f.write("\n")
    return 0 if all(r["ok"] for r in bench.table) else 1


class Data:
    """Workspaces half, full and more (1 % more rows than full), all without scores, which share their files."""

    def __init__(self, winnow, rows, folder):
        self.winnow, self.rows, self.dir = winnow, rows, folder
        self.half, self.full, self.more = (os.path.join(folder, n) for n in ("half", "full", "more"))
        if os.path.exists(os.path.join(folder, "done")):
            return
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(os.path.join(folder, "npy"))
        for combine in ("max", "lda"):
            self.functions(combine)
        per, half = rows // FILES, FILES // 2
        for to, files in ((self.half, range(half)), (self.full, range(half, FILES)), (self.more, range(FILES, FILES + 1))):
            for k in files:
                self.file(k, per if k < FILES else rows // 100)
            print(f"data       {os.path.basename(to)}: {len(files)} files of rows", flush=True)
            for step in ("ingest", "embed"):
                command(winnow, step, self.config("max", os.path.join(folder, "now")))
            hardlinks(os.path.join(folder, "now"), to)
        for gone in ("npy", "now"):
            shutil.rmtree(os.path.join(folder, gone))
        open(os.path.join(folder, "done"), "w").close()

    def file(self, k, rows):
        v = np.random.default_rng(k).standard_normal((rows, DIM), np.float32)
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        np.save(os.path.join(self.dir, "npy", f"v_{k:02}.npy"), v)
        ids = [f"asset-{k:02}-{i:06}" for i in range(rows)]
        with open(os.path.join(self.dir, "npy", f"ids_{k:02}.txt"), "w", encoding="utf8") as f:
            f.writelines(i + "\n" for i in ids)
        with open(os.path.join(self.dir, "npy", f"rows_{k:02}.jsonl"), "w", encoding="utf8") as f:
            f.writelines(f'{{"asset_id": "{i}", "text": "row {i}", "metadata": {{"file": {k}}}}}\n' for i in ids)

    def functions(self, combine):
        folder = os.path.join(self.dir, combine)
        os.makedirs(folder)
        for f in range(FUNCTIONS):
            anchors = [{"asset": f"asset-{(f + a) % (FILES // 2):02}-{f * 97 + a:06}"} for a in range(ANCHORS)]
            with open(os.path.join(folder, f"f{f:02}.yaml"), "w", encoding="utf8") as out:  # JSON is YAML
                json.dump({"name": f"f{f:02}", "embedding": "v", "anchors": {"positive": anchors}, "combine": combine, "threshold": {"percentile": 99}}, out)

    def config(self, combine, workspace):
        path = workspace + ".yaml"
        npy = "file://" + os.path.join(self.dir, "npy")
        with open(path, "w", encoding="utf8") as f:
            json.dump({"workspace": "file://" + workspace, "sources": [{"manifest": npy + "/rows_*.jsonl"}],
                       "embeddings": [{"name": "v", "of": "text", "vectors": {"files": npy + "/v_*.npy", "ids": npy + "/ids_*.txt", "dim": DIM}}],
                       "functions": os.path.join(self.dir, combine, "*.yaml")}, f)
        return path


def hardlinks(a, b):
    subprocess.run(["cp", "-al", a, b], check=True)


def command(winnow, step, config):
    """Runs winnow: {seconds, cpu, mb, rows} of the whole process."""
    log = os.path.join(os.path.dirname(config), "log")
    with open(log, "w+", encoding="utf8") as err:
        begin = time.perf_counter()
        p = subprocess.Popen([winnow, step, "-c", config, "--json"], stdout=subprocess.PIPE, stderr=err, text=True, cwd=ROOT)
        out = p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begin
        if p.returncode:
            err.seek(0)
            raise SystemExit(f"score.py: winnow {step} -c {config} ended with {p.returncode}:\n{err.read()[-2000:]}{out[-2000:]}")
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024, "rows": json.loads(out).get("rows")}


class Bench:
    def __init__(self, winnow, data, rounds):
        self.winnow, self.data, self.rounds, self.table = winnow, data, rounds, []

    def score(self, workspace, combine, rows, more=None):
        """Scores a workspace without scores, then, where more is given, that one's additional rows."""
        ws = os.path.join(WORK, "ws")
        shutil.rmtree(ws, ignore_errors=True)
        hardlinks(workspace, ws)
        config = self.data.config(combine, ws)
        full = command(self.winnow, "score", config)
        if full["rows"] != rows:
            raise SystemExit(f"score.py: scored {full['rows']} of {rows} rows")
        if not more:
            return full
        for table in ("assets", "embeddings"):
            shutil.rmtree(os.path.join(ws, table))
            hardlinks(os.path.join(more, table), os.path.join(ws, table))
        new = command(self.winnow, "score", config)
        if new["rows"] != rows // 100:
            raise SystemExit(f"score.py: scored {new['rows']} of {rows // 100} new rows")
        return full, new

    def peer(self, how):
        shards = [f for f in sorted(walk(os.path.join(self.data.full, "embeddings"))) if f.endswith(".parquet")]
        out = os.path.join(WORK, "peer")
        before = os.times()
        done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "testdata", "peers", "score.py"), out, *shards,
                               "--functions", str(FUNCTIONS), "--anchors", str(ANCHORS), "--how", how], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"score.py: peers/score.py failed:\n{done.stderr[-2000:]}")
        after = os.times()
        shutil.rmtree(out)
        return {"seconds": json.loads(done.stdout)["seconds"], "cpu": after.children_user + after.children_system - before.children_user - before.children_system}

    def race(self):
        n, seen = self.data.rows, {}
        for k in range(self.rounds):
            now = {}
            now["max"], now["new"] = self.score(self.data.full, "max", n, self.data.more)
            now["numpy"], now["faiss"] = self.peer("numpy"), self.peer("faiss")
            now["half"] = self.score(self.data.half, "max", n // 2)
            now["lda"] = self.score(self.data.full, "lda", n)
            for name, r in now.items():
                seen.setdefault(name, []).append(r)
            shown = ", ".join(f"{name} {r['seconds']:.1f} ({r['cpu']:.1f})" for name, r in now.items())
            print(f"bench      round {k + 1} of {self.rounds}, seconds (of processor time): {shown}", flush=True)
        best = [min(a["seconds"], b["seconds"]) for a, b in zip(seen["numpy"], seen["faiss"])]
        full = [r["seconds"] for r in seen["max"]]
        million = f"{n:,} rows × {FUNCTIONS} functions"
        self.row(f"{million} × {ANCHORS}, max / best peer", "s", full, best, [b / a for a, b in zip(full, best)], 4)
        self.row("… processor time", "s", self.get(seen, "max", "cpu"), None, None, None)
        for how in ("numpy", "faiss"):
            self.row(f"… / {how}, processor time", "s", self.get(seen, "max", "cpu"), self.get(seen, how, "cpu"),
                     [b["cpu"] / a["cpu"] for a, b in zip(seen["max"], seen[how])], None)
        self.row(f"{million}, lda / best peer", "s", self.get(seen, "lda", "seconds"), best, [b / a["seconds"] for a, b in zip(seen["lda"], best)], None)
        halves = self.get(seen, "half", "seconds")
        self.row("time / half of the rows", "s", full, halves, [a / b for a, b in zip(full, halves)], 2.1, most=True)
        self.row("processor time / half of the rows", "s", self.get(seen, "max", "cpu"), self.get(seen, "half", "cpu"),
                 [a["cpu"] / b["cpu"] for a, b in zip(seen["max"], seen["half"])], None)
        mb = max(self.get(seen, "max", "mb") + self.get(seen, "lda", "mb"))
        self.row("memory / limit", "MB", [mb], [MEMORY_MB], [mb / MEMORY_MB], 1, most=True)
        small = self.get(seen, "half", "mb")
        self.row("memory / half of the rows", "MB", self.get(seen, "max", "mb"), small, [a / b for a, b in zip(self.get(seen, "max", "mb"), small)], 1.1, most=True)
        new, limit = self.get(seen, "new", "seconds"), [0.03 * t + 1 for t in full]
        self.row("1 % new rows / 3 % of all + 1 s", "s", new, limit, [a / b for a, b in zip(new, limit)], 1, most=True)
        self.row("… processor time", "s", self.get(seen, "new", "cpu"), None, None, None)

    def product(self):
        done = subprocess.run([os.path.join(BENCH, "score"), "-d", str(DIM), "-functions", str(FUNCTIONS), "-anchors", str(ANCHORS), "-rounds", "9"],
                              capture_output=True, text=True, check=True)
        r = json.loads(done.stdout)
        print(f"bench      {r}", flush=True)
        self.row("product and maxima / sgemm peak", "GFLOP / CPU s", [r["pass"]], [r["peak"]], [r["share"]], 0.6)

    @staticmethod
    def get(seen, name, field):
        return [r[field] for r in seen[name]]

    def row(self, case, unit, ours, peer, ratios, bar, most=False):
        ratio = statistics.median(ratios) if ratios else None
        ok = bar is None or (ratio <= bar if most else ratio >= bar)
        self.table.append({"case": case, "unit": unit, "ours": statistics.median(ours), "peer": statistics.median(peer) if peer else None, "ratio": ratio, "bar": bar, "ok": ok})


def walk(folder):
    for at, _, names in os.walk(folder):
        yield from (os.path.join(at, n) for n in names)


def show(table, begin):
    width = max((len(r["case"]) for r in table), default=0)
    print(f"\n{'':{width}}  {'winnow':>10} {'other':>10}  {'ratio':>8} {'bar':>6}")
    for r in table:
        cells = ["" if r[k] is None else f"{r[k]:.4g}" for k in ("ours", "peer", "ratio", "bar")]
        print(f"{r['case']:{width}}  {cells[0]:>10} {cells[1]:>10}  {cells[2]:>8} {cells[3]:>6}  {'' if r['ok'] else 'MISSED '}{r['unit']}")
    print(f"\n{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the end, {time.time() - begin:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
