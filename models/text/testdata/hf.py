"""Tokenizers of Hugging Face's kinds, trained here, and the ids that the tokenizers library gives.

    hf.py       writes hf-*.json with their hf-*.jsonl, which the tests of models/text read

The families are those of BERT, CLIP, RoBERTa, XLM-R and SigLIP, and others with what these lack. A row is as
make.py describes it. testdata/interop/tokenizers_check.py takes the same families, trained on more text, and
5,000 lines by chance. Made with tokenizers 0.23.3.
"""

import hashlib
import json
import os
import random
import sys

import make
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import models as mod
from tokenizers import normalizers as norm
from tokenizers import pre_tokenizers as pre
from tokenizers import processors as post
from tokenizers import trainers as train

HERE = os.path.dirname(os.path.abspath(__file__))
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<s>", "</s>", "<unk>", "<pad>", "<mask>", " <mask> ", "<|endoftext|>", "<|startoftext|>", "Apple", "APPLE", "apples", "xapple", "▁", "<0x41>"]


def bert(texts, size, cls=False, **options):
    t = Tokenizer(mod.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30 if cls else 100))
    t.normalizer, t.pre_tokenizer = norm.BertNormalizer(**options), pre.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(texts, train.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    if cls:
        t.post_processor = post.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    else:
        t.post_processor = post.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def byte_bpe(texts, size, split, **options):
    t = Tokenizer(mod.BPE(**options))
    t.pre_tokenizer = split
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    t.train_from_iterator(texts, train.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False))
    return t


def roberta(texts, size, space):
    t = byte_bpe(texts, size, pre.ByteLevel(add_prefix_space=space))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=space)])
    t.add_tokens([AddedToken("Apple", single_word=True), AddedToken("apple ", rstrip=True, normalized=False)])
    t.post_processor = post.Sequence([post.ByteLevel(trim_offsets=True), post.RobertaProcessing(("</s>", 2), ("<s>", 0))])
    return t


