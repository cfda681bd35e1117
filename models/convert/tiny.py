"""Make the tiny random models of testdata/models, by which the shipped specs are proven.

    tiny.py OUT            (OUT is testdata/models)

Each has the original's code, in the form that export.py writes, with a few random
weights and, for texts, a vocabulary cut from a real one. expected.json holds what the
original library makes of some pictures and texts: its own preprocessing, its own
PyTorch model, its own pooling, and no code of winnow's or of export.py's.

Needs, beside what export.py needs, open-clip-torch, torchvision, ftfy, tokenizers,
sentencepiece and a copy of a BERT tokenizer.json (BERT_TOKENIZER names it), for
example the one of all-MiniLM-L6-v2. Seeded: a second run makes the same files with
the same versions of all these.
"""

import gzip
import io
import json
import math
import os
import sys
import tempfile

import numpy as np
import torch
from PIL import Image

import export

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PICTURES = [
    "testdata/photos/chelsea-0.jpg",
    "testdata/photos/coffee-1.jpg",
    "testdata/photos/rocket-2.jpg",
    "models/image/testdata/large.jpg",
    "models/image/testdata/scene.png",
    "models/image/testdata/rgba.png",
    "models/image/testdata/exif-6.jpg",
    "testdata/models/odd.jpg",
]
TEXTS = [
    "a photo of a cat",
    "A brown DOG lies on a wooden floor!",
    "Ein reifer, roter Apfel hängt am Baum.",
    "  two   spaces,\ta tab\nand a line's end… isn't it?  ",
    "№ 1,234.50 (fifty-five %) & more @home #tag",
    "熟した赤いリンゴが木に実っている。",
    "\U0001f3be \U0001f468\u200d\U0001f469\u200d\U0001f467 🇩🇪",
    "x",
    "the quick brown fox jumps over the lazy dog and then it does so again, " * 12,
]


def random_weights(model, gain=1.0):
    """Weights with which different pictures and texts give quite different vectors."""
    g = torch.Generator().manual_seed(7)

    def normal(p, std):
        return torch.randn(p.shape, generator=g) * std

    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 0:
                continue
            if "norm" in name.lower() or "bn" in name or "scale" in name or "lambda" in name:
                p.copy_(1 + normal(p, 0.2) if name.endswith(("weight", "lambda1")) else normal(p, 0.2))
            elif "embedding" in name and "patch" not in name or name.endswith(("cls_token", "probe")):
                p.copy_(normal(p, 0.5))
            elif p.dim() == 1:
                p.copy_(normal(p, 0.2))
            else:
                p.copy_(normal(p, gain / math.sqrt(p[0].numel())))
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(normal(b, 0.2))
            elif name.endswith("running_var"):
                b.copy_(normal(b, 0.3).abs() + 0.5)
    return model.eval()


