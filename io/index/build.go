package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"winnow/pipeline"
)

// Train finds the centroids, and whatever codes the kind has, from a sample of all
// rows, writes them to the file path as an index without rows, and returns the
// queries that the recall is to be measured with. The file appears whole or not at
// all. In memory it holds the sample, at most a third of p.Memory; ctx ends it
// within a round of k-means. A flat index needs no training: nothing is written.
func Train(ctx context.Context, path string, p Params, src Vectors, progress pipeline.Progress) (*Queries, error) {
	if progress == nil {
		progress = pipeline.Quiet
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("train index: %w", err)
	}
	if p.Kind == Flat {
		return &Queries{Dim: p.Dim}, nil
	}
	q, err := train(ctx, path, &p, src, progress)
	if err != nil {
		return nil, fmt.Errorf("train index %s: %w", p.Factory, err)
	}
	return q, nil
}

func train(ctx context.Context, path string, p *Params, src Vectors, progress pipeline.Progress) (_ *Queries, err error) {
	rows, queries, err := chooseRows(p)
	if err != nil {
		return nil, err
	}
	c := progress.Start("sample", "rows", int64(len(rows)+len(queries)))
	q := &Queries{Dim: p.Dim, Rows: queries}
	if q.Vectors, err = pickRows(ctx, src, p.Dim, queries, c.Add); err != nil {
		return nil, err
	}
	sample, err := pickRows(ctx, src, p.Dim, rows, c.Add)
	c.Done()
	if err != nil {
		return nil, err
	}
	empty := *p
	empty.Rows = 0
	return q, whole(path, func(temp string) error {
		if p.Kind == IVFPQ {
			err = trainRotated(ctx, temp, p, sample, progress)
		} else {
			err = trainLists(ctx, temp, p, sample, progress)
		}
		if err != nil {
			return err
		}
		return verify(temp, &empty)
	})
}

// trainLists finds the centroids with k-means of this package; FAISS trains the codes.
func trainLists(ctx context.Context, path string, p *Params, sample []float32, progress pipeline.Progress) error {
	c := progress.Start("train index", "rows", int64(kmeansRounds*p.TrainRows))
	defer c.Done()
	centres, err := kmeans(ctx, sample, p.Dim, p.NList, p.Seed, c.Add)
	if err != nil {
		return err
	}
	return trainWith(ctx, path, p, centres, sample)
}

// trainRotated leaves all training to FAISS: the centroids are of rotated rows.
func trainRotated(ctx context.Context, path string, p *Params, sample []float32, progress pipeline.Progress) (err error) {
	v, err := newIVF(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	c := progress.Start("train index", "rows", int64(p.TrainRows))
	defer c.Done()
	if err := v.train(ctx, sample); err != nil {
		return err
	}
	c.Add(int64(p.TrainRows))
	return v.write(ctx, path)
}

// Lists writes rows lo to hi-1 to the file path as an index of the kind of p, whose
// row numbers begin at 0. trained is Train's file. It returns each query's nearest
// rows among these, exactly. In memory it holds the rows' codes.
func Lists(ctx context.Context, path, trained string, p Params, src Vectors, lo, hi int64, q *Queries, count func(int64)) (*Truth, error) {
	if count == nil {
		count = func(int64) {}
	}
	e := newExact(q.Vectors, p.Dim, recallAt+1) // a query finds itself
	part := p
	part.Rows = hi - lo
	if err := part.check(); err != nil {
		return nil, fmt.Errorf("build lists: %w", err)
	}
	err := whole(path, func(temp string) error {
		var err error
		if p.Kind == Flat {
			err = writeFlat(ctx, temp, &part, src, lo, count)
		} else {
			err = fill(ctx, temp, trained, &part, src, lo, func(v []float32, n int, first int64) {
				e.add(v, n, first)
				count(int64(n))
			})
		}
		if err != nil {
			return err
		}
		return verify(temp, &part)
	})
	if err != nil {
		return nil, fmt.Errorf("build lists of rows %d to %d: %w", lo, hi-1, err)
	}
	t := &Truth{nearest: make([][]hit, len(q.Rows))}
	for i := range q.Rows {
		t.nearest[i] = e.best[i].sorted()
	}
	return t, nil
}

func fill(ctx context.Context, path, trained string, p *Params, src Vectors, lo int64, seen func(v []float32, n int, first int64)) (err error) {
	empty := *p
	empty.Rows = 0
	v, err := loadIVF(ctx, trained, &empty)
	if err != nil {
		return fmt.Errorf("%s: %w", trained, err)
	}
	defer func() { err = errors.Join(err, v.close()) }()
	err = stream(ctx, src, p.Dim, lo, lo+p.Rows, func(vectors []float32, n int, first int64) error {
		if err := v.add(ctx, vectors); err != nil {
			return fmt.Errorf("add rows from %d: %w", first, err)
		}
		seen(vectors, n, first)
		return nil
	})
	if err != nil {
		return err
	}
	return v.write(ctx, path)
}

// whole makes a file that appears whole or not at all.
func whole(path string, fn func(temp string) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-index-*")
	if err != nil {
		return err
	}
	temp := f.Name()
	defer func() {
		if rerr := os.Remove(temp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	if err := fn(temp); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// verify reads the written file's structure: FAISS does not report that a full
// disk cut it off.
func verify(path string, p *Params) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := layoutOf(f, p); err != nil {
		return fmt.Errorf("what was written is not an index; is the disk full? %w", err)
	}
	return nil
}

// layoutOf reads the structure of an open index file.
func layoutOf(f *os.File, p *Params) (*layout, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return readLayout(f, st.Size(), p)
}

// Build makes an index in the one file path, and returns p with what was measured.
// It is what plan, tasks and commit of an index do, one after another.
func Build(ctx context.Context, path string, p Params, src Vectors, progress pipeline.Progress) (_ Params, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".tmp-index-*")
	if err != nil {
		return p, fmt.Errorf("build index: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	trained := filepath.Join(dir, TrainedFile)
	q, err := Train(ctx, trained, p, src, progress)
	if err != nil {
		return p, err
	}
	parts, truth, err := allLists(ctx, dir, trained, p, src, q, progress)
	if err != nil {
		return p, err
	}
	merged := filepath.Join(dir, BaseFile)
	if err := Merge(ctx, merged, p, parts); err != nil {
		return p, err
	}
	if err := Tune(ctx, merged, &p, q, truth, progress); err != nil {
		return p, err
	}
	return p, os.Rename(merged, path)
}

func allLists(ctx context.Context, dir, trained string, p Params, src Vectors, q *Queries, progress pipeline.Progress) ([]MergePart, *Truth, error) {
	if progress == nil {
		progress = pipeline.Quiet
	}
	c := progress.Start("index", "rows", p.Rows)
	defer c.Done()
	var parts []MergePart
	truth := NewTruth(q)
	for lo := int64(0); lo < p.Rows || lo == 0; lo += p.TaskRows() {
		hi := min(lo+p.TaskRows(), p.Rows)
		path := filepath.Join(dir, fmt.Sprint(lo))
		t, err := Lists(ctx, path, trained, p, src, lo, hi, q, c.Add)
		if err != nil {
			return nil, nil, err
		}
		truth.Join(t)
		parts = append(parts, MergePart{Path: path, Rows: hi - lo})
	}
	return parts, truth, nil
}
