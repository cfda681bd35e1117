"""The scores of a workspace equal those that numpy computes from its vectors and the function files.

usage: scores.py WORKSPACE --functions 'functions/*.yaml' [--text EMBEDDING=MODEL.onnx,SP.model] [--image EMBEDDING=MODEL.onnx]

For every function, in double precision, from the definition and the anchors' vectors:
  mean, max, sum   the whole formula
  lda              the discriminant with the recorded shares of each λ, and that leave-one-out gives these shares
  classifier       the logistic regression, fitted again, with the recorded λ, and that this has the largest share
  combine_over     each part as above, in its embedding, from the anchors that have a place there; and the weighted
                   mean against the scores in batches: null where a row lacks one of the vectors. Weights of
                   cosines (mean, max, sum) are divided by the deviation of the part's scores in the corpus' sample
  like             the definition with what it takes over
and the statistics (mean and covariance) from the vectors, while these are still the rows that they
were made of. Every score must agree to 1e-5. Anchors that are texts or pictures need --text or --image;
without it such a function is scored with its recorded weights only, and the line says so.
"""

import glob
import json
import os

import numpy as np

from workspace import Workspace, arguments, load_yaml, local_path, run, unit

LAMBDAS = [0.3, 1, 3, 10, 30, 100, 1000]
TOLERANCE = 1e-5


def main(report):
    p = arguments(__doc__)
    p.add_argument("--functions", action="append", required=True, help="glob of function files (YAML or JSON); may be repeated")
    p.add_argument("--image", action="append", default=[], metavar="EMBEDDING=MODEL.onnx")
    p.add_argument("--text", action="append", default=[], metavar="EMBEDDING=MODEL.onnx,SP.model")
    args = p.parse_args()
    ws = Workspace(args.workspace)
    models = {a.split("=", 1)[0]: ("text", a.split("=", 1)[1]) for a in args.text}
    models.update({a.split("=", 1)[0]: ("image", a.split("=", 1)[1]) for a in args.image})
    files = sorted(f for g in args.functions for f in glob.glob(g))
    if not files:
        raise ValueError(f"no function file fits {args.functions}")
    definitions = derive([located(dict(load_yaml(f), file=f)) for f in files])
    known = {}
    for name, fingerprint in ws.embeddings():
        mine = [dict(d, partial="combine_over" in d) for d in definitions if name in spaces(d)]
        if mine:
            known[name] = Embedding(report, ws, name, fingerprint, models.get(name))
            known[name].check(mine)
    for d in definitions:
        lacking = [e for e in spaces(d) if e not in known]
        if lacking:
            report.check(False, f"function {d['name']}", f"its embedding {', '.join(lacking)} has no vectors")
        elif "combine_over" in d:
            check_over(report, ws, d, known)


def spaces(d):
    return sorted(d["combine_over"]) if "combine_over" in d else [d["embedding"]]


def located(d):
    """Paths of anchors begin at the folder of the file that states them."""
    for side in (d.get("anchors") or {}).values():
        for a in side or []:
            for key in ("uri", "vector"):
                if key in a and "://" not in a[key]:
                    a[key] = os.path.join(os.path.dirname(os.path.abspath(d["file"])), a[key])
    return d


def derive(definitions):
    """Fills in what functions take over from those that they are like."""
    by_name = {d["name"]: d for d in definitions}

    def resolve(d, through=()):
        if "like" not in d:
            return d
        if d["name"] in through or d["like"] not in by_name:
            raise ValueError(f"function {d['name']}: like {d['like']} leads nowhere")
        base = resolve(by_name[d["like"]], (*through, d["name"]))
        out = dict(d)
        if not {"embedding", "combine_over"} & set(d):
            out.update({k: base[k] for k in ("embedding", "combine_over") if k in base})
        for k in ("combine", "threshold"):
            if k in base:
                out.setdefault(k, base[k])
        mine, theirs = d.get("anchors") or {}, base.get("anchors") or {}
        key = lambda a: next((k, a[k]) for k in ("asset", "text", "uri", "vector") if k in a)
        own = {key(a) for side in mine.values() for a in side or []}
        out["anchors"] = {s: list(mine.get(s) or []) + [a for a in theirs.get(s) or [] if key(a) not in own] for s in ("positive", "negative")}
        return out

    return [resolve(d) for d in definitions]


