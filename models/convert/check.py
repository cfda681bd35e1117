"""Check that converted models compute what they should.

    check.py efficientnet-lite0 MODEL.onnx
    check.py use-multilingual-v3 MODEL.onnx

EfficientNet-Lite0 must see what is in three pictures and give the vectors of
references/efficientnet-lite0.json. The sentence encoder must give the vectors
of references/use-multilingual-v3.json, each also when it stands padded in a
batch, and hold translations nearer than other sentences. Exits with 1 and a
sentence that says what differs. Needs numpy, onnxruntime and Pillow.
"""

import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
MIN_COSINE = 0.9999


class Wrong(Exception):
    """The model runs, but not as the reference does."""


def picture(file):
    """references/FILE as the model wants it: [3, 224, 224], (value - 127) / 128."""
    from PIL import Image

    with Image.open(os.path.join(HERE, "references", file)) as im:
        pixels = np.asarray(im.convert("RGB"), np.float32)
    return ((pixels - 127) / 128).transpose(2, 0, 1)


def references(name):
    with open(os.path.join(HERE, "references", name + ".json"), encoding="utf-8") as f:
        return json.load(f)


def same(what, got, want):
    """Raise unless the two vectors agree in direction and in length."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        raise Wrong(f"{what}: {got.size} numbers instead of {want.size}")
    lengths = np.linalg.norm(got), np.linalg.norm(want)
    if not np.isfinite(lengths[0]) or abs(lengths[0] / lengths[1] - 1) > 1e-3:
        raise Wrong(f"{what}: a vector of length {lengths[0]:.4g} instead of {lengths[1]:.4g}")
    cosine = got @ want / (lengths[0] * lengths[1])
    if cosine < MIN_COSINE:
        raise Wrong(f"{what}: cosine {cosine:.5f} to the reference, must be at least {MIN_COSINE}")


def efficientnet_lite0(session):
    rows = references("efficientnet-lite0")
    batch = np.stack([picture(r["picture"]) for r in rows])
    vectors, logits = session.run(["avg_pool", "logits"], {"image": batch})
    for row, vector, scores in zip(rows, vectors, logits):
        what = f"picture {row['picture']} ({row['name']})"
        p = np.exp(scores - scores.max())
        p /= p.sum()
        if p.argmax() != row["class"] or abs(p.max() - row["probability"]) > 0.02:
            raise Wrong(
                f"{what}: class {p.argmax()} at {p.max():.3f}, must be {row['class']} at {row['probability']:.3f}"
            )
        same(what, vector, row["avg_pool"])
    return f"{len(rows)} pictures recognised, vectors as in the reference"


def use_multilingual_v3(session):
    rows = references("use-multilingual-v3")

    def embed(ids):
        batch = np.full((len(ids), max(map(len, ids))), 7, np.int64)  # any id will do as padding
        mask = np.zeros(batch.shape, np.float32)
        for i, row in enumerate(ids):
            batch[i, : len(row)], mask[i, : len(row)] = row, 1
        return session.run(["embedding"], {"ids": batch, "mask": mask})[0]

    together = embed([r["ids"] for r in rows])
    for row, vector in zip(rows, together):
        what = f"sentence {row['text']!r} ({row['language']})"
        same(what + " alone", embed([row["ids"]])[0], row["vector"])
        same(what + " in a padded batch", vector, row["vector"])

    meaning = np.array([r["meaning"] for r in rows])
    translation = meaning[:, None] == meaning[None, :]
    cosines = together @ together.T
    far, near = cosines[translation].min(), cosines[~translation].max()
    if far <= near:
        raise Wrong(f"two translations are as far apart (cosine {far:.3f}) as two other sentences ({near:.3f})")
    return (
        f"{len(rows)} sentences in {len({r['language'] for r in rows})} languages as in the reference; "
        f"translations at cosine {far:.2f} or more, others at {near:.2f} or less"
    )


CHECKS = {"efficientnet-lite0": efficientnet_lite0, "use-multilingual-v3": use_multilingual_v3}


def open_model(model):
    """An ONNX Runtime session over a file or the model's bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    name, path = sys.argv[1:]
    try:
        print(f"{name}: {CHECKS[name](open_model(path))}")
    except Wrong as e:
        sys.exit(f"{name}: {path} is not the model it should be: {e}")


if __name__ == "__main__":
    main()
