package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"winnow/io/shard"
	"winnow/pipeline/vec"
)

// The sizes of TestTheLoopCloses, in pictures of the demo's 785.
const (
	loopTest   = 300 // that nobody trains on or may choose
	loopFew    = 200 // labeled at first
	loopBatch  = 60
	loopRandom = 10 // random batches to compare with, so that their chance is small
)

// TestTheLoopCloses is a data team's week. A linear classifier is trained on few
// labels of the demo's pictures; winnow diagnoses its predictions of left-out
// labeled rows; the batch that it suggests for what is missed of the weakest class
// is chosen and labeled, and the classifier is trained again. On pictures that no
// one has seen, the class improves more than with a random batch of the
// same size, on average over 20 seeds (WINNOW_SOAK=1; those from WINNOW_SEED on, 1
// by default, so that others can be tried). A few seeds say little of
// that (one seed's gain varies by 0.15), so without it only the batches are held
// against random ones: they have more of the class.
func TestTheLoopCloses(t *testing.T) {
	if testing.Short() {
		t.Skip("embeds 785 pictures")
	}
	l := newLoop(t)
	seeds, times := 2, 1.3
	if soak() {
		seeds, times = 20, 2
	}
	first := 1
	if v := os.Getenv("WINNOW_SEED"); v != "" {
		var err error
		if first, err = strconv.Atoi(v); err != nil {
			t.Fatalf("WINNOW_SEED: %v", err)
		}
	}
	var recall, f1, share, random []float64
	for seed := first; seed < first+seeds; seed++ {
		r := l.round(t, uint64(seed))
		t.Logf("seed %2d: %-10s recall %.3f: %+.3f with the batch, %+.3f with random ones; F1 %.3f: %+.3f, %+.3f; share of the class in the batch %.2f, %.2f",
			seed, r.class, r.before.recall, r.chosen.recall-r.before.recall, r.random.recall-r.before.recall,
			r.before.f1, r.chosen.f1-r.before.f1, r.random.f1-r.before.f1, r.share, r.randomShare)
		recall, f1 = append(recall, r.chosen.recall-r.random.recall), append(f1, r.chosen.f1-r.random.f1)
		share, random = append(share, r.share), append(random, r.randomShare)
	}
	mr, hr := meanAndHalf(recall)
	mf, hf := meanAndHalf(f1)
	ms, _ := meanAndHalf(share)
	mx, _ := meanAndHalf(random)
	t.Logf("%d seeds, suggested functions against random batches: recall %+.3f ± %.3f, F1 %+.3f ± %.3f (95 %%); share of the class %.2f, not %.2f", seeds, mr, hr, mf, hf, ms, mx)
	if soak() && (mr <= hr || mf <= hf) {
		t.Errorf("the weak class does not improve more than with random batches: recall %+.3f ± %.3f, F1 %+.3f ± %.3f", mr, hr, mf, hf)
	}
	if ms < times*mx {
		t.Errorf("batches hold %.2f of the weak class, random ones %.2f", ms, mx)
	}
}

// meanAndHalf is the mean and half of its 95 % interval, by the normal quantile.
func meanAndHalf(x []float64) (mean, half float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	var ss float64
	for _, v := range x {
		ss += (v - mean) * (v - mean)
	}
	return mean, 1.96 * math.Sqrt(ss/float64(len(x)-1)/float64(len(x)))
}

// loop holds the pictures, embedded once, and their true classes.
type loop struct {
	dir     string
	ids     []string
	vectors []float32
	dim     int
	class   []int
	names   []string
}