def check_over(report, ws, d, embeddings):
    """The weighted mean of a function over several embeddings, against the batches that read these very scores."""
    parts = {e: embeddings[e].parts.get(d["name"]) for e in spaces(d)}
    if None in parts.values():
        return  # its part failed, and that was said
    weights = {e: w / (parts[e][1] or 1) for e, w in d["combine_over"].items()}
    whole = sum(weights.values())
    rows = worst = nulls = 0
    for name, slot, folder, lineage in ws.batches():
        read = {t["table"]: t["version"] for t in lineage.get("tables", [])}
        if any(read.get(f"scores/{e}") != ws.open(os.path.join("scores", e)).version() for e in parts):
            continue
        for fn in (f for f in lineage.get("functions", []) if f["name"] == d["name"]):
            off = max(abs(fn.get("shares", {}).get(e, 0) - w / whole) for e, w in weights.items())
            report.check(off < 1e-4, f"{d['name']}: shares in batch {name}", f"differ by {off:.1e}")
        with open(os.path.join(folder, "batch.jsonl"), encoding="utf8") as f:
            for row in map(json.loads, f):
                ours = row["scores"].get(d["name"])
                at = {e: embeddings[e].by_id.get(row["asset_id"]) for e in parts}
                lacking = None in at.values()
                rows, nulls = rows + 1, nulls + lacking
                if lacking or ours is None:
                    report.check(lacking and ours is None, f"{d['name']}: {row['asset_id']} in batch {name}",
                                 "has a score without all vectors" if lacking else "has no score")
                else:
                    worst = max(worst, abs(ours - sum(w / whole * parts[e][0][at[e]] for e, w in weights.items())))
    report.check(worst <= TOLERANCE, f"{d['name']}: weighted mean over {', '.join(parts)}",
                 f"{rows} rows in batches, {nulls} of them without all vectors, largest difference {worst:.1e}")


