package query

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Type is a type of DuckDB. Name is the type's name as DuckDB writes it, such
// as BIGINT or DECIMAL(18,3); of nested types LIST, STRUCT or MAP.
type Type struct {
	Name   string
	Elem   *Type       // of a LIST; the value of a MAP
	Key    *Type       // of a MAP
	Fields []TypeField // of a STRUCT
	Size   int         // of a LIST of fixed size; else 0
}

// TypeField is a field of a STRUCT.
type TypeField struct {
	Name string
	Type Type
}

// Types that winnow keeps columns in. Everything else is converted to them,
// see Plain: each has its twin in Delta tables of reader version 1.
var (
	Null      = Type{Name: "NULL"} // of what is always NULL
	Boolean   = Type{Name: "BOOLEAN"}
	BigInt    = Type{Name: "BIGINT"}
	Float     = Type{Name: "FLOAT"}
	Double    = Type{Name: "DOUBLE"}
	Varchar   = Type{Name: "VARCHAR"}
	Blob      = Type{Name: "BLOB"}
	Date      = Type{Name: "DATE"}
	Timestamp = Type{Name: "TIMESTAMP WITH TIME ZONE"} // microseconds, UTC
	JSON      = Type{Name: "JSON"}
)

// ListOf returns the type of lists of elem.
func ListOf(elem Type) Type { return Type{Name: "LIST", Elem: &elem} }

// StructOf returns the type of records.
func StructOf(fields ...TypeField) Type { return Type{Name: "STRUCT", Fields: fields} }

// String returns the type as DuckDB reads it.
func (t Type) String() string {
	switch t.Name {
	case "LIST":
		if t.Size > 0 {
			return fmt.Sprintf("%s[%d]", t.Elem, t.Size)
		}
		return t.Elem.String() + "[]"
	case "MAP":
		return fmt.Sprintf("MAP(%s, %s)", t.Key, t.Elem)
	case "STRUCT":
		fields := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			fields[i] = Ident(f.Name) + " " + f.Type.String()
		}
		return "STRUCT(" + strings.Join(fields, ", ") + ")"
	case "NULL":
		return "INTEGER" // DuckDB's own choice for a NULL without a type
	}
	return t.Name
}

// Equal tells whether two types are the same.
func (t Type) Equal(o Type) bool { return t.Name == o.Name && t.String() == o.String() }

// Nested tells lists, structs and maps.
func (t Type) Nested() bool { return t.Name == "LIST" || t.Name == "STRUCT" || t.Name == "MAP" }

// ParseType reads a type as DuckDB's DESCRIBE writes it.
func ParseType(s string) (Type, error) {
	p := typeParser{s: s}
	t, err := p.parse()
	if err == nil && strings.TrimSpace(p.s) != "" {
		err = fmt.Errorf("unexpected %q", p.s)
	}
	if err != nil {
		return Type{}, fmt.Errorf("type %q: %w", s, err)
	}
	return t, nil
}

type typeParser struct{ s string }

func (p *typeParser) take(prefix string) bool {
	p.s = strings.TrimLeft(p.s, " ")
	if !strings.HasPrefix(p.s, prefix) {
		return false
	}
	p.s = p.s[len(prefix):]
	return true
}

func (p *typeParser) parse() (Type, error) {
	t, err := p.base()
	for err == nil && p.take("[") {
		size, rest, ok := strings.Cut(p.s, "]")
		if !ok {
			return t, fmt.Errorf("no ] after [")
		}
		p.s = rest
		elem := t
		t = Type{Name: "LIST", Elem: &elem}
		if size != "" {
			t.Size, err = strconv.Atoi(size)
		}
	}
	return t, err
}

func (p *typeParser) base() (Type, error) {
	switch {
	case p.take("STRUCT("):
		return p.fields("STRUCT")
	case p.take("MAP("):
		return p.mapped()
	case p.take("UNION("): // only its name matters
		_, err := p.fields("UNION")
		return Type{Name: "UNION"}, err
	}
	end := len(p.s)
	depth := 0
	quoted := false
scan:
	for i := 0; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '\'' || c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0 && (c == '[' || c == ',' || c == ')'):
			end = i
			break scan
		}
	}
	name := strings.TrimSpace(p.s[:end])
	p.s = p.s[end:]
	switch {
	case name == "":
		return Type{}, fmt.Errorf("a name is missing")
	case name == `"NULL"` || name == "NULL":
		return Null, nil
	case strings.HasPrefix(name, "ENUM("):
		name = "ENUM"
	}
	return Type{Name: name}, nil
}

func (p *typeParser) mapped() (Type, error) {
	key, err := p.parse()
	if err != nil {
		return Type{}, err
	}
	if !p.take(",") {
		return Type{}, fmt.Errorf("no , in MAP")
	}
	value, err := p.parse()
	if err == nil && !p.take(")") {
		err = fmt.Errorf("no ) after MAP")
	}
	return Type{Name: "MAP", Key: &key, Elem: &value}, err
}

func (p *typeParser) fields(kind string) (Type, error) {
	t := Type{Name: kind}
	for {
		name, err := p.ident()
		if err != nil {
			return t, err
		}
		ft, err := p.parse()
		if err != nil {
			return t, err
		}
		t.Fields = append(t.Fields, TypeField{name, ft})
		if p.take(")") {
			return t, nil
		}
		if !p.take(",") {
			return t, fmt.Errorf("no ) after %s", kind)
		}
	}
}

