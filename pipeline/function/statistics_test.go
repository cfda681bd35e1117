package function

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"winnow/pipeline/seeded"
)

func TestStatisticsEqualReference(t *testing.T) {
	rows := corpus(20, 1300, 33, 6) // three blocks, none of them full
	mean, cov := refMoments(rows)
	st := statisticsOf(t, rows, SampleOptions{Seed: 5, Keep: 40})
	for i := range mean {
		if math.Abs(st.Mean[i]-mean[i]) > 1e-12 {
			t.Fatalf("mean[%d] = %v, want %v", i, st.Mean[i], mean[i])
		}
		for j := range mean {
			if math.Abs(st.Cov[i*33+j]-cov[i][j]) > 1e-8 {
				t.Fatalf("cov[%d,%d] = %v, want %v", i, j, st.Cov[i*33+j], cov[i][j])
			}
		}
	}
	if st.Total != 1300 || st.Rows != 1300 || len(st.SampleIDs) != 40 || len(st.ID) != 32 {
		t.Errorf("total %d, rows %d, sample %d, id %q", st.Total, st.Rows, len(st.SampleIDs), st.ID)
	}
}

// The sample is the rows that come first in the seeded order, whatever the
// order and the blocks in which they arrive.
func TestSampleDoesNotDependOnOrder(t *testing.T) {
	rows := corpus(21, 2500, 9, 5)
	o := SampleOptions{Embedding: "image", Fingerprint: "f", Dim: 9, Seed: 77, Rows: 1100, Keep: 50}
	want := slices.Clone(rows)
	slices.SortFunc(want, func(a, b refRow) int {
		if seeded.Hash(77, a.id) < seeded.Hash(77, b.id) {
			return -1
		}
		return 1
	})
	var first []byte
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 4 {
		b, err := NewBuilder(o)
		if err != nil {
			t.Fatal(err)
		}
		sampler := NewSampler(o)
		for _, r := range rows {
			sampler.Add(r.id)
		}
		var skipped int64
		for lo := 0; lo < len(rows); {
			hi := min(lo+1+rng.IntN(300), len(rows))
			var ids []string
			var vs []float32
			for _, r := range rows[lo:hi] {
				if round%2 == 1 && !sampler.Wants(r.id) { // reading only what is wanted changes nothing
					skipped++
					continue
				}
				ids, vs = append(ids, r.id), append(vs, r.v...)
			}
			if err := b.Add(ids, vs); err != nil {
				t.Fatal(err)
			}
			clear(vs) // the builder must not hold on to the block
			lo = hi
		}
		if round%2 == 1 && skipped != 1400 {
			t.Errorf("the sampler skips %d rows, want 1400", skipped)
		}
		b.AddTotal(skipped)
		st, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range st.SampleIDs {
			if id != want[i].id || !slices.Equal(st.Sample[i*9:(i+1)*9], want[i].v) {
				t.Fatalf("row %d of the sample is %s, want %s", i, id, want[i].id)
			}
		}
		data, err := st.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		} else if !bytes.Equal(first, data) {
			t.Errorf("round %d gives other bytes", round)
		}
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	mean, _ := refMoments(want[:1100])
	st, err := DecodeStatistics(first)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(st.Mean[3]-mean[3]) > 1e-12 || st.Rows != 1100 || st.Total != 2500 {
		t.Errorf("mean %v of %d of %d rows, want %v of 1100 of 2500", st.Mean[3], st.Rows, st.Total, mean[3])
	}
}

func TestBuilderScalesRows(t *testing.T) {
	rows := corpus(22, 50, 7, 2)
	long := slices.Clone(rows)
	for i := range long {
		long[i].v = slices.Clone(rows[i].v)
		for j := range long[i].v {
			long[i].v[j] *= 4
		}
	}
	a, b := statisticsOf(t, rows, SampleOptions{}), statisticsOf(t, long, SampleOptions{})
	for i := range a.Cov {
		if math.Abs(a.Cov[i]-b.Cov[i]) > 1e-7 {
			t.Fatalf("cov[%d] = %v of rows of length 4, %v of length 1", i, b.Cov[i], a.Cov[i])
		}
	}
}

func TestBuilderErrors(t *testing.T) {
	if _, err := NewBuilder(SampleOptions{}); err == nil {
		t.Error("dimension 0 is accepted")
	}
	b, err := NewBuilder(SampleOptions{Embedding: "image", Dim: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish(); err == nil || !strings.Contains(err.Error(), "no rows") {
		t.Errorf("no rows: %v", err)
	}
	for _, v := range [][]float32{{0, 0}, {1, float32(math.NaN())}, {float32(math.Inf(-1)), 0}} {
		if err := b.Add([]string{"bad-row"}, v); err == nil || !strings.Contains(err.Error(), "bad-row") {
			t.Errorf("%v: %v", v, err)
		}
	}
	if err := b.Add([]string{"a", "b"}, []float32{1, 0, 1}); err == nil {
		t.Error("3 numbers pass for 2 rows of 2")
	}
}

func TestStatisticsFileIsChecked(t *testing.T) {
	st := statisticsOf(t, corpus(23, 60, 5, 2), SampleOptions{Embedding: `q"\uote`, Fingerprint: "f", Keep: 7})
	data, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeStatistics(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != st.ID || got.Embedding != st.Embedding || !slices.Equal(got.Cov, st.Cov) ||
		!slices.Equal(got.Mean, st.Mean) || !slices.Equal(got.Sample, st.Sample) || !slices.Equal(got.SampleIDs, st.SampleIDs) {
		t.Errorf("read back %+v", got)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if _, err := DecodeStatistics(bad); err == nil {
			t.Fatalf("a flipped bit in byte %d of %d is not noticed", i, len(data))
		}
	}
	for n := range len(data) {
		if _, err := DecodeStatistics(data[:n]); err == nil {
			t.Fatalf("a file cut at %d of %d bytes is accepted", n, len(data))
		}
	}
	newer, _, err := encodeTensors(map[string]string{metaFormat: statisticsFormat, metaVersion: "2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeStatistics(newer); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version 2: %v", err)
	}
}

func FuzzDecodeStatistics(f *testing.F) {
	st := statisticsOf(f, corpus(24, 10, 3, 2), SampleOptions{})
	data, err := st.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeStatistics(data)
		if err != nil {
			return
		}
		again, err := s.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("an accepted file is not what Encode writes (%v)", err)
		}
	})
}

func TestMaxHeapKeepsSmallest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var all []place
	var h maxHeap[place]
	for i := range 500 {
		p := place{hash: rng.Uint64N(50), id: fmt.Sprint(i)} // many ties
		all = append(all, p)
		if len(h) < 80 {
			h.push(p)
		} else if p.compare(h[0]) < 0 {
			h.replace(p)
		}
	}
	slices.SortFunc(all, place.compare)
	got := slices.Clone([]place(h))
	slices.SortFunc(got, place.compare)
	if !slices.Equal(got, all[:80]) {
		t.Errorf("the heap holds %v, want %v", got, all[:80])
	}
}
