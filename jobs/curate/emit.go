package curate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/pipeline/curate"
)

// emit writes the files of a batch. The batch is not in the batched table yet, so
// what stands in its folder was left by a killed run and is replaced: that run
// may have had another config.
func (r *rows) emit(ctx context.Context, b chosenBatch, slot, dir string, p *picked) (*manifest.BatchResult, error) {
	info, err := r.info(b, slot, p)
	if err != nil {
		return nil, err
	}
	return manifest.Emit(ctx, manifest.Emission{
		Info: info,
		Rows: func(yield func(*manifest.BatchRow, error) bool) {
			for _, x := range p.rows {
				if !yield(x, nil) {
					return
				}
			}
		},
		Write: func(key string, fn func(io.Writer) error) error {
			return r.w.Store.Write(ctx, dir+"/"+key, fn)
		},
		Thumb:      r.w.Thumb,
		Size:       r.w.Size,
		URIRewrite: uriRules(b.URIRewrite),
		Labelbox:   labelbox(b.Labelbox),
	}, b.Emit)
}

func uriRules(rules []configs.URIRule) (out []manifest.URIRule) {
	for _, u := range rules {
		out = append(out, manifest.URIRule{From: u.From, To: u.To})
	}
	return out
}

func labelbox(o *configs.Labelbox) manifest.LabelboxOptions {
	var out manifest.LabelboxOptions
	if o == nil {
		return out
	}
	out.URIRewrite = uriRules(o.URIRewrite)
	out.Priority = o.Priority
	if o.Consensus != nil {
		out.Consensus = &manifest.LabelboxConsensus{Labels: o.Consensus.Labels, Coverage: o.Consensus.Coverage}
	}
	out.Metadata = o.Metadata
	return out
}

// describe reads what the files say of the picked rows: content, metadata, every
// score, and the nearest anchor of the functions that they match.
func (r *rows) describe(ctx context.Context, picks []curate.Pick, ids []string) ([]*manifest.BatchRow, error) {
	byID := map[string]*manifest.BatchRow{}
	cols := []string{"r.asset_id", "coalesce(r.uri, '')", "coalesce(r.text, '')", "coalesce(r.caption, '')", "coalesce(r.media_type, '')", "coalesce(r.version, '')",
		"coalesce(h.content_hash, '')", "coalesce(to_json(r.metadata)::VARCHAR, '{}')"}
	for _, f := range r.functions {
		cols = append(cols, "r."+query.Ident(f.Name), "r."+query.Ident(f.Name+"_pct"), "r."+query.Ident(f.Name+"_match"))
	}
	for part := range chunks(ids, 1000) {
		sql := fmt.Sprintf("SELECT %s FROM rows r LEFT JOIN %s h USING (asset_id) WHERE r.asset_id IN %s", strings.Join(cols, ", "), r.hashes(), query.Literals(part))
		err := r.db.Each(ctx, sql, func(scan func(...any) error) error {
			row, err := r.scan(scan)
			if err == nil {
				byID[row.AssetID] = row
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([]*manifest.BatchRow, len(ids))
	for i, id := range ids {
		row := byID[id]
		if row == nil {
			return nil, fmt.Errorf("asset %q was chosen and is not there", id)
		}
		row.Rank, row.Objective, row.Reason = int64(i+1), picks[i].Objective, picks[i].Reason
		out[i] = row
	}
	return out, r.anchors(ctx, out)
}

func (r *rows) scan(scan func(...any) error) (*manifest.BatchRow, error) {
	row := &manifest.BatchRow{Scores: make([]manifest.FunctionScore, len(r.functions))}
	var meta string
	dest := []any{&row.AssetID, &row.URI, &row.Text, &row.Caption, &row.MediaType, &row.Version, &row.ContentHash, &meta}
	score := make([]*float64, len(r.functions))
	pct := make([]*float64, len(r.functions))
	for i := range r.functions {
		dest = append(dest, &score[i], &pct[i], &row.Scores[i].Match)
	}
	if err := scan(dest...); err != nil {
		return nil, err
	}
	for i := range r.functions {
		if score[i] == nil {
			row.Scores[i] = manifest.NoScore()
			continue
		}
		row.Scores[i].Score, row.Scores[i].Percentile = float32(*score[i]), float32(math.NaN())
		if pct[i] != nil {
			row.Scores[i].Percentile = float32(*pct[i])
		}
	}
	var err error
	row.Metadata, err = metadata(meta)
	return row, err
}

// metadata decodes a JSON object in the order of its keys, without the nulls.
func metadata(s string) ([]manifest.MetadataValue, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var out []manifest.MetadataValue
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		v, err := plain(raw)
		if err != nil {
			return nil, err
		}
		if v != nil {
			out = append(out, manifest.MetadataValue{Name: fmt.Sprint(key), Value: v})
		}
	}
	return out, nil
}

// plain turns a JSON scalar into the Go value; lists and objects stay JSON.
func plain(raw json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case map[string]any, []any:
		return raw, nil
	}
	return v, nil
}

// anchors finds, for every function that a row matches, the positive anchor that
// lies nearest.
func (r *rows) anchors(ctx context.Context, out []*manifest.BatchRow) error {
	var fns []*configs.Function
	for _, f := range r.functions {
		fns = append(fns, f.Parts()...)
	}
	if err := r.known.Check(ctx, fns); err != nil {
		return err
	}
	for i, f := range r.functions {
		var ids []string
		for _, row := range out {
			if row.Scores[i].Match {
				ids = append(ids, row.AssetID)
			}
		}
		if len(ids) == 0 {
			continue
		}
		in := f.Function.Part(heaviest(f.Function))
		pos, _, err := r.known.Resolve(ctx, in, true)
		if err != nil {
			return err
		}
		l := r.live[in.Embedding]
		found, err := l.Vectors(ctx, ids)
		if err != nil {
			return err
		}
		set := &curate.Vectors{Name: l.Embedding.Name, Dim: l.Dim}
		for _, p := range pos {
			set.Data = append(set.Data, p.Values...)
		}
		rows := &curate.Vectors{Name: l.Embedding.Name, Dim: l.Dim}
		for _, id := range ids {
			rows.Data = append(rows.Data, found[id]...)
		}
		which, _, err := curate.Nearest(ctx, rows, set)
		if err != nil {
			return err
		}
		k := 0
		for _, row := range out {
			if row.Scores[i].Match {
				row.Scores[i].Anchor = pos[which[k]].ID
				k++
			}
		}
	}
	return nil
}

// heaviest is the embedding in which a function's nearest anchor is looked for: the
// one with the largest share.
func heaviest(f *configs.Function) string {
	best := ""
	for _, e := range f.Spaces() {
		if best == "" || f.CombineOver[e] > f.CombineOver[best] {
			best = e
		}
	}
	return best
}

func chunks[T any](s []T, n int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for len(s) > 0 {
			k := min(n, len(s))
			if !yield(s[:k]) {
				return
			}
			s = s[k:]
		}
	}
}
