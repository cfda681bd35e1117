"""Tokens: 5,000 hard lines, as winnow and the tokenizers library cut them, by tokenizers of every kind.

usage: tokenizers_check.py TOKENS SP.model STAMPS [SEED]

TOKENS is the compiled testdata/tools/tokens, STAMPS a folder of tuxpaint's *.txt. The tokenizers are those of
models/text/testdata/hf.py, trained on the captions, and SP.model as a tokenizer.json like XLM-R's. Each of the
kinds that models have gets all lines, also cut to few tokens; those of other parts get a share.
"""

import json
import os
import subprocess
import sys
import tempfile

from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Tokenizer
from workspace import run

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "text", "testdata"))
import hard  # noqa: E402
import hf  # noqa: E402
from speed import texts  # noqa: E402

LINES = 5000
FEW = 9  # tokens


def hard_lines(captions, seed):
    made = hard.Lines(captions, seed)
    lines = [s for b in made.some(2 * LINES) if (s := utf8(b)) is not None][: LINES - 1000]
    lines += hf.special_lines(made.rng, captions[:1000])
    return lines, [s for b in made.longs() if (s := utf8(b)) is not None]


def utf8(content):
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def families(model, captions):
    charmap = hf.charmap_of(model)
    for name, tokenizer in hf.main_families(captions[:3000], 1500, charmap):
        yield name, tokenizer, 1
    with open(model, "rb") as f:
        pieces = [(p.piece, p.score) for p in pb.ModelProto.FromString(f.read()).pieces]
    yield "given", hf.unigram([], 0, charmap, "always", "xlm-r", pieces=pieces), 1
    for name, tokenizer in hf.more_families(captions[:500], 800):
        yield name, tokenizer, 10


def ours(tokens, file, lines, most):
    out = subprocess.run([tokens, "-max", str(most), file], input="".join(json.dumps(t) + "\n" for t in lines), capture_output=True, text=True)
    if out.returncode != 0:
        raise ValueError(out.stderr.strip())
    return [json.loads(line) for line in out.stdout.splitlines()]


def main(report):
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    tokens, model, stamps = sys.argv[1:4]
    captions = texts(stamps)["captions"]
    lines, longs = hard_lines(captions, int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, tokenizer, share) in enumerate(families(model, captions)):
            file = os.path.join(folder, "tokenizer.json")
            tokenizer.save(file)
            tokenizer = Tokenizer.from_file(file)  # which rounds the scores once more
            some = lines + longs if share == 1 else lines[i % share :: share]
            wrong = count = 0
            first = ""
            for most in (0, FEW) if share == 1 else (0,):
                if most:
                    tokenizer.enable_truncation(most)
                for line, have in zip(some, ours(tokens, file, some, most), strict=True):
                    count += 1
                    if tokenizer.encode(line).ids != have:
                        first = first or line[:80]
                        wrong += 1
            report.check(count > 0 and wrong == 0, f"{name}: {count} texts give the same ids", f"{wrong} do not, such as {first!r}" if wrong else "")


run(main)
