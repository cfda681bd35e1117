"""Makes the pictures and texts of `make bench-embed`, the same ones everywhere.

usage: data.py PHOTOS STAMPS SP.model OUT

SP.model counts the tokens of texts. PHOTOS holds photos (Debian's mate-backgrounds and the pictures inside scikit-image), STAMPS the unpacked Debian
package tuxpaint-stamps-default with the demo's manifest.jsonl. Every case becomes a folder of OUT:

  mp1      200 JPEG files of about 1 megapixel, quality 90: cuts of the photos, rescaled
  mp12      40 JPEG files of 4000 x 3000 pixels, quality 90: cuts of those photos that have a megapixel of their own
  jpeg224  800 JPEG files of 224 x 224 pixels, quality 90
  png224   the same pictures as PNG files
  stamps   the demo's pictures as they are: PNG files with alpha or a palette
  captions 6,000 captions of 5 to 25 tokens, of the stamps, in all their languages
  texts    3,000 captions and passages of 5 to 400 tokens, as many below as above 45: the captions of the stamps in
           all their languages, one or several at a time, and passages of the licences in /usr/share/common-licenses

with a list.txt (a path or a text a line) and a manifest.jsonl each; and wordpiece, a tokenizer.json as BERT has it,
whose 30,522 pieces are learnt from these texts. A folder that is there is left as it is.
"""
import glob
import json
import math
import os
import random
import shutil
import sys

import sentencepiece
from PIL import Image

QUALITY = 90
TOKENS = (5, 400)
LICENCES = ["Apache-2.0", "Artistic", "GFDL-1.3", "GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3", "MPL-1.1", "MPL-2.0"]

Image.MAX_IMAGE_PIXELS = None  # the photos are of a known package


def main(photos, stamps, spm, out):
    case(out, "mp1", lambda folder: pictures(photos, folder, 200, 0, (1155, 866), "jpg"))
    case(out, "mp12", lambda folder: pictures(photos, folder, 40, 800_000, (4000, 3000), "jpg"))
    case(out, "jpeg224", lambda folder: pictures(photos, folder, 800, 0, (224, 224), "jpg"))
    case(out, "png224", lambda folder: pictures(photos, folder, 800, 0, (224, 224), "png"))
    case(out, "stamps", lambda folder: stamp_rows(stamps))
    case(out, "captions", lambda folder: caption_rows(stamps, spm))
    case(out, "texts", lambda folder: text_rows(stamps, spm))
    case(out, "wordpiece", lambda folder: wordpiece(os.path.join(out, "texts", "list.txt"), folder))


def case(out, name, make):
    """Makes one folder, in one rename; make returns the manifest's rows."""
    folder = os.path.join(out, name)
    if os.path.isdir(folder):
        return
    print(f"bench      making {os.path.relpath(folder)}", flush=True)
    new = folder + ".new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    rows = make(new) or []
    with open(os.path.join(new, "manifest.jsonl"), "w", encoding="utf8") as f:
        f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    with open(os.path.join(new, "list.txt"), "w", encoding="utf8") as f:
        f.write("\n".join(r["text"] if "text" in r else os.path.join(folder, r["uri"]) for r in rows))
    os.rename(new, folder)


# ---- pictures


def open_photos(folder, least):
    """The photos of at least so many pixels, in one order everywhere."""
    out = []
    for path in sorted(glob.glob(os.path.join(folder, "**", "*.*"), recursive=True), key=os.path.basename):
        with Image.open(path) as im:
            if im.width * im.height >= least:
                out.append(im.convert("RGB"))
    if len(out) < 8:
        sys.exit(f"data.py: {folder} has {len(out)} photos; type: ./setup.sh bench")
    return out


def cut(im, rng, wide, high):
    """A random part of a picture, of the proportions of wide × high, at that size."""
    share = rng.uniform(0.5, 1)
    w = min(im.width, im.height * wide / high) * share
    h = w * high / wide
    x, y = rng.uniform(0, im.width - w), rng.uniform(0, im.height - h)
    return im.resize((wide, high), Image.LANCZOS, box=(x, y, x + w, y + h))


