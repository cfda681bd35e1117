package status

import (
	"slices"
	"testing"

	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// TestRowsThatWereRejected tells which rows are tried again by a run, by
// --retry-rejected, and which are listed.
func TestRowsThatWereRejected(t *testing.T) {
	b := newBench(t)
	space, err := b.w.Current(b.Context(), b.w.Config.Embeddings[0])
	b.must(err)
	b.assets(image("new", "1"), image("passes", "1"), image("final", "1"), image("both", "1"), image("changed", "2"), image("mended", "1"))
	var rejects []pipeline.Reject
	for id, transient := range map[string][]bool{"passes": {true, true}, "final": {false}, "both": {true, false}, "changed": {false}, "mended": {false}, "removed": {false}} {
		for _, x := range transient {
			rejects = append(rejects, pipeline.Reject{AssetID: id, Version: "1", Stage: "embed", Subject: space.Fingerprint(), Reason: "timeout", Error: "slow", Transient: x})
		}
	}
	b.must(b.w.AppendRejects(b.Context(), "r1", "test", rejects))
	b.embed("mended", "1")
	b.open()
	space, err = b.w.Current(b.Context(), b.w.Config.Embeddings[0])
	b.must(err)
	for which, want := range map[workspace.Rows][]string{
		workspace.New:           {"changed", "new", "passes"},
		workspace.Rejected:      {"both", "final", "passes"},
		workspace.NewOrRejected: {"both", "changed", "final", "new", "passes"},
	} {
		var got []string
		tries := map[string]int64{}
		b.must(b.w.Todo(b.Context(), space, which, func(it pipeline.Item, n int64) error {
			got, tries[it.AssetID] = append(got, it.AssetID), n
			return nil
		}))
		n, err := b.w.CountTodo(b.Context(), space, which)
		b.must(err)
		if !slices.Equal(got, want) || n != int64(len(want)) {
			t.Errorf("rows %d are %v (%d), want %v", which, got, n, want)
		}
		if n, ok := tries["passes"]; ok && n != 2 || tries["new"]+tries["changed"] != 0 {
			t.Errorf("rows %d were tried %v times", which, tries)
		}
	}
	listed := func(c workspace.Refusals) (ids []string) {
		b.must(b.w.LoadRefused(b.Context(), c))
		db, err := b.w.DB(b.Context())
		b.must(err)
		b.must(db.Each(b.Context(), "SELECT asset_id FROM refused ORDER BY asset_id", func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		}))
		return ids
	}
	for _, c := range []struct {
		choice workspace.Refusals
		want   []string
	}{
		{workspace.Refusals{}, []string{"both", "final", "passes"}},
		{workspace.Refusals{Resolved: true}, []string{"both", "changed", "final", "mended", "passes", "removed"}},
		{workspace.Refusals{Stage: "ingest"}, nil},
		{workspace.Refusals{Embeddings: []string{"image"}, Reasons: []string{"timeout"}}, []string{"both", "final", "passes"}},
		{workspace.Refusals{Reasons: []string{"empty"}}, nil},
	} {
		if got := listed(c.choice); !slices.Equal(got, c.want) {
			t.Errorf("%+v lists %v, want %v", c.choice, got, c.want)
		}
	}
}
