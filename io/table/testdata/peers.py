"""Reads a table that interop_test.go wrote with delta-rs and Polars, and writes to it with delta-rs.

usage: peers.py read URL EXPECTED_JSON | peers.py write URL
"""

import json
import os
import sys
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake


def options(url):
    if not url.startswith("s3://"):
        return {}
    return {
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        "AWS_ENDPOINT_URL": os.environ["ENDPOINT"],
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "aws_conditional_put": "etag",
    }


def same(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


def read(url, expected):
    o = options(url)
    want = json.loads(expected)
    dt = DeltaTable(url, storage_options=o)
    same("version", dt.version(), want["version"])
    same("protocol", (dt.protocol().min_reader_version, dt.protocol().min_writer_version), (1, 2))
    same("transaction", dt.transaction_version("job"), want["txn"])
    same("id", str(dt.metadata().id), want["id"])
    same("properties", dt.metadata().configuration, want["properties"])
    same("paths", sorted(unquote(u).rsplit("/", 1)[1] for u in dt.file_uris()), sorted(want["names"]))
    fields = json.loads(dt.schema().to_json())["fields"]
    same("schema", fields, want["fields"])
    ids = sorted(dt.to_pyarrow_table().column("asset_id").to_pylist())
    same("ids by delta-rs", ids, want["ids"])
    # Polars trusts the statistics: with wrong ones it would skip the file.
    lf = pl.scan_delta(url, storage_options=o)
    same("ids by Polars", sorted(lf.collect()["asset_id"].to_list()), want["ids"])
    same("rows by Polars", lf.select(pl.len()).collect().item(), len(want["ids"]))
    some = want["ids"][len(want["ids"]) // 2]
    same("filter by Polars", lf.filter(pl.col("asset_id") == some).select("asset_id", "n").collect().rows(), [(some, int(some[1:]))])
    vectors = lf.sort("asset_id").collect()["vector"].to_list()
    same("vectors", vectors[0], [float(want["ids"][0][1:]), 0.5, -1.0])
    adds = pa.table(dt.get_add_actions(flatten=True))
    same("sizes", sum(adds.column("size_bytes").to_pylist()), want["bytes"])
    same("rows by statistics", sum(adds.column("num_records").to_pylist()), len(want["ids"]))
    if want["old"] is not None:
        dt.load_as_version(want["old"]["version"])
        same("old ids", sorted(dt.to_pyarrow_table().column("asset_id").to_pylist()), want["old"]["ids"])


def write(url):
    o = options(url)
    n = pa.array([900, 901], pa.int64())
    t = pa.table({
        "asset_id": pa.array(["i900", "i901"]),
        "n": n,
        "vector": pa.array([[900.0, 0.5, -1.0], [901.0, 0.5, -1.0]], pa.list_(pa.field("element", pa.float32(), nullable=False))),
    })
    schema = DeltaTable(url, storage_options=o).schema().to_arrow()
    write_deltalake(url, t.cast(pa.schema(schema)), mode="append", storage_options=o)
    dt = DeltaTable(url, storage_options=o)
    dt.delete("n = 31")
    dt.create_checkpoint()


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # the libraries' threads sometimes abort when the interpreter ends
