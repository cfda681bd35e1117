package manifest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/pipeline"
)

// parquetFile is a manifest file with its local copy.
type parquetFile struct {
	number int
	base   string // its address
	local  string
	cols   []query.ColumnInfo
}

// parquetFiles fetches Parquet files and groups those of equal schema.
func (r *Reader) parquetFiles(ctx context.Context, f *found, files []listed) (groups [][]parquetFile, err error) {
	index := map[string]int{}
	for _, nf := range files {
		pf := parquetFile{number: nf.number}
		if pf.base, err = f.uri(nf.Key); err != nil {
			return nil, err
		}
		if pf.local, err = f.st.Local(ctx, nf.Key, r.cache); err != nil {
			return nil, err
		}
		pf.local = filepath.ToSlash(pf.local)
		if pf.cols, err = r.db.Columns(ctx, "read_parquet("+query.Literals([]string{pf.local})+", hive_partitioning = false)"); err != nil {
			return nil, fmt.Errorf("%s: %w", withoutQuery(pf.base), err)
		}
		var key strings.Builder
		for _, c := range pf.cols {
			fmt.Fprintf(&key, "%q %s\n", c.Name, c.Type)
		}
		i, ok := index[key.String()]
		if !ok {
			i = len(groups)
			index[key.String()] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], pf)
	}
	return groups, nil
}

// columnFinder finds winnow's words among the columns of a Parquet file.
type columnFinder struct {
	fields Fields
	cols   []query.ColumnInfo
	used   map[string]bool // names of columns
}

// at returns the expression and type of a column, or of a field of a struct.
func (c *columnFinder) at(path string) (expr string, typ query.Type, col string, ok bool) {
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		for _, i := range c.cols {
			if same(i.Name, path) {
				return query.Ident(i.Name), i.Type, i.Name, true
			}
		}
	}
	name, rest, dotted := strings.Cut(path, ".")
	if !dotted {
		return "", typ, "", false
	}
	for _, i := range c.cols {
		if i.Name != name {
			continue
		}
		expr, typ, col = query.Ident(i.Name), i.Type, i.Name
	parts:
		for part := range strings.SplitSeq(rest, ".") {
			for _, f := range typ.Fields {
				if typ.Name == "STRUCT" && f.Name == part {
					expr, typ = "("+expr+")."+query.Ident(f.Name), f.Type
					continue parts
				}
			}
			return "", typ, "", false
		}
		return expr, typ, col, true
	}
	return "", typ, "", false
}

// find returns the expression of a word's text, NULL where it is blank.
func (c *columnFinder) find(word string, accept func(path string) bool) (expr, path string, err error) {
	paths := places[word]
	if p := c.fields[word]; p != "" {
		paths = []string{p}
	}
	for _, p := range paths {
		e, typ, col, ok := c.at(p)
		if !ok || c.fields[word] == "" && accept != nil && !accept(p) {
			continue
		}
		if typ.Nested() || typ.Name == "BLOB" || typ.Name == "BOOLEAN" {
			if c.fields[word] == "" && p != word {
				continue
			}
			return "", "", pipeline.Usagef("column %s cannot be the %s: it is of type %s", p, word, typ)
		}
		if col == p {
			c.used[col] = true
		}
		return fmt.Sprintf("CASE WHEN trim(CAST(%[1]s AS VARCHAR)) = '' THEN NULL ELSE CAST(%[1]s AS VARCHAR) END", e), p, nil
	}
	if p := c.fields[word]; p != "" {
		names := make([]string, len(c.cols))
		for i, col := range c.cols {
			names[i] = col.Name
		}
		return "", "", pipeline.Usagef("fields: there is no column %q for %s; the file has %s", p, word, strings.Join(names, ", "))
	}
	return "NULL::VARCHAR", "", nil
}

// words are the expressions of winnow's words in a Parquet file.
type words struct{ id, uri, text, caption, version, mediaType string }

func (c *columnFinder) words() (w words, err error) {
	var idAt, uriAt, textAt string
	if w.id, idAt, err = c.find("asset_id", nil); err != nil {
		return w, err
	}
	if w.mediaType, _, err = c.find("media_type", nil); err != nil {
		return w, err
	}
	if w.uri, uriAt, err = c.find("uri", nil); err != nil {
		return w, err
	}
	w.text, textAt, err = c.find("text", func(path string) bool {
		return path != uriAt && (path != "source" || idAt == "" && uriAt == "")
	})
	if err != nil {
		return w, err
	}
	if w.caption, _, err = c.find("caption", nil); err != nil {
		return w, err
	}
	if w.version, _, err = c.find("version", nil); err != nil {
		return w, err
	}
	switch {
	case uriAt == "row_data" || uriAt == "data_row.row_data": // an address or the text itself
		is := fmt.Sprintf("(regexp_matches(%[1]s, '^[A-Za-z][A-Za-z0-9+.-]*://') OR CASE WHEN %[2]s IS NULL THEN NOT regexp_matches(%[1]s, '[ \t\n]') ELSE upper(%[2]s) NOT IN ('TEXT', 'CONVERSATIONAL', 'HTML') END)", w.uri, w.mediaType)
		if textAt == "" {
			w.text = fmt.Sprintf("CASE WHEN NOT %s THEN %s END", is, w.uri)
		}
		w.uri = fmt.Sprintf("CASE WHEN %s THEN %s END", is, w.uri)
	case uriAt == "file_name" && textAt == "text" && c.fields["text"] == "" && w.caption == "NULL::VARCHAR":
		w.text, w.caption = w.caption, w.text
	}
	if idAt == "" && textAt == "source" {
		w.id = fmt.Sprintf("'text-' || left(md5(%s), 16)", w.text)
	}
	return w, nil
}

