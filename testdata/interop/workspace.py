"""What the interop checks share: reading a workspace with other people's libraries.

Nothing here calls winnow or reads a format of its own: tables come through delta-rs,
fitted functions and statistics are safetensors files, the rest is JSON.
"""

import argparse
import glob
import hashlib
import json
import os
import sys
from urllib.parse import unquote, urlparse

import numpy as np
import pyarrow as pa
import pyarrow.compute
from deltalake import DeltaTable


class Report:
    """Prints one OK, FAIL or note line a check; code() is the exit code."""

    def __init__(self):
        self.failed = self.passed = 0

    def check(self, ok, what, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'OK  ' if ok else 'FAIL'} {what}{': ' + detail if detail else ''}", flush=True)
        return ok

    def note(self, text):
        print(f"     {text}", flush=True)

    def code(self):
        if not self.passed and not self.failed:
            print("FAIL nothing was checked: the workspace has none of what this script reads")
            return 1
        print(f"{self.passed} ok, {self.failed} failed")
        return 1 if self.failed else 0


def arguments(doc):
    """The parser that every script starts from."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("workspace", help="folder of a finished workspace")
    return p


def run(main):
    """Runs main(report) and leaves with its exit code; a crash is a failure with its reason."""
    report = Report()
    try:
        main(report)
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as e:
        report.check(False, f"{type(e).__name__}", str(e))
    sys.exit(report.code())


class Workspace:
    def __init__(self, root):
        if root.startswith("file://"):
            root = local_path(root)
        self.root = root
        if not os.path.isdir(os.path.join(root, "assets", "_delta_log")):
            raise SystemExit(f"FAIL {root}: no assets table here; give the folder of a finished workspace")

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def tables(self):
        """Roots of all Delta tables, sorted."""
        logs = glob.glob(self.path("**", "_delta_log"), recursive=True)
        return sorted(os.path.relpath(os.path.dirname(d), self.root) for d in logs)

    def open(self, root, version=None):
        return DeltaTable(self.path(root), version=version)

    def has(self, root):
        return os.path.isdir(self.path(root, "_delta_log"))

    def read(self, root, version=None, columns=None):
        return self.open(root, version).to_pyarrow_table(columns=columns)

    def embeddings(self):
        """Pairs (name, fingerprint) in use. Of several fingerprints of one name, the one whose table
        has most rows: a backfill in progress is behind, a model left behind gets no new rows."""
        best = {}
        for root in self.tables():
            parts = root.split(os.sep)
            if parts[0] == "embeddings" and len(parts) == 3:
                rows = self.open(root).count()
                if rows >= best.get(parts[1], (-1, ""))[0]:
                    best[parts[1]] = (rows, parts[2])
        return [(name, fp) for name, (_, fp) in sorted(best.items())]

    def vectors(self, name, fingerprint, version=None):
        """(ids, versions, float32 matrix) of every row of an embedding's table."""
        t = self.read(os.path.join("embeddings", name, fingerprint), version, ["asset_id", "version", "vector"])
        return t.column("asset_id").to_pylist(), t.column("version").to_pylist(), matrix(t.column("vector"))

    def live(self, ids, versions, assets=None):
        """Which rows belong to an asset as it is now. The version of a picture's vector is the asset's,
        that of a text's vector the MD5 of the text."""
        assets = self.read("assets") if assets is None else assets
        known = {a: {v} for a, v in zip(assets.column("asset_id").to_pylist(), assets.column("version").to_pylist())}
        for name, column in texts_of(assets):
            for a, text in zip(assets.column("asset_id").to_pylist(), column):
                if text:
                    known[a].add(hashlib.md5(text.encode()).hexdigest())
        return [v in known.get(a, ()) for a, v in zip(ids, versions)]

    def statistics(self, name, fingerprint):
        """Every version of an embedding's statistics, by id."""
        found = {}
        for f in sorted(glob.glob(self.path("stats", name, fingerprint, "*.safetensors"))):
            meta, arrays = safetensors(f)
            found[meta["winnow.blake3"][:32]] = (meta, arrays)
        return found

    def fitted(self, name, fingerprint):
        """Fitted functions by (name, version): their metadata, with rows under "matrix"."""
        found = {}
        for f in sorted(glob.glob(self.path("stats", name, fingerprint, "functions", "*.safetensors"))):
            meta, arrays = safetensors(f)
            for fn in json.loads(meta["functions"]):
                found[fn["name"], fn["version"]] = dict(fn, matrix=arrays[fn["name"]])
        return found

    def score_versions(self, name):
        """Which version of each function the score columns hold, from the tags of the table's files."""
        versions = {}
        for add in live_adds(self.path("scores", name)):
            for fn, v in json.loads((add.get("tags") or {}).get("winnow.versions", "{}")).items():
                versions.setdefault(fn, set()).add(v)
        return versions

    def batches(self):
        """(name, slot, lineage) of every finished batch."""
        out = []
        for f in sorted(glob.glob(self.path("batches", "*", "*", "lineage.json"))):
            with open(f, encoding="utf8") as fh:
                lineage = json.load(fh)
            out.append((lineage["name"], lineage["slot"], os.path.dirname(f), lineage))
        return out


