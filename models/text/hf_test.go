package text

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Sums over all characters, each followed by a space: testdata/unicode.py --sums.
const (
	sumNFC   = "e114fe4084db4bed"
	sumNFD   = "9433d10d34674c68"
	sumNFKC  = "c0372731d747e91c"
	sumNFKD  = "43a2eea0ec2a3a6e"
	sumLower = "37fa7a1f0ef2a5b8"
)

func readHF(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "hf-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func newHF(t testing.TB, data []byte, o Options) Tokenizer {
	t.Helper()
	tok, err := NewHuggingFace(data, o)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

var hfFamilies = []string{"bert", "bert-cased", "clip", "roberta", "llama", "xlm-r", "xlm-r-first", "siglip"}

// TestEqualsTokenizersLibrary: the ids in testdata are those of the tokenizers
// library; make interop compares thousands of lines more.
func TestEqualsTokenizersLibrary(t *testing.T) {
	for _, name := range hfFamilies {
		t.Run(name, func(t *testing.T) {
			tok := newHF(t, readHF(t, name), Options{})
			rows := readRows(t, "hf-"+name+".jsonl")
			if len(rows) < 100 {
				t.Fatalf("only %d lines", len(rows))
			}
			var wait sync.WaitGroup
			for range 2 {
				wait.Go(func() {
					for _, r := range rows {
						r.check(t, tok)
					}
				})
			}
			wait.Wait()
		})
	}
}

func TestHuggingFaceKeepsSpecialsWhenItCuts(t *testing.T) {
	for _, name := range hfFamilies {
		data := readHF(t, name)
		all, most := newHF(t, data, Options{}), newHF(t, data, Options{MaxTokens: 6})
		n := most.Specials()
		if n < 1 && name != "llama" {
			t.Errorf("%s: no specials", name)
		}
		for _, text := range []string{"", "a", "a ripe red apple hangs on the tree", strings.Repeat("un apple rouge ", 10_000)} {
			want := all.Encode(text[:min(len(text), 1000)], nil)
			got := most.Encode(text, []int64{-1})[1:]
			if len(want) <= 6 {
				if !equal(got, want) {
					t.Errorf("%s: %.20q: %v, want %v", name, text, got, want)
				}
				continue
			}
			after := len(want) - len(all.Encode("", nil)) + before(want, all.Encode("", nil))
			want = append(want[:6-(len(want)-after)], want[after:]...)
			if !equal(got, want) {
				t.Errorf("%s: %.20q: %v, want %v", name, text, got, want)
			}
		}
	}
	if _, err := NewHuggingFace(readHF(t, "bert"), Options{MaxTokens: 2}); err == nil || !strings.Contains(err.Error(), "max_tokens") {
		t.Errorf("no room: error %v", err)
	}
}

func equal(a, b []int64) bool { return before(a, b) == len(a) && len(a) == len(b) }

// before is how many ids a and b have in common at the front.
func before(a, b []int64) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// change sets a value in a tokenizer.json; path is its keys.
func change(t *testing.T, data []byte, path string, value string) []byte {
	t.Helper()
	var all any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(path, ".")
	at := all.(map[string]any)
	for _, k := range keys[:len(keys)-1] {
		at = at[k].(map[string]any)
	}
	var v any
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		t.Fatal(err)
	}
	at[keys[len(keys)-1]] = v
	out, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestHuggingFaceRefuses: what is not understood is an error that names it.
func TestHuggingFaceRefuses(t *testing.T) {
	for _, c := range []struct{ name, path, value, want string }{
		{"bert", "version", `"2.0"`, `"2.0"`},
		{"bert", "more", `1`, `"more"`},
		{"bert", "model", `null`, "model: there is none"},
		{"bert", "model", `{"vocab": {}}`, "no type"},
		{"bert", "model", `{"type": "WordLevel"}`, `"WordLevel"`},
		{"bert", "model.unk_token", `"nowhere"`, `"nowhere"`},
		{"bert", "model.max_input_chars_per_word", `null`, "max_input_chars_per_word"},
		{"bert", "model.vocab", `{}`, "no vocab"},
		{"bert", "model.vocab", `{"[UNK]": 5000000000}`, "5000000000"},
		{"bert", "normalizer", `{"type": "Upper"}`, `"Upper"`},
		{"bert", "normalizer.uppercase", `true`, `"uppercase"`},
		{"bert", "normalizer.lowercase", `null`, "lowercase"},
		{"bert", "normalizer", `{"type": "Replace", "pattern": {"Regex": "^a"}, "content": ""}`, "anchor"},
		{"bert", "normalizer", `{"type": "Replace", "pattern": {"Regex": "a*"}, "content": ""}`, "empty string"},
		{"bert", "normalizer", `{"type": "Replace", "pattern": {"Regex": "(?<=a)b"}, "content": ""}`, "group"},
		{"bert", "normalizer", `{"type": "Replace", "pattern": {"Regex": "\\bb"}, "content": ""}`, `\b`},
		{"bert", "normalizer", `{"type": "Replace", "pattern": {"Regex": "\\p{Greek}"}, "content": ""}`, `\p{Greek}`},
		{"bert", "normalizer", `{"type": "Replace", "pattern": {"Regex": "[a[b]]"}, "content": ""}`, "class"},
		{"bert", "normalizer", `{"type": "Replace", "pattern": {"Regex": "a++"}, "content": ""}`, "do not know"},
		{"bert", "normalizer", `{"type": "Replace", "pattern": {"String": ""}, "content": ""}`, "empty"},
		{"bert", "normalizer", `{"type": "Precompiled", "precompiled_charsmap": "AAAA"}`, "character map"},
		{"bert", "pre_tokenizer", `{"type": "UnicodeScripts"}`, `"UnicodeScripts"`},
		{"bert", "pre_tokenizer", `{"type": "Split", "pattern": {"String": "a"}, "behavior": "Odd", "invert": false}`, `"Odd"`},
		{"bert", "pre_tokenizer", `{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "last"}`, `"last"`},
		{"bert", "post_processor", `{"type": "Odd"}`, `"Odd"`},
		{"bert", "post_processor", `{"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}`, "sequence A"},
		{"bert", "added_tokens", `[{"id": 7, "content": "[CLS]"}]`, `"[CLS]"`},
		{"roberta", "model.dropout", `0.1`, "dropout"},
		{"roberta", "model.unk_token", `"nowhere"`, `"nowhere"`},
		{"roberta", "model.merges", `["a b c"]`, `"a b c"`},
		{"roberta", "model.merges", `[["a", "ÿÿÿ"]]`, "ÿÿÿ"},
		{"xlm-r", "model.unk_id", `null`, "unk_id"},
		{"xlm-r", "model.unk_id", `100000`, "100000"},
		{"xlm-r", "model.vocab", `[["a", "b"]]`, ""},
	} {
		tok, err := NewHuggingFace(change(t, readHF(t, c.name), c.path, c.value), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %s: %v, error %v; want one with %q", c.name, c.path, c.value, tok, err, c.want)
		}
	}
	for _, text := range []string{"", "{}", "[]", "{", "null"} {
		if tok, err := NewHuggingFace([]byte(text), Options{}); err == nil {
			t.Errorf("%q: %v", text, tok)
		}
	}
}

// TestQuickFloat: as serde_json reads numbers, which is not the nearest float.
func TestQuickFloat(t *testing.T) {
	for number, want := range map[string]float64{
		"0": 0, "-1": -1, "-2.5": -2.5, "1e3": 1000, "12.5e-1": 1.25, "-3.7239990234375": -3.7239990234375,
		"123456789012345678901234567890": 123456789012345678901234567890, "0.1": 0.1, "-13.110500335693359375": -13.110500335693359,
	} {
		if got, err := quickFloat(number); err != nil || got != want {
			t.Errorf("%s: %v, error %v", number, got, err)
		}
	}
	if _, err := quickFloat("1e400"); err == nil {
		t.Error("1e400 is a number")
	}
}

// TestFormsOfEveryCharacter: the sum over all characters of their normal forms, and
// of their lower case, is that of the tokenizers library. It fails where a new
// version of Go brings new characters that tables.go does not know of.
func TestFormsOfEveryCharacter(t *testing.T) {
	for name, want := range map[string]string{"NFC": sumNFC, "NFD": sumNFD, "NFKC": sumNFKC, "NFKD": sumNFKD, "Lowercase": sumLower} {
		steps, err := readSteps(component{[]byte(`{"type": "` + name + `"}`)})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		n := &normal{}
		for r := rune(0); r <= unicode.MaxRune; r++ {
			if r >= 0xd800 && r < 0xe000 {
				continue
			}
			n.text = append(utf8.AppendRune(n.text[:0], r), ' ')
			steps[0].apply(n)
			sum.Write(n.text)
		}
		if got := hex.EncodeToString(sum.Sum(nil))[:16]; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestHuggingFaceTakesWhatIsNotUTF8: each stray byte is U+FFFD.
func TestHuggingFaceTakesWhatIsNotUTF8(t *testing.T) {
	for _, name := range hfFamilies {
		tok := newHF(t, readHF(t, name), Options{})
		if got, want := tok.Encode("a\xff\xc3b", nil), tok.Encode("a\ufffd\ufffdb", nil); !equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestHuggingFaceIsQuickOnLongWords: words without a space take no quadratic time.
func TestHuggingFaceIsQuickOnLongWords(t *testing.T) {
	for _, name := range hfFamilies {
		tok := newHF(t, readHF(t, name), Options{})
		for _, word := range []string{"a", "\u0301\u0323", " ", "哈"} {
			tok.Encode(strings.Repeat(word, 100_000/len(word)), nil)
		}
	}
}

// FuzzHuggingFace: no text and no file makes it panic, and MaxTokens holds.
func FuzzHuggingFace(f *testing.F) {
	for i, name := range hfFamilies {
		data := readHF(f, name)
		f.Add(data, "a ripe APPLE's é \u0301 <mask> 哈 👍🏽", byte(i))
		f.Add(data[:len(data)/2], "\xff", byte(i))
	}
	var given []Tokenizer
	for _, name := range hfFamilies {
		given = append(given, newHF(f, readHF(f, name), Options{MaxTokens: fuzzTokens}))
	}
	f.Fuzz(func(t *testing.T, data []byte, text string, which byte) {
		toks := []Tokenizer{given[int(which)%len(given)]}
		if tok, err := NewHuggingFace(data, Options{MaxTokens: fuzzTokens}); err == nil {
			toks = append(toks, tok)
		}
		for _, tok := range toks {
			if ids := tok.Encode(text, nil); len(ids) > fuzzTokens {
				t.Fatalf("%d ids of %d", len(ids), fuzzTokens)
			}
		}
	})
}

const fuzzTokens = 20

func BenchmarkHuggingFace(b *testing.B) {
	lines := []string{"A ripe red apple hangs on the tree.", "Ein reifer roter Apfel hängt am Baum, groß und süß.", "2 dogs aren't 3 cats; see http://example.com/a?b=c"}
	for _, name := range hfFamilies {
		tok := newHF(b, readHF(b, name), Options{MaxTokens: 128})
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var ids []int64
			for i := 0; b.Loop(); i++ {
				ids = tok.Encode(lines[i%len(lines)], ids[:0])
			}
		})
	}
}