// metadata returns what is left of the columns, with the fields of a struct
// column called metadata one by one.
func (c *columnFinder) metadata() (names, exprs []string, types []query.Type) {
	add := func(name, expr string, typ query.Type) {
		plain := query.Plain(typ)
		if plain.Name == query.Null.Name || name == "" {
			return
		}
		names, exprs, types = append(names, name), append(exprs, query.Convert(expr, typ, plain)), append(types, plain)
	}
	for _, col := range c.cols {
		if c.used[col.Name] {
			continue
		}
		if col.Name == "metadata" && col.Type.Name == "STRUCT" {
			for _, f := range col.Type.Fields {
				add(f.Name, "("+query.Ident(col.Name)+")."+query.Ident(f.Name), f.Type)
			}
			continue
		}
		name := col.Name
		for _, prefix := range []string{"metadata.", "metadata_"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
				name = rest
				break
			}
		}
		add(name, query.Ident(col.Name), col.Type)
	}
	return names, exprs, types
}

// loadParquet makes the native table name of a group of files of equal schema,
// with the columns of normalizer.load, and lists the faulty rows in rejects.
func (r *Reader) loadParquet(ctx context.Context, src Source, group []parquetFile, names *metaNames, uris *uriMaker, name, rejects string) ([]query.ColumnInfo, error) {
	c := columnFinder{fields: src.Fields, cols: group[0].cols, used: map[string]bool{}}
	w, err := c.words()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", withoutQuery(group[0].base), err)
	}
	var selected []string
	var meta []query.ColumnInfo
	metaNames, exprs, types := c.metadata()
	for i, n := range metaNames {
		k, err := names.number(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", withoutQuery(group[0].base), err)
		}
		col := query.ColumnInfo{Name: fmt.Sprintf("m%d", k), Type: types[i]}
		if has(meta, col.Name) { // names that case alone tells apart: the first counts
			continue
		}
		meta = append(meta, col)
		selected = append(selected, exprs[i]+" AS "+col.Name)
	}
	resolve, err := r.resolver(ctx, uris)
	if err != nil {
		return nil, err
	}
	paths, values := make([]string, len(group)), make([]string, len(group))
	for i, f := range group {
		paths[i] = f.local
		values[i] = fmt.Sprintf("(%s, %d, %s)", query.Literal(f.local), f.number, query.Literal(f.base))
	}
	all := query.Ident(name + "_all")
	err = r.db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE %s AS
		SELECT %s AS asset_id, %s(winnow_base, %s) AS uri, %s AS text, %s AS caption, %s AS version, %s AS media_type,
			winnow_number::BIGINT AS file, file_row_number + 1 AS line%s
		FROM read_parquet(%s, filename = 'winnow_file', file_row_number = true, hive_partitioning = false)
		JOIN (VALUES %s) winnow_files(winnow_path, winnow_number, winnow_base) ON winnow_path = winnow_file`,
		all, w.id, resolve, w.uri, w.text, w.caption, w.version, w.mediaType, prefixed(selected), query.Literals(paths), strings.Join(values, ", ")))
	if err != nil {
		return nil, err
	}
	// A resolved uri starts with + or, with the reason, with -.
	return meta, r.db.Exec(ctx, fmt.Sprintf(`
		INSERT INTO %[1]s SELECT asset_id, file, line,
				CASE WHEN asset_id IS NULL THEN %[4]s WHEN contains(asset_id, chr(0)) THEN %[6]s WHEN uri IS NULL AND text IS NULL THEN %[5]s ELSE split_part(uri[2:], '|', 1) END,
				CASE WHEN asset_id IS NULL THEN 'the row has no asset_id; name its column with fields: {asset_id: …}'
					WHEN contains(asset_id, chr(0)) THEN 'the asset_id contains a zero byte'
					WHEN uri IS NULL AND text IS NULL THEN 'the row has neither a uri nor a text; name their columns with fields: {uri: …} or {text: …}'
					ELSE uri[strpos(uri, '|') + 1:] END
			FROM %[2]s WHERE asset_id IS NULL OR contains(asset_id, chr(0)) OR uri IS NULL AND text IS NULL OR starts_with(uri, '-');
		CREATE OR REPLACE TABLE %[3]s AS SELECT * REPLACE (uri[2:] AS uri)
			FROM %[2]s WHERE asset_id IS NOT NULL AND NOT contains(asset_id, chr(0)) AND (uri IS NOT NULL OR text IS NOT NULL) AND NOT coalesce(starts_with(uri, '-'), false);
		DROP TABLE %[2]s`, query.Ident(rejects), all, query.Ident(name), query.Literal(pipeline.ReasonMissingID), query.Literal(pipeline.ReasonNothing), query.Literal(pipeline.ReasonInvalidRow)))
}

func has(cols []query.ColumnInfo, name string) bool {
	for _, c := range cols {
		if c.Name == name {
			return true
		}
	}
	return false
}

func prefixed(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return ", " + strings.Join(list, ", ")
}

// resolver registers the function (base, uri) for SQL, which returns "+" and
// the absolute URI, or "-", the reason, "|" and the error.
func (r *Reader) resolver(ctx context.Context, uris *uriMaker) (string, error) {
	r.serial++
	name := fmt.Sprintf("winnow_resolve_%p_%d", r, r.serial)
	return name, r.db.Function(ctx, name, 2, func(args []string) string {
		abs, err := uris.resolve(args[0], args[1])
		if err == nil {
			return "+" + abs
		}
		reason, text := pipeline.ReasonInvalidRow, err.Error()
		if fault, ok := err.(*pipeline.RowError); ok {
			reason, text = fault.Reason, fault.Err.Error()
		}
		return "-" + reason + "|" + text
	})
}

// listed is a manifest file with its place in the list of all.
type listed struct {
	store.Object
	number int
}
