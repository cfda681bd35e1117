package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"

	"winnow/pipeline"
)

// This half of the package writes a batch: the rows chosen for labeling, in the
// files that labeling tools and people read. Everything here is a function of
// the batch alone. No file carries a clock or the order in which work was done,
// so a batch that is written again has the same bytes.

// BatchRow is one chosen asset. An emitter may keep a row that it was given.
type BatchRow struct {
	Rank        int64  // place in the batch, from 1, without gaps
	AssetID     string // never empty
	URI         string // absolute; empty for inline text
	Text        string // inline text; empty for anything that is fetched
	Caption     string
	MediaType   string // image, text, …, or a MIME type; may be empty
	Version     string // of the asset's content
	ContentHash string
	Objective   string          // what picked it: top, diverse, random, …
	Reason      string          // why it is here, in words
	Scores      []FunctionScore // one for each of BatchInfo.Functions, in that order
	Metadata    []MetadataValue // in the order of the assets table's columns
}

// FunctionScore is what one function says of one asset. Use NoScore for an asset
// that the function's embedding does not have.
type FunctionScore struct {
	Score      float32 // NaN when there is none
	Percentile float32 // of the corpus, in [0, 100]; NaN when unknown
	Match      bool    // at or over the function's own threshold
	Anchor     string  // the nearest positive anchor, where one is known
}

// NoScore is the FunctionScore of an asset that a function could not score.
func NoScore() FunctionScore {
	return FunctionScore{Score: float32(math.NaN()), Percentile: float32(math.NaN())}
}

// Has tells whether there is a score.
func (s FunctionScore) Has() bool { return finite(s.Score) }

func finite(x float32) bool {
	return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0)
}

// MetadataValue is one named value of an asset. Value may be nil, a bool, a
// string, any number type, a time.Time, json.RawMessage, or slices and maps of
// these; anything else is written as fmt prints it.
type MetadataValue struct {
	Name  string
	Value any
}

// FunctionInfo names a function that scored the batch.
type FunctionInfo struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Embedding string `json:"embedding,omitempty"`
	Combine   string `json:"combine,omitempty"`
	// Shares are the weights of the function's scores in several embeddings; they sum
	// to 1.
	Shares map[string]float64 `json:"shares,omitempty"`
	// Threshold is the number that Match was decided by; nil, or one that is not
	// finite, when the function's rule came to none and so no row matches.
	Threshold *float64 `json:"threshold,omitempty"`
}

// ModelInfo names the vectors that the batch depends on.
type ModelInfo struct {
	Embedding   string `json:"embedding"`
	Model       string `json:"model,omitempty"`
	Fingerprint string `json:"fingerprint"`
}

// TableVersion pins a table that the batch was chosen from.
type TableVersion struct {
	Table   string `json:"table"`
	Version int64  `json:"version"`
}

// Setting is one line of how a batch was asked for, such as {"where", "…"}.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// FunnelStep is the number of rows left after one step of curation.
type FunnelStep struct {
	Step string `json:"step"`
	Rows int64  `json:"rows"`
}

// Funnel is the steps in the order they ran; the first is the whole corpus.
type Funnel []FunnelStep

// String gives "1,204,331 → where 8,210 → selected 500".
func (f Funnel) String() string {
	var b strings.Builder
	for i, s := range f {
		if i > 0 {
			b.WriteString(" → " + s.Step + " ")
		}
		b.WriteString(group(s.Rows))
	}
	return b.String()
}

// BatchInfo says where a batch comes from. It must hold nothing that differs
// between two runs of the same slot, except Run.
type BatchInfo struct {
	Name       string         `json:"name"`
	Slot       string         `json:"slot"`
	Run        string         `json:"run,omitempty"` // stands in lineage.json only
	Program    string         `json:"program,omitempty"`
	ConfigHash string         `json:"config_hash,omitempty"`
	Settings   []Setting      `json:"settings,omitempty"`
	Tables     []TableVersion `json:"tables,omitempty"`
	Models     []ModelInfo    `json:"models,omitempty"`
	Functions  []FunctionInfo `json:"functions,omitempty"`
	Funnel     Funnel         `json:"funnel,omitempty"`
}

// WriteFunc stores one file of a batch under a key relative to the batch's own
// folder, such as "labelbox/data_rows.json". It publishes nothing when fn fails,
// and may call fn again to repeat a failed write.
type WriteFunc func(key string, fn func(io.Writer) error) error

// Emission is all that the emitters need to write one batch.
type Emission struct {
	Info *BatchInfo
	// Rows gives the batch in rank order. It is ranged over several times and
	// must give the same rows each time; it should stream, not hold, them.
	Rows  iter.Seq2[*BatchRow, error]
	Write WriteFunc
	Thumb ThumbFunc // of the contact sheet; nil: placeholders only
	Size  SizeFunc  // for the tools that want sizes; nil: they get no pictures
	Sheet SheetOptions
	// URIRewrite turns URIs into those that the labeling tools read. The first rule
	// whose From is a prefix of the URI applies.
	URIRewrite []URIRule
	Labelbox   LabelboxOptions // its own rules go before URIRewrite

	limits toolLimits // set by tests
}

