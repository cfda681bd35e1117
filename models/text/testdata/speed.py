"""How fast SentencePiece is in one thread, for BenchmarkTexts to compare with.

    speed.py SP.model STAMPS OUT      STAMPS is a folder of tuxpaint's *.txt

Copies the model to OUT, writes the texts as OUT/*.jsonl, one JSON string a line,
and prints the best of seven rounds of each: captions (77 languages, in no order),
long texts (captions joined to about 1.5 kB), cjk (Japanese, Chinese, Korean, Thai),
latin. Times are those of the processor, not of the clock.
"""

import json
import os
import random
import shutil
import sys
import time

import sentencepiece as sp


def texts(stamps):
    by = {}
    for folder, _, files in sorted(os.walk(stamps)):
        for f in sorted(files):
            if not f.endswith(".txt"):
                continue
            for i, line in enumerate(open(os.path.join(folder, f), encoding="utf-8", errors="ignore")):
                lang, _, text = line.strip().partition(".utf8=")
                if i == 0:
                    lang, text = "en", line.strip()
                if text:
                    by.setdefault(lang, []).append(text)
    rng = random.Random(3)
    captions = [t for ts in by.values() for t in ts]
    rng.shuffle(captions)
    some = {
        "captions": captions[:20000],
        "long": [" ".join(captions[i : i + 60]) for i in range(0, 20000, 60)],
        "cjk": [t for lang in ("ja", "zh_CN", "zh_TW", "ko", "th") for t in by.get(lang, [])],
        "latin": [t for lang in ("en", "de", "fr", "es", "it", "pt", "pl", "vi", "tr", "nl") for t in by.get(lang, [])],
    }
    for name in ("cjk", "latin"):
        rng.shuffle(some[name])
    return some


def main():
    model, stamps, out = sys.argv[1:]
    p = sp.SentencePieceProcessor(model_file=model)
    os.makedirs(out, exist_ok=True)
    shutil.copy(model, os.path.join(out, "sp.model"))
    for name, lines in texts(stamps).items():
        with open(os.path.join(out, name + ".jsonl"), "w", encoding="utf-8") as f:
            for t in lines:
                f.write(json.dumps(t, ensure_ascii=False) + "\n")
        p.encode(lines, num_threads=1)
        best = 1e9
        for _ in range(7):
            at = time.process_time()
            ids = p.encode(lines, num_threads=1)
            best = min(best, time.process_time() - at)
        size = sum(len(t.encode()) for t in lines)
        print(f"{name}: {len(lines)} texts, {size} bytes, {sum(map(len, ids))} tokens, {best * 1e3:.2f} ms, {size / best / 1e6:.1f} MB/s")


if __name__ == "__main__":
    main()
