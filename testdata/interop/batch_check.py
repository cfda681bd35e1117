"""batch.arrow holds what batch.parquet of the same batch holds, and is read without a copy.

usage: batch_check.py DIR

DIR has a folder for each batch with both files, as the test of io/manifest writes them. pyarrow and Polars read
both; schemas (names, types, which columns may be null), rows and what the files say of the batch must agree.
"""

import os
import sys

import polars as pl
import polars.testing
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from workspace import Report


def main(report, folder):
    for name in sorted(os.listdir(folder)):
        arrow, parquet = (os.path.join(folder, name, "batch." + kind) for kind in ("arrow", "parquet"))
        check_pyarrow(report, name, arrow, pq.read_table(parquet))
        check_polars(report, name, arrow, pl.read_parquet(parquet))


def check_pyarrow(report, name, arrow, want):
    with pa.memory_map(arrow) as m:
        file = m.read_buffer()
        m.seek(0)
        t = pa.ipc.open_file(m).read_all()
        t.validate(full=True)
        buffers = [b for c in t.columns for chunk in c.chunks for b in chunk.buffers() if b is not None and b.size]
        copies = sum(not file.address <= b.address <= file.address + file.size - b.size for b in buffers)
        report.check(copies == 0 and (buffers or not t.num_rows), f"{name}, pyarrow: {t.num_rows} rows in {len(buffers)} buffers, all in the mapped file",
                     f"{copies} are copies" if copies else "")
        report.check(t.schema.equals(want.schema), f"{name}, pyarrow: the schema of batch.parquet",
                     "" if t.schema.equals(want.schema) else f"{t.schema}\n-- and not\n{want.schema}")
        report.check(t.equals(want), f"{name}, pyarrow: the rows of batch.parquet")
        about = {k: v for k, v in (want.schema.metadata or {}).items() if k.startswith(b"winnow.")}
        report.check(len(about) >= 2 and t.schema.metadata == about, f"{name}, pyarrow: what it says of the batch", str(t.schema.metadata))
        report.check(pa.feather.read_table(arrow, memory_map=False).equals(want), f"{name}, pyarrow: as a Feather file")
        del t, buffers, file
    with open(arrow, "rb") as f:
        t = pa.ipc.open_file(f.read()).read_all()
        report.check(t.equals(want), f"{name}, pyarrow: from memory")


def check_polars(report, name, arrow, want):
    for how, t in (("read", pl.read_ipc(arrow)), ("scan", pl.scan_ipc(arrow).collect())):
        why = "" if t.schema == want.schema else f"{t.schema} and not {want.schema}"
        try:
            pl.testing.assert_frame_equal(t, want, check_exact=True)
        except AssertionError as e:
            why = why or str(e)
        report.check(not why, f"{name}, polars, {how}: {t.height} rows of batch.parquet", why)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    r = Report()
    main(r, sys.argv[1])
    sys.exit(r.code())