def clip(texts, size, startoftext):
    """CLIP's: its pieces at the ends of words have </w>, which the trainer does not know, so they are put in."""
    split = pre.Sequence([pre.Split(Regex((r"<\|startoftext\|>|<\|endoftext\|>|" if startoftext else "") + CLIP), "removed", invert=True), pre.ByteLevel(add_prefix_space=False)])
    small = json.loads(byte_bpe([s.lower() for s in texts], size, split).to_str())["model"]
    letters = sorted(pre.ByteLevel.alphabet())
    merges, seen = [], set(letters) | {c + "</w>" for c in letters}
    for a, b in small["merges"]:
        for merge in ((a, b), (a, b + "</w>")):
            if a in seen and merge[1] in seen:
                merges.append(merge)
                seen.add("".join(merge))
    vocab = dict.fromkeys(letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"])
    vocab = {piece: i for i, piece in enumerate(vocab)}
    t = Tokenizer(mod.BPE(vocab, merges, continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False, unk_token="<|endoftext|>"))
    t.normalizer = norm.Sequence([norm.NFC(), norm.Replace(Regex(r"\s+"), " "), norm.Lowercase()])
    t.pre_tokenizer = split
    start, end = vocab["<|startoftext|>"], vocab["<|endoftext|>"]
    t.post_processor = post.RobertaProcessing(("<|endoftext|>", end), ("<|startoftext|>", start), add_prefix_space=False, trim_offsets=False)
    t.add_special_tokens([AddedToken("<|startoftext|>", normalized=startoftext), AddedToken("<|endoftext|>", normalized=False)])
    return t


def unigram(texts, size, charmap, scheme, style, fallback=False, pieces=None):
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    if pieces is None:
        t = Tokenizer(mod.Unigram())
        t.pre_tokenizer = pre.Metaspace()
        special += [f"<0x{b:02X}>" for b in range(256)] if fallback else []
        t.train_from_iterator([s for s in texts if len(set(s)) < 100][:3000], train.UnigramTrainer(vocab_size=2 * size, special_tokens=special, unk_token="<unk>", show_progress=False))
        pieces = [tuple(p) for p in json.loads(t.to_str())["model"]["vocab"]]
    t = Tokenizer(mod.Unigram(pieces, [p for p, _ in pieces].index("<unk>"), fallback))
    steps = [norm.Precompiled(charmap)] if charmap else [norm.NFKC()]
    if style == "xlm-r":
        steps += [norm.Strip(left=False, right=True), norm.Replace(Regex(" {2,}"), "▁")]
    else:
        steps += [norm.Lowercase(), norm.Replace(Regex(r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""), ""), norm.Replace(Regex(r"\s+"), " "), norm.Strip()]
    t.normalizer = norm.Sequence(steps)
    t.pre_tokenizer = pre.Metaspace(prepend_scheme=scheme)
    t.add_special_tokens(["<s>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)])
    t.post_processor = post.TemplateProcessing(single="<s> $A </s>" if style == "xlm-r" else "$A </s>", special_tokens=[(s, t.token_to_id(s)) for s in ("<s>", "</s>")])
    return t


def other(texts, size, normalizer, splitter):
    t = Tokenizer(mod.BPE(unk_token="<unk>", fuse_unk=splitter is None))
    t.pre_tokenizer = pre.WhitespaceSplit()
    t.train_from_iterator(texts, train.BpeTrainer(vocab_size=size, special_tokens=["<unk>"], show_progress=False))
    empty = {"version": "1.0", "added_tokens": [], "model": json.loads(t.to_str())["model"]}
    t = Tokenizer.from_str(json.dumps(empty))
    if normalizer:
        t.normalizer = normalizer
    if splitter:
        t.pre_tokenizer = splitter
    return t


def main_families(texts, size, charmap):
    """The families of the models that winnow ships specs of, and their kin."""
    yield "bert", bert(texts, size)
    yield "bert-cased", bert(texts, size, cls=True, lowercase=False)
    yield "bert-accents", bert(texts, size, strip_accents=False, handle_chinese_chars=False)
    yield "clip", clip(texts, size, startoftext=False)
    yield "clip-startoftext", clip(texts, size, startoftext=True)
    yield "roberta", roberta(texts, size, space=False)
    yield "roberta-space", roberta(texts, size, space=True)
    yield "xlm-r", unigram(texts, size, charmap, "always", "xlm-r")
    yield "xlm-r-first", unigram(texts, size, charmap, "first", "xlm-r", fallback=True)
    yield "siglip", unigram(texts, size, charmap, "first", "siglip")
    yield "llama", byte_bpe(texts, size, pre.Sequence([pre.Split(Regex(LLAMA), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]), ignore_merges=True)


def more_families(texts, size):
    """One of each other part."""
    forms = {"nfc": norm.NFC(), "nfd": norm.NFD(), "nfkc": norm.NFKC(), "nfkd": norm.NFKD(), "lower": norm.Lowercase(), "accents": norm.Sequence([norm.NFD(), norm.StripAccents()])}
    forms |= {"strip": norm.Strip(), "nmt": norm.Nmt(), "prepend": norm.Sequence([norm.Prepend("▁"), norm.Replace(" ", "▁")]), "bytes": norm.ByteLevel()}
    for name, normalizer in forms.items():
        yield name, other(texts, size, normalizer, None)
        yield name + "-first", other(texts, size, normalizer, pre.Sequence([pre.WhitespaceSplit(), pre.Metaspace(prepend_scheme="first")]))
    splits = {"words": pre.Whitespace(), "punctuation": pre.Punctuation("contiguous"), "digits": pre.Digits(False), "each-digit": pre.Digits(True), "delimiter": pre.CharDelimiterSplit("a"), "whole": pre.Metaspace(prepend_scheme="never", split=False)}
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for i, pattern in enumerate(("a", r"\s", r"\p{L}", r"\p{N}{1,3}|[^\r\n\p{L}\p{N}]?\p{L}+", r"[^\w\s]+", r"\w+", r"[\P{L}a]", GPT2)):
            splits[f"{behavior}-{i}"] = pre.Split(Regex(pattern), behavior, invert=i % 2 == 1)
    for name, splitter in splits.items():
        yield name, other(texts, size, None, splitter)


def special_lines(rng, texts):
    """Lines with tokens of all kinds in them."""
    spaces = [" ", "  ", "\t", "\u3000", "\n", "", ""]
    for _ in range(len(texts)):
        yield "".join(rng.choice((rng.choice(SPECIAL), rng.choice(spaces), rng.choice(rng.choice(texts).split() or [""]))) for _ in range(rng.randint(1, 12)))


def charmap_of(path):
    with open(path, "rb") as f:
        return pb.ModelProto.FromString(f.read()).normalizer_spec.precompiled_charsmap


def row(tokenizer, text):
    ids = tokenizer.encode(text).ids
    if len(ids) <= 30:
        return {"text": text, "ids": ids}
    return {"text": text, "tokens": len(ids), "sha256": hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()[:16]}


def main():
    texts = make.lines()
    lines = texts[::4] + list(special_lines(random.Random(3), texts[:30]))
    for name, tokenizer in main_families(make.SENTENCES * 2, 500, charmap_of(os.path.join(HERE, "rules.model"))):
        if name in ("bert-accents", "clip-startoftext", "roberta-space"):
            continue  # the interop check has them
        tokenizer.save(os.path.join(HERE, f"hf-{name}.json"), pretty=False)
        with open(os.path.join(HERE, f"hf-{name}.jsonl"), "w", encoding="ascii") as f:
            f.writelines(json.dumps(row(tokenizer, text), separators=(",", ":")) + "\n" for text in lines)


if __name__ == "__main__":
    sys.exit(main())
