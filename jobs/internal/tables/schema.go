// Package tables moves rows between DuckDB and the Delta tables of a workspace.
package tables

import (
	"fmt"
	"strings"

	"winnow/io/query"
	"winnow/io/table"
)

// Delta returns the Delta type that a plain type of DuckDB (see query.Plain) is
// kept as.
func Delta(t query.Type) (table.Type, error) {
	switch t.Name {
	case query.Boolean.Name:
		return table.Boolean, nil
	case query.BigInt.Name:
		return table.Long, nil
	case query.Float.Name:
		return table.Float, nil
	case query.Double.Name:
		return table.Double, nil
	case query.Varchar.Name:
		return table.String, nil
	case query.Blob.Name:
		return table.Binary, nil
	case query.Date.Name:
		return table.Date, nil
	case query.Timestamp.Name:
		return table.Timestamp, nil
	case "LIST":
		elem, err := Delta(*t.Elem)
		return table.Array(elem, true), err
	case "STRUCT":
		var fields []table.Field
		for _, f := range t.Fields {
			ft, err := Delta(f.Type)
			if err != nil {
				return table.Type{}, err
			}
			fields = append(fields, table.Field{Name: f.Name, Type: ft, Nullable: true})
		}
		return table.Struct(fields...), nil
	}
	var p, s int
	if n, _ := fmt.Sscanf(t.Name, "DECIMAL(%d,%d)", &p, &s); n == 2 {
		return table.Decimal(p, s), nil
	}
	return table.Type{}, fmt.Errorf("type %s has no place in a Delta table", t)
}

// DuckDB returns the type of DuckDB that a column of a Delta table is read as.
// Whole numbers are all BIGINT.
func DuckDB(t table.Type) (query.Type, error) {
	switch t.Name {
	case table.Boolean.Name:
		return query.Boolean, nil
	case table.Long.Name, table.Integer.Name, table.Short.Name, table.Byte.Name:
		return query.BigInt, nil
	case table.Float.Name:
		return query.Float, nil
	case table.Double.Name:
		return query.Double, nil
	case table.String.Name:
		return query.Varchar, nil
	case table.Binary.Name:
		return query.Blob, nil
	case table.Date.Name:
		return query.Date, nil
	case table.Timestamp.Name:
		return query.Timestamp, nil
	case "array":
		elem, err := DuckDB(*t.Elem)
		return query.ListOf(elem), err
	case "struct":
		out := query.StructOf()
		for _, f := range t.Fields {
			ft, err := DuckDB(f.Type)
			if err != nil {
				return out, err
			}
			out.Fields = append(out.Fields, query.TypeField{Name: f.Name, Type: ft})
		}
		return out, nil
	}
	if strings.HasPrefix(t.Name, "decimal(") {
		return query.Type{Name: strings.ReplaceAll(strings.ToUpper(t.Name), " ", "")}, nil
	}
	return query.Type{}, fmt.Errorf("type %s of a Delta table cannot be read here", t.Name)
}

// Columns returns a schema's columns as DuckDB reads them.
func Columns(s table.Schema) ([]query.ColumnInfo, error) {
	cols := make([]query.ColumnInfo, len(s))
	for i, f := range s {
		t, err := DuckDB(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		cols[i] = query.ColumnInfo{Name: f.Name, Type: t}
	}
	return cols, nil
}
