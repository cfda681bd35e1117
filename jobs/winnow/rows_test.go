package main

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"winnow/io/shard"
	"winnow/io/store"
	"winnow/io/table"
)

// vector is a row of an embedding.
type vector struct {
	hash   string
	values []float32
}

// data are the rows of a workspace, read with the project's own packages.
type data struct {
	vectors map[string]map[string]vector  // embedding → asset_id, or asset_id@version where versions are asked for
	models  map[string]map[string]vector  // fingerprint of an embedding's model → the same
	scores  map[string]map[string]float32 // function → the same
	batches map[string][]string           // batch → asset ids by rank
	slots   map[string][]string           // batch/slot → the same
}

// rowsOf reads the rows of a workspace. With versions, rows of old versions of
// an asset are told apart.
func rowsOf(t testing.TB, url string, versions bool) *data {
	t.Helper()
	ctx := background(t)
	s, err := store.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d := &data{map[string]map[string]vector{}, map[string]map[string]vector{}, map[string]map[string]float32{}, map[string][]string{}, map[string][]string{}}
	name := func(id, version string) string {
		if versions {
			return strings.Clone(id + "@" + version)
		}
		return strings.Clone(id)
	}
	for root := range roots(ctx, t, s) {
		snap, err := table.Open(s, root).Snapshot(ctx, table.Latest)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range snap.Files {
			raw := bytes.NewReader(read(ctx, t, s, root+"/"+f.Path))
			switch first, _, _ := strings.Cut(root, "/"); first {
			case "embeddings":
				err = d.shard(path.Base(path.Dir(root)), path.Base(root), raw, name)
			case "scores":
				err = d.score(raw, name)
			case "batched":
				err = d.batched(raw)
			}
			if err != nil {
				t.Fatalf("%s/%s: %v", root, f.Path, err)
			}
		}
	}
	return d
}

// roots finds the tables of a workspace and their newest versions.
func roots(ctx context.Context, t testing.TB, s *store.Store) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for o, err := range s.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		root, _, ok := strings.Cut(o.Key, "/_delta_log/")
		if _, have := out[root]; !ok || have {
			continue
		}
		snap, err := table.Open(s, root).Snapshot(ctx, table.Latest)
		if err != nil {
			t.Fatal(err)
		}
		out[root] = snap.Version
	}
	return out
}

func (d *data) shard(embedding, fingerprint string, raw *bytes.Reader, name func(id, version string) string) error {
	r, err := shard.Open(raw, raw.Size())
	if err != nil {
		return err
	}
	m := d.vectors[embedding]
	if m == nil {
		m = map[string]vector{}
		d.vectors[embedding] = m
	}
	byModel := d.models[fingerprint]
	if byModel == nil {
		byModel = map[string]vector{}
		d.models[fingerprint] = byModel
	}
	return r.Blocks(shard.ScanOptions{IDs: true, Vectors: true}, func(b *shard.Block) error {
		for i, id := range b.AssetID {
			v := vector{strings.Clone(b.ContentHash[i]), slices.Clone(b.Vectors[i*b.Dim : (i+1)*b.Dim])}
			m[name(id, b.Version[i])], byModel[name(id, b.Version[i])] = v, v
		}
		return nil
	})
}

func (d *data) score(raw *bytes.Reader, name func(id, version string) string) error {
	f, err := shard.OpenScores(raw, raw.Size())
	if err != nil {
		return err
	}
	cols := f.Columns()
	for _, c := range cols {
		if d.scores[c] == nil {
			d.scores[c] = map[string]float32{}
		}
	}
	return f.Read(cols, func(_ int64, ids, versions []string, values [][]float32) error {
		for k, c := range cols {
			for i, id := range ids {
				d.scores[c][name(id, versions[i])] = values[k][i]
			}
		}
		return nil
	})
}

func (d *data) batched(raw *bytes.Reader) error {
	type row struct {
		AssetID string `parquet:"asset_id"`
		Name    string `parquet:"name"`
		Slot    string `parquet:"slot"`
		Rank    int64  `parquet:"rank"`
	}
	list, err := parquet.Read[row](raw, raw.Size())
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b row) int { return int(a.Rank - b.Rank) })
	for _, r := range list {
		d.batches[r.Name] = append(d.batches[r.Name], r.AssetID)
		d.slots[r.Name+"/"+r.Slot] = append(d.slots[r.Name+"/"+r.Slot], r.AssetID)
	}
	return nil
}