class Embedding:
    """The vectors, scores, statistics and fitted functions of one embedding."""

    def __init__(self, report, ws, name, fingerprint, model):
        self.report, self.ws, self.name, self.model = report, ws, name, model
        self.ids, self.versions, x = ws.vectors(name, fingerprint)
        self.x = unit(x)
        self.at = {key: i for i, key in enumerate(zip(self.ids, self.versions))}
        # Of an asset's vectors the live one is its anchor.
        self.live = ws.live(self.ids, self.versions)
        self.by_id = {a: i for i, a in enumerate(self.ids) if self.live[i]}
        self.statistics = ws.statistics(name, fingerprint)
        self.fitted = ws.fitted(name, fingerprint)
        self.basis = {}
        self.parts = {}  # of functions over several embeddings: scores of all rows, deviation

    def check(self, definitions):
        for sid, (meta, arrays) in self.statistics.items():
            self.check_statistics(sid, meta, arrays)
        t = self.ws.read(os.path.join("scores", self.name))
        rows = [self.at.get(key) for key in zip(t.column("asset_id").to_pylist(), t.column("version").to_pylist())]
        missing = rows.count(None)
        same = missing == 0 and len(set(rows)) == len(rows) == len(self.ids)
        self.report.check(same, f"{self.name}: {t.num_rows} rows are scored", "" if same else f"{len(self.ids)} have vectors, {missing} scores have none")
        if missing:
            return
        versions = self.ws.score_versions(self.name)
        for d in definitions:
            if d["name"] not in t.column_names:
                self.report.check(False, f"{d['name']}", "there is no score column")
                continue
            ours = t.column(d["name"]).to_numpy()
            self.check_function(d, ours, rows, versions.get(d["name"], set()))
        extra = set(t.column_names) - {"asset_id", "version"} - {d["name"] for d in definitions}
        if extra:
            self.report.note(f"not checked, no definition was given: {', '.join(sorted(extra))}")

    def check_statistics(self, sid, meta, arrays):
        rows = int(meta["rows"])
        if not int(meta["total"]) == rows == sum(self.live):
            self.report.note(f"{self.name}: statistics {sid[:8]} come from {rows} of {meta['total']} rows; {sum(self.live)} are live now, so they are taken as they are")
        else:
            x = self.x[self.live]
            mean = x.mean(0)
            cov = (x - mean).T @ (x - mean) / len(x)
            dm, dc = np.abs(mean - arrays["mean"]).max(), np.abs(cov - arrays["covariance"]).max()
            scale = np.trace(cov) / len(mean)
            self.report.check(dm < 1e-6 and dc < 1e-4 * scale, f"{self.name}: statistics {sid[:8]} of {rows} rows",
                              f"mean differs by {dm:.1e}, covariance by {dc / scale:.1e} of a coordinate's variance")

    def check_function(self, d, ours, rows, versions):
        how = d.get("combine", "lda")
        if len(versions) != 1:
            self.report.check(False, f"{d['name']}", f"its column holds versions {sorted(versions)}, want one")
            return
        fit = self.fitted.get((d["name"], next(iter(versions))))
        pos, neg, why = self.anchors(d)
        if why and fit is None or not why and not pos.rows:
            why = f"{why}, and no fitted file holds its weights" if why else f"no positive anchor has a vector in {self.name}"
            self.report.check(False, f"{d['name']}", why)
            return
        if why:
            theirs, what = recorded(fit, self.x), f"recorded weights only: {why}"
        elif how == "mean":
            theirs, what = mean(self.x, pos, neg), "formula"
        elif how == "max":
            theirs, what = best(self.x, pos, neg), "formula"
        elif how == "sum":
            theirs, what = total(self.x, pos, neg), "formula"
        elif fit is None:
            self.report.check(False, f"{d['name']}", "no fitted file holds its λ")
            return
        else:
            meta, arrays = self.statistics[fit["statistics"]]
            b = self.basis.setdefault(fit["statistics"], Basis(meta, arrays))
            if how == "lda":
                theirs, what = lda(self.x, pos, neg, b, fit["shares"]), f"discriminant, most of it with λ {fit['lambda']:g}"
            else:
                theirs, what = classifier(self.x, pos, neg, b, fit["lambda"]), f"logistic regression with λ {fit['lambda']:g}"
            self.check_lambda(d, pos, neg, b, fit["lambda"], fit.get("shares"))
        if d["partial"]:
            self.parts[d["name"]] = theirs, self.deviation(d, fit, theirs, pos, neg)
        diff = np.abs(theirs[rows] - ours)
        worst = int(np.nanargmax(diff)) if len(diff) else 0
        self.report.check(not np.isnan(diff).any() and diff.max() <= TOLERANCE, f"{d['name']}: {how}, {what}, {len(ours)} rows",
                          f"largest difference {diff.max():.1e} ({self.ids[rows[worst]]}: ours {ours[worst]:.6f}, numpy {theirs[rows[worst]]:.6f})")

    def deviation(self, d, fit, theirs, pos, neg):
        """That of a part's cosines in the corpus' sample, as the fitted file must have it; 1 of other scores."""
        if d.get("combine", "lda") in ("lda", "classifier"):
            return 1
        if fit is None:
            self.report.check(False, f"{d['name']}", f"no fitted file holds its deviation in {self.name}")
            return 1
        meta, arrays = self.statistics[fit["statistics"]]
        at = [self.by_id.get(a) for a in json.loads(meta["sample_ids"])]
        if None in at:  # rows that are gone since: the file's own weights score them
            found = recorded(fit, unit(arrays["sample"])).std()
        else:
            found = theirs[at].std()
        if pos is not None:
            found = max(found, 0.01 * longest(d["combine"], pos, neg))
        self.report.check(abs(found - fit.get("deviation", 0)) < 1e-5, f"{d['name']}: deviation in {self.name}", f"ours {fit.get('deviation')}, numpy {found:.6f}")
        return found

    def check_lambda(self, d, pos, neg, b, chosen, recorded):
        """A rank that rounding moves by one moves a share: 0.05 is allowed."""
        if len(pos.rows) > 1000:
            return  # leave-one-out took a choice of them
        shares = shares_of(pos, neg, b)
        text = ", ".join(f"{k:g}: {v:.3f}" for k, v in zip(LAMBDAS, shares))
        if recorded is not None:
            self.report.check(np.abs(shares - recorded).max() <= 0.05, f"{d['name']}: shares of λ by leave-one-out", text)
        self.report.check(shares[LAMBDAS.index(chosen)] >= shares.max() - 0.05, f"{d['name']}: λ {chosen:g} has the largest share", text)

    def anchors(self, d):
        lists = []
        for side in ("positive", "negative"):
            out = Anchors()
            for a in d["anchors"].get(side) or []:
                weight = a.get("weight", 1)
                if "asset" in a:
                    if a["asset"] not in self.by_id and d["partial"]:
                        continue  # it counts in the other embeddings
                    if a["asset"] not in self.by_id:
                        raise ValueError(f"function {d['name']}: anchor {a['asset']} has no vector")
                    out.add(self.x[self.by_id[a["asset"]]], weight, a["asset"])
                elif "vector" in a:
                    for v in np.atleast_2d(np.load(local_path(a["vector"]))):
                        out.add(unit(v), weight, None)
                elif d["partial"] and self.model and (self.model[0] == "text") != ("text" in a):
                    continue
                elif not self.model:
                    return None, None, "an anchor is a text or picture and no model was given"
                else:
                    out.add(self.embed(d, a), weight, None)
            lists.append(out)
        return lists[0], lists[1], ""

    def embed(self, d, a):
        from vectors import peer_images, peer_texts
        kind, model = self.model
        if kind == "text" and "text" in a:
            return unit(peer_texts([a["text"]], *model.split(",")))[0]
        if kind == "image" and "uri" in a:
            return unit(peer_images([local_path(a["uri"])], model))[0]
        raise ValueError(f"function {d['name']}: anchor {a} does not fit the {kind} embedding {self.name}")