func newLoop(t *testing.T) *loop {
	t.Helper()
	needModels(t)
	stamps := filepath.Join(root(t), ".deps", "data", "tuxpaint", "usr", "share", "tuxpaint", "stamps")
	if _, err := os.Stat(stamps); err != nil {
		t.Fatalf("%v; run make setup-demo", err)
	}
	s := &site{dir: t.TempDir()}
	s.workspace = "file://" + s.dir + "/workspace"
	s.file(t, "winnow.yaml", fmt.Sprintf("workspace: ./workspace\nsources: [{manifest: %q}]\nembeddings: [{name: image, model: efficientnet-lite0, of: image}]\n", stamps+"/**/*.png"))
	s.run(t, "ingest", "-q")
	s.run(t, "embed", "-q")
	l := &loop{dir: s.dir}
	err := filepath.WalkDir(filepath.Join(s.folder(), "embeddings"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".parquet" || strings.Contains(path, "_") {
			return err
		}
		return l.readShard(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	l.sort()
	if len(l.ids) < 700 {
		t.Fatalf("%d pictures are embedded", len(l.ids))
	}
	l.writeVectors(t)
	return l
}

func (l *loop) readShard(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := shard.Open(f, info.Size())
	if err != nil {
		return err
	}
	l.dim = r.Meta().Dim
	return r.Blocks(shard.ScanOptions{IDs: true, Vectors: true}, func(b *shard.Block) error {
		for _, id := range b.AssetID {
			l.ids = append(l.ids, strings.Clone(id))
		}
		l.vectors = append(l.vectors, b.Vectors...)
		return nil
	})
}

// sort orders the pictures by id and takes their classes from their folders.
func (l *loop) sort() {
	order := make([]int, len(l.ids))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(l.ids[a], l.ids[b]) })
	ids, vectors := make([]string, 0, len(order)), make([]float32, 0, len(l.vectors))
	for _, i := range order {
		ids = append(ids, l.ids[i])
		vectors = append(vectors, l.vectors[i*l.dim:(i+1)*l.dim]...)
	}
	l.ids, l.vectors = ids, vectors
	vec.Normalize(l.vectors, l.dim)
	for _, id := range l.ids {
		name, _, _ := strings.Cut(id, "/")
		c := slices.Index(l.names, name)
		if c < 0 {
			c = len(l.names)
			l.names = append(l.names, name)
		}
		l.class = append(l.class, c)
	}
}

// writeVectors writes the vectors as .npy, with their ids, for workspaces that hold
// a part of the pictures.
func (l *loop) writeVectors(t *testing.T) {
	t.Helper()
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", len(l.ids), l.dim)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	var b bytes.Buffer
	b.WriteString("\x93NUMPY\x01\x00")
	_ = binary.Write(&b, binary.LittleEndian, uint16(len(header)))
	b.WriteString(header)
	_ = binary.Write(&b, binary.LittleEndian, l.vectors)
	if err := os.WriteFile(filepath.Join(l.dir, "v.npy"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "ids.txt"), []byte(strings.Join(l.ids, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// quality is how well a class is found.
type quality struct{ recall, f1 float64 }

type loopResult struct {
	class                  string
	before, chosen, random quality
	share, randomShare     float64
}

// round plays one seed.
func (l *loop) round(t *testing.T, seed uint64) (r loopResult) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 17))
	order := rng.Perm(len(l.ids))
	test, few, rest := order[:loopTest], order[loopTest:loopTest+loopFew], order[loopTest+loopFew:]
	s := l.site(t, append(slices.Clone(few), rest...), few)
	defer os.RemoveAll(s.dir)
	s.run(t, "run", "-q")
	weak, batch := l.diagnose(t, s)
	r.class = l.names[weak]
	config, err := os.ReadFile(filepath.Join(s.dir, "winnow.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.file(t, "winnow.yaml", string(config)+"functions: functions/suggested/*.yaml\nbatches:\n  - "+batch+"\n")
	s.start(t, "run", "-q").want(0, 3)
	chosen := l.batch(t, s)

	r.before = l.train(few).measure(l, test, weak)
	r.chosen = l.train(append(slices.Clone(few), chosen...)).measure(l, test, weak)
	of := func(rows []int) float64 {
		n := 0
		for _, i := range rows {
			if l.class[i] == weak {
				n++
			}
		}
		return float64(n) / float64(len(rows))
	}
	r.share = of(chosen)
	for range loopRandom {
		rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		batch := rest[:len(chosen)]
		q := l.train(append(slices.Clone(few), batch...)).measure(l, test, weak)
		r.random.recall, r.random.f1 = r.random.recall+q.recall/loopRandom, r.random.f1+q.f1/loopRandom
		r.randomShare += of(batch) / loopRandom
	}
	return r
}

// site makes a workspace of some pictures, a few of which are labeled and, each by
// a model that has not seen it, predicted.
func (l *loop) site(t *testing.T, all, few []int) *site {
	t.Helper()
	dir, err := os.MkdirTemp(l.dir, "round-")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, workspace: "file://" + dir + "/workspace"}
	s.file(t, "winnow.yaml", "workspace: ./workspace\nsources: [{manifest: manifest.jsonl}]\nlabels: [{manifest: labels.jsonl}]\npredictions: [{model: first, manifest: predictions.jsonl}]\n"+
		fmt.Sprintf("embeddings: [{name: image, of: image, vectors: {files: ../v.npy, ids: ../ids.txt, dim: %d}}]\n", l.dim))
	var manifest, labels, predictions strings.Builder
	for _, i := range all {
		fmt.Fprintf(&manifest, "{\"asset_id\": %q, \"uri\": %q}\n", l.ids[i], "x/"+l.ids[i])
	}
	const folds = 5
	for f := range folds {
		var in, out []int
		for k, i := range few {
			if k%folds == f {
				out = append(out, i)
			} else {
				in = append(in, i)
			}
		}
		m := l.train(in)
		for _, i := range out {
			fmt.Fprintf(&labels, "{\"asset_id\": %q, \"label\": %q}\n", l.ids[i], l.names[l.class[i]])
			p := map[string]float64{}
			for c, x := range m.probabilities(l, i) {
				p[l.names[c]] = x
			}
			data, err := json.Marshal(map[string]any{"asset_id": l.ids[i], "probabilities": p})
			if err != nil {
				t.Fatal(err)
			}
			predictions.Write(append(data, '\n'))
		}
	}
	s.file(t, "manifest.jsonl", manifest.String())
	s.file(t, "labels.jsonl", labels.String())
	s.file(t, "predictions.jsonl", predictions.String())
	return s
}

// diagnose returns the class that is found worst, and the batch that winnow
// suggests for it.
func (l *loop) diagnose(t *testing.T, s *site) (class int, batch string) {
	t.Helper()
	var said struct {
		Classes []struct {
			Name   string
			TP, FN int64
			Recall struct{ High float64 }
		}
		Batches []struct{ Class, Kind, Entry string }
	}
	s.run(t, "diagnose", "-q", "--json", "--min-support", "8").decode(&said)
	worst, name := 2.0, ""
	for _, c := range said.Classes {
		if c.TP+c.FN >= 8 && c.Recall.High < worst {
			worst, name = c.Recall.High, c.Name
		}
	}
	s.run(t, "diagnose", "-q", "--json", "--min-support", "8", "--class", name, "--size", fmt.Sprint(loopBatch)).decode(&said)
	for _, b := range said.Batches {
		if b.Class == name && b.Kind == "missed" {
			return slices.Index(l.names, name), b.Entry
		}
	}
	t.Fatalf("no batch is suggested for what is missed of class %s", name)
	return 0, ""
}

// batch reads the rows of the batch.
func (l *loop) batch(t *testing.T, s *site) (rows []int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.folder(), "batches", "missed_*", "*", "batch.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("batch files %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		var row struct {
			AssetID string `json:"asset_id"`
		}
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		i, ok := slices.BinarySearch(l.ids, row.AssetID)
		if !ok {
			t.Fatalf("the batch holds %q", row.AssetID)
		}
		rows = append(rows, i)
	}
	if len(rows) < loopBatch/2 {
		t.Fatalf("the batch has %d rows", len(rows))
	}
	return rows
}

// linear is multinomial logistic regression in its dual form: the weights are sums
// of the training rows.
type linear struct {
	rows    []float32 // n × dim
	alpha   []float32 // classes × n
	n, k    int
	weights []float32 // classes × dim
}

// train minimises the mean cross entropy + |w|²/(2·20·n) over some pictures by
// accelerated gradient descent.
func (l *loop) train(of []int) *linear {
	const strength, steps, rate = 20, 300, 1.0
	m := &linear{n: len(of), k: len(l.names)}
	for _, i := range of {
		m.rows = append(m.rows, l.vectors[i*l.dim:(i+1)*l.dim]...)
	}
	gram := make([]float32, m.n*m.n)
	vec.MulABT(m.n, m.n, l.dim, m.rows, m.rows, gram)
	m.alpha = make([]float32, m.k*m.n)
	ahead, logits := make([]float32, m.k*m.n), make([]float32, m.n*m.k)
	p := make([]float64, m.k)
	for step := range steps {
		vec.MulABT(m.n, m.k, m.n, gram, ahead, logits)
		momentum := float32(step) / float32(step+3)
		for r := range m.n {
			softmax(logits[r*m.k:(r+1)*m.k], p)
			p[l.class[of[r]]]--
			for c := range m.k {
				at := c*m.n + r
				next := ahead[at] - float32(rate*m.norm()*(p[c]+float64(ahead[at])/strength))
				ahead[at] = next + momentum*(next-m.alpha[at])
				m.alpha[at] = next
			}
		}
	}
	m.weights = make([]float32, m.k*l.dim)
	for c := range m.k {
		for r := range m.n {
			a := m.alpha[c*m.n+r]
			for j := range l.dim {
				m.weights[c*l.dim+j] += a * m.rows[r*l.dim+j]
			}
		}
	}
	return m
}

// norm scales a step: the rows have length 1, so the loss of the sum over rows
// curves by at most their number.
func (m *linear) norm() float64 { return 1 / (0.5*float64(m.n) + 0.05) }

func softmax(logits []float32, p []float64) {
	most := slices.Max(logits)
	var sum float64
	for c, x := range logits {
		p[c] = math.Exp(float64(x - most))
		sum += p[c]
	}
	for c := range p {
		p[c] /= sum
	}
}

func (m *linear) probabilities(l *loop, row int) []float64 {
	logits := make([]float32, m.k)
	vec.MulABT(1, m.k, l.dim, l.vectors[row*l.dim:(row+1)*l.dim], m.weights, logits)
	p := make([]float64, m.k)
	softmax(logits, p)
	return p
}

// measure tests how well a class is found.
func (m *linear) measure(l *loop, rows []int, class int) quality {
	var tp, fp, fn float64
	for _, i := range rows {
		p := m.probabilities(l, i)
		guess := slices.Index(p, slices.Max(p))
		switch {
		case guess == class && l.class[i] == class:
			tp++
		case guess == class:
			fp++
		case l.class[i] == class:
			fn++
		}
	}
	return quality{tp / max(1, tp+fn), 2 * tp / max(1, 2*tp+fp+fn)}
}
