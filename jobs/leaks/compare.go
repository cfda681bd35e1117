package leaks

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/curate"
)

// blockBytes is the size of the vectors of one split that are in memory at a
// time; the other split's are read again for each such block.
const blockBytes = 64 << 20

// nearest is the nearest row of the other split.
type nearest struct {
	n        int64 // of the row in leak_of
	of       int64 // in leak_from; -1 for none
	distance float64
}

// compare finds, for every row of leak_of that has a vector, the nearest one of
// leak_from. The memory is that of a block and does not grow with the rows but
// for the leaks.
func compare(ctx context.Context, db *query.DB, l *workspace.Live, r *Result, limit float64, progress pipeline.Progress) error {
	var err error
	if r.FromRows, err = db.Int(ctx, "SELECT count(*) FROM leak_from f JOIN "+query.Ident(l.Table)+" USING (asset_id)"); err != nil {
		return err
	}
	count := progress.Start("leaks", "rows", r.Rows)
	defer count.Done()
	var found []nearest
	block, at := &curate.Vectors{Name: l.Embedding.Name, Dim: l.Dim}, []int64{}
	flush := func() error {
		if len(at) == 0 {
			return nil
		}
		best, err := against(ctx, l, block, at)
		for _, b := range best {
			if b.of >= 0 && b.distance <= limit {
				found = append(found, b)
			}
		}
		r.Compared += int64(len(at))
		count.Add(int64(len(at)))
		block.Data, at = block.Data[:0], at[:0]
		return err
	}
	err = l.Pick(ctx, "leak_of", func(n int64, x []float32) error {
		block.Data, at = append(block.Data, x...), append(at, n)
		if len(block.Data)*4 < blockBytes {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	return r.name(ctx, db, l, found)
}

// against measures a block against all of leak_from.
func against(ctx context.Context, l *workspace.Live, block *curate.Vectors, at []int64) ([]nearest, error) {
	best := make([]nearest, len(at))
	for i, n := range at {
		best[i] = nearest{n, -1, math.Inf(1)}
	}
	part, rows := &curate.Vectors{Name: block.Name, Dim: block.Dim}, []int64{}
	measure := func() error {
		if len(rows) == 0 {
			return nil
		}
		which, distances, err := curate.Nearest(ctx, block, part)
		for i, w := range which {
			b := &best[i]
			if d := distances[i]; w >= 0 && (d < b.distance || d == b.distance && rows[w] < b.of) {
				b.of, b.distance = rows[w], d
			}
		}
		part.Data, rows = part.Data[:0], rows[:0]
		return err
	}
	err := l.Pick(ctx, "leak_from", func(n int64, x []float32) error {
		part.Data, rows = append(part.Data, x...), append(rows, n)
		if len(rows) < 8192 {
			return nil
		}
		return measure()
	})
	if err == nil {
		err = measure()
	}
	return best, err
}

// name gives the rows their ids, and adds those of equal content.
func (r *Result) name(ctx context.Context, db *query.DB, l *workspace.Live, found []nearest) error {
	if err := db.Exec(ctx, "CREATE OR REPLACE TABLE leak_found (n BIGINT, f BIGINT, distance DOUBLE)"); err != nil {
		return err
	}
	err := db.Append(ctx, "leak_found", func(add func(...any) error) error {
		for _, x := range found {
			if err := add(x.n, x.of, x.distance); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	live := query.Ident(l.Table)
	err = db.Each(ctx, fmt.Sprintf(`WITH same AS (
			SELECT o.n, min(f.n) AS f FROM leak_of o JOIN %[1]s lo USING (asset_id) JOIN %[1]s lf ON lf.content_hash = lo.content_hash AND lo.content_hash <> ''
			JOIN leak_from f ON f.asset_id = lf.asset_id GROUP BY o.n)
		SELECT o.asset_id, f.asset_id, CASE WHEN s.n IS NULL THEN x.distance ELSE 0 END, s.n IS NOT NULL
		FROM leak_found x FULL JOIN same s USING (n) JOIN leak_of o USING (n) JOIN leak_from f ON f.n = coalesce(s.f, x.f)`, live),
		func(scan func(...any) error) error {
			var x Leak
			if err := scan(&x.AssetID, &x.Of, &x.Distance, &x.Same); err != nil {
				return err
			}
			if x.Same {
				r.Same++
			}
			r.Leaks = append(r.Leaks, x)
			return nil
		})
	slices.SortFunc(r.Leaks, func(a, b Leak) int {
		if a.Same != b.Same {
			if a.Same {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), strings.Compare(a.AssetID, b.AssetID))
	})
	return err
}

// writerOf is how a file of this name is written; nil for a name that says
// nothing.
func writerOf(path string) func(io.Writer, []Leak) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson":
		return func(w io.Writer, list []Leak) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			for _, l := range list {
				if err := e.Encode(l); err != nil {
					return err
				}
			}
			return nil
		}
	case ".csv":
		return func(w io.Writer, list []Leak) error {
			c := csv.NewWriter(w)
			_ = c.Write([]string{"asset_id", "of", "distance", "same_content"})
			for _, l := range list {
				_ = c.Write([]string{l.AssetID, l.Of, strconv.FormatFloat(l.Distance, 'g', -1, 64), strconv.FormatBool(l.Same)})
			}
			c.Flush()
			return c.Error()
		}
	}
	return nil
}

// save writes all leaks to a file.
func (r *Result) save(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriter(f)
	if err := writerOf(path)(out, r.Leaks); err != nil {
		return err
	}
	r.File = path
	return out.Flush()
}
