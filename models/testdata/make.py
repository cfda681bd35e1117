"""What onnxruntime in Python gives for a few pictures and sentences.

    make.py            writes vectors.f32 and vectors.json beside it

The steps are those of the Python peers: Pillow's resize, alpha put on white,
SentencePiece; texts one at a time, so that padding plays no part. Needs the models
that make setup brings. Made with onnxruntime 1.32.0, Pillow 13.0.0, sentencepiece
0.2.3.
"""

import json
import os

import numpy as np
import onnxruntime as ort
import sentencepiece as sp
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "..", ".deps", "models")
PICTURES = [
    "../convert/references/camera.jpg", "../convert/references/chelsea.jpg", "../convert/references/coffee.jpg",
    "../image/testdata/large.jpg", "../image/testdata/rgba.png", "../image/testdata/p8-transparent.png", "../image/testdata/lossy-alpha.webp",
]  # fmt: skip
SENTENCES = [
    "a", "A ripe red apple hangs on the tree.", "Ein reifer roter Apfel hängt am Baum.", "熟した赤いリンゴが木に実っている。",
    "На дереве висит спелое красное яблоко.", "The train to the airport leaves in ten minutes.", "👍🏽 e\u0301 ﷺ ①", "  spaces   between  ",
    "An owl. " * 30, "word " * 300,
]  # fmt: skip


def session(name):
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    return ort.InferenceSession(os.path.join(MODELS, name, "model.onnx"), o, providers=["CPUExecutionProvider"])


def picture(path):
    im = Image.open(os.path.join(HERE, path))
    if im.mode in ("RGBA", "LA", "P"):
        im = im.convert("RGBA")
        white = Image.new("RGBA", im.size, (255, 255, 255, 255))
        white.alpha_composite(im)
        im = white
    im = im.convert("RGB").resize((224, 224), Image.BICUBIC)
    return ((np.asarray(im, np.float32) - 127) / 128).transpose(2, 0, 1)[None]


def main():
    lite, use = session("efficientnet-lite0"), session("use-multilingual-v3")
    tok = sp.SentencePieceProcessor(model_file=os.path.join(MODELS, "use-multilingual-v3", "sp.model"))
    vectors = []
    for p in PICTURES:
        vectors.append(lite.run(["avg_pool"], {"image": picture(p)})[0][0])
    for s in SENTENCES:
        ids = np.array([tok.encode(s, add_bos=True, add_eos=True)], np.int64)
        vectors.append(use.run(["embedding"], {"ids": ids, "mask": np.ones(ids.shape, np.float32)})[0][0])
    vectors = [v / np.linalg.norm(v) for v in vectors]
    np.concatenate(vectors).astype("<f4").tofile(os.path.join(HERE, "vectors.f32"))
    with open(os.path.join(HERE, "vectors.json"), "w") as f:
        json.dump({"pictures": PICTURES, "sentences": SENTENCES}, f, indent=0)
        f.write("\n")


main()