class Maker:
    def __init__(self, out):
        self.out, self.expected = out, {}

    def folder(self, name):
        path = os.path.join(self.out, name)
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, name, built):
        worst = built.write(os.path.join(self.folder(name), "model.onnx"))
        print(f"{name}: {os.path.getsize(os.path.join(self.out, name, 'model.onnx'))} bytes, {worst:.1e}", flush=True)

    def note(self, name, key, items, vectors):
        vectors = np.asarray(vectors, np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
        print(f"    different {key}s: largest cosine {cosines.max():.4f}, mean {(cosines.sum() + len(vectors)) / (len(vectors) * (len(vectors) - 1)):.3f}")
        self.expected[name] = [
            {key: item, "vector": [float(f"{x:.8g}") for x in v]} for item, v in zip(items, vectors)
        ]

    def pictures(self, name, transform, run):
        tensors = [transform(Image.open(os.path.join(ROOT, p))) for p in PICTURES]
        with torch.no_grad():
            self.note(name, "picture", PICTURES, [run(t[None])[0].numpy() for t in tensors])

    def texts(self, name, run):
        with torch.no_grad():
            self.note(name, "text", TEXTS, [run(t) for t in TEXTS])


def imagenet(size, shortest, filter):
    """torchvision's way, which CLIP, DINOv2 and timm go in their own repositories."""
    from torchvision import transforms as t

    mode = {"bicubic": t.InterpolationMode.BICUBIC, "bilinear": t.InterpolationMode.BILINEAR}[filter]
    return t.Compose(
        [
            lambda im: im.convert("RGB"),
            t.Resize(shortest, interpolation=mode),
            t.CenterCrop(size),
            t.ToTensor(),
            t.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )


# ---- CLIP


def clip_vocabulary(folder, merges):
    """CLIP's own byte pairs, the first of them."""
    import open_clip

    path = os.path.join(os.path.dirname(open_clip.__file__), "bpe_simple_vocab_16e6.txt.gz")
    with gzip.open(path, "rt", encoding="utf-8") as f:
        lines = f.read().split("\n")[1 : merges + 1]
    from transformers.models.clip.tokenization_clip import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = letters + [x + "</w>" for x in letters] + ["".join(x.split()) for x in lines]
    words += ["<|startoftext|>", "<|endoftext|>"]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({w: i for i, w in enumerate(words)}, f, ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "\n".join(lines) + "\n")
    return len(words)


def clip(m):
    from open_clip import transform
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, CLIPTokenizerFast

    with tempfile.TemporaryDirectory() as d:
        size = clip_vocabulary(d, 400)
        slow = CLIPTokenizer(os.path.join(d, "vocab.json"), os.path.join(d, "merges.txt"))
        fast = CLIPTokenizerFast(os.path.join(d, "vocab.json"), os.path.join(d, "merges.txt"), model_max_length=77)
        fast.backend_tokenizer.save(os.path.join(m.folder("clip-vit-b32-text"), "tokenizer.json"))
    tower = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        vision_config={**tower, "image_size": 224, "patch_size": 32},
        text_config={**tower, "vocab_size": size, "max_position_embeddings": 77, "bos_token_id": size - 2, "eos_token_id": size - 1},
        projection_dim=24,
    )
    model = random_weights(CLIPModel(config), 1.6)
    m.write("clip-vit-b32", export.clip_image(model))
    m.write("clip-vit-b32-text", export.clip_text(model))
    # CLIP's own repository resizes before it drops transparency, transformers after it, as
    # all the others do.
    resize = transform.image_transform(224, is_train=False)
    m.pictures("clip-vit-b32", lambda im: resize(im.convert("RGB")), lambda x: model.get_image_features(x))

    def run(text):
        ids = fast(text, truncation=True, max_length=77, padding="max_length", return_tensors="pt")
        if "\U0001f3be" not in text:  # the slow one cleans what the fast one, and so the file, does not
            assert slow(text, truncation=True, max_length=77)["input_ids"] == fast(text, truncation=True, max_length=77)["input_ids"], text
        return model.get_text_features(**ids)[0].numpy()

    m.texts("clip-vit-b32-text", run)

    def embed(picture):
        return model.get_image_features(resize(picture.convert("RGB"))[None])[0].numpy()

    with torch.no_grad():
        towers(m.out, embed, run)


def unit(x):
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


TOWER_FUNCTIONS = [
    {"name": "cats", "combine": "mean", "anchors": {"positive": [{"text": "a photo of a cat"}]}},
    {"name": "drinks", "combine": "lda", "anchors": {"positive": [{"text": "a cup of coffee"}, {"asset": "coffee-0", "weight": 2}], "negative": [{"text": "a wall of bricks"}]}},
    {"name": "space", "combine": "max", "anchors": {"positive": [{"text": "the moon"}, {"text": "a rocket", "weight": 0.5}, {"asset": "moon-2"}]}},
    {"name": "walls", "combine": "sum", "anchors": {"positive": [{"text": "grey gravel"}, {"asset": "brick-3"}], "negative": [{"text": "an astronaut"}]}},
]  # fmt: skip


def towers(out, image, text):
    """What functions with text anchors over pictures score, in numpy: see Tower in jobs/score."""
    folder = os.path.join(ROOT, "testdata", "photos")
    ids = sorted(f[:-4] for f in os.listdir(folder) if f.endswith(".jpg"))
    x = unit([image(Image.open(os.path.join(folder, i + ".jpg"))) for i in ids])
    mu, cov = x.mean(0), np.cov(x.T, bias=True)
    with open(os.path.join(ROOT, "jobs", "score", "captions.txt"), encoding="utf-8") as f:
        gap = unit([text(line.rstrip("\n")) for line in f]).mean(0)

    def anchor(a):
        if "asset" in a:
            return x[ids.index(a["asset"])]
        d = unit(text(a["text"])) - gap
        (s,) = (r for r in np.roots([d @ d, 2 * mu @ d, mu @ mu - 1]) if r > 0)
        return mu + s * d

    def score(f):
        pos, neg = (f["anchors"].get(side, []) for side in ("positive", "negative"))
        rows = {side: np.array([anchor(a) for a in side_]) for side, side_ in (("+", pos), ("-", neg)) if side_}
        weight = {"+": np.array([a.get("weight", 1) for a in pos]), "-": np.array([a.get("weight", 1) for a in neg])}
        average = {k: np.average(v, axis=0, weights=weight[k]) for k, v in rows.items()}
        if f["combine"] == "mean":
            return x @ unit(2 * average["+"] - average["-"] if neg else average["+"])
        if f["combine"] == "sum":
            return x @ sum((1 if k == "+" else -1) * weight[k] @ v for k, v in rows.items())
        if f["combine"] == "max":  # none of ours has negatives
            return (x @ rows["+"].T * weight["+"] / weight["+"].max()).max(1)
        ridge = 1000 * np.trace(cov) / len(mu)  # of a corpus below 200 rows
        w = np.linalg.solve(cov + ridge * np.eye(len(mu)), average["+"] - average.get("-", mu))
        return (x - mu) @ w / np.sqrt(w @ cov @ w)

    query = "a ripe red apple"
    found = sorted(zip(-(x @ anchor({"text": query})), ids))[:5]
    result = {
        "functions": [{**f, "embedding": "clip", "threshold": {"top": 5}} for f in TOWER_FUNCTIONS],
        "scores": {f["name"]: {i: round(float(v), 7) for i, v in zip(ids, score(f))} for f in TOWER_FUNCTIONS},
        "search": {"text": query, "found": [{"asset_id": i, "score": round(-float(c), 7)} for c, i in found]},
    }
    print(f"towers: |μ| {np.linalg.norm(mu):.3f}, |m| {np.linalg.norm(gap):.3f}, μ·m {unit(mu) @ unit(gap):.3f}")
    with open(os.path.join(out, "towers.json"), "w", encoding="utf-8") as f:
        json.dump(result, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


# ---- SigLIP


def sentences():
    with open(os.path.join(ROOT, "jobs", "score", "captions.txt"), encoding="utf-8") as f:
        yield from f
    with open(os.path.join(HERE, "references", "use-multilingual-v3.json"), encoding="utf-8") as f:
        for row in json.load(f):
            yield row["text"] + "\n"


def train(size, **options):
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(s.strip() for s in sentences()), model_writer=model, vocab_size=size,
        model_type="unigram", character_coverage=1.0, normalization_rule_name="identity", minloglevel=2, num_threads=1, **options,
    )  # fmt: skip
    return model.getvalue()


def siglip(m):
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipTokenizer

    file = os.path.join(m.folder("siglip-base-patch16-224-text"), "spiece.model")
    with open(file, "wb") as f:
        f.write(train(500, pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
    tokenizer = SiglipTokenizer(file, model_max_length=64)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        vision_config={**tower, "image_size": 224, "patch_size": 16},
        text_config={**tower, "vocab_size": 500, "max_position_embeddings": 64},
    )
    model = random_weights(SiglipModel(config), 2.5)
    m.write("siglip-base-patch16-224", export.siglip_image(model))
    m.write("siglip-base-patch16-224-text", export.siglip_text(model))
    processor = SiglipImageProcessor()
    m.pictures(
        "siglip-base-patch16-224",
        lambda im: processor(im.convert("RGB"), return_tensors="pt")["pixel_values"][0],
        lambda x: model.get_image_features(x),
    )

    def run(text):
        # Canonical first, as in SigLIP's own repository; transformers' tokenizer does it in
        # the middle, and keeps a space in front of what began with spaces or punctuation.
        options = {"truncation": True, "max_length": 64, "padding": "max_length", "return_tensors": "pt"}
        ids = tokenizer(tokenizer.canonicalize_text(text), **options)["input_ids"]
        if text[0].isalnum() and text[0].isascii():
            assert ids.equal(tokenizer(text, **options)["input_ids"]), text
        return model.get_text_features(input_ids=ids)[0].numpy()

    m.texts("siglip-base-patch16-224-text", run)


# ---- the other pictures' models


def dinov2(m):
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=518, patch_size=14)
    model = random_weights(Dinov2Model(config), 1.6)
    reference = Dinov2Model(config)
    reference.load_state_dict(model.state_dict())
    m.write("dinov2-small", export.dinov2(model))
    m.pictures("dinov2-small", imagenet(224, 256, "bicubic"), lambda x: reference.eval()(x).last_hidden_state[:, 0])


def efficientnet(m):
    from timm.models import efficientnet as t

    model = random_weights(t._gen_efficientnet("efficientnet_b2", channel_multiplier=0.04, depth_multiplier=0.2, num_classes=7), 1.6)
    m.write("efficientnet-b2", export.classifier(model, 288))
    m.pictures("efficientnet-b2", timm_transform("efficientnet_b2.ra_in1k"), lambda x: model.forward_head(model.forward_features(x), pre_logits=True))


def resnet(m):
    from timm.models import resnet as t

    model = random_weights(t.ResNet(t.Bottleneck, [1, 1, 1, 1], channels=(4, 6, 8, 10), num_classes=7, stem_width=8), 1.6)
    m.write("resnet50", export.classifier(model, 224))
    m.pictures("resnet50", timm_transform("resnet50.tv_in1k"), lambda x: model.forward_head(model.forward_features(x), pre_logits=True))


def timm_transform(weights):
    """As the weights were evaluated."""
    import timm.data

    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(weights).to_dict(), use_test_size=True)
    transform = timm.data.create_transform(**config, is_training=False)
    print(f"    {weights}: {transform}".replace("\n", ""))
    return lambda im: transform(im.convert("RGB"))


