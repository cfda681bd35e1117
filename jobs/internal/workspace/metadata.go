package workspace

import (
	"context"
	"fmt"
	"strings"

	"winnow/io/query"
	"winnow/io/table"
)

// metadataPrefix begins the columns of assets that hold metadata.
const metadataPrefix = "metadata_"

// originalName is the entry of a column's metadata in the Delta table that holds
// a metadata field's name as users wrote it.
const originalName = "winnow.name"

// MetadataColumn is the column of a metadata field: its name with everything
// outside [A-Za-z0-9_] written as "_".
func MetadataColumn(field string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, field)
	return metadataPrefix + clean
}

// NewMetadataField describes a metadata column of the assets table.
func NewMetadataField(column, original string, t table.Type) table.Field {
	return table.Field{Name: column, Type: t, Nullable: true, Metadata: map[string]string{originalName: original}}
}

// MetadataField is the name, as users wrote it, of the metadata field that a
// column of the assets table holds; false for other columns.
func MetadataField(f table.Field) (string, bool) {
	name, ok := strings.CutPrefix(f.Name, metadataPrefix)
	if o := f.Metadata[originalName]; ok && o != "" {
		name = o
	}
	return name, ok
}

// MetadataStruct is the SQL of the struct `metadata` with every field under its
// own name; alias is the assets table's.
func (w *Workspace) MetadataStruct(ctx context.Context, alias string) (string, error) {
	snap, err := w.Snapshot(ctx, AssetsRoot)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, f := range snap.Schema {
		name, ok := MetadataField(f)
		if !ok {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s := %s.%s", query.Ident(name), alias, query.Ident(f.Name)))
	}
	if len(parts) == 0 {
		return "NULL::STRUCT(none INTEGER)", nil
	}
	return "struct_pack(" + strings.Join(parts, ", ") + ")", nil
}
