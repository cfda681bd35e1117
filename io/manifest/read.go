package manifest

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"winnow/io/query"
	"winnow/pipeline"
)

// Result is what a manifest holds, as tables of the database.
//
// Table has a row for each asset, unique by asset_id: asset_id, uri (absolute),
// text, caption, version and media_type, VARCHAR, where uri or text may be NULL
// but not both, version is never NULL; file, the number of the manifest's file
// in Files, and line (of JSON Lines and CSV; of Parquet the row), BIGINT, from
// 1; and a column for each metadata field. Rejects lists what was refused:
// asset_id (may be NULL or empty), file, line, reason and error.
type Result struct {
	State    State
	Table    string
	Rejects  string
	Meta     []MetaColumn
	Files    []string // addresses, without parameters
	Rows     int64
	Rejected int64

	Unversioned int64    // rows whose change of content will not be noticed
	Warnings    []string // for people
}

// MetaColumn is a metadata field of a source.
type MetaColumn struct {
	Column string     // in the table
	Name   string     // as the manifest writes it
	Type   query.Type // a plain one, see query.Plain
}

// ReadOptions tunes a read.
type ReadOptions struct {
	// Known, if any, is a table with asset_id, version and text of what was read
	// before: files of text of a known version are not fetched again.
	Known string
	Count func(rows int64) // hears of progress; may be nil
}

// fixedColumns are the columns of every table of a Result beside the metadata.
const fixedColumns = "asset_id, uri, text, caption, version, media_type, file, line"

// Read reads a manifest into native tables of the reader's database whose names
// start with name; existing ones are replaced. What is wrong with a row rejects
// the row; errors are about whole files, the storage or the source itself.
func (r *Reader) Read(ctx context.Context, src Source, name string, o ReadOptions) (*Result, error) {
	if o.Count == nil {
		o.Count = func(int64) {}
	}
	f, err := r.find(ctx, src)
	if err != nil {
		return nil, err
	}
	uris, err := newURIMaker(src.Allow)
	if err != nil {
		return nil, err
	}
	res := &Result{Table: name, Rejects: name + "_rejects", State: State{Format: readerFormat, Options: src.options()}}
	err = r.db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s (asset_id VARCHAR, file BIGINT, line BIGINT, reason VARCHAR, error VARCHAR)", query.Ident(res.Rejects)))
	if err != nil {
		return nil, err
	}
	if f.glob != nil {
		err = r.readFolder(ctx, f, res, uris, o)
	} else {
		err = r.readFiles(ctx, f, res, uris, o)
	}
	if err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context, *Result) error{r.dropDuplicates, func(ctx context.Context, res *Result) error { return r.addVersions(ctx, name, res) }, r.addMediaTypes} {
		if err := step(ctx, res); err != nil {
			return nil, err
		}
	}
	if res.Rows, err = r.db.Int(ctx, "SELECT count(*) FROM "+query.Ident(name)); err != nil {
		return nil, err
	}
	res.Rejected, err = r.db.Int(ctx, "SELECT count(*) FROM "+query.Ident(res.Rejects))
	return res, err
}

// staged is a table of a part of the source, with its own types.
type staged struct {
	table string
	meta  []query.ColumnInfo
}

// readFiles reads manifest files into res.Table, duplicates included.
func (r *Reader) readFiles(ctx context.Context, f *found, res *Result, uris *uriMaker, o ReadOptions) (err error) {
	if res.State.Files, err = f.hash(ctx); err != nil {
		return err
	}
	var text, parquet []listed
	for i, obj := range f.files {
		uri, err := f.uri(obj.Key)
		if err != nil {
			return err
		}
		res.Files = append(res.Files, withoutQuery(uri))
		if formOf(obj.Key) == formParquet {
			parquet = append(parquet, listed{obj, i})
		} else {
			text = append(text, listed{obj, i})
		}
	}
	names := &metaNames{}
	var parts []staged
	if len(text) > 0 {
		part, err := r.readTexts(ctx, f, text, names, uris, res, o)
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	groups, err := r.parquetFiles(ctx, f, parquet)
	if err != nil {
		return err
	}
	for i, group := range groups {
		table := fmt.Sprintf("%s_part%d", res.Table, i+1)
		meta, err := r.loadParquet(ctx, f.source, group, names, uris, table, res.Rejects)
		if err != nil {
			return err
		}
		parts = append(parts, staged{table, meta})
	}
	return r.unite(ctx, parts, names, res)
}

// readTexts reads JSON and CSV files.
func (r *Reader) readTexts(ctx context.Context, f *found, files []listed, names *metaNames, uris *uriMaker, res *Result, o ReadOptions) (part staged, err error) {
	part.table = res.Table + "_part0"
	var n *normalizer
	err = r.db.Append(ctx, res.Rejects, func(add func(...any) error) error {
		n, err = newNormalizer(r.db.Dir(), f.source, names, uris, func(id string, file int, line int64, fault error) error {
			reason, text := faultText(fault)
			return add(id, int64(file), line, reason, text)
		}, o.Count)
		if err != nil {
			return err
		}
		for _, lf := range files {
			if err := n.file(ctx, f, lf.Object, lf.number); err != nil {
				return fmt.Errorf("manifest %s: %w", res.Files[lf.number], err)
			}
		}
		return nil
	})
	if n != nil {
		defer func() { err = errors.Join(err, n.remove()) }()
	}
	if err != nil {
		return part, err
	}
	part.meta, err = n.load(ctx, r.db, part.table)
	return part, err
}

// faultText splits a row's fault for the rejects table. Texts stay short.
func faultText(err error) (reason, text string) {
	var fault *pipeline.RowError
	if !errors.As(err, &fault) {
		return pipeline.ReasonInvalidRow, err.Error()
	}
	text = fault.Err.Error()
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + " …"
	}
	return fault.Reason, text
}