# ---- sentences


def wordpiece(folder, words):
    """A BERT tokenizer with the letters and the most frequent words of the real one."""
    with open(os.environ["BERT_TOKENIZER"], encoding="utf-8") as f:
        t = json.load(f)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    real = [w for w, _ in sorted(t["model"]["vocab"].items(), key=lambda x: x[1]) if not w.startswith("[")]
    letters = [w for w in real if len(w.removeprefix("##")) == 1 and w.isascii()]
    kept = special + letters + [w for w in real if w.isascii() and w not in set(letters)][:words]
    t["model"]["vocab"] = {w: i for i, w in enumerate(kept)}
    for a in t["added_tokens"]:
        a["id"] = kept.index(a["content"])
    for name, s in t["post_processor"]["special_tokens"].items():
        s["ids"] = [kept.index(name)]
    path = os.path.join(folder, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(t, f, ensure_ascii=False, separators=(",", ":"))
    return path, len(kept)


def encoder(vocabulary, **more):
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, **more)
    return random_weights(BertModel(config, add_pooling_layer=False), 1.6)


def english(m):
    """all-MiniLM-L6-v2, bge-small-en-v1.5 and e5-small-v2 share a form: one model serves
    all three, with input_ids, attention_mask and token_type_ids as their files have."""
    import tokenizers

    path, size = wordpiece(m.folder("bert"), 900)
    model = encoder(size, max_position_embeddings=512)
    built = export.bert(model)
    built.module = export.wrap(model, lambda x, mask, types: model(input_ids=x, attention_mask=mask, token_type_ids=types).last_hidden_state).eval()
    two, built.inputs = built.example, [*built.inputs, "token_type_ids"]
    built.example = lambda n: (*two(n), torch.zeros_like(two(n)[0]))
    built.axes["token_type_ids"] = {0: "batch", 1: "tokens"}
    m.write("bert", built)
    tokenizer = tokenizers.Tokenizer.from_file(path)
    tokenizer.no_padding()

    def hidden(text, most):
        tokenizer.enable_truncation(most)
        ids = torch.tensor([tokenizer.encode(text).ids])
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy().astype(np.float64)

    m.texts("all-minilm-l6-v2", lambda t: hidden(t, 256).mean(axis=0))
    m.texts("bge-small-en-v1.5", lambda t: hidden(t, 512)[0])
    m.texts("e5-small-v2", lambda t: hidden("query: " + t, 512).mean(axis=0))


