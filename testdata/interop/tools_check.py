"""Labeling tools' own code takes what `emit:` writes for them.

usage: tools_check.py WINNOW PHOTOS GOLDEN

WINNOW makes a batch of the pictures of PHOTOS (testdata/photos) with every emitter; GOLDEN is a batch of odd rows that
the tests of io/manifest keep (io/manifest/testdata/batch). Each file is loaded by the package of its tool: Label
Studio's LabelInterface, FiftyOne's Dataset.from_dir (on mongomock instead of a MongoDB server), pycocotools' COCO, and
Hugging Face's load_dataset. CVAT's and Ground Truth's readers are in no registry: their documented rules are checked.
"""
import contextlib, importlib.abc, importlib.machinery, io, json, os, pathlib, shutil, subprocess, sys, tempfile, types
import numpy as np
from PIL import Image, ImageOps

from workspace import Report

TOOLS = ["label-studio", "cvat", "ground-truth", "coco", "fiftyone", "huggingface"]
# Packages that FiftyOne imports and that loading samples does not run.
UNUSED = set("""IPython aiofiles argcomplete async_lru boto3 botocore bs4 cachetools cv2 dacite exceptiongroup ftfy glob2 google
graphql h5py httplib2 humanize hypercorn ipywidgets jinja2 jsonlines jsonpatch matplotlib mpl_toolkits paramiko patoolib plotly pprintpp psutil
py7zr pydash pypcd4 rarfile regex retrying rtree scipy shapely skimage sklearn sortedcontainers sse_starlette sseclient starlette strawberry
tabulate tensorflow torch tzlocal universal_analytics xmltodict""".split())


def lines(path):
    return [json.loads(s) for s in path.read_text("utf8").split("\n") if s]


def size(path):
    with Image.open(path) as im:
        return ImageOps.exif_transpose(im).size


def label_studio(report, name, folder, batch):
    from label_studio_sdk.label_interface import LabelInterface
    tasks = json.loads((folder / "label-studio/tasks.json").read_text("utf8"))
    bad, seen = [], []
    for t in tasks:
        (kind,) = [k for k in ("image", "text", "audio", "video") if k in t["data"]]
        tag = {"image": "Image", "text": "Text", "audio": "Audio", "video": "Video"}[kind]
        config = LabelInterface(f'<View><{tag} name="x" value="${kind}"/><Choices name="c" toName="x"><Choice value="a"/></Choices></View>')
        if not config.validate_task(t) or config.load_task(t["data"]).get_object("x").value != t["data"][kind] or not isinstance(t["meta"], dict):
            bad.append(t)
        seen.append(t["data"]["asset_id"])
    report.check(not bad and seen == [r["asset_id"] for r in batch], f"{name}: Label Studio's SDK takes {len(tasks)} tasks", str(bad[:1]) if bad else "")


def cvat(report, name, folder, batch, root):
    head, rows = [], []
    with open(folder / "cvat/manifest.jsonl", encoding="utf8") as f:  # universal newlines, as CVAT reads it
        for line in f:
            (head if len(head) < 2 else rows).append(json.loads(line))
    ok = head == [{"version": "1.1"}, {"type": "images"}] and all(isinstance(r["name"], str) and isinstance(r["extension"], str) and isinstance(r["meta"], dict) for r in rows)
    wrong = [r["name"] for r in rows if root and size(root / (r["name"] + r["extension"])) != (r["width"], r["height"])]
    report.check(ok and not wrong and len(rows) + left(folder, "cvat") == len(batch), f"{name}: CVAT's rules hold for {len(rows)} pictures{' of the size that Pillow sees' if root else ''}", str(wrong[:3]) if wrong else "")


def ground_truth(report, name, folder, batch):
    rows, bad = lines(folder / "ground-truth/input.manifest"), []
    for r in rows:
        source = [k for k in ("source", "source-ref") if k in r]
        if len(source) != 1 or source == ["source-ref"] and not r["source-ref"].startswith("s3://") or any(k.startswith("$") for k in r):
            bad.append(r)
        if any(len(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) > 20_000 for v in r.values()) or len(json.dumps(r, ensure_ascii=False)) > 100_000:
            bad.append(r)
    report.check(not bad and len(rows) + left(folder, "ground-truth") == len(batch), f"{name}: Ground Truth's rules hold for {len(rows)} objects", str(bad[:1]) if bad else "")


def coco(report, name, folder, batch, root):
    from pycocotools.coco import COCO
    with contextlib.redirect_stdout(io.StringIO()):
        c = COCO(str(folder / "coco/images.json"))
    images = c.loadImgs(c.getImgIds())
    wrong = [i["file_name"] for i in images if root and size(root / i["file_name"]) != (i["width"], i["height"])]
    ok = len(images) + left(folder, "coco") == len(batch) and all(c.imgs[i["id"]] is i for i in images) and len({i["file_name"] for i in images}) == len(images)
    report.check(ok and not wrong, f"{name}: pycocotools indexes {len(images)} images{' of the size that Pillow sees' if root else ''}", str(wrong[:3]) if wrong else "")


