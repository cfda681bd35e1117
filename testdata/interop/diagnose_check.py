"""The mathematics of diagnosis, held against scikit-learn, pycocotools, cleanlab and SciPy to 1e-9.

usage: diagnose_check.py TOOL [SEED]

TOOL is the compiled testdata/tools/diagnose. Random problems of a fixed seed are solved by both sides: confusion matrix,
precision, recall and F1, average precision with and without ties, reliability curve, Wilson intervals, McNemar's test, COCO's
AP (with crowds, ties of overlap, more than 100 boxes, several IoUs), confident learning, nearest neighbours, average linkage
and silhouette.
"""

import contextlib
import io
import json
import subprocess
import sys

import numpy as np
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_normalized_margin_for_each_label
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support, silhouette_score

problems, checks, failed = {}, [], []


def near(name, got, want, tol=1e-9):
    got, want = np.asarray(got, float), np.asarray(want, float)
    if got.shape != want.shape or not np.allclose(got, want, rtol=0, atol=tol, equal_nan=True):
        failed.append(name)
        print(f"  {name}: {got.tolist()} is not {want.tolist()}"[:400])


def ask(name, problem, check):
    problems[name] = problem
    checks.append((name, check))


def classification(rng, name, n, k, missing, decimals):
    truth = rng.integers(0, k, n)
    p = rng.dirichlet(np.full(k, 0.5), n) + 0.7 * np.eye(k)[np.where(rng.random(n) < 0.75, truth, rng.integers(0, k, n))]
    p = np.round(p / p.sum(1, keepdims=True), decimals)
    guess, conf = p.argmax(1), p.max(1)
    none = rng.random(n) < missing
    items = [{"Truth": [[int(t)]], "Guess": [] if m else [[int(g), c]]} for t, g, c, m in zip(truth, guess, conf, none)]
    seen = np.where(none, k, guess)

    def counts(got):
        near(name + " matrix", got["matrix"], confusion_matrix(truth, seen, labels=range(k + 1)))
        pr, rc, f1, sup = precision_recall_fscore_support(truth, seen, labels=range(k), zero_division=0)
        c = got["classes"]
        tp, fp, fn = (np.array([x[w] for x in c], float) for w in ("tp", "fp", "fn"))
        near(name + " precision", tp / np.maximum(tp + fp, 1), pr)
        near(name + " recall", tp / np.maximum(tp + fn, 1), rc)
        near(name + " f1", 2 * tp / np.maximum(2 * tp + fp + fn, 1), f1)
        near(name + " support", tp + fn, sup)
        near(name + " all", [sum(x.values()) for x in c], np.full(k, n))

    ask(name + " counts", {"Kind": "counts", "Classes": k, "Items": items}, counts)
    one = np.where(none[:, None], 0, np.eye(k)[guess] * conf[:, None])
    for what, score, rows in (
        ("confidence", one, items),
        ("probabilities", p, [dict(i, Scores=list(map(float, q))) for i, q in zip(items, p)]),
    ):
        want = [average_precision_score(truth == c, score[:, c]) if (truth == c).any() else np.nan for c in range(k)]
        ask(f"{name} ap {what}", {"Kind": "ap", "Classes": k, "Items": rows}, lambda got, want=want, what=what: near(f"{name} ap {what}", [np.nan if x is None else x for x in got], want))

    def calibration(got):
        right, mean = calibration_curve((guess == truth)[~none], conf[~none], n_bins=15, strategy="uniform")
        near(name + " reliability", [[b["right"]["value"], b["confidence"]] for b in got["bins"]], np.stack([right, mean], 1))
        w = np.array([b["n"] for b in got["bins"]], float)
        near(name + " ece", got["ece"], (w / w.sum() * np.abs(right - mean)).sum())

    ask(name + " calibration", {"Kind": "calibration", "Bins": 15, "Items": items}, calibration)


