package text

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// row is a line of testdata/*.jsonl, as make.py describes it.
type row struct {
	Text   string
	Hex    string
	Repeat []any
	IDs    []int64
	Tokens int
	SHA256 string
}

func (r row) input(t testing.TB) string {
	t.Helper()
	switch {
	case r.Hex != "":
		b, err := hex.DecodeString(r.Hex)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	case r.Repeat != nil:
		return strings.Repeat(r.Repeat[0].(string), int(r.Repeat[1].(float64)))
	}
	return r.Text
}

func (r row) check(t *testing.T, tok Tokenizer) {
	t.Helper()
	in := r.input(t)
	got := tok.Encode(in, nil)
	shown := in[:min(len(in), 60)]
	if r.SHA256 != "" {
		b, _ := json.Marshal(got)
		sum := sha256.Sum256(b)
		if len(got) != r.Tokens || hex.EncodeToString(sum[:8]) != r.SHA256 {
			t.Errorf("%q…: %d tokens, want %d, or not the same ones", shown, len(got), r.Tokens)
		}
		return
	}
	if !slices.Equal(got, r.IDs) {
		t.Errorf("%q:\n got %v\nwant %v", shown, got, r.IDs)
	}
}

func readRows(t testing.TB, name string) []row {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join("testdata", name)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []row
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var r row
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatalf("%s:%d: %v", name, len(rows)+1, err)
		}
		rows = append(rows, r)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// multilingual reads the shipped tokenizer, which make setup fetches.
func multilingual(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", ".deps", "models", "use-multilingual-v3", "sp.model"))
	if err != nil {
		t.Skipf("SKIPPED, the tokenizer is not compared with SentencePiece: %v; run make setup", err)
	}
	return data
}

func newSP(t testing.TB, data []byte, o Options) *SentencePiece {
	t.Helper()
	u, err := NewSentencePiece(data, o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestEqualsSentencePiece(t *testing.T) {
	u := newSP(t, multilingual(t), Options{BOS: true, EOS: true})
	rows := readRows(t, "lines.jsonl")
	if len(rows) < 350 {
		t.Fatalf("only %d lines", len(rows))
	}
	for _, r := range rows {
		r.check(t, u)
	}
}

var smallModels = []string{"bytes", "user", "spaces", "suffix", "rules", "bpe", "bpe_bytes"}

func TestOtherModelsEqualSentencePiece(t *testing.T) {
	for _, name := range smallModels {
		data, err := os.ReadFile(filepath.Join("testdata", name+".model"))
		if err != nil {
			t.Fatal(err)
		}
		u := newSP(t, data, Options{BOS: true, EOS: true})
		rows := readRows(t, name+".jsonl")
		if len(rows) < 90 {
			t.Fatalf("only %d lines", len(rows))
		}
		t.Run(name, func(t *testing.T) {
			for _, r := range rows {
				r.check(t, u)
			}
		})
	}
}

func small(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "bytes.model"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTruncationKeepsBeginAndEnd(t *testing.T) {
	long := strings.Repeat("the cat sat on the mat ", 20)
	whole := newSP(t, small(t), Options{BOS: true, EOS: true}).Encode(long, nil)
	cut := newSP(t, small(t), Options{BOS: true, EOS: true, MaxTokens: 10}).Encode(long, nil)
	if want := append(slices.Clone(whole[:9]), whole[len(whole)-1]); !slices.Equal(cut, want) {
		t.Errorf("cut to %v, want %v", cut, want)
	}
	bare := newSP(t, small(t), Options{MaxTokens: 10}).Encode(long, []int64{77})
	if want := append([]int64{77}, whole[1:11]...); !slices.Equal(bare, want) {
		t.Errorf("appended %v, want %v", bare, want)
	}
	short := newSP(t, small(t), Options{BOS: true, EOS: true, MaxTokens: len(whole)}).Encode(long, nil)
	if !slices.Equal(short, whole) {
		t.Error("a text that just fits was cut")
	}
}

// TestLongTextsCostNoMore: what lies beyond the first megabyte is not looked at,
// and makes no difference.
func TestLongTextsCostNoMore(t *testing.T) {
	o := Options{BOS: true, EOS: true, MaxTokens: 512}
	u := newSP(t, small(t), o)
	long := strings.Repeat("the cat sat on the mät and a dog ", 1<<16)
	if want := u.Encode(long[:1<<16], nil); !slices.Equal(u.Encode(long, nil), want) {
		t.Error("the end of a long text changes its beginning")
	}
	noise := strings.Repeat("\x80", 8<<20)
	if n := len(u.Encode(noise, nil)); n > 512 {
		t.Errorf("%d tokens", n)
	}
	if room, _ := u.cut.(*lattice[float32]).rooms.Get().(*room[float32]); room != nil && cap(room.best) > 2*keep {
		t.Errorf("room for %d places is kept", cap(room.best))
	}
}

// TestWordsAlone: words that are remembered are cut as they are in the whole text.
func TestWordsAlone(t *testing.T) {
	u, whole := newSP(t, multilingual(t), Options{}), newSP(t, multilingual(t), Options{})
	if l := whole.cut.(*lattice[float32]); !l.words {
		t.Fatal("no words can be cut alone")
	} else {
		l.words = false
	}
	var all strings.Builder
	for range 2 {
		for _, r := range readRows(t, "lines.jsonl") {
			if r.Repeat != nil {
				continue
			}
			s := r.input(t)
			all.WriteString(s + " ")
			if got, want := u.Encode(s, nil), whole.Encode(s, nil); !slices.Equal(got, want) {
				t.Errorf("%q: %v by words, %v as a whole", s, got, want)
			}
		}
	}
	// The further the sums are from 0, the fewer words are certain.
	for _, times := range []int{1, 10, 100} {
		s := strings.Repeat(all.String(), times)[:min(times*all.Len(), 1<<20)]
		if got, want := u.Encode(s, nil), whole.Encode(s, nil); !slices.Equal(got, want) {
			t.Errorf("%d bytes: %d ids by words, %d as a whole, or not the same", len(s), len(got), len(want))
		}
	}
}

// TestRememberedWordsAreCertain: two ways to cut a word that are all but equal.
// Which one wins depends on the sum before it, so the word is not remembered.
func TestRememberedWordsAreCertain(t *testing.T) {
	model := modelOf("<unk>", 0.0, pieceUnknown, "\u2581", -1.0, pieceNormal, "a", -1.1, pieceNormal, "b", -0.9, pieceNormal, "ab", -2.001, pieceNormal, "c", -777.77, pieceNormal)
	u, whole := newSP(t, model, Options{}), newSP(t, model, Options{})
	whole.cut.(*lattice[float32]).words = false
	one, two := 0, 0
	for i := range 100 {
		s := "ab " + strings.Repeat("c", i) + " ab"
		got, want := u.Encode(s, nil), whole.Encode(s, nil)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v by words, %v as a whole", s, got, want)
		}
		if want[len(want)-1] == 4 {
			one++
		} else {
			two++
		}
	}
	if one == 0 || two == 0 {
		t.Errorf("ab was one piece %d times, and two %d times: that proves nothing", one, two)
	}
}

func TestConcurrentEncode(t *testing.T) {
	u := newSP(t, small(t), Options{BOS: true, EOS: true})
	rows := readRows(t, "bytes.jsonl")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, r := range rows {
				r.check(t, u)
			}
		})
	}
	wg.Wait()
}

