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

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import index  # noqa: E402
import scores  # noqa: E402
import tables  # noqa: E402
import where  # noqa: E402
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
        fn = {"name": d["name"], "version": "f1", "combine": how, "statistics": "ab" * 16, "lambda": 0, "offset": 0, "rows": 1, "dim": D}
        if how in ("lda", "classifier"):
            shares = scores.shares_of(p, n, basis)
            fn["lambda"] = lam = scores.LAMBDAS[int(shares.argmax())]
            if how == "lda":
                fn["shares"] = list(shares)
        columns[d["name"]] = {"mean": lambda: scores.mean(u, p, n), "max": lambda: scores.best(u, p, n), "sum": lambda: scores.total(u, p, n),
                              "lda": lambda: scores.lda(u, p, n, basis, shares), "classifier": lambda: scores.classifier(u, p, n, basis, lam)}[how]()
        save_safetensors(f"{root}/stats/image/fp1/functions/{d['name']}-f1.safetensors", {"functions": json.dumps([fn])}, {d["name"]: np.zeros((1, D), np.float32)})
        os.makedirs(f"{root}/functions", exist_ok=True)
        with open(f"{root}/functions/{how}.json", "w") as f:
            json.dump(d, f)
    table = pa.table({"asset_id": ids, "version": versions, **{k: pa.array(v.astype(np.float32)) for k, v in columns.items()}})
    write_deltalake(f"{root}/scores/image", table)
    tag(root, {d["name"]: "f1" for d in definitions})
    write_deltalake(f"{root}/labels", pa.table({"asset_id": ids[:20], "label": ["apple"] * 20}))
    build_batch(root, ids, columns["mean_f"].astype(np.float32))
    build_index(root, "flat", ids, x, "Flat", {})
    build_index(root, "ivf", ids, x, "IVF8,Flat", {"nprobe": 8, "recall_at_10": 1.0})


def build_batch(root, ids, score):
    """A batch over the rows whose mean_f is at least 0.3 and that have no label."""
    passing = [i for k, i in enumerate(ids) if score[k] >= 0.3 and k >= 20]
    lineage = {
        "format": 1, "name": "b", "slot": "s", "rows": 5, "tables": [{"table": "assets", "version": 0}, {"table": "scores/image", "version": 0}],
        "settings": [{"name": "where", "value": "mean_f_match AND NOT labeled AND caption LIKE 'Caption%'"}],
        "functions": [{"name": "mean_f", "version": "f1", "threshold": 0.3}],
        "funnel": [{"step": "assets", "rows": N}, {"step": "where", "rows": len(passing)}, {"step": "selected", "rows": 5}],
    }
    os.makedirs(f"{root}/batches/b/s")
    with open(f"{root}/batches/b/s/lineage.json", "w") as f:
        json.dump(lineage, f)
    with open(f"{root}/batches/b/s/batch.jsonl", "w") as f:
        f.writelines(json.dumps({"rank": r + 1, "asset_id": i}) + "\n" for r, i in enumerate(passing[:5]))


def build_index(root, name, ids, x, factory, about):
    folder = f"{root}/indexes/image/{name}"
    os.makedirs(folder)
    ix = faiss.index_factory(x.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    ix.train(x)
    ix.add(x)
    faiss.write_index(ix, f"{folder}/base.faiss")
    pq.write_table(pa.table({"asset_id": ids}), f"{folder}/ids.parquet")
    with open(f"{folder}/index.json", "w") as f:
        part = {"rows": len(ids), "lists": {"folder": name, "name": "base.faiss"}, "ids": {"folder": name, "name": "ids.parquet"}}
        json.dump({"id": name, "rows": len(ids), "factory": factory, **about, "parts": [part]}, f)


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
        for result in (self.call(tables), self.scores(), self.call(where), self.call(index)):
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
        first = [1.0] + [0.0] * (len(scores.LAMBDAS) - 1)
        fn = {"name": "lda_f", "version": "f1", "combine": "lda", "statistics": "ab" * 16, "lambda": scores.LAMBDAS[0], "shares": first, "offset": 0}
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

    def edit(self, file, change):
        with open(f"{self.ws}/{file}") as f:
            doc = json.load(f)
        change(doc)
        with open(f"{self.ws}/{file}", "w") as f:
            json.dump(doc, f)

    def test_funnel_off_by_one(self):
        self.edit("batches/b/s/lineage.json", lambda d: d["funnel"][1].update(rows=d["funnel"][1]["rows"] + 1))
        self.assertFails(self.call(where), "b/s: where")

    def test_chosen_row_that_where_refuses(self):
        with open(f"{self.ws}/batches/b/s/batch.jsonl", "a") as f:
            f.write('{"rank": 6, "asset_id": "a003"}\n')  # labeled
        self.assertFails(self.call(where), "b/s: all 6 chosen rows")

    def test_time_travel(self):
        write_deltalake(f"{self.ws}/assets", pa.table({"asset_id": ["late"], "version": ["v"], "uri": ["u"], "caption": ["Caption"]}), mode="append")
        self.assertEqual(self.call(where)[0], 0)  # the batch names the version before

    def test_where_against_ids(self):
        ids = f"{self.dir}/ids.json"
        for good, rows in ((True, [{"asset_id": f"a{i:03d}"} for i in range(20)]), (False, ["a000"])):
            with open(ids, "w") as f:
                json.dump({"rows": rows}, f)
            code, out = self.call(where, "--where", "labeled AND label = 'apple'", "--ids", ids)
            self.assertEqual(code == 0, good, out)
        self.assertFails(self.call(where, "--where", "labeled", "--count", "19"), "labeled")

    def test_index_of_other_vectors(self):
        ix = faiss.read_index(f"{self.ws}/indexes/image/flat/base.faiss")
        x = ix.reconstruct_n(0, N)
        other = faiss.IndexFlatIP(D)
        other.add(x[::-1].copy())
        faiss.write_index(other, f"{self.ws}/indexes/image/flat/base.faiss")
        self.assertFails(self.call(index), "indexes/image/flat/base.faiss: 200 searches")

    def test_index_with_low_recall(self):
        self.edit("indexes/image/ivf/index.json", lambda d: d.update(nprobe=1))
        self.assertFails(self.call(index), "indexes/image/ivf/base.faiss: recall")

    def test_search(self):
        from workspace import Workspace
        ids, _, x = Workspace(self.ws).vectors("image", "fp1")
        cosine = unit(x) @ unit(x)[4]
        best = np.argsort(-cosine)[:5]
        out = f"{self.dir}/search.json"
        for good, by in ((True, 0), (False, 1e-3)):
            with open(out, "w") as f:
                json.dump({"query": ids[4], "embedding": "image", "results": [{"asset_id": ids[i], "score": float(cosine[i]) + by} for i in best]}, f)
            code, text = self.call(index, "--search", out)
            self.assertEqual(code == 0, good, text)

    def test_no_workspace(self):
        self.ws = self.dir
        code, _ = self.call(tables)
        self.assertIn("no assets table", str(code))


if __name__ == "__main__":
    unittest.main()
