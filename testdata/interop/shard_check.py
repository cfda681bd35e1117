"""A shard and a score file open in pyarrow, Polars, DuckDB and delta-rs, with the rows that Go wrote.

usage: shard_check.py DIR

DIR holds shard.parquet, scores.parquet and expect.json, as the test of io/shard writes them. The script then
writes the same rows with each of the libraries into DIR/theirs, for the test to read back: other page versions,
dictionaries, codecs, and what delta-rs makes of a shard when it compacts the table.
"""

import json
import os
import shutil
import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from workspace import Report

TEXTS = ["asset_id", "version", "content_hash"]


def main(report, folder):
    with open(os.path.join(folder, "expect.json"), encoding="utf8") as f:
        want = json.load(f)
    vectors = np.array(want["vectors"], np.float32).reshape(-1, want["dim"])
    shard = os.path.join(folder, "shard.parquet")
    check_pyarrow(report, shard, want, vectors)
    check_polars(report, shard, want, vectors)
    check_duckdb(report, shard, want, vectors)
    check_delta(report, folder, shard, want, vectors)
    check_scores(report, os.path.join(folder, "scores.parquet"), want)
    write_theirs(folder, shard, os.path.join(folder, "theirs"))


def same(texts, got, want, vectors):
    return all(texts[c] == want[c] for c in TEXTS) and np.array_equal(np.array(got, np.float32), vectors)


def check_pyarrow(report, shard, want, vectors):
    t = pq.read_table(shard)
    kind = t.schema.field("vector").type
    report.check(kind == pa.list_(pa.field("element", pa.float32(), nullable=False)), "pyarrow: a list", str(kind))
    got = t.column("vector").combine_chunks().flatten().to_numpy().reshape(-1, want["dim"])
    report.check(same({c: t.column(c).to_pylist() for c in TEXTS}, got, want, vectors), "pyarrow: the rows")
    f = pq.ParquetFile(shard)
    groups = [f.metadata.row_group(i).num_rows for i in range(f.metadata.num_row_groups)]
    report.check(all(g == want["group"] for g in groups[:-1]) and sum(groups) == len(vectors), "pyarrow: row groups", str(groups))
    vector = f.metadata.row_group(0).column(3)
    report.check(vector.compression == "UNCOMPRESSED" and "PLAIN" in vector.encodings and "RLE_DICTIONARY" not in vector.encodings,
                 "pyarrow: plain, uncompressed vectors", f"{vector.compression} {vector.encodings}")


def check_polars(report, shard, want, vectors):
    for name, t in (("read", pl.read_parquet(shard)), ("scan", pl.scan_parquet(shard).collect())):
        # Not an array: as part of a Delta table Polars accepts only the list that the log's schema names.
        report.check(t.schema["vector"] == pl.List(pl.Float32), f"polars {name}: a list", str(t.schema["vector"]))
        got = t["vector"].cast(pl.Array(pl.Float32, want["dim"])).to_numpy()
        report.check(same({c: t[c].to_list() for c in TEXTS}, got, want, vectors), f"polars {name}: the rows")


def check_duckdb(report, shard, want, vectors):
    db = duckdb.connect()
    kind = db.execute("SELECT typeof(vector) FROM read_parquet(?) LIMIT 1", [shard]).fetchone()[0]
    report.check(kind == "FLOAT[]", "duckdb: a list", kind)
    rows = db.execute(f"SELECT asset_id, version, content_hash, vector::FLOAT[{want['dim']}] FROM read_parquet(?)", [shard]).fetchall()
    texts = {c: [r[i] for r in rows] for i, c in enumerate(TEXTS)}
    report.check(same(texts, [r[3] for r in rows], want, vectors), "duckdb: the rows")


def delta_table(root, name, rows):
    """Writes the log of a table with the one file, as io/table does."""
    os.makedirs(os.path.join(root, "_delta_log"))
    fields = [{"name": c, "type": "string", "nullable": False, "metadata": {}} for c in TEXTS]
    vector = {"type": "array", "elementType": "float", "containsNull": False}
    fields.append({"name": "vector", "type": vector, "nullable": False, "metadata": {}})
    actions = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {"metaData": {"id": "0f8fad5b-d9cb-469f-a165-70867728950e", "format": {"provider": "parquet", "options": {}}, "partitionColumns": [],
                      "schemaString": json.dumps({"type": "struct", "fields": fields}), "configuration": {}, "createdTime": 0}},
        {"add": {"path": name, "partitionValues": {}, "size": os.path.getsize(os.path.join(root, name)), "modificationTime": 0,
                 "dataChange": True, "stats": json.dumps({"numRecords": rows})}},
    ]
    with open(os.path.join(root, "_delta_log", f"{0:020}.json"), "w", encoding="utf8") as f:
        f.writelines(json.dumps(a) + "\n" for a in actions)