// modelOf makes a .model file of pieces: text, score, type.
func modelOf(pieces ...any) []byte {
	var b []byte
	for i := 0; i < len(pieces); i += 3 {
		var p []byte
		p = protowire.AppendTag(p, 1, protowire.BytesType)
		p = protowire.AppendString(p, pieces[i].(string))
		p = protowire.AppendTag(p, 2, protowire.Fixed32Type)
		p = protowire.AppendFixed32(p, math.Float32bits(float32(pieces[i+1].(float64))))
		p = protowire.AppendTag(p, 3, protowire.VarintType)
		p = protowire.AppendVarint(p, uint64(pieces[i+2].(int)))
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendBytes(b, p)
	}
	return b
}

func TestWrongModelsAreRefused(t *testing.T) {
	words := modelOf("<unk>", 0.0, pieceUnknown, "a", -1.0, pieceNormal)
	trainer := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 3)
	words = protowire.AppendBytes(protowire.AppendTag(words, 2, protowire.BytesType), trainer)
	badMap := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), []byte("\xff\xff\xff\xff12345"))
	mapped := protowire.AppendBytes(protowire.AppendTag(modelOf("<unk>", 0.0, pieceUnknown, "a", -1.0, pieceNormal), 3, protowire.BytesType), badMap)
	for _, c := range []struct {
		name, want string
		model      []byte
		o          Options
	}{
		{"nothing", "no SentencePiece model", nil, Options{}},
		{"text", "no SentencePiece model", []byte("hello, this is text"), Options{}},
		{"cut", "damaged", small(t)[:4000], Options{}},
		{"words", "kind 3 (WORD)", words, Options{}},
		{"bad map", "character map", mapped, Options{}},
		{"no unknown", "no unknown piece", modelOf("a", -1.0, pieceNormal), Options{}},
		{"twice", "twice", modelOf("<unk>", 0.0, pieceUnknown, "a", -1.0, pieceNormal, "a", -2.0, pieceNormal), Options{}},
		{"no begin", "bos", modelOf("<unk>", 0.0, pieceUnknown, "a", -1.0, pieceNormal), Options{BOS: true}},
		{"no room", "max_tokens", small(t), Options{BOS: true, EOS: true, MaxTokens: 2}},
	} {
		_, err := NewSentencePiece(c.model, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", c.name, err, c.want)
		}
	}
}