class Unused(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives an empty module for packages that are not installed and not run."""

    class Module(types.ModuleType):
        __path__ = []

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {"__init__": lambda *a, **k: None, "__call__": lambda self, *a, **k: a[0] if a else self,
                                   "__getattr__": lambda self, n: Unused.Module(n), "__class_getitem__": classmethod(lambda c, _: c)})

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in UNUSED else None

    def create_module(self, spec):
        return Unused.Module(spec.name)

    def exec_module(self, module):
        pass


def open_fiftyone(home):
    """FiftyOne without a server: its documents go to mongomock."""
    os.environ.update(FIFTYONE_DISABLE_SERVICES="1", FIFTYONE_DO_NOT_TRACK="1", FIFTYONE_CONFIG_PATH=f"{home}/none.json", HOME=home, FIFTYONE_SHOW_PROGRESS_BARS="0")
    sys.meta_path.append(Unused())
    import logging
    logging.disable(logging.CRITICAL)
    import fiftyone, mongoengine, mongomock
    import fiftyone.core.odm.database as database
    mongoengine.disconnect_all()
    mongoengine.connect("fiftyone", mongo_client_class=mongomock.MongoClient, uuidRepresentation="standard")
    database._client = mongoengine.get_connection()
    database._client._closed = False
    database._apply_options = lambda db: db
    return fiftyone


def fiftyone_files(report, name, folder, batch, fo):
    ds = fo.Dataset.from_dir(dataset_dir=str(folder / "fiftyone"), dataset_type=fo.types.FiftyOneDataset)
    docs = list(ds._sample_collection.find({}))
    want = {r["asset_id"]: r for r in batch}
    wrong = [d["asset_id"] for d in docs if any(d.get("score_" + f) != v for f, v in want[d["asset_id"]].get("scores", {}).items())]
    schema = ds.get_field_schema()
    kinds = {f: type(schema["score_" + f]).__name__ for f in batch[0].get("scores", {})}
    ok = len(docs) + left(folder, "fiftyone") == len(batch) and not wrong and set(kinds.values()) <= {"FloatField"} and ds.media_type == "image" and ds.info["batch"]
    report.check(ok, f"{name}: FiftyOne imports {len(docs)} samples with {len(schema)} fields", "" if ok else f"{wrong[:3]} {kinds} {ds.media_type} {ds.info}")


def huggingface(report, name, folder, batch, root, cache):
    import datasets
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=cache) as d:
        shutil.copy(folder / "huggingface/metadata.jsonl", d)
        for r in lines(folder / "huggingface/metadata.jsonl"):
            if r.get("file_name") and root:
                to = pathlib.Path(d, r["file_name"])
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / r["file_name"], to)
        where = {"path": d} if root else {"path": "imagefolder", "data_dir": d}
        ds = datasets.load_dataset(**where, split="train", cache_dir=d + "/cache")
        names = {r["asset_id"] for r in batch}
        ok = len(ds) + left(folder, "huggingface") == len(batch) and set(ds["asset_id"]) <= names
        if root:
            want = {r["asset_id"]: r for r in batch}
            ok = ok and all(r["image"].convert("RGB").size[0] > 0 and r["caption"] == want[r["asset_id"]].get("caption") and abs(r["score_f"] - want[r["asset_id"]]["scores"]["f"]) < 1e-6 for r in ds)
        else:
            ds = ds.cast_column("image", datasets.Image(decode=False))
        report.check(ok, f"{name}: datasets loads {len(ds)} rows: {', '.join(ds.column_names)}")


def left(folder, tool):
    path = folder / tool / "left_out.jsonl"
    return len(lines(path)) if path.exists() else 0


def make(winnow, photos, work):
    """A batch of all pictures, with random vectors."""
    rows = lines(photos / "manifest.jsonl")
    shutil.copytree(photos, work / "photos")
    r = np.random.default_rng(7)
    (work / "v.jsonl").write_text("".join(json.dumps({"asset_id": x["asset_id"], "vector": r.standard_normal(8).tolist()}) + "\n" for x in rows))
    (work / "f.yaml").write_text(f"{{name: f, embedding: image, anchors: {{positive: [{{asset: {rows[0]['asset_id']}}}]}}, combine: mean, threshold: 0.5}}\n")
    (work / "winnow.yaml").write_text(json.dumps({
        "workspace": "./workspace", "sources": [{"manifest": "photos/manifest.jsonl"}], "functions": "f.yaml",
        "embeddings": [{"name": "image", "of": "image", "vectors": {"files": "v.jsonl", "dim": 8}}],
        "batches": [{"name": "all", "select": [{"top": "f"}], "size": len(rows), "emit": TOOLS + ["jsonl"],
                     "uri_rewrite": [{"from": f"file://{work.resolve()}/photos/", "to": "s3://bucket/photos/"}]}]}))
    done = subprocess.run([winnow, "run"], cwd=work, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"FAIL winnow run: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return next((work / "workspace/batches/all").iterdir())


def main(report, winnow, photos, golden):
    with tempfile.TemporaryDirectory() as d:
        work = pathlib.Path(d)
        os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=d + "/hf", HF_HUB_DISABLE_TELEMETRY="1")
        folders = {"44 photos": (make(winnow, photos, work), work / "photos"), "odd rows": (golden, None)}
        fo = open_fiftyone(d)
        for name, (folder, root) in folders.items():
            batch = lines(folder / "batch.jsonl")
            label_studio(report, name, folder, batch)
            cvat(report, name, folder, batch, root)
            ground_truth(report, name, folder, batch)
            coco(report, name, folder, batch, root)
            fiftyone_files(report, name, folder, batch, fo)
            huggingface(report, name, folder, batch, root, d)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    r = Report()
    main(r, str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
    sys.exit(r.code())
