package curate

import (
	"context"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/pipeline/curate"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// hashes is the table that gives an asset its content hash: that of the first
// embedding, images before texts.
func (r *rows) hashes() string {
	first := ""
	for _, e := range r.w.Config.Embeddings {
		if first == "" || e.Of == "image" && r.live[first].Embedding.Of != "image" {
			first = e.Name
		}
	}
	return query.Ident(r.live[first].Table)
}

// filter is one step of what a batch leaves out.
type filter struct {
	name string // in the funnel
	sql  string // what stays
}

// filters lists the steps of where and exclude, in order.
func (r *rows) filters(b chosenBatch) (list []filter) {
	if b.Where != "" {
		list = append(list, filter{"where", query.Parens(b.Where)})
	}
	for _, c := range b.Conditions {
		list = append(list, filter{c, query.Parens(c)})
	}
	for i, x := range b.Exclude {
		switch {
		case x.Rows != "":
			list = append(list, filter{"not " + x.Rows, "NOT " + query.Ident(x.Rows)})
		case x.Batch != "":
			list = append(list, filter{"not in batch " + x.Batch, "NOT list_contains(batches, " + query.Literal(x.Batch) + ")"})
		case x.IDs != "":
			list = append(list, filter{"not in " + baseName(x.IDs), "NOT EXISTS (FROM " + query.Ident(r.ids[idsKey{b.Name, i}].table) + " ids WHERE ids.asset_id = rows.asset_id)"})
		}
	}
	return list
}

// baseName is the last part of an address.
func baseName(address string) string {
	address, _, _ = strings.Cut(address, "?")
	return address[strings.LastIndexByte(address, '/')+1:]
}

// choose runs the steps of one batch: where, exclude, dedupe, select, cap.
func (r *rows) choose(ctx context.Context, b chosenBatch, dry bool) (*picked, error) {
	p := &picked{funnel: manifest.Funnel{{Step: "assets", Rows: r.assets}}}
	where, left := "true", r.assets
	for _, f := range r.filters(b) {
		where += " AND " + f.sql
		n, err := r.db.Int(ctx, "SELECT count(*) FROM rows WHERE "+where)
		if err != nil {
			return nil, r.failed(b, err)
		}
		p.funnel, left = append(p.funnel, manifest.FunnelStep{Step: f.name, Rows: n}), n
	}
	p.asked = b.Size
	if b.Proportion > 0 {
		p.asked = max(int(b.Proportion*float64(left)+0.5), 1)
	}
	// The vectors of all candidates are most of the heap, and stay: beside a heap
	// that may double they would take their size again.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	req, err := r.request(ctx, b, where, p, dry)
	if err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // rows were read through it
	res, err := curate.Run(ctx, *req)
	if err != nil {
		return nil, err
	}
	for _, s := range res.Funnel.Steps {
		p.funnel = append(p.funnel, manifest.FunnelStep{Step: s.Name, Rows: s.Left})
	}
	ids := make([]string, len(res.Picks))
	for i, x := range res.Picks {
		ids[i] = x.ID
	}
	p.tooNear, p.overQuota = res.TooNear, res.OverQuota
	p.groups = groups(req, res.Picks)
	p.rows, err = r.describe(ctx, res.Picks, ids)
	return p, err
}

// Group counts the rows of a batch by one value that it balances or caps.
type Group struct {
	By    string `json:"by"`
	Kinds []Kind `json:"kinds"`
}

// Kind is one value of a Group.
type Kind struct {
	Value      string `json:"value"`
	Rows       int64  `json:"rows"`
	Candidates int64  `json:"candidates"` // before deduplication
}

// groups counts picks by the classes of quotas and balances: those with the most
// rows first.
func groups(req *curate.Request, picks []curate.Pick) (list []Group) {
	add := func(by string, of *curate.Classes) {
		if slices.ContainsFunc(list, func(g Group) bool { return g.By == by }) {
			return
		}
		g := Group{By: by, Kinds: make([]Kind, len(of.Names))}
		for i, name := range of.Names {
			g.Kinds[i].Value = name
		}
		for _, k := range of.Of {
			if k >= 0 {
				g.Kinds[k].Candidates++
			}
		}
		for _, p := range picks {
			if k := of.Of[p.Index]; k >= 0 {
				g.Kinds[k].Rows++
			}
		}
		slices.SortFunc(g.Kinds, func(a, b Kind) int {
			if a.Rows != b.Rows {
				return int(b.Rows - a.Rows)
			}
			return strings.Compare(a.Value, b.Value)
		})
		list = append(list, g)
	}
	for _, q := range req.Quotas {
		add(q.Name, q.Of)
	}
	for _, o := range req.Objectives {
		if o.Balance != nil {
			add(strings.TrimPrefix(o.Name, "balance of "), o.Balance.By)
		}
	}
	return list
}