def pictures(photos, folder, count, least, size, kind):
    rng = random.Random(f"winnow {count} {size}")
    sources = open_photos(photos, least)
    rows = []
    for i in range(count):
        wide, high = size
        if wide != high and rng.random() < 0.25:
            wide, high = high, wide
        name = f"{i:04}.{kind}"
        cut(sources[i % len(sources)], rng, wide, high).save(os.path.join(folder, name), quality=QUALITY)
        rows.append({"asset_id": f"{i:06}", "uri": name})
    return rows


def stamp_rows(stamps):
    rows = []
    with open(os.path.join(stamps, "manifest.jsonl"), encoding="utf8") as f:
        for line in f:
            r = json.loads(line)
            path = os.path.join(os.path.abspath(stamps), r["uri"])
            rows.append({"asset_id": r["asset_id"], "uri": path})
    return rows


# ---- texts


def captions(stamps):
    """The captions of the stamps by language."""
    by = {}
    for path in sorted(glob.glob(os.path.join(stamps, "usr/share/tuxpaint/stamps/**/*.txt"), recursive=True)):
        with open(path, encoding="utf8", errors="replace") as f:
            for i, line in enumerate(f):
                key, eq, text = line.strip().partition("=")
                if i == 0:
                    key, eq, text = "en", "=", line
                text = " ".join(text.split())
                if eq and text and "\ufffd" not in text:
                    by.setdefault(key.removesuffix(".utf8"), []).append(text)
    return {k: v for k, v in sorted(by.items()) if len(v) >= 100}


def licence_words():
    words = []
    for name in LICENCES:
        path = os.path.join("/usr/share/common-licenses", name)
        if os.path.exists(path):
            with open(path, encoding="utf8", errors="ignore") as f:
                words += f.read().split()
    return words


def text_rows(stamps, spm, count=3000):
    rng = random.Random("winnow texts")
    tok = sentencepiece.SentencePieceProcessor(model_file=spm)
    by, words = captions(stamps), licence_words()
    languages = list(by)
    rows = []
    while len(rows) < count:
        want = int(math.exp(rng.uniform(math.log(TOKENS[0]), math.log(TOKENS[1] + 1))))
        if words and rng.random() < 0.5:
            at = rng.randrange(len(words))
            pieces = words[at:at + want]
        else:
            pieces = rng.choices(by[rng.choice(languages)], k=max(1, want // 4))
        text = fit(tok, pieces, want)
        if TOKENS[0] <= tokens(tok, text) <= TOKENS[1]:
            rows.append({"asset_id": f"{len(rows):06}", "text": text})
    return rows


def caption_rows(stamps, spm, count=6000):
    rng = random.Random("winnow captions")
    tok = sentencepiece.SentencePieceProcessor(model_file=spm)
    every = sorted({text for texts in captions(stamps).values() for text in texts if 5 <= tokens(tok, text) <= 25})
    return [{"asset_id": f"{i:06}", "text": text} for i, text in enumerate(rng.sample(every, count))]


def tokens(tok, text):
    return len(tok.encode(text)) + 2  # begin and end


def fit(tok, pieces, want):
    """The most pieces that have no more than want tokens, at least one."""
    low, high = 1, len(pieces)
    while low < high:
        mid = (low + high + 1) // 2
        if tokens(tok, " ".join(pieces[:mid])) <= want:
            low = mid
        else:
            high = mid - 1
    return " ".join(pieces[:low])


def wordpiece(listing, folder):
    from tokenizers import BertWordPieceTokenizer
    with open(listing, encoding="utf8") as f:
        lines = f.read().split("\n")
    tok = BertWordPieceTokenizer()
    tok.train_from_iterator(lines, vocab_size=30522, show_progress=False)
    tok.save(os.path.join(folder, "tokenizer.json"))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: data.py PHOTOS STAMPS SP.model OUT")
    main(*sys.argv[1:])
