"""The `where:` of a batch, evaluated by Python's DuckDB over the tables, lets through as many rows as winnow says.

usage: where.py WORKSPACE                                 every batch, from its lineage.json
       where.py WORKSPACE --where EXPR --ids FILE         one expression against ids that winnow printed
       where.py WORKSPACE --where EXPR --count N          or against their number

A batch is checked at the very table versions that it names: the expression is the setting "where", the
thresholds are those of its functions, and the expected numbers are the funnel's. Every row of batch.jsonl
must be among the rows found. FILE is JSON (a list of ids or of objects with asset_id, or an object with
such a list under "ids" or "rows") or one id or JSON object a line. With --where, f_match needs
--threshold f=NUMBER.
"""

import json
import os

import duckdb
import pyarrow as pa

from workspace import Workspace, arguments, run


def main(report):
    p = arguments(__doc__)
    p.add_argument("--where")
    p.add_argument("--ids", metavar="FILE")
    p.add_argument("--count", type=int)
    p.add_argument("--threshold", action="append", default=[], metavar="FUNCTION=NUMBER")
    args = p.parse_args()
    ws = Workspace(args.workspace)
    if args.where is not None:
        thresholds = {k: float(v) for k, v in (t.split("=", 1) for t in args.threshold)}
        found = Corpus(ws, {}, thresholds).ids(args.where)
        if args.ids:
            compare(report, args.where, found, read_ids(args.ids))
        if args.count is not None:
            report.check(len(found) == args.count, args.where, f"DuckDB finds {len(found)} rows, winnow says {args.count}")
        return
    for name, slot, folder, lineage in ws.batches():
        check_batch(report, ws, f"{name}/{slot}", folder, lineage)


def check_batch(report, ws, title, folder, lineage):
    versions = {t["table"]: t["version"] for t in lineage.get("tables", [])}
    thresholds = {f["name"]: f["threshold"] for f in lineage.get("functions", []) if "threshold" in f}
    shares = {f["name"]: f["shares"] for f in lineage.get("functions", []) if f.get("shares")}
    settings = {s["name"]: s["value"] for s in lineage.get("settings", [])}
    funnel = {s["step"]: s["rows"] for s in lineage.get("funnel", [])}
    corpus = Corpus(ws, versions, thresholds, shares)
    where = settings.get("where") or "true"
    found = corpus.ids(where)
    first = lineage["funnel"][0] if lineage.get("funnel") else None
    if first:
        report.check(corpus.rows == first["rows"], f"{title}: {corpus.rows} {first['step']}", f"the funnel says {first['rows']}")
    if "where" in funnel:
        report.check(len(found) == funnel["where"], f"{title}: where {where}", f"DuckDB finds {len(found)} rows, the funnel says {funnel['where']}")
    elif "where" in settings:
        report.check(False, f"{title}: funnel", f"has no step where: {funnel}")
    rows = os.path.join(folder, "batch.jsonl")
    if os.path.exists(rows):
        chosen = read_ids(rows)
        stray = sorted(set(chosen) - found)
        report.check(not stray, f"{title}: all {len(chosen)} chosen rows pass where", f"{len(stray)} do not, such as {stray[0]}" if stray else "")


def compare(report, what, found, expected):
    missing, extra = sorted(set(expected) - found), sorted(found - set(expected))
    detail = f"{len(found)} rows"
    if missing:
        detail += f"; {len(missing)} only in winnow, such as {missing[0]}"
    if extra:
        detail += f"; {len(extra)} only in DuckDB, such as {extra[0]}"
    report.check(not missing and not extra and len(set(expected)) == len(expected), what, detail)


