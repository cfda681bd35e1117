package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/jobs/internal/workspace"
)

// fields are the columns that a config names, for the manifest reader.
func fields(pairs ...string) manifest.Fields {
	f := manifest.Fields{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			f[pairs[i]] = pairs[i+1]
		}
	}
	return f
}

func (g *ingester) spec(c configs.Source) manifest.Source {
	return manifest.Source{
		Manifest: c.Manifest,
		Fields:   fields("asset_id", c.Fields.AssetID, "uri", c.Fields.URI, "text", c.Fields.Text, "caption", c.Fields.Caption, "version", c.Fields.Version),
		Allow:    c.Allow,
		Exclude:  []string{g.w.Store.URL()},
		MaxLine:  int64(g.w.Config.Limits.Line),
	}
}

// probe finds out which sources have changed. One that lost rows to another is
// read with it: the rows may be its own now.
func (g *ingester) probe(ctx context.Context, r *manifest.Reader) error {
	g.sum.Sources = make([]SourceSummary, len(g.w.Config.Sources))
	changed := 0
	for i, c := range g.w.Config.Sources {
		s := &source{number: i, name: c.Name, spec: g.spec(c), all: c.Mode == "snapshot", sum: &g.sum.Sources[i]}
		s.sum.Name = c.Name
		g.sources = append(g.sources, s)
		known, ok := g.book.Sources[c.Name]
		state, err := r.Probe(ctx, s.spec, known.State)
		if err != nil {
			return fmt.Errorf("source %s: %w", c.Name, err)
		}
		if s.sum.Read = !ok || !state.Same(known.State); s.sum.Read {
			changed++
		}
		s.twice = known.Twice
	}
	for _, s := range g.sources {
		s.sum.Read = s.sum.Read || changed > 0 && s.twice > 0
	}
	return nil
}

// read reads the sources that are due into inTable. A source that loses an asset
// to an earlier one is read, too, so that its row is listed as a reject.
func (g *ingester) read(ctx context.Context) (err error) {
	r := manifest.NewReader(g.db, g.w.Cache)
	defer func() { err = errors.Join(err, r.Close()) }()
	err = g.db.Exec(ctx, "CREATE OR REPLACE TABLE "+rejectsTable+" (asset_id VARCHAR, source VARCHAR, line BIGINT, reason VARCHAR, error VARCHAR, owner BIGINT)")
	if err != nil {
		return err
	}
	if err := g.knownTexts(ctx); err != nil {
		return err
	}
	for more := true; more; {
		for _, s := range g.sources {
			if s.sum.Read && s.res == nil {
				if err := g.readOne(ctx, r, s); err != nil {
					return fmt.Errorf("source %s: %w", s.name, err)
				}
			}
		}
		if err := g.unite(ctx); err != nil {
			return err
		}
		if more, err = g.losers(ctx); err != nil {
			return err
		}
	}
	return g.settle(ctx)
}

func (g *ingester) readOne(ctx context.Context, r *manifest.Reader, s *source) error {
	count := g.w.App.Progress.Start("ingest "+s.name, "rows", 0)
	defer count.Done()
	o := manifest.ReadOptions{Count: count.Add}
	if len(g.snap.Files) > 0 {
		o.Known = knownTable
	}
	res, err := r.Read(ctx, s.spec, fmt.Sprintf("ingest_source%d", s.number), o)
	if err != nil {
		return err
	}
	s.res = res
	for _, w := range res.Warnings {
		g.warn("source %s: %s", s.name, w)
	}
	if res.Unversioned > 0 {
		g.warn("source %s: nothing tells the version of %d assets, so a change of their content is not noticed; give the manifest a column version, etag or md5", s.name, res.Unversioned)
	}
	return nil
}

func (g *ingester) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); len(g.sum.Warnings) < 50 {
		g.sum.Warnings = append(g.sum.Warnings, w)
	}
}

// knownTexts makes the view of texts that need not be fetched again.
func (g *ingester) knownTexts(ctx context.Context) error {
	if len(g.snap.Files) == 0 {
		return nil
	}
	return g.db.Exec(ctx, "CREATE OR REPLACE VIEW "+knownTable+" AS SELECT asset_id, version, text FROM "+query.Parquet(g.paths)+" WHERE uri IS NULL AND text IS NOT NULL")
}

// losers marks sources to read that an earlier source takes assets from.
func (g *ingester) losers(ctx context.Context) (more bool, err error) {
	for _, s := range g.sources {
		if s.res != nil {
			continue
		}
		n, err := g.db.Int(ctx, fmt.Sprintf("SELECT count(*) FROM %s i JOIN %s c USING (asset_id) WHERE c.source = %s AND i.owner < %d", inTable, currentTable, query.Literal(s.name), s.number))
		if err != nil {
			return false, err
		}
		if n > 0 {
			s.sum.Read, more = true, true
		}
	}
	return more, nil
}

