package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"winnow/io/index"
	"winnow/io/query"
	indexjob "winnow/jobs/index"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// gap is how an index differs from the rows that are live now: assets were removed
// or changed since it was built, and new ones came. It depends on the index and the
// versions of two tables alone, so it is found once for each and kept in the cache.
type gap struct {
	Dead    [][2]string        `json:"dead"`    // (asset_id, version) of rows of the index that are not live
	Missing map[int][][2]int64 `json:"missing"` // live rows that the index lacks: (first, number) by file
	Rows    int64              `json:"rows"`    // the number of those

	dead map[[2]string]bool
}

const gapFormat = "gap 1"

// findGap finds the gap of an index. The Live that it returns knows all live rows
// where they had to be looked at.
func findGap(ctx context.Context, w *workspace.Workspace, l *workspace.Live, m *index.Meta, f *index.Folder) (*gap, *workspace.Live, error) {
	assets, err := w.Snapshot(ctx, workspace.AssetsRoot)
	if err != nil {
		return nil, l, err
	}
	h := task.NewHash().Add(gapFormat).Add(w.Store.URL()).Add(l.Root).Add(m.ID)
	for _, file := range m.Files() {
		h.Add(file.BLAKE3)
	}
	for _, file := range l.Snapshot.Files {
		h.Add(file.Path)
	}
	h.Add("assets")
	for _, file := range assets.Files {
		h.Add(file.Path)
	}
	path := filepath.Join(w.Cache, "search", h.Sum()+".json")
	g, err := readGap(path)
	if err == nil {
		return g, l, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		w.App.Log.Sugar().Debugf("%s is of no use and is made anew: %v", path, err)
	}
	full, err := w.LiveIn(ctx, l.Space)
	if err != nil {
		return nil, l, err
	}
	g = &gap{}
	if !indexjob.Fresh(m, full) {
		if g, err = measureGap(ctx, w, full, f); err != nil {
			return nil, l, err
		}
	}
	if err := g.write(path); err != nil {
		w.App.Log.Sugar().Debugf("how index %s differs from the rows was not kept: %v", m.ID, err)
	}
	return g.ready(), full, nil
}

// measureGap compares the keys of the index with those of the live rows.
func measureGap(ctx context.Context, w *workspace.Workspace, l *workspace.Live, f *index.Folder) (*gap, error) {
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	const name = "indexed"
	if err := db.Exec(ctx, "CREATE OR REPLACE TABLE "+name+" (asset_id VARCHAR, version VARCHAR)"); err != nil {
		return nil, err
	}
	err = db.Append(ctx, name, func(add func(...any) error) error {
		return f.Keys(ctx, func(ids, versions []string) error {
			for i, id := range ids {
				if err := add(id, versions[i]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	g := &gap{Missing: map[int][][2]int64{}}
	live := query.Ident(l.Table)
	err = db.Each(ctx, "SELECT DISTINCT asset_id, version FROM "+name+" i WHERE NOT EXISTS (FROM "+live+" l WHERE l.asset_id = i.asset_id AND l.version = i.version) ORDER BY ALL",
		func(scan func(...any) error) error {
			var k [2]string
			err := scan(&k[0], &k[1])
			g.Dead = append(g.Dead, k)
			return err
		})
	if err != nil {
		return nil, err
	}
	err = db.Each(ctx, "SELECT file, row FROM "+live+" l WHERE NOT EXISTS (FROM "+name+" i WHERE l.asset_id = i.asset_id AND l.version = i.version) ORDER BY file, row",
		func(scan func(...any) error) error {
			var file int
			var row int64
			err := scan(&file, &row)
			g.add(file, row)
			return err
		})
	if err != nil {
		return nil, err
	}
	return g, db.Exec(ctx, "DROP TABLE "+name)
}

// add adds a missing row, after all before it.
func (g *gap) add(file int, row int64) {
	g.Rows++
	runs := g.Missing[file]
	if n := len(runs); n > 0 && runs[n-1][0]+runs[n-1][1] == row {
		runs[n-1][1]++
		return
	}
	g.Missing[file] = append(runs, [2]int64{row, 1})
}

// rows are the missing rows, one by one.
func (g *gap) rows() rowsOf {
	out := rowsOf{}
	for file, runs := range g.Missing {
		for _, r := range runs {
			for row := r[0]; row < r[0]+r[1]; row++ {
				out[file] = append(out[file], row)
			}
		}
	}
	return out
}

func (g *gap) isDead(id, version string) bool { return g.dead[[2]string{id, version}] }

// note says what the index lacks; "" where it lacks nothing.
func (g *gap) note(id string) string {
	var list []string
	if g.Rows > 0 {
		list = append(list, fmt.Sprintf("lacks %d rows, which were compared one by one", g.Rows))
	}
	if n := len(g.Dead); n > 0 {
		list = append(list, fmt.Sprintf("has %d rows that are gone, which were left out", n))
	}
	if len(list) == 0 {
		return ""
	}
	return "index " + id + " " + strings.Join(list, " and ") + "; bring it up to date with: winnow index"
}

func (g *gap) ready() *gap {
	g.dead = make(map[[2]string]bool, len(g.Dead))
	for _, k := range g.Dead {
		g.dead[k] = true
	}
	return g
}

func readGap(path string) (*gap, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g := &gap{}
	if err := json.Unmarshal(data, g); err != nil {
		return nil, err
	}
	return g.ready(), nil
}

// write puts the file in its place in one step: searches may run side by side.
func (g *gap) write(path string) error {
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(tmp.Name()))
	}
	return err
}