func TestTrie(t *testing.T) {
	var keys []trieKey
	want := map[string]int32{}
	for i := range 20000 {
		k := string(protowire.AppendVarint([]byte{byte(i % 7)}, uint64(i)*2654435761))
		keys = append(keys, trieKey{k, int32(i)})
		want[k] = int32(i)
	}
	tr, err := newTrie(keys)
	if err != nil {
		t.Fatal(err)
	}
	get := func(k string) int32 {
		u, ok := tr.root(), true
		for i := range len(k) {
			if u, ok = tr.step(u, k[i]); !ok {
				return -1
			}
		}
		return unitValue(u)
	}
	for k, v := range want {
		if got := get(k); got != v {
			t.Fatalf("%x is %d, want %d", k, got, v)
		}
		other := k + "\x00"
		if _, there := want[other]; !there && get(other) >= 0 {
			t.Fatalf("%x is there", other)
		}
		if cut := k[:len(k)-1]; get(cut) >= 0 && want[cut] != get(cut) {
			t.Fatalf("%x is %d", cut, get(cut))
		}
	}
	if full := float64(20000) / float64(len(tr.units)); full < 0.05 {
		t.Errorf("%d units for 20,000 keys", len(tr.units))
	}
}

// TestHFLattice: expectations worked out by hand from the library's algorithm.
func TestHFLattice(t *testing.T) {
	vocab := []scored{{"<unk>", 0}, {"a", -1}, {"b", -2}, {"ab", -2.5}, {"bc", -1.5}, {"<0xC3>", -9}, {"<0xA9>", -9}, {"x", -1}, {"x", -20}}
	plain, err := newHFLattice(vocab, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	fallback, err := newHFLattice(vocab, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		l    *lattice[float64]
		text string
		want []int64
	}{
		{plain, "", nil},
		{plain, "ab", []int64{3}},
		{plain, "abc", []int64{1, 4}},
		{plain, "aéüb", []int64{1, 0, 2}},
		{plain, "xa", []int64{8, 1}},
		{plain, "<unk>é", []int64{0}},
		{fallback, "aéb", []int64{1, 5, 6, 2}},
		{fallback, "éü", []int64{0}}, // no piece <0xBC>
		{fallback, "éé", []int64{5, 6, 5, 6}},
		{fallback, "<unk>", []int64{0}},
	} {
		if got := c.l.encode([]byte(c.text), nil); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.text, got, c.want)
		}
	}
	if _, err := newHFLattice(vocab, len(vocab), false); err == nil || !strings.Contains(err.Error(), "unk_id") {
		t.Errorf("no piece for the unknown: error %v", err)
	}
	if _, err := newHFLattice([]scored{{"<unk>", math.NaN()}}, 0, false); err == nil {
		t.Error("a score that is no number was taken")
	}
}

func FuzzUnigram(f *testing.F) {
	for _, r := range readRows(f, "bytes.jsonl") {
		f.Add(r.input(f))
	}
	toks := smallTokenizers(f, Options{BOS: true, EOS: true, MaxTokens: 64})
	alone := smallTokenizers(f, Options{BOS: true, EOS: true, MaxTokens: 64})
	for _, u := range alone {
		if l, ok := u.cut.(*lattice[float32]); ok {
			l.words = false
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i, u := range toks {
			ids := u.Encode(s, nil)
			if len(ids) < 2 || len(ids) > 64 || ids[0] != u.bos || ids[len(ids)-1] != u.eos {
				t.Fatalf("%q gave %v", s, ids)
			}
			if again := alone[i].Encode(s, nil); !slices.Equal(ids, again) {
				t.Fatalf("%q by words: %v, as a whole: %v", s, ids, again)
			}
		}
	})
}

func smallTokenizers(t testing.TB, o Options) (toks []*SentencePiece) {
	for _, name := range smallModels {
		data, err := os.ReadFile(filepath.Join("testdata", name+".model"))
		if err != nil {
			t.Fatal(err)
		}
		toks = append(toks, newSP(t, data, o))
	}
	return toks
}

