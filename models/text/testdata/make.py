"""Hard lines, and the ids that SentencePiece gives them.

    make.py SP.model      writes lines.jsonl, and *.model with their *.jsonl

lines.jsonl is about use-multilingual-v3's SP.model, which is fetched by make
setup. The small models beside it are trained here and have what that one lacks:
merges (BPE), pieces of bytes, pieces defined by a user, spaces kept, spaces as
suffixes, a character map of their own. A row is {"text", "ids"}; "hex" stands for text that
is no UTF-8, and "sha256" for the ids of long lines.
Made with sentencepiece 0.2.3.
"""

import hashlib
import io
import json
import os
import random
import sys
import unicodedata

import sentencepiece as sp

HERE = os.path.dirname(os.path.abspath(__file__))

SENTENCES = """
A ripe red apple hangs on the tree.
Ein reifer roter Apfel hängt am Baum, groß und süß.
Una manzana roja y madura cuelga del árbol; ¿la ves?
La pomme, déjà mûre, pend à l'arbre — c'est l'été.
熟した赤いリンゴが木に実っている。
一个成熟的红苹果挂在树上。
一顆成熟的紅蘋果掛在樹上,很好吃!
잘 익은 빨간 사과가 나무에 매달려 있다.
На дереве висит спелое красное яблоко.
تتدلى تفاحة حمراء ناضجة من الشجرة.
תפוח אדום ובשל תלוי על העץ.
पेड़ पर एक पका हुआ लाल सेब लटका है।
แอปเปิ้ลสีแดงสุกแขวนอยู่บนต้นไม้
Một quả táo đỏ chín treo trên cây.
Ένα ώριμο κόκκινο μήλο κρέμεται στο δέντρο.
Ağaçta olgun kırmızı bir elma asılı, İstanbul'da ışıl ışıl.
Na drzewie wisi dojrzałe czerwone jabłko — żółć.
Một hai ba, một hai ba bốn năm.
ပန်းသီး တစ်လုံး သစ်ပင်ပေါ်မှာ ရှိတယ်။
ხეზე მწიფე წითელი ვაშლი კიდია.
ﻣﺮﺣﺒﺎ ﺑﺎﻟﻌﺎﻟﻢ
""".strip().split("\n")

ODD = [
    "", " ", "   ", "\t", "\n", "\r\n", "\u3000", "\u00a0", " a", "a ", "  a  b  ", "a\tb\nc", "a\u00a0b\u2003c\u3000d",
    "▁", "▁a▁b", " ▁ ▁ ", "a▁", "\u2581\u2581", "<s>", "</s>", "<unk>", "<pad>", "a<s>b", "<0x41>",
    "ﬁﬂﬀ ﬃ", "①②③ ⑳ Ⅷ ㍿ ㎏ ㌔", "ＡＢＣ　１２３ ｱｲｳ ｶﾞ", "ﷺ ﷽", "½ ¼ ² ³ ™ © ® ℃ № ℡",
    "e\u0301 a\u0308 o\u0302\u0323 n\u0303", "é ä ộ ñ", "A\u030a Å \u212b", "q\u0307\u0323 q\u0323\u0307", "\u1100\u1161\u11a8 각", "ᄒ\u1161ᆫ글",
    "👍", "👍🏽", "👨‍👩‍👧‍👦 family", "🏳️‍🌈🏴‍☠️", "🇩🇪🇫🇷🇯🇵", "1️⃣#️⃣", "❤️❤", "🧑🏿‍🚀👩🏻‍🤝‍👨🏾", "a👍b 👍 c", "\U0001f9ff\U0001fae0",
    "\u200b", "a\u200bb", "a\u200db", "a\u200cb", "\ufeffa", "a\u00adb", "a\u2060b", "\u202eabc\u202c", "\u200fא\u200e",
    "\x00", "a\x00b", "\x01\x02\x7f", "a\x1bb", "\x80\x9f", "\u0085", "\u2028\u2029", "\ufffd", "a\ufffdb", "\uffff", "\U0010ffff", "\ue000\uf8ff",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝕳𝖊𝖑𝖑𝖔 𝟏𝟐𝟑", "𠀀𠀁𪚥", "𓀀𓁐", "𒀀", "ꙮ", "ᚠᚢᚦ", "ⴰⵣⵓⵍ", "ᏣᎳᎩ",
    "ıİiI", "ß ẞ ſ", "Ǆ ǅ ǆ", "ŉ", "ΐ ΰ", "ς σ Σ", "ﾞﾟ", "゛゜", "がぎ か\u3099", "・･", "〜～~", "—–-−", "…", "‘’“”„‟", "«»‹›",
    "a" * 50, "ab" * 200, "1234567890" * 20, "." * 80, "!?" * 40, "=" * 33, "-" * 100, "哈" * 60, "\u0301" * 30, "a" + "\u0301" * 40,
    "http://example.com/a?b=c&d=%20#e", "user+tag@example.co.uk", "C:\\Users\\x\\y.txt", "<div class=\"x\">&amp;</div>", "{\"a\": [1, 2.5e-3, null]}",
    "don't can't I'll we've o'clock rock'n'roll", "COVID-19 B2B 4K 3D i18n", "$1,234.56 €99,99 £5 ¥1000 ₹7", "3.14159 1e-10 0xFF 1/2 50%",
    "snake_case camelCase PascalCase kebab-case", "x=y+z; // z++", "a\\nb\\tc", "'''\"\"\"```", "#hashtag @mention", "ALLCAPSWORD lowercaseword MiXeDcAsE",
    "Donaudampfschifffahrtsgesellschaftskapitän", "supercalifragilisticexpialidocious", "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
    "z̷̢̛a̸͎l̵̡g̶o̴", "ᵗⁱⁿʸ ₛᵤᵦ", "ℌ𝒆𝓁𝓁ℴ", "Ⓗⓔⓛⓛⓞ", "🅷🅴🅻🅻🅾", "ʇxǝʇ uʍop ǝpısdn", "٠١٢٣٤ ۰۱۲ ०१२", "１２３，４５６．７８",
]

