package function

import (
	"fmt"
	"testing"
)

// BenchmarkFit fits functions of 20 anchors at 1280 dimensions: the first
// bears the eigenvectors, which the others share.
func BenchmarkFit(b *testing.B) {
	const d, n = 1280, 4000
	rows := corpus(50, n, d, 40)
	vectors, ids := flat(rows), make([]string, n)
	for i, r := range rows {
		ids[i] = r.id
	}
	build := func() *Statistics {
		bu, err := NewBuilder(SampleOptions{Embedding: "image", Dim: d})
		if err != nil {
			b.Fatal(err)
		}
		if err := bu.Add(ids, vectors); err != nil {
			b.Fatal(err)
		}
		st, err := bu.Finish()
		if err != nil {
			b.Fatal(err)
		}
		return st
	}
	var at []int
	for i := range 20 {
		at = append(at, i*40)
	}
	pos := anchorsOf(rows, at...)
	st := build()
	b.Run("statistics of 4000 rows", func(b *testing.B) {
		for b.Loop() {
			build()
		}
	})
	b.Run("eigenvectors", func(b *testing.B) {
		for b.Loop() {
			if _, err := newBasis(st); err != nil {
				b.Fatal(err)
			}
		}
	})
	if _, err := st.eigenbasis(); err != nil {
		b.Fatal(err)
	}
	for _, combine := range []Combine{LDA, Classifier} {
		b.Run(fmt.Sprint(combine, " of 20 anchors"), func(b *testing.B) {
			for b.Loop() {
				if _, err := Fit(&Definition{Name: "f", Combine: combine}, pos, nil, st); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
