package main

import (
	"strings"
	"testing"
	"time"
)

// TestPhotos runs both models over the real photos, once without a disturbance,
// and then in every other way that must end the same.
func TestPhotos(t *testing.T) {
	ref := newSite(t, plan{})
	p := ref.run(t, "run")
	t.Logf("the undisturbed run took %v", p.took.Round(time.Millisecond))
	want := look(t, ref.workspace)
	for _, part := range []string{"assets/", "embeddings/image/", "embeddings/text/", "scores/image/", "scores/text/", "batched/", "stats/image/", "stats/text/",
		"indexes/image/", "indexes/text/", "batches/cats/", "batches/mixed/"} {
		if len(want.under(part)) == 0 {
			t.Fatalf("the run left nothing in %s\n%s", part, p.said())
		}
	}
	if n := count(want, "embeddings/"); n != 12 {
		t.Fatalf("the run made %d shards, want 6 for each embedding", n)
	}
	t.Run("again", func(t *testing.T) {
		ref.outcome(t).idle(t)
		same(t, want, look(t, ref.workspace))
	})
	t.Run("kill", func(t *testing.T) { testKill(t, want, p.took) })
	t.Run("aimed", func(t *testing.T) { testAimedKill(t, want) })
	t.Run("together", func(t *testing.T) { testTogether(t, want) })
	t.Run("steps", func(t *testing.T) { testSteps(t, want) })
	t.Run("s3", func(t *testing.T) { testS3(t, ref) })
}

// count is how many Parquet files lie below a folder.
func count(c contents, folder string) int {
	n := 0
	for name := range c.under(folder) {
		if strings.HasSuffix(name, ".parquet") {
			n++
		}
	}
	return n
}