def confident(rng, name, n, k):
    truth = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    p = rng.dirichlet(np.full(k, 0.6), n) + 1.2 * np.eye(k)[np.where(rng.random(n) < 0.8, truth, rng.integers(0, k, n))]
    p /= p.sum(1, keepdims=True)
    want = find_label_issues(truth, p, filter_by="confident_learning", n_jobs=1)
    _, off = compute_confident_joint(truth, p, return_indices_of_off_diagonals=True)
    quality = get_normalized_margin_for_each_label(truth, p)

    def check(got):
        at = sorted(d["Item"] for d in got)
        near(name, at, np.flatnonzero(want))
        near(name + " within the joint", set(at) <= set(map(int, off)), True)
        near(name + " quality", [d["Quality"] for d in got], np.sort(quality[want]))
        near(name + " order", quality[[d["Item"] for d in got]], np.sort(quality[want]))

    ask(name, {"Kind": "confident", "Classes": k, "Items": [{"Truth": [[int(t)]], "Scores": list(map(float, q))} for t, q in zip(truth, p)]}, check)


def boxes(rng, name, pictures, k, crowded, many=0):
    items, gts, dts, images = [], [], [], []
    for i in range(pictures):
        it = {"Truth": [], "Guess": []}
        images.append({"id": i, "width": 400, "height": 400})
        for _ in range(rng.integers(0, 7)):
            c, crowd = int(rng.integers(0, k)), int(rng.random() < crowded)
            b = [float(x) for x in np.concatenate([rng.integers(0, 200, 2), rng.integers(20, 150, 2)])]
            it["Truth"].append([c, -1, *b, crowd])
            gts.append({"id": len(gts) + 1, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": crowd})
            for _ in range(rng.integers(0, 3)):
                shift = rng.integers(-25, 26, 4) if rng.random() < 0.8 else np.zeros(4)
                g = [float(x) for x in np.maximum(np.array(b) + shift, [0, 0, 5, 5])]
                it["Guess"].append([c if rng.random() < 0.8 else int(rng.integers(0, k)), float(np.round(rng.random(), 6)), *g])
        for _ in range(int(rng.integers(0, 3)) + (many if i == 0 else 0)):
            g = [float(x) for x in np.concatenate([rng.integers(0, 200, 2), rng.integers(20, 150, 2)])]
            it["Guess"].append([int(rng.integers(0, k)), float(np.round(rng.random(), 6)), *g])
        dts += [{"image_id": i, "category_id": g[0], "score": g[1], "bbox": g[2:6]} for g in it["Guess"]]
        items.append(it)
    for iou in (0.3, 0.5, 0.75):
        with contextlib.redirect_stdout(io.StringIO()):
            gt = COCO()
            gt.dataset = {"info": {}, "images": images, "annotations": [dict(a) for a in gts], "categories": [{"id": c, "name": str(c)} for c in range(k)]}
            gt.createIndex()
            e = COCOeval(gt, gt.loadRes([dict(d) for d in dts]), "bbox")
            e.params.iouThrs = np.array([iou])
            e.evaluate()
            e.accumulate()
        want = e.eval["precision"][0, :, :, 0, -1].mean(0)  # recall x class, area all, 100 boxes
        want = np.where((e.eval["precision"][0, :, :, 0, -1] == -1).all(0), np.nan, want)
        found = np.zeros((k, 3))
        for im in (x for x in e.evalImgs if x is not None and x["aRng"] == e.params.areaRng[0]):
            m, ig = im["dtMatches"][0] > 0, im["dtIgnore"][0]
            tp = (m & ~ig).sum()
            found[im["category_id"]] += [tp, (~m & ~ig).sum(), (np.array(im["gtIgnore"]) == 0).sum() - tp]
        key = f"{name} at {iou}"
        ask(key, {"Kind": "coco", "Classes": k, "IoU": iou, "Items": items}, lambda got, want=want, key=key: near(key, [np.nan if x is None else x for x in got], want))
        ask(key + " counts", {"Kind": "counts", "Classes": k, "IoU": iou, "Items": items}, lambda got, found=found, key=key: near(key + " counts", [[c["tp"], c["fp"], c["fn"]] for c in got["classes"]], found))


def clusters(rng, name, n, d, k):
    x = rng.standard_normal((n, d)) + 4 * rng.standard_normal((k, d))[rng.integers(0, k, n)]
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    y = x.astype(float)
    dist = np.maximum(1 - y @ y.T, 0)
    np.fill_diagonal(dist, 0)
    cut = fcluster(linkage(squareform(dist, checks=False), "average"), k, "maxclust")
    first = {c: i for i, c in enumerate(dict.fromkeys(cut))}

    def check(got):
        near(name, got["cut"], [first[c] for c in cut])
        near(name + " silhouette", got["silhouette"], silhouette_score(dist, cut, metric="precomputed"), 1e-6)  # vectors are float32 on our side

    ask(name, {"Kind": "linkage", "Rows": x.tolist(), "Cut": k}, check)
    labels = rng.integers(0, k, n) * (rng.random(n) < 0.2) + cut % k * (rng.random(n) < 0.9)
    labels = np.minimum(labels, k - 1)
    like = y @ y.T
    np.fill_diagonal(like, -2)
    votes = np.zeros((n, k), int)
    for i, row in enumerate(np.argsort(-like, axis=1, kind="stable")[:, :10]):
        np.add.at(votes[i], labels[row], 1)
    own = votes[np.arange(n), labels]
    other = votes.copy()
    other[np.arange(n), labels] = -1
    want = np.flatnonzero((3 * other.max(1) >= 20) & (5 * own <= 10))
    ask(name + " neighbours", {"Kind": "neighbours", "Rows": x.tolist(), "Labels": labels.tolist(), "Near": 10, "Classes": k}, lambda got: near(name + " neighbours", sorted(d["Item"] for d in got or []), want))


def main():
    rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    classification(rng, "300 of 5", 300, 5, 0.1, 9)
    classification(rng, "ties", 400, 3, 0, 1)
    classification(rng, "2000 of 40", 2000, 40, 0.02, 3)
    confident(rng, "confident learning", 500, 4)
    confident(rng, "confident learning of 20", 2000, 20)
    boxes(rng, "coco", 60, 4, 0)
    boxes(rng, "coco crowds", 60, 3, 0.3)
    boxes(rng, "coco many", 10, 1, 0.1, 250)
    clusters(rng, "linkage", 60, 8, 4)
    clusters(rng, "linkage of 200", 200, 16, 3)
    for k, n in ((0, 1), (1, 1), (0, 30), (30, 30), (7, 23), (312, 4000)):
        want = binomtest(k, n).proportion_ci(method="wilson")
        ask(f"wilson {k}/{n}", {"Kind": "wilson", "K": k, "N": n}, lambda got, want=want, k=k, n=n: near(f"wilson {k}/{n}", [got["low"], got["high"]], [want.low, want.high]))
    for a, b in ((0, 0), (3, 3), (0, 9), (12, 31), (400, 470)):
        want = binomtest(min(a, b), a + b).pvalue if a + b else 1
        ask(f"mcnemar {a} {b}", {"Kind": "mcnemar", "Paired": {"only_a": a, "only_b": b, "both": 5}}, lambda got, want=want, a=a, b=b: near(f"mcnemar {a} {b}", got, want))
    out = subprocess.run([sys.argv[1]], input=json.dumps(problems), capture_output=True, text=True, check=True).stdout
    answers = json.loads(out)
    for name, check in checks:
        check(answers[name])
    if failed:
        sys.exit(f"FAIL: {len(failed)} numbers differ: {', '.join(failed)}")
    print(f"  {len(checks)} problems: equal to 1e-9")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