class Corpus:
    """A DuckDB database with the view `candidates`: the columns that `where:` knows.

    labeled and batched say whether the asset is in these tables; label is the first by name, prediction the
    surest. A function's f is the score of the asset as it is now, f_match whether that reaches the threshold
    (false without a score), f_pct its percentile among all scored rows. Of a function over several embeddings
    f is the mean of its columns by its shares, NULL where one is missing."""

    def __init__(self, ws, versions, thresholds, shares={}):
        self.ws, self.versions, self.thresholds, self.shares = ws, versions, thresholds, shares
        self.db = duckdb.connect()
        assets = self.table("assets")
        self.rows = assets.num_rows
        self.db.register("assets", assets)
        columns, joins = ["a.*"], []
        if "metadata" not in assets.column_names:
            packed = [f for f in assets.schema if f.name.startswith(("metadata_", "meta_"))]
            if packed:
                fields = ", ".join(f"{quote(original(f))} := a.{quote(f.name)}" for f in packed)
                columns.append(f"struct_pack({fields}) AS metadata")
        for flag, root in (("labeled", "labels"), ("batched", "batched")):
            self.db.register(root, self.table(root))
            columns.append(f"a.asset_id IN (SELECT asset_id FROM {root}) AS {flag}")
        self.one("labels", {"label": "min(label)"}, columns, joins)
        self.one("predictions", {"prediction": "arg_max(prediction, confidence)", "confidence": "max(confidence)"}, columns, joins)
        for name, fingerprint in ws.embeddings():
            self.scores(name, fingerprint, assets, columns, joins)
        for f, parts in shares.items():
            self.over(f, parts, columns, joins)
        self.db.execute(f"CREATE VIEW candidates AS SELECT {', '.join(columns)} FROM assets a {' '.join(joins)}")

    def table(self, root):
        """A table at the version that the batch read; no rows where there was none yet."""
        version = self.versions.get(root)
        if not self.ws.has(root) or version is not None and version < 0:
            return pa.table({"asset_id": pa.array([], pa.string())})
        return self.ws.read(root, version)

    def one(self, root, wanted, columns, joins):
        """Adds columns that bring the rows of an asset in labels or predictions to one."""
        have = self.table(root)
        if have.num_columns < 2:
            columns += [f"NULL AS {c}" for c in wanted]
            return
        self.db.register(root, have)
        picks = ", ".join(f"{how} AS {c}" for c, how in wanted.items())
        self.db.execute(f"CREATE TABLE one_{root} AS SELECT asset_id, {picks} FROM {root} GROUP BY asset_id")
        joins.append(f"LEFT JOIN one_{root} ON one_{root}.asset_id = a.asset_id")
        columns += [f"one_{root}.{c}" for c in wanted]

    def scores(self, name, fingerprint, assets, columns, joins):
        root = f"scores/{name}"
        t = self.table(root)
        if t.num_columns < 2:
            return
        live = self.ws.live(t.column("asset_id").to_pylist(), t.column("version").to_pylist(), assets)
        t = t.filter(pa.array(live))
        view = f"scores_{name.replace('-', '_')}"
        self.db.register(view, t)
        self.three(view, [c for c in t.column_names if c not in ("asset_id", "version") and c not in self.shares], columns, joins)

    def three(self, view, functions, columns, joins):
        """Adds the three columns of functions whose scores lie in a view."""
        parts = ["asset_id"]
        for f in functions:
            q = quote(f)
            parts.append(q)
            # 100 × the share of the other rows that score lower
            parts.append(f"100 * percent_rank() OVER (ORDER BY {q}) AS {quote(f + '_pct')}")
            columns += [f"f_{view}.{q}", f"f_{view}.{quote(f + '_pct')}"]
            # Without a threshold no row matches: a rule such as the top 500 may find none.
            cut = f"f_{view}.{q} >= {self.thresholds[f]!r}::FLOAT" if f in self.thresholds else "false"
            columns.append(f"coalesce({cut}, false) AS {quote(f + '_match')}")
        self.db.execute(f"CREATE TABLE f_{view} AS SELECT {', '.join(parts)} FROM {view}")
        joins.append(f"LEFT JOIN f_{view} ON f_{view}.asset_id = a.asset_id")

    def over(self, f, shares, columns, joins):
        q, view = quote(f), f"over_{f}"
        tables = [f"scores_{e.replace('-', '_')}" for e in sorted(shares)]
        mean = " + ".join(f"{shares[e]!r}::DOUBLE * {t}.{q}" for e, t in zip(sorted(shares), tables))
        self.db.execute(f"CREATE VIEW {view} AS SELECT asset_id, ({mean})::FLOAT AS {q} FROM {tables[0]} "
                        + " ".join(f"JOIN {t} USING (asset_id)" for t in tables[1:]))
        self.three(view, [f], columns, joins)

    def ids(self, where):
        """The ids that pass; an expression that is NULL does not."""
        return {r[0] for r in self.db.execute(f"SELECT asset_id FROM candidates WHERE ({where})").fetchall()}


def original(field):
    """The user's name of a metadata column, which the field's metadata keeps when it had to change."""
    for key, value in (field.metadata or {}).items():
        if b"name" in key.lower() or b"original" in key.lower():
            return value.decode().removeprefix("metadata.")
    return field.name.split("_", 1)[1]


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def read_ids(path):
    with open(path, encoding="utf8") as f:
        text = f.read()
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = []
        for line in filter(None, text.splitlines()):
            value.append(json.loads(line) if line.startswith("{") else line)
    if isinstance(value, dict) and "asset_id" not in value:
        value = value.get("ids", value.get("rows"))
    if not isinstance(value, list):
        value = [value]
    return [v["asset_id"] if isinstance(v, dict) else v for v in value]


if __name__ == "__main__":
    run(main)