// unite makes inTable of the tables of all sources that were read, with one row
// for each asset and source, and lists what the manifests' readers refused.
func (g *ingester) unite(ctx context.Context) error {
	in, err := g.columns()
	if err != nil {
		return err
	}
	g.in = in
	var selects []string
	err = g.db.Exec(ctx, "DELETE FROM "+rejectsTable)
	for _, s := range g.sources {
		if s.res == nil || err != nil {
			continue
		}
		cols := []string{"asset_id", "uri", "text", "caption", "media_type", "version", query.Literal(s.name) + " AS source"}
		for _, c := range in.meta {
			expr := "NULL::" + c.typ.String()
			if m, ok := c.from[s.number]; ok {
				expr = query.Convert(m.Column, m.Type, c.typ)
			}
			cols = append(cols, expr+" AS "+query.Ident(c.name))
		}
		cols = append(cols, fmt.Sprintf("%d::BIGINT AS owner", s.number), "file", "line")
		selects = append(selects, fmt.Sprintf("SELECT %s FROM %s", strings.Join(cols, ", "), query.Ident(s.res.Table)))
		err = g.db.Exec(ctx, fmt.Sprintf("INSERT INTO %s SELECT nullif(r.asset_id, ''), %s[r.file + 1], r.line, r.reason, r.error, %d FROM %s r",
			rejectsTable, query.Literals(s.res.Files), s.number, query.Ident(s.res.Rejects)))
	}
	if err != nil {
		return err
	}
	return g.db.Exec(ctx, "CREATE OR REPLACE TABLE "+inTable+" AS "+strings.Join(selects, " UNION ALL "))
}

// settle leaves one row for each asset in inTable: the first source's, unless an
// earlier source has it already and keeps it. The others become rejects.
func (g *ingester) settle(ctx context.Context) error {
	var keepers, names, files []string // of sources, by number
	for _, s := range g.sources {
		names = append(names, s.name)
		// What an earlier source has stays with it, unless it was read as a
		// snapshot: then its own rows say what it has.
		if s.res == nil || !s.all {
			keepers = append(keepers, fmt.Sprintf("(%s, %d)", query.Literal(s.name), s.number))
		}
		if s.res != nil {
			files = append(files, fmt.Sprintf("WHEN %d THEN %s[i.file + 1]", s.number, query.Literals(s.res.Files)))
		}
	}
	if keepers == nil {
		keepers = []string{"('', 9223372036854775807)"}
	}
	err := g.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE ingest_first AS SELECT asset_id, min(owner) AS owner FROM (
			SELECT asset_id, owner FROM %[1]s
			UNION ALL SELECT c.asset_id, k.number FROM %[2]s c JOIN (VALUES %[3]s) k(name, number) ON k.name = c.source SEMI JOIN %[1]s i ON i.asset_id = c.asset_id)
			GROUP BY asset_id;
		INSERT INTO %[4]s SELECT i.asset_id, CASE i.owner %[5]s END, i.line, 'duplicate_id',
				'the id is taken by source ' || %[6]s[f.owner + 1] || ', which comes first in the config', i.owner
			FROM %[1]s i JOIN ingest_first f USING (asset_id) WHERE i.owner <> f.owner;
		DELETE FROM %[1]s AS i USING ingest_first f WHERE i.asset_id = f.asset_id AND i.owner <> f.owner;
		DROP TABLE ingest_first`,
		inTable, currentTable, strings.Join(keepers, ", "), rejectsTable, strings.Join(files, " "), query.Literals(names)))
	if err != nil {
		return err
	}
	for _, s := range g.sources {
		if s.res == nil {
			continue
		}
		// What the reader itself found twice is in res; the rest is the others'.
		listed, err := g.db.Int(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE owner = %d", rejectsTable, s.number))
		if err != nil {
			return err
		}
		s.twice, s.sum.Refused = listed-s.res.Rejected, listed
	}
	return nil
}

// metaColumn is a metadata column of the assets table.
type metaColumn struct {
	name  string // of the column
	field string // as users write it
	typ   query.Type
	from  map[int]manifest.MetaColumn // by number of the source
}

// incoming describes inTable and the assets table to be.
type incoming struct {
	meta    []*metaColumn
	retyped bool // a column of the table gets another type
	grown   bool // there are new columns
}

// fixed are the columns of assets beside the metadata.
var fixed = []string{"asset_id", "uri", "text", "caption", "media_type", "version", "source"}

// columns decides the metadata columns: those of the table, in their order, then
// new ones by name.
func (g *ingester) columns() (*incoming, error) {
	in := &incoming{}
	byField, byName := map[string]*metaColumn{}, map[string]bool{}
	old, err := tableColumns(g.snap.Schema)
	if err != nil {
		return nil, err
	}
	for _, c := range old {
		in.meta = append(in.meta, c)
		byField[strings.ToLower(c.field)] = c
		byName[strings.ToLower(c.name)] = true
	}
	was := make([]string, len(old))
	for i, c := range old {
		was[i] = c.typ.String()
	}
	for _, s := range g.sources {
		if s.res == nil {
			continue
		}
		for _, m := range s.res.Meta { // sorted by name
			c := byField[strings.ToLower(m.Name)]
			if c == nil {
				c = &metaColumn{name: freeName(m.Name, byName), field: m.Name, typ: query.Null, from: map[int]manifest.MetaColumn{}}
				byField[strings.ToLower(m.Name)] = c
				byName[strings.ToLower(c.name)] = true
				in.meta, in.grown = append(in.meta, c), true
			}
			c.typ = query.Merge(c.typ, m.Type)
			c.from[s.number] = m
		}
	}
	for i, c := range old {
		in.retyped = in.retyped || was[i] != c.typ.String()
	}
	return in, nil
}

// freeName is the column of a new metadata field.
func freeName(field string, taken map[string]bool) string {
	name := workspace.MetadataColumn(field)
	for i := 2; taken[strings.ToLower(name)]; i++ {
		name = fmt.Sprintf("%s_%d", workspace.MetadataColumn(field), i)
	}
	return name
}
