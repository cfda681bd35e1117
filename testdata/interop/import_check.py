"""Vectors that numpy, pyarrow and clip-retrieval's layout hold come into a workspace as they are.

usage: import_check.py WINNOW

Writes the same 500 vectors as Parquet (list, fixed-size list, float64), as .npy with ids in text and in .npy, as a
clip-retrieval folder of float16, and as NDJSON; lets WINNOW bring each in; and compares what delta-rs reads.
"""
import json, pathlib, subprocess, sys, tempfile
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from deltalake import DeltaTable

winnow = str(pathlib.Path(sys.argv[1]).resolve())
rows, dim = 500, 48
r = np.random.default_rng(7)
want = r.standard_normal((rows, dim)).astype(np.float32)
ids = [f"asset-{i:04d}" for i in range(rows)]
failed = 0


def parquet(folder, column, fields="{}"):
    pq.write_table(pa.table({"asset_id": ids, "embedding": column}), folder / "v.parquet", row_group_size=90)
    return f"{{files: v.parquet, dim: {dim}, normalize: none}}"


def matrix(folder, suffix, write):
    np.save(folder / "v.npy", want.astype(np.float64))
    write(folder / f"ids{suffix}")
    return f"{{files: v.npy, ids: ids{suffix}, dim: {dim}, normalize: none}}"


def clip(folder, _):
    for i, part in enumerate(np.array_split(np.arange(rows), 12)):
        (folder / "out/img_emb").mkdir(parents=True, exist_ok=True)
        (folder / "out/metadata").mkdir(parents=True, exist_ok=True)
        np.save(folder / f"out/img_emb/img_emb_{i}.npy", want[part].astype(np.float16))
        pq.write_table(pa.table({"image_path": [ids[k] for k in part], "caption": ["x"] * len(part)}), folder / f"out/metadata/metadata_{i}.parquet")
    return f"{{files: out, dim: {dim}, normalize: none}}"


def labelbox(folder, _):
    (folder / "v.ndjson").write_text("".join(json.dumps({"id": f"dr{i}", "vector": want[i].tolist()}) + "\n" for i in range(rows)))
    (folder / "export.ndjson").write_text("".join(json.dumps({"data_row": {"id": f"dr{i}", "global_key": ids[i]}, "projects": {}}) + "\n" for i in range(rows)))
    return f"{{files: v.ndjson, ids: export.ndjson, dim: {dim}, normalize: none}}"


flat = pa.array(want.ravel())
cases = {
    "Parquet, list<float>": lambda f: parquet(f, pa.array(want.tolist(), pa.list_(pa.float32()))),
    "Parquet, fixed-size list": lambda f: parquet(f, pa.FixedSizeListArray.from_arrays(flat, dim)),
    "Parquet, list<double>": lambda f: parquet(f, pa.array(want.tolist(), pa.list_(pa.float64()))),
    "Parquet, large_list<halffloat>": lambda f: parquet(f, pa.LargeListArray.from_arrays(np.arange(rows + 1) * dim, pa.array(want.astype(np.float16).ravel()))),
    ".npy with a text of ids": lambda f: matrix(f, ".txt", lambda p: p.write_text("\n".join(ids))),
    ".npy with ids in .npy": lambda f: matrix(f, ".npy", lambda p: np.save(p, np.array(ids))),
    "clip-retrieval": lambda f: clip(f, None),
    "Labelbox NDJSON": lambda f: labelbox(f, None),
}
for name, make in cases.items():
    with tempfile.TemporaryDirectory() as d:
        folder = pathlib.Path(d)
        (folder / "assets.jsonl").write_text("".join(json.dumps({"asset_id": i, "text": i}) + "\n" for i in ids))
        of = "image" if name == "clip-retrieval" else "text"  # clip-retrieval keeps pictures and texts apart
        (folder / "winnow.yaml").write_text(f"workspace: ./w\nsources: [{{manifest: assets.jsonl}}]\nembeddings: [{{name: e, of: {of}, vectors: {make(folder)}}}]\n")
        for command in ("ingest", "embed"):
            p = subprocess.run([winnow, command, "-c", str(folder / "winnow.yaml")], capture_output=True, text=True)
            if p.returncode:
                raise SystemExit(f"{name}: winnow {command} ended with {p.returncode}: {p.stderr}")
        (table,) = (folder / "w/embeddings/e").iterdir()
        got = DeltaTable(str(table)).to_pyarrow_table().sort_by("asset_id")
        vectors = np.array(got["vector"].to_pylist(), np.float32)
        half = "half" in name or name == "clip-retrieval"
        expect = want.astype(np.float16).astype(np.float32) if half else want
        ok = got["asset_id"].to_pylist() == ids and np.array_equal(vectors, expect)
        failed += not ok
        print(f"{'ok    ' if ok else 'FAILED'}  {name}: {got.num_rows} vectors, largest deviation {np.abs(vectors - expect).max():.1e}")
sys.exit(failed > 0)
