"""The checks themselves: on a small workspace made here with other people's libraries they pass, and each
fault that they are there for makes them fail.

usage: python -m unittest test_interop   (in this folder)
"""

import io
import json
import os
import shutil
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import scores  # noqa: E402
import tables  # noqa: E402
from workspace import unit  # noqa: E402

N, D = 300, 8


def save_safetensors(path, meta, arrays):
    head, body = {"__metadata__": meta}, b""
    for name, a in arrays.items():
        raw = np.ascontiguousarray(a).tobytes()
        head[name] = {"dtype": {4: "F32", 8: "F64"}[a.itemsize], "shape": list(a.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    h = json.dumps(head).encode()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(len(h).to_bytes(8, "little") + h + body)


def build(root):
    """A workspace of 300 rows with one function of each kind, its scores straight from the formulas."""
    rng = np.random.default_rng(1)
    ids = [f"a{i:03d}" for i in range(N)]
    versions = [f"v{i}" for i in range(N)]
    x = unit(rng.standard_normal((N, D)) + 1.5 * np.eye(D)[np.arange(N) % 3]).astype(np.float32)
    write_deltalake(f"{root}/assets", pa.table({"asset_id": ids, "version": versions, "uri": [f"file:///x/{i}" for i in ids], "caption": [f"Caption {i}" for i in ids]}))
    vector = pa.array(list(x), pa.list_(pa.float32()))
    write_deltalake(f"{root}/embeddings/image/fp1", pa.table({"asset_id": ids, "version": versions, "content_hash": ids, "vector": vector}))

    u = unit(x)
    mean, cov = u.mean(0), np.cov(u.T, bias=True)
    meta = {"winnow.blake3": "ab" * 32, "rows": str(N), "total": str(N), "sample_ids": json.dumps(ids[:200])}
    arrays = {"mean": mean, "covariance": cov, "sample": x[:200]}
    save_safetensors(f"{root}/stats/image/fp1/00000001.safetensors", meta, arrays)
    basis = scores.Basis(meta, arrays)

    definitions, columns = [], {}
    positive = [{"asset": "a000"}, {"asset": "a003", "weight": 2}, {"asset": "a006"}, {"asset": "a009"}]
    negative = [{"asset": "a001"}, {"asset": "a004", "weight": 0.5}]
    for how, neg in (("mean", True), ("max", True), ("sum", True), ("lda", False), ("classifier", True)):
        d = {"name": how + "_f", "embedding": "image", "combine": how, "anchors": {"positive": positive}}
        if neg:
            d["anchors"]["negative"] = negative
        definitions.append(d)
        p, n = scores.Anchors(), scores.Anchors()
        for side, out in ((positive, p), (d["anchors"].get("negative", []), n)):
            for a in side:
                out.add(u[ids.index(a["asset"])], a.get("weight", 1), a["asset"])
        lam = 0
        if how in ("lda", "classifier"):
            ranks = scores.leave_one_out(p, n, basis)
            lam = max(k for k, v in ranks.items() if v <= min(ranks.values()) + 1e-9)
        columns[d["name"]] = {"mean": lambda: scores.mean(u, p, n), "max": lambda: scores.best(u, p, n), "sum": lambda: scores.total(u, p, n),
                              "lda": lambda: scores.lda(u, p, n, basis, lam), "classifier": lambda: scores.classifier(u, p, n, basis, lam)}[how]()
        fn = {"name": d["name"], "version": "f1", "combine": how, "statistics": "ab" * 16, "lambda": lam, "offset": 0, "rows": 1, "dim": D}
        save_safetensors(f"{root}/stats/image/fp1/functions/{d['name']}-f1.safetensors", {"functions": json.dumps([fn])}, {d["name"]: np.zeros((1, D), np.float32)})
        os.makedirs(f"{root}/functions", exist_ok=True)
        with open(f"{root}/functions/{how}.json", "w") as f:
            json.dump(d, f)
    table = pa.table({"asset_id": ids, "version": versions, **{k: pa.array(v.astype(np.float32)) for k, v in columns.items()}})
    write_deltalake(f"{root}/scores/image", table)
    tag(root, {d["name"]: "f1" for d in definitions})


def tag(root, versions):
    """Adds winnow's tags to the score files in the newest log entry, which delta-rs cannot write."""
    log = f"{root}/scores/image/_delta_log"
    newest = os.path.join(log, max(f for f in os.listdir(log) if f.endswith(".json")))
    with open(newest) as f:
        lines = [json.loads(l) for l in f]
    for l in lines:
        if "add" in l:
            l["add"]["tags"] = {"winnow.versions": json.dumps(versions)}
    with open(newest, "w") as f:
        f.writelines(json.dumps(l) + "\n" for l in lines)


def rewrite_scores(root, change):
    t = pq.read_table([os.path.join(f"{root}/scores/image", f) for f in os.listdir(f"{root}/scores/image") if f.endswith(".parquet")][0])
    shutil.rmtree(f"{root}/scores/image")
    write_deltalake(f"{root}/scores/image", change(t))
    tag(root, {f"{h}_f": "f1" for h in ("mean", "max", "sum", "lda", "classifier")})


def nudge(column, row, by):
    def change(t):
        v = t.column(column).to_numpy().copy()
        v[row] += by
        return t.set_column(t.column_names.index(column), column, pa.array(v))
    return change


class Checks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.mkdtemp()
        build(cls.base + "/ws")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.base)

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.ws = self.dir + "/ws"
        shutil.copytree(self.base + "/ws", self.ws)
        self.addCleanup(shutil.rmtree, self.dir)

    def call(self, module, *args):
        """(exit code, output) of a script."""
        import workspace
        out = io.StringIO()
        with mock.patch.object(sys, "argv", ["x", self.ws, *args]), redirect_stdout(out), self.assertRaises(SystemExit) as left:
            workspace.run(module.main)
        return left.exception.code, out.getvalue()

    def scores(self):
        return self.call(scores, "--functions", self.ws + "/functions/*.json")

    def assertFails(self, result, what):
        code, out = result
        self.assertEqual(code, 1, out)
        self.assertRegex(out, f"(?m)^FAIL .*{what}")

    def test_good_workspace(self):
        for result in (self.call(tables), self.scores()):
            self.assertEqual(result[0], 0, result[1])
            self.assertNotIn("FAIL", result[1])

    def test_wrong_score(self):
        for how in ("mean", "max", "sum", "lda", "classifier"):
            rewrite_scores(self.ws, nudge(how + "_f", 7, 3e-5))
            self.assertFails(self.scores(), f"{how}_f: {how}.*a007")

    def test_score_of_another_row(self):
        rewrite_scores(self.ws, lambda t: t.set_column(0, "asset_id", pa.array(t.column(0).to_pylist()[::-1])))
        self.assertFails(self.scores(), "300 rows are scored")

    def test_missing_score(self):
        rewrite_scores(self.ws, lambda t: t.slice(1))
        self.assertFails(self.scores(), "299 rows are scored")

    def test_missing_column(self):
        rewrite_scores(self.ws, lambda t: t.drop_columns(["sum_f"]))
        self.assertFails(self.scores(), "sum_f")

    def test_wrong_lambda(self):
        f = f"{self.ws}/stats/image/fp1/functions/lda_f-f1.safetensors"
        fn = {"name": "lda_f", "version": "f1", "combine": "lda", "statistics": "ab" * 16, "lambda": 0.3, "offset": 0}
        save_safetensors(f, {"functions": json.dumps([fn])}, {"lda_f": np.zeros((1, D), np.float32)})
        code, out = self.scores()
        self.assertEqual(code, 1, out)

    def test_wrong_statistics(self):
        f = f"{self.ws}/stats/image/fp1/00000001.safetensors"
        from workspace import safetensors
        meta, arrays = safetensors(f)
        save_safetensors(f, meta, dict(arrays, mean=arrays["mean"] + 1e-4))
        self.assertFails(self.scores(), "statistics")

    def test_null_vector(self):
        x = pa.array([[1.0, None]] + [[1.0, 2.0]] * 9, pa.list_(pa.float32()))
        write_deltalake(f"{self.ws}/embeddings/other/fp", pa.table({"asset_id": [str(i) for i in range(10)], "version": ["v"] * 10, "vector": x}))
        self.assertFails(self.call(tables), "embeddings/other/fp: vectors")

    def test_duplicate_row(self):
        write_deltalake(f"{self.ws}/scores/image", pa.table({"asset_id": ["a001"], "version": ["v1"]}), mode="append", schema_mode="merge")
        self.assertFails(self.call(tables), "scores/image: each id and version")

    def test_wrong_size_in_log(self):
        log = f"{self.ws}/assets/_delta_log/00000000000000000000.json"
        with open(log) as f:
            lines = [json.loads(l) for l in f]
        for l in lines:
            if "add" in l:
                l["add"]["size"] += 1
        with open(log, "w") as f:
            f.writelines(json.dumps(l) + "\n" for l in lines)
        self.assertFails(self.call(tables), "")

    def test_no_workspace(self):
        self.ws = self.dir
        code, _ = self.call(tables)
        self.assertIn("no assets table", str(code))


if __name__ == "__main__":
    unittest.main()