BROKEN = [b"\xff", b"a\xffb", b"\xc3", b"\xe2\x96", b"caf\xe9", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x91", b"ok \xe2\x82 no", b"\x80\x80\x80", b"\xe2\x96\x81\xe2\x96"]


def lines():
    rng = random.Random(7)
    out = list(SENTENCES) + list(ODD)
    for s in SENTENCES:
        out.append(unicodedata.normalize("NFD", s))
        out.append(s.upper())
        out.append("  ".join(s))
    words = " ".join(SENTENCES).split()
    blocks = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1E00, 0x1FFF),
              (0x2000, 0x206F), (0x2070, 0x218F), (0x2460, 0x24FF), (0x3000, 0x30FF), (0x3200, 0x33FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFFEF), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF)]
    for i in range(140):
        if i % 3 == 0:
            out.append(" ".join(rng.choice(words) for _ in range(rng.randint(1, 40))))
        elif i % 3 == 1:
            out.append("".join(chr(rng.randint(*rng.choice(blocks))) for _ in range(rng.randint(1, 30))))
        else:
            out.append("".join(rng.choice([rng.choice(words), " ", "  ", "\u3000", chr(rng.randint(*rng.choice(blocks)))]) for _ in range(rng.randint(1, 25))))
    return out


def long_lines():
    """Long lines by rule, so that the file stays small: {"repeat": [text, times]}."""
    return [["The quick brown fox jumps over the lazy dog. ", 2300], ["熟した赤いリンゴ", 4200], ["a", 100_000], [" ", 100_000], ["👍🏽e\u0301 ﷺ", 3000]]


def row(tok, content, **more):
    ids = tok.encode(content, add_bos=True, add_eos=True)
    if len(ids) > 200:
        more["tokens"] = len(ids)
        more["sha256"] = hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()[:16]
    else:
        more["ids"] = ids
    return json.dumps(more, ensure_ascii=True, separators=(",", ":"))


def write(name, tok, texts, longs=()):
    with open(os.path.join(HERE, name), "w") as f:
        for t in texts:
            f.write(row(tok, t, text=t) + "\n")
        for b in BROKEN:
            f.write(row(tok, b, hex=b.hex()) + "\n")
        for text, times in longs:
            f.write(row(tok, text * times, repeat=[text, times]) + "\n")


def train(name, **kw):
    b = io.BytesIO()
    corpus = [s for s in SENTENCES[:8] + ["the cat sat on the mat and the dog sat on the cat", "a <user> said hello world"] * 3 for _ in range(8)]
    sp.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=b, minloglevel=2, num_threads=1, **({"model_type": "unigram", "hard_vocab_limit": False} | kw))
    with open(os.path.join(HERE, name + ".model"), "wb") as f:
        f.write(b.getvalue())
    texts = SENTENCES[:6] + ODD[:70] + ["a <user> here", "x<user><user>y", "foobar foo bar", "ab<us er>", "a  b   c ", " lead", "trail  ", "Äpfel ae AE", "ab abc abcd b"]
    write(name + ".jsonl", sp.SentencePieceProcessor(model_proto=b.getvalue()), texts)


def main():
    write("lines.jsonl", sp.SentencePieceProcessor(model_file=sys.argv[1]), lines(), long_lines())
    identity = {"normalization_rule_name": "identity"}
    train("bytes", vocab_size=500, byte_fallback=True, **identity)
    train("user", vocab_size=160, user_defined_symbols=["<user>", "foo", "foobar", "ab", "abc", " x"], **identity)
    train("spaces", vocab_size=160, remove_extra_whitespaces=False, add_dummy_prefix=False, **identity)
    train("suffix", vocab_size=160, treat_whitespace_as_suffix=True, **identity)
    train("bpe", vocab_size=220, model_type="bpe", hard_vocab_limit=True, user_defined_symbols=["<user>", "foo", "foobar", "ab", "abc", " x"], **identity)
    train("bpe_bytes", vocab_size=500, model_type="bpe", hard_vocab_limit=True, byte_fallback=True, remove_extra_whitespaces=False, **identity)
    rules = os.path.join(HERE, "rules.tsv")
    with open(rules, "w") as f:
        for a, b in (("ä", "ae"), ("Ä", "AE"), ("ab", "x y"), ("abcd", ""), ("\t", " "), ("e", "E"), ("\u3000", "  "), ("é", " e ")):
            f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
    train("rules", vocab_size=160, normalization_rule_tsv=rules)
    os.remove(rules)


if __name__ == "__main__":
    main()
