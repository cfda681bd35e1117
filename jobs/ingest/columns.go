package ingest

import (
	"fmt"
	"sort"
	"strings"

	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
)

// column is a metadata column of the assets table.
type column struct {
	name     string // in the table: metadata_…
	original string // as manifests write it
	typ      query.Type
	widened  bool // the table has it with another type
	added    bool
}

// fixed are the columns of the assets table beside the metadata.
var fixed = []string{"asset_id", "uri", "text", "caption", "media_type", "version", "source"}

// settleColumns merges the metadata columns of the table with those of the
// manifests that were read.
func (in *ingester) settleColumns() error {
	byOriginal := map[string]int{}
	taken := map[string]bool{}
	for _, f := range in.snap.Schema {
		c, ok := workspace.MetadataField(f)
		if !ok {
			continue
		}
		typ, err := duckType(f.Type)
		if err != nil {
			return fmt.Errorf("assets table, column %s: %w", f.Name, err)
		}
		byOriginal[strings.ToLower(c)] = len(in.columns)
		taken[strings.ToLower(f.Name)] = true
		in.columns = append(in.columns, column{name: f.Name, original: c, typ: typ})
	}
	for _, s := range in.sources {
		if s.result == nil {
			continue
		}
		for _, m := range s.result.Meta {
			if i, ok := byOriginal[strings.ToLower(m.Name)]; ok {
				c := &in.columns[i]
				if merged := query.Merge(c.typ, m.Type); !merged.Equal(c.typ) {
					c.typ, c.widened = merged, !c.added
				}
				continue
			}
			name := workspace.MetadataColumn(m.Name)
			for n := 2; taken[strings.ToLower(name)]; n++ { // "a b" and "a_b"
				name = fmt.Sprintf("%s_%d", workspace.MetadataColumn(m.Name), n)
			}
			taken[strings.ToLower(name)] = true
			byOriginal[strings.ToLower(m.Name)] = len(in.columns)
			in.columns = append(in.columns, column{name: name, original: m.Name, typ: m.Type, added: true})
		}
	}
	for i := range in.columns { // a column that was always null so far
		if in.columns[i].typ.Equal(query.Null) {
			in.columns[i].typ = query.Varchar
		}
	}
	sort.SliceStable(in.columns, func(a, b int) bool { return in.columns[a].name < in.columns[b].name })
	return nil
}

// schema is the Delta schema of the assets table.
func (in *ingester) schema() (table.Schema, error) {
	var s table.Schema
	for _, name := range fixed {
		s = append(s, table.Field{Name: name, Type: table.String, Nullable: true})
	}
	for _, c := range in.columns {
		t, err := deltaType(c.typ)
		if err != nil {
			return nil, fmt.Errorf("metadata field %q: %w", c.original, err)
		}
		s = append(s, workspace.NewMetadataField(c.name, c.original, t))
	}
	return s, nil
}

// deltaType is the Delta twin of a plain DuckDB type.
func deltaType(t query.Type) (table.Type, error) {
	switch t.Name {
	case "BOOLEAN":
		return table.Boolean, nil
	case "BIGINT":
		return table.Long, nil
	case "FLOAT":
		return table.Float, nil
	case "DOUBLE":
		return table.Double, nil
	case "VARCHAR":
		return table.String, nil
	case "BLOB":
		return table.Binary, nil
	case "DATE":
		return table.Date, nil
	case "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ":
		return table.Timestamp, nil
	case "LIST":
		e, err := deltaType(*t.Elem)
		return table.Array(e, true), err
	case "STRUCT":
		var fields []table.Field
		for _, f := range t.Fields {
			ft, err := deltaType(f.Type)
			if err != nil {
				return table.Type{}, err
			}
			fields = append(fields, table.Field{Name: f.Name, Type: ft, Nullable: true})
		}
		return table.Struct(fields...), nil
	}
	if strings.HasPrefix(t.Name, "DECIMAL(") {
		var p, s int
		if _, err := fmt.Sscanf(t.Name, "DECIMAL(%d,%d)", &p, &s); err == nil {
			return table.Decimal(p, s), nil
		}
	}
	return table.Type{}, fmt.Errorf("type %s has no twin in Delta tables", t)
}

// duckType is the inverse of deltaType.
func duckType(t table.Type) (query.Type, error) {
	switch t.Name {
	case "boolean":
		return query.Boolean, nil
	case "long":
		return query.BigInt, nil
	case "float":
		return query.Float, nil
	case "double":
		return query.Double, nil
	case "string":
		return query.Varchar, nil
	case "binary":
		return query.Type{Name: "BLOB"}, nil
	case "date":
		return query.Type{Name: "DATE"}, nil
	case "timestamp":
		return query.Type{Name: "TIMESTAMP WITH TIME ZONE"}, nil
	case "array":
		e, err := duckType(*t.Elem)
		return query.ListOf(e), err
	case "struct":
		var fields []query.TypeField
		for _, f := range t.Fields {
			ft, err := duckType(f.Type)
			if err != nil {
				return query.Type{}, err
			}
			fields = append(fields, query.TypeField{Name: f.Name, Type: ft})
		}
		return query.StructOf(fields...), nil
	}
	if strings.HasPrefix(t.Name, "decimal(") {
		return query.Type{Name: strings.ToUpper(t.Name)}, nil
	}
	return query.Type{}, fmt.Errorf("type %s is not one that winnow writes", t.Name)
}
