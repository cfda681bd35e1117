"""Hard lines by the thousand, and the ids that SentencePiece gives them.

    hard.py SP.model STAMPS OUT [SEED]      STAMPS is a folder of tuxpaint's *.txt

Writes OUT/NAME.model and OUT/NAME.jsonl, in the format that make.py describes: for
SP.model, and for Unigram and BPE models trained here with every option that changes
how a text is cut. The lines hold accents, composed and not, all scripts, joined
emoji, control characters, NULs, code points that mean nothing, spaces of all kinds,
long runs, broken UTF-8 (a sixth of them), and lines of 100 kB.
"""

import hashlib
import io
import json
import os
import random
import sys
import unicodedata

import sentencepiece as sp
from sentencepiece import sentencepiece_model_pb2 as pb

from speed import texts

BLOCKS = [
    (0x00, 0x1F), (0x20, 0x7E), (0x7F, 0x9F), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F),
    (0x1000, 0x109F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2460, 0x24FF), (0x2580, 0x2583), (0x3000, 0x30FF),
    (0x3130, 0x318F), (0x3200, 0x33FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFEFF), (0xFF00, 0xFFFF),
    (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2FFFF), (0xE0000, 0xE01EF), (0x30000, 0x10FFFF), (0x378, 0x379), (0x530, 0x530),
]
EMOJI = ["👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "1️⃣", "🧑🏿‍🚀", "❤️", "\u200d", "\ufe0f"]
SPACES = [" ", "  ", "\t", "\u3000", "\u00a0", "▁", "\n", "\u2028", "\u200b", "\u200f"]
USER = ["<user>", "foo", "foobar", "ab", "abc", " x", "▁▁", "éa", "の"]
FIRST = ["", " ", "    ", "\0", "\0\0 \0", "▁", " ▁ ", "<unk>", "<s>x</s>", "<0x41>"]


class Lines:
    """Lines by chance. The same seed gives the same lines."""

    def __init__(self, captions, seed):
        self.rng = random.Random(seed)
        self.captions = captions
        self.words = " ".join(self.rng.sample(captions, 4000)).split()

    def char(self):
        return chr(self.rng.randint(*self.rng.choice(BLOCKS)))

    def join(self, most, *kinds, between=""):
        """Joins up to so many parts: of a list one of its members, of a function what it returns."""
        parts = (self.rng.choice(kinds) for _ in range(self.rng.randint(1, most)))
        return between.join(self.rng.choice(k) if isinstance(k, list) else k() for k in parts)

    def line(self):
        rng, caption = self.rng, self.rng.choice(self.captions)
        match rng.randint(0, 9):
            case 0:
                return caption
            case 1:
                return unicodedata.normalize("NFD", caption)
            case 2:
                return self.join(40, self.words, between=" ")
            case 3:
                return self.join(40, self.char)
            case 4:
                return self.join(30, self.words, SPACES, self.char, EMOJI, USER)
            case 5:
                return self.join(20, EMOJI, EMOJI, ["a", " "], self.char)
            case 6:
                return self.join(1, self.char, self.words, SPACES) * rng.randint(1, 300)
            case 7:
                broken = bytearray(self.join(12, self.words, [" "], self.char).encode())
                for _ in range(rng.randint(1, 4)):
                    broken[rng.randrange(len(broken))] = rng.randint(0, 255)
                return bytes(broken)
            case 8:
                return rng.randbytes(rng.randint(1, 30))
            case _:
                return caption.upper().replace(" ", rng.choice(SPACES))

    def some(self, n):
        return [t if isinstance(t, bytes) else t.encode() for t in FIRST + [self.line() for _ in range(n - len(FIRST))]]

    def longs(self, size=100_000):
        rng = self.rng
        out = [" ".join(rng.choices(self.captions, k=3000)), "".join(rng.choices(self.captions, k=3000)).replace(" ", ""), "".join(self.char() for _ in range(size // 2))]
        out += [t * size for t in ("a", "ab", " ", "哈", "👍🏽", "\u0301", "x ", "foo", "▁")]
        return [t.encode()[:size] for t in out]


def train(captions, change=None, **options):
    out = io.BytesIO()
    options = {"vocab_size": 2000, "character_coverage": 0.98} | options
    sp.SentencePieceTrainer.train(sentence_iterator=iter(captions[:3000]), model_writer=out, minloglevel=2, num_threads=1, **options)
    if change is None:
        return out.getvalue()
    model = pb.ModelProto.FromString(out.getvalue())
    change(model)
    return model.SerializeToString()


def unused(model):
    rng = random.Random(5)
    for p in model.pieces:
        if p.type == p.NORMAL and rng.random() < 0.2:
            p.type = p.UNUSED


def without_escape(model):
    model.normalizer_spec.escape_whitespaces = False
    seen = set()
    for p in model.pieces:
        if p.type == p.NORMAL:
            p.piece = p.piece.replace("▁", " ")
        while p.piece in seen:
            p.piece += "~"
        seen.add(p.piece)


def unknown_space(model):
    for p in model.pieces:
        if p.piece == "▁":
            p.piece = "▁~~"


def better_than_nothing(model):
    for p in model.pieces:
        if p.type == p.NORMAL:
            p.score += 30


KEEP = {"remove_extra_whitespaces": False}
OPTIONS = {
    "nmt_nfkc": {},
    "bytes": {"byte_fallback": True, "normalization_rule_name": "identity", "allow_whitespace_only_pieces": True} | KEEP,
    "nfkc": {"normalization_rule_name": "nfkc"},
    "nmt_nfkc_cf": {"normalization_rule_name": "nmt_nfkc_cf"},
    "identity": {"normalization_rule_name": "identity"},
    "user": {"user_defined_symbols": USER},
    "user_bytes": {"user_defined_symbols": USER, "normalization_rule_name": "identity", "byte_fallback": True} | KEEP,
    "suffix": {"treat_whitespace_as_suffix": True},
    "no_prefix": {"add_dummy_prefix": False},
    "spaces": KEEP,
    "phrases": {"split_by_whitespace": False, "split_by_unicode_script": False, "split_by_number": False},
    "control": {"split_digits": True, "control_symbols": ["<c>", "x"]},
    "unused": {"change": unused},
    "unused_bytes": {"change": unused, "byte_fallback": True, "user_defined_symbols": USER},
    "no_escape": {"change": without_escape},
    "unknown_space": {"change": unknown_space},
    "positive": {"change": better_than_nothing},
}


def row(content, ids):
    if len(ids) <= 200:
        return {"hex": content.hex(), "ids": ids}
    return {"hex": content.hex(), "tokens": len(ids), "sha256": hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()[:16]}


def families(model, stamps, seed=1):
    """Yields (name, model, lines, ids): models as bytes, lines as bytes, ids with those of begin and end."""
    captions = texts(stamps)["captions"]
    lines = Lines(captions, seed)
    hard, longs = lines.some(6200), lines.longs()

    def family(name, model, contents):
        return name, model, contents, sp.SentencePieceProcessor(model_proto=model).encode(contents, add_bos=True, add_eos=True)

    with open(model, "rb") as f:
        yield family("given", f.read(), hard + longs)
    for kind in ("unigram", "bpe"):
        for i, (name, options) in enumerate(OPTIONS.items()):
            # The commonest options have all lines, the others a share of them each.
            share = hard + longs if i < 2 else hard[: len(FIRST)] + hard[i :: len(OPTIONS)] + longs[i % 4 :: 4]
            yield family(f"{kind}-{name}", train(captions, model_type=kind, **options), share)


def main():
    model, stamps, out = sys.argv[1:4]
    for name, proto, lines, ids in families(model, stamps, int(sys.argv[4]) if len(sys.argv) > 4 else 1):
        with open(os.path.join(out, name + ".model"), "wb") as f:
            f.write(proto)
        with open(os.path.join(out, name + ".jsonl"), "w", encoding="ascii") as f:
            for one in zip(lines, ids):
                f.write(json.dumps(row(*one)) + "\n")


if __name__ == "__main__":
    main()