def check_delta(report, folder, shard, want, vectors):
    root = os.path.join(folder, "table")
    os.makedirs(root)
    shutil.copy(shard, os.path.join(root, "one.parquet"))
    delta_table(root, "one.parquet", len(vectors))
    t = DeltaTable(root).to_pyarrow_table()
    got = t.column("vector").combine_chunks().flatten().to_numpy().reshape(-1, want["dim"])
    report.check(same({c: t.column(c).to_pylist() for c in TEXTS}, got, want, vectors), "delta-rs: the rows")
    for name, p in (("read", pl.read_delta(root)), ("scan", pl.scan_delta(root).collect())):
        got = np.array(p["vector"].to_list(), np.float32)
        report.check(same({c: p[c].to_list() for c in TEXTS}, got, want, vectors), f"polars {name}_delta: the rows")


def check_scores(report, path, want):
    names = want["columns"]
    t = pq.read_table(path)
    report.check(t.column_names == ["asset_id", "version"] + names, "scores, pyarrow: columns in order", str(t.column_names[:5]))
    p = pl.read_parquet(path)
    d = duckdb.connect().sql("SELECT * FROM read_parquet(?)", params=[path]).to_arrow_table()
    for lib, col in (("pyarrow", lambda c: t.column(c).to_pylist()), ("polars", lambda c: p[c].to_list()), ("duckdb", lambda c: d.column(c).to_pylist())):
        ok = col("asset_id") == want["asset_id"] and col("version") == want["version"]
        ok = ok and all(np.array_equal(np.array(col(n), np.float32), np.array(s, np.float32)) for n, s in zip(names, want["scores"]))
        report.check(ok, f"scores, {lib}: the rows")
    nullable = [f.name for f in t.schema if f.nullable]
    report.check(not nullable, "scores: no column is nullable", str(nullable))


def vector_length(t):
    return len(t.column("vector")[0])


def write_theirs(folder, shard, out):
    os.makedirs(out)
    t = pq.read_table(shard)
    lists = t.set_column(3, pa.field("vector", pa.list_(pa.float32())), t.column("vector").cast(pa.list_(pa.float32())))
    v1 = {"data_page_version": "1.0", "data_page_size": 1000, "write_batch_size": 7}
    pq.write_table(lists, os.path.join(out, "pyarrow-v1-dictionary-snappy.parquet"), row_group_size=777, **v1)
    pq.write_table(lists, os.path.join(out, "pyarrow-v1-plain.parquet"), use_dictionary=False, compression="none", **v1)
    pq.write_table(lists, os.path.join(out, "pyarrow-v2-zstd-index.parquet"), compression="zstd", data_page_version="2.0", data_page_size=3000,
                   write_page_index=True)
    fixed = t.set_column(3, "vector", t.column("vector").cast(pa.list_(pa.field("element", pa.float32(), nullable=False), vector_length(t))))
    pq.write_table(fixed, os.path.join(out, "pyarrow-fixed.parquet"), use_dictionary=["version"])
    pl.read_parquet(shard).write_parquet(os.path.join(out, "polars.parquet"), row_group_size=500)
    duckdb.connect().execute(f"COPY (FROM read_parquet('{shard}')) TO '{out}/duckdb.parquet' (ROW_GROUP_SIZE 2048)")
    root = os.path.join(folder, "compacted")
    os.makedirs(root)
    half = t.num_rows // 2
    pq.write_table(lists.slice(0, half), os.path.join(root, "a.parquet"))
    delta_table(root, "a.parquet", half)
    dt = DeltaTable(root)
    from deltalake import write_deltalake
    write_deltalake(dt, lists.slice(half), mode="append")
    DeltaTable(root).optimize.compact()
    files = DeltaTable(root).file_uris()
    if len(files) != 1:
        raise ValueError(f"compaction left {len(files)} files")
    shutil.copy(files[0], os.path.join(out, "delta-rs-compacted.parquet"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    r = Report()
    main(r, sys.argv[1])
    sys.exit(r.code())