// unite makes res.Table of its parts; types that differ are merged.
func (r *Reader) unite(ctx context.Context, parts []staged, names *metaNames, res *Result) error {
	types := map[string]query.Type{}
	for _, p := range parts {
		for _, c := range p.meta {
			if t, ok := types[c.Name]; ok {
				c.Type = query.Merge(t, c.Type)
			}
			types[c.Name] = c.Type
		}
	}
	for i, name := range names.names {
		if t, ok := types[fmt.Sprintf("m%d", i)]; ok {
			res.Meta = append(res.Meta, MetaColumn{fmt.Sprintf("m%d", i), name, t})
		}
	}
	sort.Slice(res.Meta, func(i, j int) bool { return res.Meta[i].Name < res.Meta[j].Name })
	selects := make([]string, len(parts))
	for i, p := range parts {
		have := map[string]query.Type{}
		for _, c := range p.meta {
			have[c.Name] = c.Type
		}
		cols := []string{fixedColumns}
		for _, m := range res.Meta {
			expr := "NULL::" + m.Type.String()
			if t, ok := have[m.Column]; ok {
				expr = query.Convert(m.Column, t, m.Type)
			}
			cols = append(cols, expr+" AS "+m.Column)
		}
		selects[i] = fmt.Sprintf("SELECT %s FROM %s", strings.Join(cols, ", "), query.Ident(p.table))
	}
	err := r.db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS %s", query.Ident(res.Table), strings.Join(selects, " UNION ALL ")))
	for _, p := range parts {
		if err == nil {
			err = r.db.Exec(ctx, "DROP TABLE "+query.Ident(p.table))
		}
	}
	return err
}

// dropDuplicates keeps, of the rows with one asset_id, the first, and lists the
// others.
func (r *Reader) dropDuplicates(ctx context.Context, res *Result) error {
	twice := query.Ident(res.Table + "_twice")
	files := query.Ident(res.Table + "_files")
	err := r.db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s (number BIGINT, address VARCHAR)", files))
	if err != nil {
		return err
	}
	err = r.db.Append(ctx, res.Table+"_files", func(add func(...any) error) error {
		for i, f := range res.Files {
			if err := add(int64(i), f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE %[1]s AS SELECT asset_id, min(file * 1099511627776 + line) AS first FROM %[2]s GROUP BY asset_id HAVING count(*) > 1;
		INSERT INTO %[3]s SELECT t.asset_id, t.file, t.line, %[4]s,
				'the id is taken: it stands in line ' || d.first %% 1099511627776 || CASE WHEN d.first // 1099511627776 <> t.file THEN ' of ' || f.address ELSE '' END || ' first, and that row counts'
			FROM %[2]s t JOIN %[1]s d USING (asset_id) JOIN %[5]s f ON f.number = d.first // 1099511627776
			WHERE t.file * 1099511627776 + t.line <> d.first ORDER BY t.file, t.line;
		DELETE FROM %[2]s AS t USING %[1]s d WHERE t.asset_id = d.asset_id AND t.file * 1099511627776 + t.line <> d.first;
		DROP TABLE %[1]s; DROP TABLE %[5]s`,
		twice, query.Ident(res.Table), query.Ident(res.Rejects), query.Literal(pipeline.ReasonDuplicateID), files))
}

// mediaTypes by extension.
var mediaTypes = map[string]string{
	"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp",
	"bmp": "image/bmp", "tif": "image/tiff", "tiff": "image/tiff", "avif": "image/avif", "heic": "image/heic",
	"txt": "text/plain", "md": "text/markdown",
}

// addMediaTypes fills in what the manifest does not say and the name of the file
// does.
func (r *Reader) addMediaTypes(ctx context.Context, res *Result) error {
	pairs := make([]string, 0, len(mediaTypes))
	for ext, typ := range mediaTypes {
		pairs = append(pairs, query.Literal(ext)+": "+query.Literal(typ))
	}
	sort.Strings(pairs)
	return r.db.Exec(ctx, fmt.Sprintf(`UPDATE %s SET media_type = CASE WHEN uri IS NULL THEN 'text/plain'
			ELSE MAP {%s}[lower(regexp_extract(uri, '[.]([A-Za-z0-9]+)([?][^/]*)?$', 1))] END
		WHERE media_type IS NULL`, query.Ident(res.Table), strings.Join(pairs, ", ")))
}
