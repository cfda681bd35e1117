"""How fast winnow embeds, beside what people use: `make bench-embed`.

usage: embed.py [--rounds 3] [--only NAME,...] [--winnow build/winnow] [--out build/bench/embed.json]

The data, the peers and build/bench/tokenize must be there: `make bench-embed` sees to it.

Runs the real binary on each case of data.py in turn with its peers, on the same files and the same model file:
winnow, peer, loop, winnow, peer, loop, … A ratio is the median over the rounds of the ratio within a round, so that
a machine that is slow for a while is slow for all. Nobody's time holds imports, planning or loading the model;
everybody's holds reading, decoding, inference and, but for the loop's, writing Parquet.

  peer    ../peers/embed_images.py, embed_texts.py: Python, Pillow or SentencePiece, ONNX Runtime
  draft   the same, with Pillow's draft mode, which lets libjpeg shrink while it decodes
  loop    bare.py: the model alone over tensors that are ready, in the best layout of sessions and batches: 1 or 2, 4 to 32

Ends with a table, and writes it as a list of {case, unit, ours, peer, ratio, bar, ok}. bar is the least ratio that
is wanted (for memory: the most), or null. Exit status 1: a bar was missed.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEERS = os.path.join(ROOT, "testdata", "peers")
MODELS = os.path.join(ROOT, ".deps", "models")
BENCH = os.path.join(ROOT, "build", "bench")
DATA = os.path.join(BENCH, "data")
IMAGE = os.path.join(MODELS, "efficientnet-lite0", "model.onnx")
TEXT = os.path.join(MODELS, "use-multilingual-v3", "model.onnx")
SPM = os.path.join(MODELS, "use-multilingual-v3", "sp.model")

LAYOUTS = [(s, b) for b in (4, 8, 32) for s in (1, 2)]  # sessions × rows of a batch
MEMORY_MB = 1500


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", help="names of cases, with commas between")
    p.add_argument("--winnow", default=os.path.join(ROOT, "build", "winnow"))
    p.add_argument("--out", default=os.path.join(BENCH, "embed.json"))
    args = p.parse_args()
    bench = Bench(os.path.abspath(args.winnow), args.rounds)
    for name, case in CASES.items():
        if not args.only or name in args.only.split(","):
            case(bench)
    bench.close()
    bench.print()
    with open(args.out, "w", encoding="utf8") as f:
        json.dump(bench.rows, f, indent=1)
        f.write("\n")
    return 0 if all(r["ok"] for r in bench.rows) else 1


class Bench:
    """The rows of the table, and how each figure is measured."""

    def __init__(self, winnow, rounds):
        self.winnow, self.rounds, self.rows, self.loops = winnow, rounds, [], {}
        self.begin = time.time()

    def close(self):
        for loop in self.loops.values():
            loop.close()

    def row(self, case, unit, ours, peer, ratio, bar, ok=None):
        ok = ok if ok is not None else bar is None or ratio >= bar
        self.rows.append({"case": case, "unit": unit, "ours": ours, "peer": peer, "ratio": ratio, "bar": bar, "ok": ok})

    def race(self, title, unit, ours, rivals, rounds=0):
        """Runs ours and the rivals in turn. rivals: name, function, bar; a bar of False is no row."""
        rates, rounds = {}, rounds or self.rounds
        for k in range(rounds):
            for name, run in [("winnow", ours)] + [(n, f) for n, f, _ in rivals]:
                rates.setdefault(name, []).append(run())
            shown = ", ".join(f"{n} {r[-1]:.1f}" for n, r in rates.items())
            print(f"bench      {title}, round {k + 1} of {rounds}: {shown} {unit}", flush=True)
        for name, _, bar in rivals:
            if bar is not False:
                ratio = statistics.median(a / b for a, b in zip(rates["winnow"], rates[name]))
                self.row(f"{title} / {name}", unit, statistics.median(rates["winnow"]), statistics.median(rates[name]), ratio, bar)

    def print(self):
        width = max((len(r["case"]) for r in self.rows), default=0)
        print(f"\n{'':{width}}  {'winnow':>9} {'other':>9}  {'ratio':>7} {'bar':>7}")
        for r in self.rows:
            bar = "" if r["bar"] is None else f"{r['bar']:g}"
            digits = 2 if abs(r["ratio"]) < 0.99 or r["ratio"] > 1.01 or r["unit"] != "cosine" else 6
            print(f"{r['case']:{width}}  {r['ours']:9.6g} {r['peer']:9.6g}  {r['ratio']:7.{digits}f} {bar:>7}  {'' if r['ok'] else 'MISSED '}{r['unit']}")
        load = os.getloadavg()[0]
        print(f"\n{len(os.sched_getaffinity(0))} cores, {cpu_name()}, load {load:.1f} at the end, {time.time() - self.begin:.0f} s")


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf8") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"


# ---- winnow


class Workspace:
    """A workspace after `winnow ingest`, from which each round starts anew."""

    def __init__(self, bench, name, manifest, kind, decode="exact"):
        self.bench, self.dir = bench, os.path.join(BENCH, "work", name)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.config = os.path.join(self.dir, "winnow.yaml")
        embedding = {"name": "v", "model": "efficientnet-lite0", "of": "image", "decode": decode} if kind == "images" else {"name": "v", "model": "use-multilingual-v3", "of": "text"}
        allow = [os.path.dirname(manifest), os.path.join(ROOT, ".deps", "data", "tuxpaint"), DATA]
        with open(self.config, "w", encoding="utf8") as f:  # JSON is YAML
            json.dump({"workspace": "file://./ws", "sources": [{"manifest": "file://" + manifest, "allow": allow}], "embeddings": [embedding]}, f)
        self.command("ingest")
        self.clean, self.ws = os.path.join(self.dir, "clean"), os.path.join(self.dir, "ws")
        os.rename(self.ws, self.clean)

    def command(self, *words):
        """Runs winnow and returns its result and its peak memory in MB."""
        env = dict(os.environ, WINNOW_MODELS=MODELS)
        with tempfile.TemporaryFile("w+") as log:
            p = subprocess.Popen([self.bench.winnow, *words, "-c", self.config, "--json"], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=env)
            out = p.stdout.read()
            _, status, usage = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
            if p.returncode != 0:
                log.seek(0)
                raise SystemExit(f"embed.py: winnow {' '.join(words)} -c {self.config} ended with {p.returncode}:\n{log.read()[-2000:]}{out[-2000:]}")
        return json.loads(out), usage.ru_maxrss / 1024

    def embed(self):
        """Embeds everything, and returns rows a second."""
        shutil.rmtree(self.ws, ignore_errors=True)
        shutil.copytree(self.clean, self.ws)
        result, self.memory = self.command("embed")
        if result["rejected"] or not result["rows"]:
            raise SystemExit(f"embed.py: {self.config}: {result}")
        return result["rows"] / result["seconds"]

    def vectors(self):
        """The vectors in the order of the manifest."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq
        files = glob.glob(os.path.join(self.ws, "embeddings", "v", "*", "*.parquet"))
        t = pa.concat_tables(pq.read_table(f, columns=["asset_id", "vector"]) for f in sorted(files))
        ids = t.column("asset_id").to_pylist()
        v = t.column("vector").combine_chunks().flatten().to_numpy().reshape(len(ids), -1)
        return dict(zip(ids, np.asarray(v, np.float64)))

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- the others


