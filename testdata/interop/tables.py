"""Every Delta table of a workspace opens in delta-rs, Polars and DuckDB's Parquet reader, with the same rows.

usage: tables.py WORKSPACE

Checks for each table: the row counts of the three and of the log agree, sizes in the log are
those of the files, ids are never null, vectors have one length and neither nulls nor NaNs, and
every id stands once for each version.
"""

import os

import duckdb
import numpy as np
import polars as pl
import pyarrow.compute as pc

from workspace import Workspace, arguments, live_adds, matrix, run


def main(report):
    args = arguments(__doc__).parse_args()
    ws = Workspace(args.workspace)
    for root in ws.tables():
        check_table(report, ws, root)


def check_table(report, ws, root):
    dt = ws.open(root)
    adds = live_adds(ws.path(root))
    t = dt.to_pyarrow_table()
    counts = {
        "delta-rs": t.num_rows,
        "polars": pl.scan_delta(ws.path(root)).select(pl.len()).collect().item(),
        "polars, read": pl.read_delta(ws.path(root)).height,
        "log": sum(rows_of(a) for a in adds),
        "duckdb": 0,
    }
    files = [ws.path(root, a["path"]) for a in adds]
    if files:
        counts["duckdb"] = duckdb.connect().execute("SELECT count(*) FROM read_parquet(?, union_by_name=true)", [files]).fetchone()[0]
    report.check(len(set(counts.values())) == 1, f"{root} version {dt.version()}: {t.num_rows} rows in {len(files)} files",
                 "" if len(set(counts.values())) == 1 else str(counts))
    wrong = [a["path"] for a in adds if os.path.getsize(ws.path(root, a["path"])) != a["size"]]
    if wrong:
        report.check(False, f"{root}: sizes in the log", f"{len(wrong)} differ from the files, such as {wrong[0]}")
    if len(dt.file_uris()) != len(files):
        report.check(False, f"{root}: files", "delta-rs sees other files than the log names")
    if "asset_id" in t.column_names and pc.any(pc.is_null(t.column("asset_id"))).as_py():
        # rejects may lack an id: a row without one is exactly what they report
        report.check(root.startswith("rejects"), f"{root}: asset_id", "has nulls")
    if root.startswith(("embeddings", "scores")) or root == "assets":
        keys = ["asset_id", "version"] if root != "assets" else ["asset_id"]
        n = t.select(keys).group_by(keys).aggregate([]).num_rows
        report.check(n == t.num_rows, f"{root}: {'each id and version' if len(keys) == 2 else 'each id'} stands once",
                     "" if n == t.num_rows else f"{t.num_rows} rows, {n} different")
    if "vector" in t.column_names:
        check_vectors(report, root, t.column("vector"))


def rows_of(add):
    import json
    stats = add.get("stats")
    return json.loads(stats)["numRecords"] if stats else 0


def check_vectors(report, root, column):
    nulls = column.null_count + sum(c.flatten().null_count for c in column.chunks)
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    v = matrix(column) if len(lengths) == 1 and nulls == 0 else np.zeros((0, 0), np.float32)
    finite = bool(np.isfinite(v).all())
    report.check(nulls == 0 and len(lengths) <= 1 and finite, f"{root}: vectors of {'/'.join(map(str, lengths)) or 'no'} numbers, no nulls",
                 "" if nulls == 0 and finite else f"{nulls} nulls, all finite: {finite}")


if __name__ == "__main__":
    run(main)