def multilingual(m):
    from transformers import XLMRobertaTokenizerFast

    with tempfile.TemporaryDirectory() as d:
        file = os.path.join(d, "sentencepiece.bpe.model")
        with open(file, "wb") as f:
            f.write(train(700, pad_id=-1, bos_id=1, eos_id=2, unk_id=0))
        tokenizer = XLMRobertaTokenizerFast(file, model_max_length=512)
        tokenizer.backend_tokenizer.save(os.path.join(m.folder("multilingual-e5-small"), "tokenizer.json"))
    model = encoder(len(tokenizer), max_position_embeddings=512)
    m.write("multilingual-e5-small", export.bert(model))

    def run(text):
        ids = tokenizer("query: " + text, truncation=True, max_length=512, return_tensors="pt")
        return model(**ids).last_hidden_state[0].numpy().astype(np.float64).mean(axis=0)

    m.texts("multilingual-e5-small", run)


def odd():
    """A picture whose crop begins at half a pixel, where torchvision and others part."""
    with Image.open(os.path.join(HERE, "references", "coffee.jpg")) as im:
        im.convert("RGB").resize((115, 85), Image.BICUBIC).save(os.path.join(ROOT, "testdata", "models", "odd.jpg"), quality=85)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    m = Maker(sys.argv[1])
    odd()
    for make in (clip, siglip, dinov2, efficientnet, resnet, english, multilingual):
        make(m)
    with open(os.path.join(m.out, "expected.json"), "w", encoding="utf-8") as f:
        rows = (f"{json.dumps(k)}: [\n" + ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in v) + "\n]" for k, v in m.expected.items())
        f.write("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