def texts_of(table):
    """(name, values) of every text column; fields of a struct are named a.b."""
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_struct(column.type):
            for field in column.type:
                if is_text(field.type):
                    yield f"{name}.{field.name}", pa.compute.struct_field(column, [field.name]).to_pylist()
        elif is_text(column.type):
            yield name, column.to_pylist()


def is_text(t):
    return pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t)


def live_adds(root):
    """Add actions of a table that are in force, with their tags, which delta-rs does not hand out.
    Reads the JSON log on top of the newest checkpoint, as the protocol says."""
    log = os.path.join(root, "_delta_log")
    adds, start = {}, -1
    last = os.path.join(log, "_last_checkpoint")
    if os.path.exists(last):
        with open(last, encoding="utf8") as fh:
            start = json.load(fh)["version"]
        import pyarrow.parquet as pq
        for row in pq.read_table(os.path.join(log, f"{start:020d}.checkpoint.parquet"), columns=["add"]).column("add").to_pylist():
            if row and row.get("path"):
                row["tags"] = dict(row.get("tags") or {})
                adds[row["path"]] = row
    version = start + 1
    while os.path.exists(entry := os.path.join(log, f"{version:020d}.json")):
        with open(entry, encoding="utf8") as fh:
            for line in fh:
                action = json.loads(line) if line.strip() else {}
                if "remove" in action:
                    adds.pop(action["remove"]["path"], None)
                if "add" in action:
                    adds[action["add"]["path"]] = action["add"]
        version += 1
    return list(adds.values())


def matrix(column):
    """A list column as a float32 matrix."""
    c = column.combine_chunks()
    if isinstance(c, pa.ChunkedArray):
        c = pa.concat_arrays(c.chunks) if c.num_chunks else pa.array([], c.type)
    n = len(c)
    flat = c.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    if n and len(flat) % n:
        raise ValueError(f"{len(flat)} numbers are not {n} rows of one length")
    return flat.reshape(n, -1) if n else flat.reshape(0, 0)


def safetensors(path):
    """(metadata, arrays) of a safetensors file."""
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    head = json.loads(data[8:8 + n])
    meta = head.pop("__metadata__", {})
    kinds = {"F32": np.float32, "F64": np.float64}
    arrays = {}
    for name, h in head.items():
        lo, hi = h["data_offsets"]
        arrays[name] = np.frombuffer(data[8 + n + lo:8 + n + hi], kinds[h["dtype"]]).reshape(h["shape"])
    return meta, arrays


def unit(x):
    """Rows scaled to length 1, in double precision."""
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def local_path(uri):
    """The path of a file URI or path; "" for anything else."""
    u = urlparse(uri)
    if u.scheme == "file":
        return unquote(u.path)
    return "" if "://" in uri else uri


def load_yaml(path):
    """A YAML or JSON file."""
    with open(path, encoding="utf8") as f:
        text = f.read()
    if path.endswith(".json"):
        return json.loads(text)
    try:
        import yaml
    except ImportError:
        raise SystemExit("FAIL reading YAML needs PyYAML: pip install pyyaml") from None
    return yaml.safe_load(text)