class Anchors:
    def __init__(self):
        self.rows, self.weights, self.ids = [], [], []

    def add(self, row, weight, asset):
        self.rows.append(row)
        self.weights.append(weight)
        self.ids.append(asset)

    def average(self, skip=None):
        keep = [i for i in range(len(self.rows)) if i != skip]
        return np.average([self.rows[i] for i in keep], axis=0, weights=[self.weights[i] for i in keep])


class Basis:
    """The statistics and the eigenbasis of their covariance."""

    def __init__(self, meta, arrays):
        self.mean, cov = arrays["mean"], arrays["covariance"]
        self.total = int(meta["total"])
        self.sample, self.sample_ids = arrays["sample"].astype(np.float64), json.loads(meta["sample_ids"])
        self.values, self.vectors = np.linalg.eigh(cov)
        self.values = np.maximum(self.values, 0)
        self.spread = np.trace(cov) / len(cov) or 1.0

    def without(self, *anchors):
        known = {i for a in anchors for i in a.ids if i}
        return np.array([i for i, a in enumerate(self.sample_ids) if a not in known], int)


def mean(x, pos, neg):
    q = 2 * pos.average() - neg.average() if neg.rows else pos.average()
    return x @ unit(q)


def best(x, pos, neg):
    heaviest = max(pos.weights + neg.weights)
    cos = lambda a: (x @ np.array(a.rows).T) * (np.array(a.weights) / heaviest)
    p = cos(pos).max(1)
    if not neg.rows:
        return p
    n = cos(neg).max(1)
    return np.where(n > p, -n ** 2, p)


def total(x, pos, neg):
    w = sum(w * r for w, r in zip(pos.weights, pos.rows))
    for k, r in zip(neg.weights, neg.rows):
        w = w - k * r
    return x @ w


def longest(how, pos, neg):
    """The length of the longest row that vectors are multiplied with."""
    if how == "sum":
        return np.linalg.norm(np.sum([w * r for w, r in zip(pos.weights + [-w for w in neg.weights], pos.rows + neg.rows)], 0))
    return 1


def lda(x, pos, neg, b, shares):
    delta = b.vectors.T @ (pos.average() - (neg.average() if neg.rows else b.mean))
    deviation = lambda w: np.sqrt(max((w * w * b.values).sum(), 1e-8 * (w * w).sum()))
    w = np.zeros(len(delta))
    for lam, share in zip(LAMBDAS, shares):
        part = delta / (b.values + lam * b.spread)
        w += share / deviation(part) * part
    return (x - b.mean) @ (b.vectors @ (w / deviation(w)))


