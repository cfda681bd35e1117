package embed

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"lukechampine.com/blake3"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/io/shard"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/embed"
	"winnow/pipeline/task"
	"winnow/pipeline/vec"
)

// Vectors that another program made are brought in file by file: one task and one
// shard each, tagged with the file and its version. A file that is there in
// another version replaces its shard; one that is gone leaves it. Ids that are no
// assets yet stay in the shard and count as soon as their asset arrives.

// Tags of the shards of imported vectors in the table's log.
const (
	tagSource  = workspace.TagSource
	tagVersion = "winnow.source_version"
)

// maxFaults is how many bad rows of one file are listed. A file with more is
// broken as a whole.
const maxFaults = 100_000

// vectorFile is what a task needs to bring in one file.
type vectorFile struct {
	Source manifest.VectorSource `json:"source"`
	File   manifest.VectorFile   `json:"file"`
	Dim    int                   `json:"dim"`
	Unit   bool                  `json:"unit"` // scale to length 1
	Tag    string                `json:"tag"`  // of this version of the file
}

func vectorSource(c *configs.Config, e configs.Embedding) manifest.VectorSource {
	return manifest.VectorSource{
		Files: e.Vectors.Files, IDs: e.Vectors.IDs, Fields: e.Vectors.Fields.Map(),
		Text: e.Of != "image", MaxLine: int64(c.Limits.Line),
	}
}

// planVectors makes a task for every file that is new or changed.
func (s *Stage) planVectors(ctx context.Context, sp *workspace.Space, snap *table.Snapshot) ([]task.Task, error) {
	db, err := s.W.DB(ctx)
	if err != nil {
		return nil, err
	}
	r := manifest.NewReader(db, s.W.Cache)
	defer r.Close()
	src := vectorSource(s.W.Config, sp.Embedding)
	files, err := r.FindVectors(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("embedding %s: %w", sp.Name, err)
	}
	known := map[string]bool{}
	for _, f := range snap.Files {
		known[f.Tags[tagVersion]] = true
	}
	var tasks []task.Task
	for _, f := range files {
		raw, err := json.Marshal([]any{f, src.Fields})
		if err != nil {
			return nil, err
		}
		hash := task.NewHash().Add("vectors 1").Add(sp.Name).Add(sp.Fingerprint()).Add(string(raw)).Sum()
		if known[hash] {
			continue
		}
		raw, err = json.Marshal(spec{Embedding: sp.Name, Fingerprint: sp.Fingerprint(),
			Vectors: &vectorFile{Source: src, File: f, Dim: sp.Spec.Dim, Unit: sp.Spec.Normalized(), Tag: hash}})
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, task.Task{Hash: hash, Name: sp.Name + " from " + f.URI, Dir: sp.Root(), Spec: raw})
	}
	return tasks, nil
}

// importer turns the rows of one file into a shard.
type importer struct {
	vectorFile
	stage, subject string
	block          shard.Block
	out            *shard.Writer
	count          func(int64)
	result         *task.Result
}

// doVectors brings in one file.
func (s *Stage) doVectors(ctx context.Context, sp spec, t task.Task) (*task.Result, error) {
	db, err := s.W.DB(ctx)
	if err != nil {
		return nil, err
	}
	r := manifest.NewReader(db, s.W.Cache)
	defer r.Close()
	im := &importer{vectorFile: *sp.Vectors, stage: s.Name(), subject: sp.Fingerprint, count: task.Counter(ctx).Add, result: &task.Result{Output: t.Hash + ".parquet"}}
	im.block.Dim = im.Dim
	_, err = s.W.Store.Create(ctx, t.Dir+"/"+im.result.Output, func(w io.Writer) (err error) {
		im.result.Rows, im.result.Rejects = 0, nil // a second try begins anew
		im.reset()
		if im.out, err = shard.NewWriter(w, shard.Meta{Dim: im.Dim, Embedding: sp.Embedding, Fingerprint: sp.Fingerprint, Normalized: im.Unit}); err != nil {
			return err
		}
		if err := r.ReadVectors(ctx, im.Source, im.File, im.row); err != nil {
			return err
		}
		if err := im.flush(); err != nil {
			return err
		}
		if im.result.Rows == 0 && len(im.result.Rejects) > 0 {
			return im.nothing()
		}
		return im.out.Close()
	})
	return im.result, err
}

func (im *importer) reset() {
	im.block.AssetID, im.block.Version = im.block.AssetID[:0], im.block.Version[:0]
	im.block.ContentHash, im.block.Vectors = im.block.ContentHash[:0], im.block.Vectors[:0]
}

// row takes one row, or rejects it.
func (im *importer) row(row *manifest.VectorRow) error {
	fault := row.Fault
	if fault == nil && len(row.Values) != im.Dim {
		fault = pipeline.Rowf(pipeline.ReasonDimension, "the vector has %d numbers, the config says dim: %d", len(row.Values), im.Dim)
	}
	if fault == nil {
		if fault = embed.CheckVector(row.Values); fault != nil {
			fault = pipeline.Rowf(fault.Reason, "the vector holds NaN, infinity or nothing but zeros")
		}
	}
	if fault != nil {
		if len(im.result.Rejects) == maxFaults {
			return pipeline.Usagef("%s has more than %d bad rows, such as row %d (%s): %v", im.File.URI, maxFaults, row.Number, row.ID, fault)
		}
		im.result.Rejects = append(im.result.Rejects, pipeline.Reject{AssetID: row.ID, Stage: im.stage, Subject: im.subject,
			Source: im.File.URI, Line: row.Number, Reason: fault.Reason, Error: fault.Err.Error()})
		return nil
	}
	im.result.Rows++
	b := &im.block
	hash := hashVector(row.Values)
	b.AssetID, b.Version, b.ContentHash = append(b.AssetID, row.ID), append(b.Version, hash[:16]), append(b.ContentHash, hash)
	b.Vectors = append(b.Vectors, row.Values...)
	if len(b.AssetID) == shard.RowGroupRows {
		return im.flush()
	}
	return nil
}

func (im *importer) flush() error {
	n := len(im.block.AssetID)
	if n == 0 {
		return nil
	}
	if im.Unit {
		vec.Normalize(im.block.Vectors, im.Dim)
	}
	err := im.out.Write(&im.block)
	im.reset()
	im.count(int64(n))
	return err
}

// nothing says that a file had no row of use. One without rows is well: programs
// that write in parts leave such.
func (im *importer) nothing() error {
	r := im.result.Rejects[0]
	return pipeline.Usagef("%s: none of its %d rows can be used; row %d (%s): %s: %s", im.File.URI, len(im.result.Rejects), r.Line, r.AssetID, r.Reason, r.Error)
}

// hashVector stands for the content, which is never read: equal vectors count as
// equal content.
func hashVector(v []float32) string {
	h := blake3.New(32, nil)
	var b [4]byte
	for _, x := range v {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(x))
		_, _ = h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// tag adds to a change what the shard of an imported file needs: its tags, and the
// removal of the shards of earlier versions of the file.
func tag(c *table.Change, file *table.File, f *vectorFile, snap *table.Snapshot) {
	file.Tags = map[string]string{tagSource: f.File.URI, tagVersion: f.Tag}
	for _, old := range snap.Files {
		if old.Tags[tagSource] == f.File.URI && old.Tags[tagVersion] != f.Tag {
			c.Removes = append(c.Removes, old.Path)
		}
	}
}
