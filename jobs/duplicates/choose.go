package duplicates

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"winnow/io/query"
	"winnow/models"
	"winnow/pipeline/graph"
	"winnow/pipeline/seeded"
)

// member is a row of a group.
type member struct {
	row         int32
	id, version string
	hash        string  // of its content
	size        float64 // pixels or characters; 0 where unknown
	keep        bool
	of          int32 // place in the group of the row that stays for it
	cosine      float32
	rank        float64 // of typical, hard, easy and random: the higher comes first
}

// membersTable names the grouped rows in the database.
const membersTable = "duplicate_members"

// choose reads what is known of the grouped rows, and decides which stay.
func (f *found) choose(ctx context.Context) error {
	rows := f.union.Groups()
	groups := make([][]member, len(rows))
	for i, g := range rows {
		groups[i] = make([]member, len(g))
		for k, row := range g {
			groups[i][k].row = row
		}
	}
	f.r.groups = groups
	if err := f.name(ctx); err != nil {
		return err
	}
	if f.c.Keep == keepLargest && f.l.Space.Spec.Kind == models.Image {
		if err := f.pixels(ctx); err != nil {
			return err
		}
	}
	count := f.w.App.Progress.Start("groups", "groups", int64(len(groups)))
	defer count.Done()
	for lo := 0; lo < len(groups); {
		// As many groups as fit into memory; one that does not fit comes by itself.
		hi, n := lo+1, len(groups[lo])
		for hi < len(groups) && (n+len(groups[hi]))*f.l.Dim*4 <= blockBytes {
			n += len(groups[hi])
			hi++
		}
		if err := f.lead(ctx, groups[lo:hi]); err != nil {
			return err
		}
		count.Add(int64(hi - lo))
		lo = hi
	}
	f.r.count()
	return nil
}