def peer(script, *words):
    """A function that runs a peer and returns its rows a second."""
    def run():
        done = subprocess.run([sys.executable, "-B", os.path.join(PEERS, script), *words], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"embed.py: {script} failed:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)["per_second"]
    return run


class Loop:
    """bare.py, in the layout that is best here."""

    def __init__(self, *words):
        self.p = subprocess.Popen([sys.executable, "-B", os.path.join(HERE, "bare.py"), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        rates = {}
        for _ in range(2):  # in turn here too
            for layout in LAYOUTS:
                rates.setdefault(layout, []).append(self.ask(layout, 0.25))
        self.best = max(LAYOUTS, key=lambda layout: max(rates[layout]))
        sessions, batch = self.best
        print(f"bench      the loop's best layout: {sessions} session{'s' if sessions > 1 else ''}, batches of {batch}", flush=True)

    def ask(self, layout, share):
        self.p.stdin.write(f"{layout[0]} {layout[1]} {share}\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            raise SystemExit("embed.py: bare.py ended early")
        return json.loads(line)["per_second"]

    def run(self):
        return self.ask(self.best, 1)

    def close(self):
        self.p.stdin.close()
        self.p.wait()


# ---- cases


def folder(name):
    return os.path.join(DATA, name)


def listing(name):
    return os.path.join(folder(name), "list.txt")


def manifest(name):
    return os.path.join(folder(name), "manifest.jsonl")


def image_peer(name, *flags):
    return peer("embed_images.py", IMAGE, listing(name), os.path.join(BENCH, "work", name + ".peer.parquet"), *flags)


def ids_of(name):
    with open(manifest(name), encoding="utf8") as f:
        return [json.loads(line)["asset_id"] for line in f]


def peer_vectors(name):
    import numpy as np
    import pyarrow.parquet as pq
    ids = ids_of(name)
    v = pq.read_table(os.path.join(BENCH, "work", name + ".peer.parquet")).column("vector").combine_chunks().flatten().to_numpy()
    return dict(zip(ids, np.asarray(v, np.float64).reshape(len(ids), -1)))


def cosine(bench, title, a, b, bar):
    """A row with the lowest cosine of all pairs."""
    import numpy as np
    if a.keys() != b.keys():
        raise SystemExit(f"embed.py: {title}: {len(a)} vectors against {len(b)}")
    low = min(float(np.dot(a[k], b[k]) / np.linalg.norm(a[k]) / np.linalg.norm(b[k])) for k in a)
    bench.row(title, "cosine", low, 1, low, bar)


def mp1(bench):
    w = Workspace(bench, "mp1", manifest("mp1"), "images")
    bench.race("JPEG of 1 MP", "images/s", w.embed, [("peer", image_peer("mp1"), 1.4)])
    cosine(bench, "JPEG of 1 MP, lowest cosine to the peer", w.vectors(), peer_vectors("mp1"), 0.9999)
    w.remove()


def mp12(bench):
    exact, fast = Workspace(bench, "mp12", manifest("mp12"), "images"), Workspace(bench, "mp12fast", manifest("mp12"), "images", "fast")
    plain = image_peer("mp12")
    bench.race("JPEG of 12 MP, fast", "images/s", fast.embed, [("draft", image_peer("mp12", "--draft"), 1), ("exact", exact.embed, False), ("peer", plain, 3)])
    bench.race("JPEG of 12 MP, exact", "images/s", exact.embed, [("peer", plain, None)])
    cosine(bench, "JPEG of 12 MP, exact, lowest cosine to the peer", exact.vectors(), peer_vectors("mp12"), 0.9999)
    cosine(bench, "JPEG of 12 MP, fast, lowest cosine to exact", fast.vectors(), exact.vectors(), 0.999)
    exact.remove(), fast.remove()


def image_loop(bench):
    if "images" not in bench.loops:
        bench.loops["images"] = Loop("images", IMAGE, listing("jpeg224"))
    return bench.loops["images"].run


def stamps(bench):
    w = Workspace(bench, "stamps", manifest("stamps"), "images")
    bench.race("stamps (PNG, alpha)", "images/s", w.embed, [("peer", image_peer("stamps"), 1.3), ("loop", image_loop(bench), 0.9)])
    cosine(bench, "stamps, lowest cosine to the peer", w.vectors(), peer_vectors("stamps"), 0.9999)
    w.remove()


def small(name, title, bar):
    def case(bench):
        w = Workspace(bench, name, manifest(name), "images")
        bench.race(title, "images/s", w.embed, [("loop", image_loop(bench), bar)])
        w.remove()
    return case


def texts(source, title, least):
    def case(bench):
        w = Workspace(bench, source, manifest(source), "texts")
        out = os.path.join(BENCH, "work", f"{source}.peer.parquet")
        bench.loops[source] = Loop("texts", TEXT, SPM, listing(source))
        bench.race(title, "texts/s", w.embed, [("peer", peer("embed_texts.py", TEXT, SPM, listing(source), out), 1.4), ("loop", bench.loops[source].run, least)])
        cosine(bench, f"{source}, lowest cosine to the peer", w.vectors(), peer_vectors(source), 0.9999)
        w.remove()
    return case


def memory(kind, source):
    """Peak memory of 20,000 assets against 2,000: the same rows again and again under other names."""
    def case(bench):
        peak = {}
        with open(manifest(source), encoding="utf8") as f:
            rows = [json.loads(line) for line in f]
        for count in (2000, 20000):
            path = os.path.join(BENCH, "work", f"memory-{source}-{count}.jsonl")
            with open(path, "w", encoding="utf8") as f:
                for i in range(count):
                    r = dict(rows[i % len(rows)], asset_id=f"{i:06}")
                    if "uri" in r:
                        r["uri"] = os.path.join(folder(source), r["uri"])
                    f.write(json.dumps(r, ensure_ascii=False) + "\n")
            w = Workspace(bench, f"memory-{source}", path, kind)
            w.embed()
            peak[count] = w.memory
            print(f"bench      memory of {count:,} {kind}: {w.memory:.0f} MB", flush=True)
            w.remove()
            os.remove(path)
        ratio = peak[20000] / peak[2000]
        bench.row(f"peak memory, 20,000 / 2,000 {kind}", "MB", peak[20000], peak[2000], ratio, 1.1, ok=ratio <= 1.1 and max(peak.values()) < MEMORY_MB)
    return case


def tokenizers(title, kind, file, load, bar=1):
    """Our tokenizer against the original, one thread each, every text of the case texts a round."""
    def case(bench):
        with open(listing("texts"), encoding="utf8") as f:
            lines = f.read().split("\n")
        theirs = load(file)
        p = subprocess.Popen([os.path.join(BENCH, "tokenize"), kind, file, listing("texts")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        count = {}

        def ours():
            p.stdin.write("\n")
            p.stdin.flush()
            answer = json.loads(p.stdout.readline())
            count["ours"] = answer["tokens"]
            return answer["per_second"]

        def original():
            begin = time.perf_counter()
            ids = theirs(lines)
            seconds = time.perf_counter() - begin
            count["theirs"] = sum(map(len, ids))
            return len(lines) / seconds

        ours(), original()  # warm
        bench.race(title, "texts/s", ours, [("one thread", original, bar)], rounds=max(5, bench.rounds))
        p.stdin.close()
        p.wait()
        if count["ours"] != count["theirs"]:
            raise SystemExit(f"embed.py: {title}: {count['ours']} tokens against {count['theirs']}")
    return case


def sentencepiece(file):
    from sentencepiece import SentencePieceProcessor
    p = SentencePieceProcessor(model_file=file)
    return lambda lines: p.encode(lines, add_bos=True, add_eos=True, num_threads=1)


def huggingface(file):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(file)
    t.no_truncation(), t.no_padding()
    return t.encode_batch_fast


CASES = {
    "mp1": mp1,
    "mp12": mp12,
    "stamps": stamps,
    "jpeg224": small("jpeg224", "JPEG of 224 px", 0.9),
    "png224": small("png224", "PNG of 224 px", 0.85),
    "captions": texts("captions", "captions of 5 to 25 tokens", None),
    "texts": texts("texts", "texts of 5 to 400 tokens", 0.93),
    "memory-images": memory("images", "jpeg224"),
    "memory-texts": memory("texts", "texts"),
    "unigram": tokenizers("Unigram / SentencePiece", "sentencepiece", SPM, sentencepiece),
    "wordpiece": tokenizers("WordPiece / Hugging Face", "huggingface", os.path.join(DATA, "wordpiece", "tokenizer.json"), huggingface),
}

if __name__ == "__main__":
    os.makedirs(os.path.join(BENCH, "work"), exist_ok=True)
    sys.exit(main())
