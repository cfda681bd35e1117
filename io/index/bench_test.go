package index

import (
	"path/filepath"
	"testing"
)

// BenchmarkBuild builds an IVF index, tuned.
func BenchmarkBuild(b *testing.B) {
	const n, dim = 50_000, 384
	rows := clustered(n, dim, 2000, 1)
	for b.Loop() {
		p, err := Build(b.Context(), filepath.Join(b.TempDir(), "x"), planned(b, n, dim, Auto, 0), from(rows, dim, 4096), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(p.Recall10, "recall@10")
		b.ReportMetric(float64(p.NProbe), "nprobe")
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	}
}

// BenchmarkSearch searches one query and a thousand, exactly and by lists.
func BenchmarkSearch(b *testing.B) {
	const n, dim = 50_000, 384
	rows := clustered(n, dim, 2000, 1)
	for _, kind := range kinds {
		p := planned(b, n, dim, kind, 0)
		ix, _ := build(b, p, rows)
		for name, q := range map[string][]float32{"1": rows[:dim], "1000": rows[:1000*dim]} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if _, _, err := ix.Search(b.Context(), q, 10); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(q)/dim)*float64(b.N)/b.Elapsed().Seconds(), "queries/s")
			})
		}
	}
}
