"""The sentence models that `./setup.sh models` brings give the vectors that Python computes with Hugging Face's
tokenizers, ONNX Runtime and numpy, and hold what means the same nearer than what does not.

usage: sentences.py WINNOW MODELS     (the binary, and the folder of the models, such as .deps/models)

winnow embeds the lines in a workspace of its own, mixed and in batches; Python embeds each line alone. Every
cosine must be at least 0.99999.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from workspace import Workspace, run, unit

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# What the models' authors say of their use.
MODELS = {
    "all-minilm-l6-v2": {"pooling": "mean", "tokens": 256, "prefix": ""},
    "bge-small-en-v1.5": {"pooling": "cls", "tokens": 512, "prefix": ""},
    "e5-small-v2": {"pooling": "mean", "tokens": 512, "prefix": "query: "},
}
MEANINGS = [
    ("A man is playing the guitar on a stage.", "Someone performs music with a guitar in front of an audience."),
    ("The train to the airport leaves in ten minutes.", "In ten minutes the airport train departs."),
    ("My doctor told me to drink less coffee.", "The physician advised me to cut down on caffeine."),
    ("A ripe red apple hangs on the tree.", "On the tree there is a red apple, ready to be picked."),
    ("The stock market fell sharply on Monday.", "Share prices dropped a lot at the beginning of the week."),
    ("How do I reset my password?", "I forgot my login and need a new password."),
]
HARD = [
    "x", "!", "Zoë's café — naïve? №5", "  spaces\tand\ttabs  ", "日本語の文と English", "emoji 🎾👨‍👩‍👧 and 🇩🇪", "a\u0301 combining\u200b zero width",
    "UPPER lower MiXeD", "supercalifragilisticexpialidocious " * 3, "word " * 700, "Ab1-2_3/4.5,6", "\ufb01ligature \uff21\uff22",
]  # fmt: skip


def lines():
    with open(os.path.join(ROOT, "jobs", "score", "captions.txt"), encoding="utf-8") as f:
        captions = f.read().split("\n")[:-1]
    return [s for pair in MEANINGS for s in pair] + HARD + captions[::3]


def theirs(folder, texts, how):
    import onnxruntime
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(how["tokens"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"])
    out = []
    for text in texts:
        ids = np.array([tokenizer.encode(how["prefix"] + text).ids], np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(["last_hidden_state"], feed)[0][0].astype(np.float64)
        out.append(hidden[0] if how["pooling"] == "cls" else hidden.mean(0))
    return unit(np.array(out))


def ours(winnow, models, names, texts, folder):
    with open(os.path.join(folder, "lines.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(json.dumps({"asset_id": f"{i:04d}", "text": t}) + "\n" for i, t in enumerate(texts))
    with open(os.path.join(folder, "winnow.yaml"), "w", encoding="utf-8") as f:
        f.write("workspace: file://./workspace\nsources: [{manifest: file://./lines.jsonl}]\nembeddings:\n")
        f.writelines(f"  - {{name: e{i}, model: {n}, of: text}}\n" for i, n in enumerate(names))
    environment = {**os.environ, "WINNOW_MODELS": os.path.abspath(models)}
    for stage in ("ingest", "embed"):
        done = subprocess.run([os.path.abspath(winnow), stage], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"winnow {stage} failed: {done.stderr.strip()}")
    ws = Workspace(os.path.join(folder, "workspace"))
    fingerprints = dict(ws.embeddings())
    for i, n in enumerate(names):
        ids, _, x = ws.vectors(f"e{i}", fingerprints[f"e{i}"])
        yield n, unit(x)[np.argsort(ids)]


def main(report):
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    winnow, models = sys.argv[1:]
    names = [n for n in MODELS if os.path.isfile(os.path.join(models, n, "model.onnx"))]
    texts = lines()
    with tempfile.TemporaryDirectory() as folder:
        for name, a in ours(winnow, models, names, texts, folder):
            if len(a) != len(texts):
                report.check(False, f"{name}: {len(a)} of {len(texts)} lines have a vector")
                continue
            cosine = (a * theirs(os.path.join(models, name), texts, MODELS[name])).sum(1)
            worst = int(cosine.argmin())
            report.check(cosine[worst] >= 0.99999, f"{name}: cosine to Python's vector ≥ 0.99999 for {len(a)} lines", f"lowest {cosine[worst]:.8f} ({texts[worst][:40]!r})")
            n = len(MEANINGS)
            c = a[0 : 2 * n : 2] @ a[1 : 2 * n : 2].T
            same, other = c.diagonal().min(), (c - 2 * np.eye(n)).max()
            nearest = (c.argmax(1) == np.arange(n)).all() and (c.argmax(0) == np.arange(n)).all()
            report.check(nearest, f"{name}: each of {n} sentences is nearest to the one that says the same", f"cosine {same:.2f} or more; of two others {other:.2f} or less")


if __name__ == "__main__":
    run(main)