// mergeSlowly merges the best neighbours of all, again and again.
func mergeSlowly(m *merger, text []byte) []int64 {
	var parts []string
	var whole []bool
	for i := 0; i < len(text); {
		n := 0
		if m.user != nil {
			n = m.user.longest(text[i:])
		}
		whole = append(whole, n > 0)
		if n == 0 {
			n = min(charLen(text[i]), len(text)-i)
		}
		parts = append(parts, string(text[i:i+n]))
		i += n
	}
	for {
		at, best := -1, float32(0)
		for i := 1; i < len(parts); i++ {
			id := m.trie.find([]byte(parts[i-1] + parts[i]))
			if !whole[i-1] && !whole[i] && id >= 0 && (at < 0 || m.scores[id] > best) {
				at, best = i, m.scores[id]
			}
		}
		if at < 0 {
			break
		}
		parts[at-1] += parts[at]
		parts, whole = slices.Delete(parts, at, at+1), slices.Delete(whole, at, at+1)
	}
	var ids []int64
	for _, p := range parts {
		id := m.trie.find([]byte(p))
		switch {
		case id >= 0:
			ids = append(ids, int64(id))
		case m.bytes != nil:
			for _, b := range []byte(p) {
				ids = append(ids, m.bytes[b])
			}
		case len(ids) == 0 || ids[len(ids)-1] != int64(m.unk):
			ids = append(ids, int64(m.unk))
		}
	}
	return ids
}

func FuzzBPE(f *testing.F) {
	for _, r := range readRows(f, "bpe.jsonl") {
		f.Add(r.input(f))
	}
	toks := smallTokenizers(f, Options{})
	f.Fuzz(func(t *testing.T, s string) {
		for _, u := range toks {
			if m, ok := u.cut.(*merger); ok && len(s) < 1000 {
				want := mergeSlowly(m, u.norm.normalize(s, nil))
				if got := u.Encode(s, nil); !slices.Equal(got, want) {
					t.Fatalf("%q gave %v, want %v", s, got, want)
				}
			}
		}
	})
}

func FuzzModel(f *testing.F) {
	f.Add(small(f))
	f.Add(modelOf("<unk>", 0.0, pieceUnknown, "a", -1.0, pieceNormal))
	f.Add(modelOf("<unk>", 0.0, pieceUnknown, "a", -1e30, pieceNormal, " ", 1e30, pieceNormal))
	if bpe, err := os.ReadFile(filepath.Join("testdata", "bpe.model")); err == nil {
		f.Add(bpe)
	}
	f.Fuzz(func(t *testing.T, model []byte) {
		if u, err := NewSentencePiece(model, Options{}); err == nil {
			u.Encode("a b\u00e9 \xff 熟した the cat", nil)
		}
	})
}

func BenchmarkUnigram(b *testing.B) {
	u := newSP(b, multilingual(b), Options{BOS: true, EOS: true, MaxTokens: 512})
	var lines []string
	n := 0
	for _, r := range readRows(b, "lines.jsonl") {
		if s := r.input(b); len(s) < 1000 {
			lines = append(lines, s)
			n += len(s)
		}
	}
	b.SetBytes(int64(n))
	b.ReportAllocs()
	var ids []int64
	for b.Loop() {
		for _, s := range lines {
			ids = u.Encode(s, ids[:0])
		}
	}
}

// cpuTime is the processor time that this process has used; others may keep the
// machine busy.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTexts reads what testdata/speed.py wrote to the folder WINNOW_TEXTS.
func BenchmarkTexts(b *testing.B) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("WINNOW_TEXTS"), "*.jsonl"))
	if os.Getenv("WINNOW_TEXTS") == "" || len(files) == 0 {
		b.Skip("SKIPPED, no texts are timed: WINNOW_TEXTS names no folder that testdata/speed.py wrote")
	}
	model, err := os.ReadFile(filepath.Join(os.Getenv("WINNOW_TEXTS"), "sp.model"))
	if err != nil {
		b.Fatal(err)
	}
	u := newSP(b, model, Options{})
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		var lines []string
		n := 0
		for l := range bytes.Lines(data) {
			var s string
			if err := json.Unmarshal(l, &s); err != nil {
				b.Fatal(err)
			}
			lines = append(lines, s)
			n += len(s)
		}
		b.Run(strings.TrimSuffix(filepath.Base(file), ".jsonl"), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var ids []int64
			at := cpuTime(b)
			for b.Loop() {
				for _, s := range lines {
					ids = u.Encode(s, ids[:0])
				}
			}
			b.ReportMetric(float64(cpuTime(b)-at)/1e6/float64(b.N), "cpu-ms/op")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	data := multilingual(b)
	for b.Loop() {
		newSP(b, bytes.Clone(data), Options{})
	}
}
