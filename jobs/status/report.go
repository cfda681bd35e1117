package status

import (
	"encoding/json"
	"time"

	"winnow/io/index"
	"winnow/io/store"
	"winnow/jobs/internal/workspace"
)

// Report is what `winnow status` found. Problem, wherever it stands, says why
// that part could not be looked at; the rest is true all the same.
type Report struct {
	Workspace  string      `json:"workspace"` // its address
	Config     string      `json:"config"`
	Exists     bool        `json:"exists"` // false: nothing was ever written there
	Assets     Assets      `json:"assets"`
	Embeddings []Embedding `json:"embeddings"`
	Unused     []Model     `json:"unused_embeddings,omitempty"` // in the workspace, not in the config
	Functions  []Function  `json:"functions"`
	Batches    []Batch     `json:"batches"`
	LastRun    *Run        `json:"last_run,omitempty"`
	Lock       *Lock       `json:"lock,omitempty"` // held by somebody
	Problems   []string    `json:"problems,omitempty"`
	Stale      []string    `json:"stale"` // what the next run has to do; empty: nothing
	Next       []Step      `json:"next"`
}

// Step is a command to type next.
type Step struct {
	Command string `json:"command"`
	Why     string `json:"why"`
}

// Assets is the assets table.
type Assets struct {
	Rows     int64                    `json:"rows"`
	Version  int64                    `json:"version"` // of the table; -1: there is none
	Sources  []Source                 `json:"sources"`
	Rejected []workspace.RejectReason `json:"rejected,omitempty"` // rows of manifests that never became assets
	Problem  string                   `json:"problem,omitempty"`
}

// Source is one source's assets.
type Source struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

// Embedding is one embedding of the config under its current model.
type Embedding struct {
	Name         string                   `json:"name"`
	Of           string                   `json:"of"`
	Model        string                   `json:"model"`
	Fingerprint  string                   `json:"fingerprint,omitempty"`
	Dim          int                      `json:"dim,omitempty"`
	Content      int64                    `json:"content"`  // assets that have what it reads
	Embedded     int64                    `json:"embedded"` // assets with a vector of their present version
	Todo         int64                    `json:"todo"`
	Rejected     int64                    `json:"rejected"`            // for good
	Missing      int64                    `json:"missing,omitempty"`   // content that files of vectors lack
	Unmatched    int64                    `json:"unmatched,omitempty"` // vectors in files that belong to no asset
	UnmatchedIDs []string                 `json:"unmatched_ids,omitempty"`
	Repeated     int64                    `json:"repeated,omitempty"` // vectors in files of an id that came before
	Reasons      []workspace.RejectReason `json:"reasons,omitempty"`
	Shards       int                      `json:"shards"`
	Rows         int64                    `json:"rows"` // of all shards, those of removed and changed assets included
	Bytes        int64                    `json:"bytes"`
	Index        *Index                   `json:"index,omitempty"`
	Head         int64                    `json:"head,omitempty"`               // number of the head that names the model; 0: none yet
	Backfill     *Backfill                `json:"backfill,omitempty"`           // the config names another model
	Others       []Model                  `json:"other_fingerprints,omitempty"` // of earlier models
	Problem      string                   `json:"problem,omitempty"`

	example string // an asset with a vector
}

// Backfill is how far an embedding has come under the model that the config
// names, while it still uses another one.
type Backfill struct {
	Model       string                   `json:"model"`
	Fingerprint string                   `json:"fingerprint"`
	Dim         int                      `json:"dim"`
	Content     int64                    `json:"content"`
	Embedded    int64                    `json:"embedded"`
	Todo        int64                    `json:"todo"`
	Rejected    int64                    `json:"rejected"`
	Reasons     []workspace.RejectReason `json:"reasons,omitempty"`
}

// Model is an embedding's table under one fingerprint.
type Model struct {
	Embedding   string `json:"embedding"`
	Fingerprint string `json:"fingerprint"`
	Rows        int64  `json:"rows"`
	Shards      int    `json:"shards"`
	Bytes       int64  `json:"bytes"`
}

// Index is the newest index of an embedding.
type Index struct {
	ID       string  `json:"id"`
	Kind     string  `json:"kind"`
	Rows     int64   `json:"rows"`
	Factory  string  `json:"factory"`
	Segments int     `json:"segments"` // beside the base
	Dead     int64   `json:"dead"`     // rows that were not live any more when the newest version was made
	Recall10 float64 `json:"recall_at_10"`
	// How well what was trained fits the rows; nil for flat.
	Drift  *index.Drift `json:"drift,omitempty"`
	Bytes  int64        `json:"bytes"`
	Fresh  bool         `json:"fresh"`  // it is of exactly the embedded rows
	Behind int64        `json:"behind"` // embedded rows that it lacks
	Gone   int64        `json:"gone"`   // its rows whose assets were removed or changed
}

// States of a function.
const (
	Scored    = "scored"
	Stale     = "stale"      // changed, or some rows have no score yet
	NotScored = "not scored" // never
	Waiting   = "waiting"    // its embedding has no rows
	Broken    = "broken"     // it cannot be scored: see What
)

// Function is one function of the config.
type Function struct {
	Name      string   `json:"name"`
	Embedding string   `json:"embedding"`
	Combine   string   `json:"combine"`
	State     string   `json:"state"`
	What      string   `json:"what,omitempty"` // why it is not scored
	Rule      string   `json:"rule"`           // of the threshold
	Threshold *float64 `json:"threshold,omitempty"`
	Matches   *int64   `json:"matches,omitempty"`

	spaces []string // the embeddings that it searches
}

// Batch is one batch, or one of the config that was never made.
type Batch struct {
	Name string    `json:"name"`
	Slot string    `json:"slot,omitempty"`
	Rows int64     `json:"rows"`
	Made time.Time `json:"made,omitzero"`
	Dir  string    `json:"dir,omitempty"`
}

// Run is the record of the last run.
type Run struct {
	Run      string          `json:"run"`
	Started  time.Time       `json:"started,omitzero"`
	Finished time.Time       `json:"finished,omitzero"`
	OK       bool            `json:"ok"`
	Error    string          `json:"error,omitempty"`
	Stages   json.RawMessage `json:"stages,omitempty"` // as the run wrote it
}

// Lock says who is at work.
type Lock struct {
	store.LockInfo
	Stale bool `json:"stale,omitempty"` // no sign of life: the next run takes it over
}
