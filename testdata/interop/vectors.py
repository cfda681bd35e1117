"""The vectors of a workspace equal those that Python computes from the same pictures and captions.

usage: vectors.py WORKSPACE --image image=EFFICIENTNET.onnx --text text=USE.onnx,SP.model [--of text=caption]

Runs ../peers/embed_images.py and ../peers/embed_texts.py over all assets that have a vector, and
compares row by row: every cosine must be at least 0.9999. Pictures must be local files.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.parquet as pq

from workspace import Workspace, arguments, local_path, matrix, run, texts_of, unit

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers")


def main(report):
    p = arguments(__doc__)
    p.add_argument("--image", action="append", default=[], metavar="EMBEDDING=MODEL.onnx")
    p.add_argument("--text", action="append", default=[], metavar="EMBEDDING=MODEL.onnx,SP.model")
    p.add_argument("--of", action="append", default=[], metavar="EMBEDDING=COLUMN", help="column of assets that a text embedding reads (default caption)")
    p.add_argument("--min-cosine", type=float, default=0.9999)
    args = p.parse_args()
    ws = Workspace(args.workspace)
    of = dict(a.split("=", 1) for a in args.of)
    current = dict(ws.embeddings())
    assets = ws.read("assets")
    for kind, pairs in (("image", args.image), ("text", args.text)):
        for pair in pairs:
            name, model = pair.split("=", 1)
            if name not in current:
                report.check(False, f"embedding {name}", f"not in the workspace, which has {', '.join(current) or 'none'}")
                continue
            column = "uri" if kind == "image" else of.get(name, "caption")
            check(report, ws, assets, name, current[name], kind, model, column, args.min_cosine)


def check(report, ws, assets, name, fingerprint, kind, model, column, bar):
    ids, versions, ours = ws.vectors(name, fingerprint)
    values = dict(texts_of(assets))
    if column not in values:
        raise ValueError(f"assets have no text column {column}; they have {', '.join(values)}")
    content = dict(zip(values["asset_id"], values[column]))
    # Rows of older versions of an asset may still be in the table; only a live one can be recomputed.
    rows = [i for i, ok in enumerate(ws.live(ids, versions, assets)) if ok and content.get(ids[i])]
    inputs = [content[ids[i]] for i in rows]
    kinds = dict(zip(values["asset_id"], values.get("media_type", [None] * len(content))))
    expected = {a for a, c in content.items() if c and not (kind == "image" and (kinds[a] or "").startswith("text"))}
    missing = sorted(expected - {ids[i] for i in rows} - rejected(ws))
    report.check(rows and not missing, f"{name}: {len(rows)} of {len(expected)} assets with a {column} have a vector, the others are rejected",
                 f"{len(missing)} have neither, such as {missing[0]}" if missing else "")
    if not rows:
        return
    theirs = peer_images(inputs, model) if kind == "image" else peer_texts(inputs, *model.split(","))
    if theirs.shape != (len(rows), ours.shape[1]):
        report.check(False, f"{name}: shape", f"ours {ours.shape[1]}, Python's {theirs.shape}")
        return
    a, b = unit(ours[rows]), unit(theirs)
    cosine = (a * b).sum(1)
    worst = int(cosine.argmin())
    bad = int((cosine < bar).sum())
    report.check(bad == 0, f"{name}: cosine to Python's vector ≥ {bar} for {len(rows)} rows",
                 f"lowest {cosine[worst]:.8f} ({ids[rows[worst]]}), largest deviation of a number {np.abs(a - b).max():.2e}"
                 + (f", {bad} rows below" if bad else ""))


def rejected(ws):
    return set(ws.read("rejects").column("asset_id").to_pylist()) if ws.has("rejects") else set()


def peer_images(uris, model):
    paths = [local_path(u) for u in uris]
    remote = [u for u, p in zip(uris, paths) if not p]
    if remote:
        raise ValueError(f"{len(remote)} pictures are not local files, such as {remote[0]}")
    return peer("embed_images.py", [model], "\n".join(paths))


def peer_texts(texts, model, spm):
    # The peer reads one text a line. A line break is a space to the tokenizer, which is checked here.
    import sentencepiece
    sp = sentencepiece.SentencePieceProcessor(model_file=spm)
    lines = [t.replace("\r", " ").replace("\n", " ") for t in texts]
    for t, l in zip(texts, lines):
        if t != l and sp.encode(t) != sp.encode(l):
            raise ValueError(f"the text {t[:60]!r} cannot be given to the peer on one line")
    return peer("embed_texts.py", [model, spm], "\n".join(lines))


def peer(script, args, text):
    with tempfile.TemporaryDirectory() as tmp:
        listing, out = os.path.join(tmp, "list.txt"), os.path.join(tmp, "out.parquet")
        with open(listing, "w", encoding="utf8", newline="") as f:
            f.write(text)
        cmd = [sys.executable, os.path.join(PEERS, script), *args, listing, out]
        done = subprocess.run(cmd, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{script} failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
        print("     " + done.stdout.strip())
        return matrix(pq.read_table(out).column("vector"))


if __name__ == "__main__":
    run(main)
