package manifest

import (
	"encoding/json"
	"fmt"
	"time"
)

// batchColumn is one column of batch.parquet and batch.arrow.
type batchColumn struct {
	Name     string
	Kind     kind // kindNone is text without a value
	Single   bool // of kindFloat: float32, not float64
	Required bool // never null
	Words    bool // text of few different values: a dictionary pays
}

// cell is one value of a row; the Kind of its column says which field holds it.
// The zero cell is null.
type cell struct {
	set bool
	i   int64   // kindBool: 0 or 1, kindInt, kindTime: microseconds since 1970
	f   float64 // kindFloat
	s   string  // kindText, valid UTF-8
}

// batchTable is the columns of batch.parquet and batch.arrow, and how a row fills
// them: the fixed columns, then for each function score_F and pct_F (float32),
// match_F, anchor_F and version_F, then a struct `metadata` with one typed column
// a name. Where a name holds values of several types, or lists, its column is
// text. Empty texts are null.
type batchTable struct {
	info    *BatchInfo
	columns []batchColumn  // without the metadata
	meta    []batchColumn  // the fields of `metadata`; without any the struct is left out
	index   map[string]int // metadata name → place in meta
	cells   []cell
}

func newBatchTable(b *batch) *batchTable {
	t := &batchTable{info: b.Info, index: map[string]int{}}
	t.columns = []batchColumn{
		{Name: "rank", Kind: kindInt, Required: true},
		{Name: "asset_id", Kind: kindText, Required: true},
		{Name: "uri", Kind: kindText},
		{Name: "text", Kind: kindText},
		{Name: "caption", Kind: kindText},
		{Name: "media_type", Kind: kindText, Words: true},
		{Name: "version", Kind: kindText},
		{Name: "content_hash", Kind: kindText},
		{Name: "objective", Kind: kindText, Words: true},
		{Name: "reason", Kind: kindText, Words: true},
	}
	for _, f := range b.Info.Functions {
		t.columns = append(t.columns,
			batchColumn{Name: "score_" + f.Name, Kind: kindFloat, Single: true},
			batchColumn{Name: "pct_" + f.Name, Kind: kindFloat, Single: true},
			batchColumn{Name: "match_" + f.Name, Kind: kindBool, Required: true},
			batchColumn{Name: "anchor_" + f.Name, Kind: kindText, Words: true},
			batchColumn{Name: "version_" + f.Name, Kind: kindText, Required: true, Words: true},
		)
	}
	for _, c := range b.columns {
		t.index[c.Name] = len(t.meta)
		t.meta = append(t.meta, batchColumn{Name: c.Name, Kind: c.Kind})
	}
	return t
}

// properties are what the files themselves say of the batch.
func (t *batchTable) properties() []Setting {
	p := []Setting{{"winnow.batch", t.info.Name}, {"winnow.slot", t.info.Slot}}
	if len(t.info.Functions) > 0 {
		if raw, err := encodeJSON(t.info.Functions); err == nil {
			p = append(p, Setting{"winnow.functions", string(raw)})
		}
	}
	return p
}

// row gives one row's values in the order of columns and then of meta. They are
// valid until the next call.
func (t *batchTable) row(r *BatchRow) ([]cell, error) {
	row := append(t.cells[:0], cell{set: true, i: r.Rank}, requiredCell(r.AssetID))
	for _, s := range []string{r.URI, r.Text, r.Caption, r.MediaType, r.Version, r.ContentHash, r.Objective, r.Reason} {
		row = append(row, textCell(s))
	}
	for i, s := range r.Scores {
		row = append(row, numberCell(s.Score), numberCell(s.Percentile), boolCell(s.Match), textCell(s.Anchor), requiredCell(t.info.Functions[i].Version))
	}
	fixed := len(row)
	for range t.meta {
		row = append(row, cell{})
	}
	t.cells = row
	for _, m := range r.Metadata {
		at, ok := t.index[m.Name]
		if !ok {
			return nil, fmt.Errorf("asset %q: metadata %q was not there when the batch was surveyed", r.AssetID, m.Name)
		}
		c, err := metaCell(t.meta[at].Kind, metaValue(m.Value))
		if err != nil {
			return nil, fmt.Errorf("asset %q: metadata %q: %w", r.AssetID, m.Name, err)
		}
		row[fixed+at] = c
	}
	return row, nil
}

func requiredCell(s string) cell { return cell{set: true, s: validUTF8(s)} }

func textCell(s string) cell {
	if s == "" {
		return cell{}
	}
	return requiredCell(s)
}

func numberCell(x float32) cell {
	if !finite(x) {
		return cell{}
	}
	return cell{set: true, f: float64(x)}
}

func boolCell(b bool) cell {
	if b {
		return cell{set: true, i: 1}
	}
	return cell{set: true}
}

// metaCell holds a value of metaValue's in a column of kind k.
func metaCell(k kind, v any) (cell, error) {
	if v == nil {
		return cell{}, nil
	}
	switch k {
	case kindBool:
		if x, ok := v.(bool); ok {
			return boolCell(x), nil
		}
	case kindInt:
		if x, ok := v.(int64); ok {
			return cell{set: true, i: x}, nil
		}
	case kindFloat:
		switch x := v.(type) {
		case float64:
			return cell{set: true, f: x}, nil
		case int64:
			return cell{set: true, f: float64(x)}, nil
		}
	case kindTime:
		if x, ok := v.(time.Time); ok {
			return cell{set: true, i: x.UnixMicro()}, nil
		}
	case kindText:
		s, _ := metaText(v)
		return cell{set: true, s: s}, nil
	}
	raw, _ := json.Marshal(v)
	return cell{}, fmt.Errorf("value %s changed its type since the batch was surveyed", raw)
}
