package ingest

import (
	"context"
	"fmt"
	"slices"

	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/tables"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

const (
	// fileRows bounds the rows of a file of assets.
	fileRows = 200_000
	// Files with fewer rows than smallRows are put together once there are
	// manySmall of them, so that daily additions do not leave thousands.
	smallRows = 20_000
	manySmall = 8
)

// commit writes the files that the difference touches and commits them.
func (g *ingester) commit(ctx context.Context) error {
	if g.sum.New+g.sum.Changed+g.sum.Removed == 0 {
		return nil
	}
	touched, err := g.touched(ctx)
	if err != nil {
		return err
	}
	if touched, err = g.gatherAll(ctx, touched); err != nil {
		return err
	}
	adds, err := g.write(ctx, g.w.Table(workspace.AssetsRoot), outTable, "asset_id")
	if err != nil {
		return err
	}
	c := table.Change{Base: g.snap.Version, Operation: "MERGE", Exclusive: true, Info: map[string]string{
		"run": g.w.App.Run, "winnow": g.w.App.Version,
		"new": fmt.Sprint(g.sum.New), "changed": fmt.Sprint(g.sum.Changed), "removed": fmt.Sprint(g.sum.Removed),
	}}
	for _, i := range touched {
		c.Removes = append(c.Removes, g.snap.Files[i].Path)
		g.sum.Rewrote += g.snap.Files[i].Size
	}
	c.Adds, c.Removes = apart(adds, c.Removes)
	if g.snap.Version < 0 || g.in.grown || g.in.retyped {
		if c.Schema, err = g.in.schema(); err != nil {
			return err
		}
	}
	c.AppID, c.AppVersion = transaction("ingest assets", c), 1
	if g.sum.Version, err = g.w.Table(workspace.AssetsRoot).Commit(ctx, c); err != nil {
		return err
	}
	g.sum.Assets += g.sum.New - g.sum.Removed
	return nil
}

// transaction names a change by what it does.
func transaction(what string, c table.Change) string {
	h := task.NewHash().Add(what).Add(fmt.Sprint(c.Base))
	for _, f := range c.Adds {
		h.Add("+" + f.Path)
	}
	for _, p := range c.Removes {
		h.Add("-" + p)
	}
	return what + " " + h.Sum()
}

// apart leaves out what would be added and removed in one: files whose rows came
// out as they were.
func apart(adds []table.File, removes []string) ([]table.File, []string) {
	both := map[string]bool{}
	for _, f := range adds {
		if slices.Contains(removes, f.Path) {
			both[f.Path] = true
		}
	}
	return slices.DeleteFunc(adds, func(f table.File) bool { return both[f.Path] }),
		slices.DeleteFunc(removes, func(p string) bool { return both[p] })
}

// touched returns the numbers of the files that are written anew: those that
// hold what changed or is gone, all when a type changed, and small ones when
// there are many.
func (g *ingester) touched(ctx context.Context) ([]int64, error) {
	all := make([]int64, len(g.snap.Files))
	for i := range all {
		all[i] = int64(i)
	}
	if g.in.retyped {
		return all, nil
	}
	files, err := query.Column[int64](ctx, g.db, "SELECT DISTINCT file FROM "+diffTable+" WHERE what IN ('changed', 'gone') ORDER BY file")
	if err != nil {
		return nil, err
	}
	var small []int64
	for i, f := range g.snap.Files {
		if f.Rows >= 0 && f.Rows < smallRows && !slices.Contains(files, int64(i)) {
			small = append(small, int64(i))
		}
	}
	if len(small) >= manySmall {
		files = append(files, small...)
		slices.Sort(files)
	}
	return files, nil
}

// gatherAll is gather, with one more file when nothing of the touched ones is
// left: some file of a version has all columns of the schema, so that readers
// who take their union see them all.
func (g *ingester) gatherAll(ctx context.Context, touched []int64) ([]int64, error) {
	if err := g.gather(ctx, touched); err != nil {
		return nil, err
	}
	n, err := g.db.Int(ctx, "SELECT count(*) FROM "+outTable)
	if err != nil || n > 0 || len(touched) == len(g.snap.Files) {
		return touched, err
	}
	least := int64(-1)
	for i, f := range g.snap.Files {
		if !slices.Contains(touched, int64(i)) && (least < 0 || f.Size < g.snap.Files[least].Size) {
			least = int64(i)
		}
	}
	touched = append(touched, least)
	return touched, g.gather(ctx, touched)
}

// gather makes outTable of all rows that are written: what stays of the touched
// files, and what is new or changed.
func (g *ingester) gather(ctx context.Context, touched []int64) error {
	rows, err := g.currentRows(ctx)
	if err != nil {
		return err
	}
	names := g.in.names()
	list := "[-1]"
	if len(touched) > 0 {
		list = fmt.Sprintf("[%s]", join(touched))
	}
	return g.db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE %[1]s AS
		SELECT %[2]s FROM (%[3]s) c WHERE list_contains(%[4]s, c.file) AND NOT EXISTS (FROM %[5]s d WHERE d.asset_id = c.asset_id AND d.what IN ('changed', 'gone'))
		UNION ALL SELECT %[2]s FROM %[6]s i SEMI JOIN (FROM %[5]s WHERE what IN ('new', 'changed')) d USING (asset_id)`,
		outTable, names, rows, list, diffTable, inTable))
}

func join(list []int64) string {
	var b []byte
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Append(b, n)
	}
	return string(b)
}

// write writes the rows of a native table, sorted by a unique key, as data files
// of about equal size. The key, if it is one column, goes into their statistics.
func (g *ingester) write(ctx context.Context, t *table.Table, from string, keys ...string) ([]table.File, error) {
	total, err := g.db.Int(ctx, "SELECT count(*) FROM "+from)
	if err != nil || total == 0 {
		return nil, err
	}
	parts := (total + fileRows - 1) / fileRows
	size := (total + parts - 1) / parts
	first := keys[0]
	// Rows with one value of the first column stay together.
	starts, err := query.Column[string](ctx, g.db, fmt.Sprintf("SELECT DISTINCT %[1]s FROM (SELECT %[1]s, row_number() OVER (ORDER BY %[1]s) AS n FROM %[2]s) WHERE (n - 1) %% %[3]d = 0 ORDER BY 1", first, from, size))
	if err != nil {
		return nil, err
	}
	order := ""
	for i, k := range keys {
		if i > 0 {
			order += ", "
		}
		order += k + " NULLS FIRST"
	}
	files := make([]table.File, 0, len(starts))
	for i, start := range starts {
		where := fmt.Sprintf("%s >= %s", first, query.Literal(start))
		if i == 0 {
			where = "true"
		}
		if i+1 < len(starts) {
			where += fmt.Sprintf(" AND %s < %s", first, query.Literal(starts[i+1]))
		}
		f, err := tables.Write(ctx, g.db, t, fmt.Sprintf("SELECT * FROM %s WHERE %s ORDER BY %s", from, where, order), first)
		if err != nil {
			return nil, err
		}
		g.sum.Wrote += f.Size
		files = append(files, f)
	}
	return files, nil
}