def shares_of(pos, neg, b):
    """Of each λ, in proportion to its prior and the product of 1/rank over the positives that are left out."""
    if b.total < 200 or len(pos.rows) < 3:
        return np.array([float(lam == (1000 if b.total < 200 else 100)) for lam in LAMBDAS])
    ranks = leave_one_out(pos, neg, b)
    logs = -len(pos.rows) * np.array([ranks[lam] for lam in LAMBDAS]) - np.abs(np.log10(np.array(LAMBDAS) / 30))
    shares = np.exp(logs - logs.max())
    return shares / shares.sum()


def leave_one_out(pos, neg, b):
    """Mean log rank, over the positives, of one that is left out of the fit, for each λ."""
    centred = (b.sample - b.mean) @ b.vectors
    rivals = b.without(pos)
    weights = np.array(pos.weights, float)
    ranks = {}
    for lam in LAMBDAS:
        logs = []
        for i, row in enumerate(pos.rows):
            delta = pos.average(skip=i) - (neg.average() if neg.rows else b.mean)
            w = (b.vectors.T @ delta) / (b.values + lam * b.spread)
            w /= np.linalg.norm(w) or 1
            own = (b.vectors.T @ (row - b.mean)) @ w
            logs.append(np.log1p((centred[rivals] @ w > own + 1e-6).sum()))
        ranks[lam] = float(np.average(logs, weights=weights))
    return ranks


def classifier(x, pos, neg, b, lam, l2=0.1):
    """Logistic regression in the whitened space: positives make half of the loss, negatives and the
    corpus' sample share the other half. Newton's method with a whole Hessian."""
    whiten = 1 / np.sqrt(b.values + lam * b.spread)
    into = lambda rows: (np.atleast_2d(rows) - b.mean) @ b.vectors * whiten
    background = b.sample[b.without(pos, neg)]
    half = 0.25 if neg.rows and len(background) else 0.5
    parts = [(into(np.array(pos.rows)), 1, 0.5 * np.array(pos.weights) / sum(pos.weights))]
    if neg.rows:
        parts.append((into(np.array(neg.rows)), -1, half * np.array(neg.weights) / sum(neg.weights)))
    if len(background):
        parts.append((into(background), -1, np.full(len(background), half / len(background))))
    z = np.hstack([np.vstack([p[0] for p in parts]), np.ones((sum(len(p[0]) for p in parts), 1))])
    y = np.concatenate([np.full(len(p[0]), p[1]) for p in parts])
    mass = np.concatenate([p[2] for p in parts])
    ridge = np.append(np.full(z.shape[1] - 1, l2), 0)
    loss = lambda w: (mass * np.logaddexp(0, -y * (z @ w))).sum() + (ridge * w * w).sum() / 2
    w = np.zeros(z.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(np.clip(y * (z @ w), -500, 500)))
        gradient = -(z.T @ (mass * y * p)) + ridge * w
        if np.linalg.norm(gradient) < 1e-12:
            break
        step = np.linalg.solve((z * (mass * p * (1 - p))[:, None]).T @ z + np.diag(ridge), gradient)
        t = 1.0
        while loss(w - t * step) > loss(w) - 1e-4 * t * (gradient @ step) + 1e-15 and t > 1e-12:
            t /= 2
        w = w - t * step
    s = np.empty(len(x))
    for lo in range(0, len(x), 65536):
        s[lo:lo + 65536] = into(x[lo:lo + 65536]) @ w[:-1] + w[-1]
    return 1 / (1 + np.exp(-s))


def recorded(fit, x):
    """What the fitted file's own weights give."""
    p = x @ fit["matrix"].astype(np.float64).T
    if fit["combine"] == "max":
        k = fit["positives"]
        top = p[:, :k].max(1)
        if k == p.shape[1]:
            return top
        n = p[:, k:].max(1)
        return np.where(n > top, -n ** 2, top)
    s = p[:, 0] + fit["offset"]
    return 1 / (1 + np.exp(-s)) if fit["combine"] == "classifier" else s


if __name__ == "__main__":
    run(main)