// BatchFile is a file that was written.
type BatchFile struct {
	Key    string `json:"key"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// BatchWarning is something that the user should know about a written batch.
type BatchWarning struct {
	Emitter  string   `json:"emitter"`
	Message  string   `json:"message"`
	Rows     int64    `json:"rows,omitempty"`     // how many rows it is about
	Examples []string `json:"examples,omitempty"` // ids of the first few
}

func (w BatchWarning) String() string {
	s := w.Emitter + ": " + w.Message
	if len(w.Examples) > 0 {
		s += " (such as " + strings.Join(w.Examples, ", ") + ")"
	}
	return s
}

// BatchResult says what Emit wrote.
type BatchResult struct {
	Rows     int64
	Files    []BatchFile // in the order written, lineage.json last
	Warnings []BatchWarning
}

// emitters are the known output formats by the names used in `emit:`.
var emitters = map[string]emitter{
	"arrow":        emitArrow,
	"coco":         emitCOCO,
	"cvat":         emitCVAT,
	"fiftyone":     emitFiftyOne,
	"ground-truth": emitGroundTruth,
	"html":         emitSheet,
	"huggingface":  emitHuggingFace,
	"jsonl":        emitJSONL,
	"label-studio": emitLabelStudio,
	"labelbox":     emitLabelbox,
	"parquet":      emitParquet,
}

// emitter writes one format of a batch.
type emitter func(ctx context.Context, b *batch) error

// EmitterNames lists the known formats, sorted.
func EmitterNames() []string {
	names := make([]string, 0, len(emitters))
	for n := range emitters {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Emit writes the batch in each of the named formats and, last of all,
// lineage.json: a folder without it is unfinished. A name given twice is written
// once. Unknown names and bad options are a *pipeline.UsageError, found before
// anything is written.
func Emit(ctx context.Context, e Emission, names []string) (*BatchResult, error) {
	if err := checkEmission(e, names); err != nil {
		return nil, err
	}
	b := &batch{Emission: e}
	b.Info = finiteInfo(e.Info)
	if err := b.survey(ctx); err != nil {
		return nil, fmt.Errorf("batch %s: %w", b.title(), err)
	}
	done := map[string]bool{}
	for _, name := range names {
		if done[name] {
			continue
		}
		done[name] = true
		b.emitter = name
		if err := emitters[name](ctx, b); err != nil {
			return nil, fmt.Errorf("batch %s: emit %s: %w", b.title(), name, err)
		}
	}
	if err := b.writeLineage(); err != nil {
		return nil, fmt.Errorf("batch %s: lineage: %w", b.title(), err)
	}
	return &BatchResult{Rows: b.rows, Files: b.files, Warnings: b.warnings}, nil
}

// finiteInfo drops thresholds that JSON cannot say.
func finiteInfo(info *BatchInfo) *BatchInfo {
	out := *info
	out.Functions = slices.Clone(info.Functions)
	for i, f := range out.Functions {
		if f.Threshold != nil && (math.IsNaN(*f.Threshold) || math.IsInf(*f.Threshold, 0)) {
			out.Functions[i].Threshold = nil
		}
	}
	return &out
}

func checkEmission(e Emission, names []string) error {
	if e.Info == nil || e.Rows == nil || e.Write == nil {
		return errors.New("batch: Info, Rows and Write must be set")
	}
	for _, n := range names {
		if emitters[n] == nil {
			return pipeline.Usagef("emit: unknown format %q; known: %s", n, strings.Join(EmitterNames(), ", "))
		}
	}
	for i, r := range e.URIRewrite {
		if r.From == "" || r.To == "" {
			return pipeline.Usagef("uri_rewrite rule %d needs both from and to", i+1)
		}
	}
	if slices.Contains(names, "labelbox") {
		return e.Labelbox.Check()
	}
	return nil
}

// batch is an Emission under way.
type batch struct {
	Emission
	emitter  string // the one that runs
	surveyed bool   // rows, columns and ranges are known
	rows     int64
	columns  []metaColumn // every metadata name of the rows, in order of first sight
	ranges   []scoreRange // one for each function
	placed   *whereabouts // where the pictures lie, once an emitter has asked
	measured *sizes       // and how large they are
	files    []BatchFile
	warnings []BatchWarning
}

func (b *batch) title() string { return b.Info.Name + "/" + b.Info.Slot }

// each gives every row to fn, and fails when the rows are not those of the survey.
func (b *batch) each(ctx context.Context, fn func(*BatchRow) error) error {
	var n int64
	for r, err := range b.Rows {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n++
		if b.surveyed && n > b.rows {
			break
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	if b.surveyed && n != b.rows {
		return fmt.Errorf("the batch had %d rows and now has %d: it must not change while it is written", b.rows, n)
	}
	return nil
}

// file writes one file and notes its size and hash.
func (b *batch) file(key string, fn func(io.Writer) error) error {
	f := BatchFile{Key: key}
	err := b.Write(key, func(w io.Writer) error {
		h := sha256.New()
		count := &countWriter{w: w}
		if err := fn(io.MultiWriter(count, h)); err != nil {
			return err
		}
		f.Size, f.SHA256 = count.n, hex.EncodeToString(h.Sum(nil))
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	b.files = append(b.files, f)
	return nil
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (b *batch) warn(rows int64, examples []string, format string, args ...any) {
	b.warnings = append(b.warnings, BatchWarning{
		Emitter: b.emitter, Message: fmt.Sprintf(format, args...), Rows: rows, Examples: examples,
	})
}

// A warning names a few ids, and not the whole of a long one.
const (
	maxExamples   = 3
	maxExampleLen = 80
)

// tally counts rows and keeps the ids of the first few.
type tally struct {
	n   int64
	ids []string
}

func (t *tally) add(id string) {
	t.n++
	if len(t.ids) < maxExamples {
		t.ids = append(t.ids, clip(validUTF8(id), maxExampleLen))
	}
}