// name reads ids, versions, hashes and sizes of all members.
func (f *found) name(ctx context.Context) error {
	db, err := f.w.DB(ctx)
	if err != nil {
		return err
	}
	if err := db.Exec(ctx, "CREATE OR REPLACE TABLE "+membersTable+" (n BIGINT, grp BIGINT, place BIGINT)"); err != nil {
		return err
	}
	err = db.Append(ctx, membersTable, func(add func(...any) error) error {
		for i, g := range f.r.groups {
			for k, m := range g {
				if err := add(int64(m.row), int64(i), int64(k)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.Each(ctx, fmt.Sprintf(`SELECT m.grp, m.place, l.asset_id, l.version, coalesce(l.content_hash, ''), coalesce(length(a.text), 0)::DOUBLE
		FROM (SELECT row_number() OVER (ORDER BY file, row) - 1 AS n, asset_id, version, content_hash FROM %s) l
		JOIN %s m USING (n) JOIN assets a USING (asset_id)`, query.Ident(f.l.Table), membersTable),
		func(scan func(...any) error) error {
			var g, k int64
			var id, version, hash string
			var size float64
			if err := scan(&g, &k, &id, &version, &hash, &size); err != nil {
				return err
			}
			m := &f.r.groups[g][k]
			m.id, m.version, m.hash, m.size = id, version, hash, size
			m.rank = seeded.Unit(f.w.Config.Seed, id)
			return nil
		})
}

// lead decides for some groups. Vectors of a group that is too large are read some
// at a time.
func (f *found) lead(ctx context.Context, groups [][]member) error {
	if len(groups) == 1 {
		return f.leadOne(ctx, groups[0])
	}
	var all []int32
	for _, g := range groups {
		for _, m := range g {
			all = append(all, m.row)
		}
	}
	slices.Sort(all)
	vectors, err := f.read(ctx, all)
	if err != nil {
		return err
	}
	of := func(rows []int32) ([]float32, error) {
		out := make([]float32, 0, len(rows)*f.l.Dim)
		for _, row := range rows {
			at, _ := slices.BinarySearch(all, row)
			out = append(out, vectors[at*f.l.Dim:(at+1)*f.l.Dim]...)
		}
		return out, nil
	}
	for _, g := range groups {
		if err := f.decide(g, of); err != nil {
			return err
		}
	}
	return nil
}

func (f *found) leadOne(ctx context.Context, g []member) error {
	return f.decide(g, func(rows []int32) ([]float32, error) {
		sorted := slices.Sorted(slices.Values(rows))
		vectors, err := f.read(ctx, sorted)
		if err != nil {
			return nil, err
		}
		out := make([]float32, 0, len(vectors))
		for _, row := range rows {
			at, _ := slices.BinarySearch(sorted, row)
			out = append(out, vectors[at*f.l.Dim:(at+1)*f.l.Dim]...)
		}
		return out, nil
	})
}

// read reads the vectors of ascending rows.
func (f *found) read(ctx context.Context, rows []int32) ([]float32, error) {
	out := make([]float32, 0, len(rows)*f.l.Dim)
	err := f.l.Numbers().Read(ctx, rows, func(_ int, v []float32) error { out = append(out, v...); return nil })
	return out, err
}

// decide puts a group in the order of preference, and lets a row go that is near
// one that stays.
func (f *found) decide(g []member, vectors func(rows []int32) ([]float32, error)) error {
	step := max(blockBytes/2/(4*f.l.Dim), 1)
	if f.c.Keep == keepTypical {
		if err := f.typical(g, vectors, step); err != nil {
			return err
		}
	}
	slices.SortFunc(g, func(a, b member) int {
		first := 0
		switch f.c.Keep {
		case keepLargest:
			first = cmp.Compare(b.size, a.size)
		case keepTypical, keepRandom:
			first = cmp.Compare(b.rank, a.rank)
		}
		return cmp.Or(first, strings.Compare(a.id, b.id))
	})
	var near func(a, b int) bool
	if f.hashes != nil {
		near = func(a, b int) bool {
			x, ok := f.hashes[g[a].row]
			y, also := f.hashes[g[b].row]
			return ok && also && bits.OnesCount64(x^y) <= f.c.PHash
		}
	}
	l := graph.NewLeaders(f.l.Dim, f.least, near)
	for part := range slices.Chunk(g, step) {
		v, err := vectors(rowsOf(part))
		if err != nil {
			return err
		}
		of, cosines := l.Add(v)
		for i := range part {
			part[i].of, part[i].cosine = of[i], cosines[i]
		}
	}
	for i := range g {
		g[i].keep = int(g[i].of) == i
	}
	return nil
}

func rowsOf(g []member) []int32 {
	rows := make([]int32, len(g))
	for i, m := range g {
		rows[i] = m.row
	}
	return rows
}

// typical ranks rows by their cosine to the group's mean.
func (f *found) typical(g []member, vectors func(rows []int32) ([]float32, error), step int) error {
	d := f.l.Dim
	mean := make([]float64, d)
	each := func(fn func(m *member, v []float32)) error {
		for part := range slices.Chunk(g, step) {
			v, err := vectors(rowsOf(part))
			if err != nil {
				return err
			}
			for i := range part {
				fn(&part[i], v[i*d:(i+1)*d])
			}
		}
		return nil
	}
	err := each(func(_ *member, v []float32) {
		for j, x := range v {
			mean[j] += float64(x)
		}
	})
	if err != nil {
		return err
	}
	return each(func(m *member, v []float32) {
		var dot, norm float64
		for j, x := range v {
			dot += float64(x) * mean[j]
			norm += float64(x) * float64(x)
		}
		m.rank = dot / math.Sqrt(max(norm, 1e-30))
	})
}

// count numbers the groups, the largest first, and sums up.
func (r *Result) count() {
	slices.SortFunc(r.groups, func(a, b []member) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a[0].id, b[0].id))
	})
	r.Groups = len(r.groups)
	for i, g := range r.groups {
		kept := 0
		show := Group{Number: i + 1, Rows: len(g), Drop: []string{}}
		for _, m := range g {
			if m.keep {
				kept++
				show.Keep = append(show.Keep, m.id)
				continue
			}
			r.Drop++
			if m.same(g) {
				r.Same++
			}
			show.Drop = append(show.Drop, m.id)
		}
		r.Grouped += int64(len(g))
		if kept > 1 {
			r.Chains++
		}
		if len(r.Largest) < shown {
			show.Keep, show.Drop = show.Keep[:min(len(show.Keep), 20)], show.Drop[:min(len(show.Drop), 20)]
			r.Largest = append(r.Largest, show)
		}
	}
}

// same says that a row has the content of the one that stays for it.
func (m *member) same(g []member) bool { return m.hash != "" && m.hash == g[m.of].hash }
