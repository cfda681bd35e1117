"""Tokens: 5,000 hard lines, as winnow and SentencePiece cut them, by the shipped model and those of every option.

usage: sentencepiece_check.py TOKENS SP.model STAMPS [SEED]

TOKENS is the compiled testdata/tools/tokens, STAMPS a folder of tuxpaint's *.txt. The lines and models come
from models/text/testdata/hard.py; those that are no UTF-8 are left to the test of models/text.
"""

import json
import os
import subprocess
import sys
import tempfile

from workspace import run

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "text", "testdata"))
import hard  # noqa: E402


def main(report):
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    tokens, model, stamps = sys.argv[1:4]
    for name, proto, lines, ids in hard.families(model, stamps, int(sys.argv[4]) if len(sys.argv) > 4 else 1):
        valid = [i for i, line in enumerate(lines) if is_utf8(line)]
        got = ours(tokens, proto, [lines[i].decode() for i in valid])
        wrong = [i for i, have in zip(valid, got) if have != ids[i]]
        report.check(valid and len(got) == len(valid) and not wrong, f"{name}: {len(valid)} lines give the same ids", f"{len(wrong)} do not, such as {lines[wrong[0]][:80]!r}" if wrong else "")


def is_utf8(line):
    try:
        return line.decode() is not None
    except UnicodeDecodeError:
        return False


def ours(tokens, proto, lines):
    with tempfile.NamedTemporaryFile(suffix=".model") as f:
        f.write(proto)
        f.flush()
        out = subprocess.run([tokens, "-bos", "-eos", f.name], input="".join(json.dumps(t) + "\n" for t in lines), capture_output=True, text=True)
    if out.returncode != 0:
        raise ValueError(out.stderr.strip())
    return [json.loads(line) for line in out.stdout.splitlines()]


run(main)