func (p *typeParser) ident() (string, error) {
	p.s = strings.TrimLeft(p.s, " ")
	if !strings.HasPrefix(p.s, `"`) {
		name, rest, ok := strings.Cut(p.s, " ")
		if !ok || name == "" {
			return "", fmt.Errorf("a field has no name")
		}
		p.s = rest
		return name, nil
	}
	var b strings.Builder
	for i := 1; i < len(p.s); i++ {
		if p.s[i] != '"' {
			b.WriteByte(p.s[i])
			continue
		}
		if i+1 < len(p.s) && p.s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		p.s = p.s[i+1:]
		return b.String(), nil
	}
	return "", fmt.Errorf("a quoted name does not end")
}

// plainName are the field names of structs that are kept as such.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// Plain returns the type in which values of a type are kept: one that every
// reader of Delta tables knows. Whole numbers become BIGINT, or VARCHAR where
// that is too small; timestamps become UTC; TIME, INTERVAL, UUID, ENUM and BIT
// become VARCHAR; lists of fixed size become lists. JSON, unions, maps, and
// structs with field names outside [A-Za-z0-9_] become VARCHAR with JSON.
func Plain(t Type) Type {
	switch t.Name {
	case "NULL", "BOOLEAN", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "BLOB", "DATE", "TIMESTAMP WITH TIME ZONE":
		return Type{Name: t.Name}
	case "TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER":
		return BigInt
	case "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
		return Timestamp
	case "LIST":
		if e := Plain(*t.Elem); e.Name != "NULL" {
			return ListOf(e)
		}
		return ListOf(Varchar)
	case "STRUCT":
		return plainStruct(t)
	}
	if strings.HasPrefix(t.Name, "DECIMAL(") {
		return t
	}
	return Varchar
}

func plainStruct(t Type) Type {
	out := Type{Name: "STRUCT"}
	seen := map[string]bool{}
	for _, f := range t.Fields {
		low := strings.ToLower(f.Name)
		if !plainName.MatchString(f.Name) || seen[low] {
			return Varchar
		}
		seen[low] = true
		if ft := Plain(f.Type); ft.Name != "NULL" {
			out.Fields = append(out.Fields, TypeField{f.Name, ft})
		}
	}
	if len(out.Fields) == 0 {
		return Varchar
	}
	return out
}

// Merge returns the plain type that holds the values of both plain types
// without loss: the same type; DOUBLE for numbers; a timestamp for dates and
// timestamps; lists and structs by their parts; and else VARCHAR, with nested
// values as JSON.
func Merge(a, b Type) Type {
	switch {
	case a.Name == "NULL":
		return b
	case b.Name == "NULL" || a.Equal(b):
		return a
	case numeric(a) && numeric(b):
		return Double
	case temporal(a) && temporal(b):
		return Timestamp
	case a.Name == "LIST" && b.Name == "LIST":
		return ListOf(Merge(*a.Elem, *b.Elem))
	case a.Name == "STRUCT" && b.Name == "STRUCT":
		return mergeStructs(a, b)
	}
	return Varchar
}

func numeric(t Type) bool {
	return t.Name == "BIGINT" || t.Name == "FLOAT" || t.Name == "DOUBLE" || strings.HasPrefix(t.Name, "DECIMAL(")
}

func temporal(t Type) bool { return t.Name == "DATE" || t.Name == Timestamp.Name }

func mergeStructs(a, b Type) Type {
	out := Type{Name: "STRUCT", Fields: append([]TypeField(nil), a.Fields...)}
	for _, f := range b.Fields {
		i := out.field(f.Name)
		if i < 0 {
			out.Fields = append(out.Fields, f)
			continue
		}
		if out.Fields[i].Name != f.Name { // case alone tells them apart
			return Varchar
		}
		out.Fields[i].Type = Merge(out.Fields[i].Type, f.Type)
	}
	return out
}

func (t Type) field(name string) int {
	for i, f := range t.Fields {
		if strings.EqualFold(f.Name, name) {
			return i
		}
	}
	return -1
}

// Convert returns the SQL expression that turns expr, of type from, into type
// to, which is Plain(from) or a Merge of it.
func Convert(expr string, from, to Type) string { return convert(expr, from, to, 0) }

func convert(expr string, from, to Type, depth int) string {
	switch {
	case from.Equal(to):
		return expr
	case from.Name == "NULL":
		return "NULL::" + to.String()
	case to.Name == "VARCHAR" && from.Name == "JSON":
		return "(" + expr + " ->> '$')"
	case to.Name == "VARCHAR" && (from.Nested() || from.Name == "UNION"):
		return "to_json(" + expr + ")::VARCHAR"
	case to.Name == "LIST" && from.Name == "LIST":
		x := fmt.Sprintf("x%d", depth)
		return fmt.Sprintf("list_transform(%s::%s[], lambda %s: %s)", expr, from.Elem, x, convert(x, *from.Elem, *to.Elem, depth+1))
	case to.Name == "STRUCT" && from.Name == "STRUCT":
		fields := make([]string, len(to.Fields))
		for i, f := range to.Fields {
			value := "NULL::" + f.Type.String()
			if j := from.field(f.Name); j >= 0 {
				value = convert("("+expr+")."+Ident(from.Fields[j].Name), from.Fields[j].Type, f.Type, depth)
			}
			fields[i] = Ident(f.Name) + " := " + value
		}
		return fmt.Sprintf("CASE WHEN %s IS NULL THEN NULL ELSE struct_pack(%s) END", expr, strings.Join(fields, ", "))
	}
	return fmt.Sprintf("CAST(%s AS %s)", expr, to)
}
