package table

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Schema is the columns of a table, in order.
type Schema []Field

// Field is a column, or a field of a struct.
type Field struct {
	Name     string
	Type     Type
	Nullable bool
	Metadata map[string]string // nil when there is none; other JSON values appear as their text
}

// Type is a column type: a primitive by its name, or a nested type, whose Name
// is "array", "struct" or "map".
type Type struct {
	Name string

	Elem         *Type  // of an array
	Key, Value   *Type  // of a map
	ContainsNull bool   // elements of the array, or values of the map, may be null
	Fields       Schema // of a struct
}

// The primitive types of reader version 1. Timestamp is in UTC; decimals are
// made by Decimal.
var (
	String    = Type{Name: "string"}
	Long      = Type{Name: "long"}    // 64 bits
	Integer   = Type{Name: "integer"} // 32 bits
	Short     = Type{Name: "short"}   // 16 bits
	Byte      = Type{Name: "byte"}    // 8 bits
	Float     = Type{Name: "float"}
	Double    = Type{Name: "double"}
	Boolean   = Type{Name: "boolean"}
	Binary    = Type{Name: "binary"}
	Date      = Type{Name: "date"}
	Timestamp = Type{Name: "timestamp"} // microseconds
)

// Decimal returns the type of numbers with precision digits in all (at most
// 38), scale of them after the point.
func Decimal(precision, scale int) Type {
	return Type{Name: fmt.Sprintf("decimal(%d,%d)", precision, scale)}
}

// Array returns the type of lists of elem.
func Array(elem Type, containsNull bool) Type {
	return Type{Name: "array", Elem: &elem, ContainsNull: containsNull}
}

// Struct returns the type of records with the fields.
func Struct(fields ...Field) Type { return Type{Name: "struct", Fields: fields} }

// Map returns the type of maps from key to value.
func Map(key, value Type, containsNull bool) Type {
	return Type{Name: "map", Key: &key, Value: &value, ContainsNull: containsNull}
}

var primitive = regexp.MustCompile(`^(string|long|integer|short|byte|float|double|boolean|binary|date|timestamp|decimal\((\d|[12]\d|3[0-8]),\s?(\d|[12]\d|3[0-8])\))$`)

// Field returns the column of that name, or nil.
func (s Schema) Field(name string) *Field {
	for i := range s {
		if s[i].Name == name {
			return &s[i]
		}
	}
	return nil
}

// Equal tells whether both schemas say the same.
func (s Schema) Equal(other Schema) bool {
	a, aerr := json.Marshal(s)
	b, berr := json.Marshal(other)
	return aerr == nil && berr == nil && string(a) == string(b)
}

// check looks for what other readers would not open.
func (s Schema) check() error {
	seen := map[string]bool{}
	for _, f := range s {
		// Delta compares names without regard to case.
		low := strings.ToLower(f.Name)
		switch {
		case f.Name == "":
			return fmt.Errorf("a column has no name")
		case strings.ContainsAny(f.Name, " ,;{}()\n\t="):
			return fmt.Errorf("column %q: names must not contain spaces or any of ,;{}()=", f.Name)
		case seen[low]:
			return fmt.Errorf("column %q appears twice (case does not count)", f.Name)
		}
		seen[low] = true
		if err := f.Type.check(); err != nil {
			return fmt.Errorf("column %q: %w", f.Name, err)
		}
	}
	return nil
}

func (t Type) check() error {
	switch t.Name {
	case "array":
		if t.Elem == nil {
			return fmt.Errorf("the array has no element type")
		}
		return t.Elem.check()
	case "map":
		if t.Key == nil || t.Value == nil {
			return fmt.Errorf("the map has no key or value type")
		}
		if err := t.Key.check(); err != nil {
			return err
		}
		return t.Value.check()
	case "struct":
		return t.Fields.check()
	}
	if !primitive.MatchString(t.Name) {
		return fmt.Errorf("%w: the type %q is not of reader version 1", ErrUnsupported, t.Name)
	}
	return nil
}

type jsonSchema struct {
	Type   string      `json:"type"`
	Fields []jsonField `json:"fields"`
}

type jsonField struct {
	Name     string                     `json:"name"`
	Type     Type                       `json:"type"`
	Nullable bool                       `json:"nullable"`
	Metadata map[string]json.RawMessage `json:"metadata"`
}

// MarshalJSON gives the schema as the protocol's schemaString.
func (s Schema) MarshalJSON() ([]byte, error) {
	out := jsonSchema{Type: "struct", Fields: make([]jsonField, len(s))}
	for i, f := range s {
		md := make(map[string]json.RawMessage, len(f.Metadata))
		for k, v := range f.Metadata {
			raw, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			md[k] = raw
		}
		out.Fields[i] = jsonField{f.Name, f.Type, f.Nullable, md}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads a schemaString.
func (s *Schema) UnmarshalJSON(data []byte) error {
	var in jsonSchema
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	if in.Type != "struct" {
		return fmt.Errorf("a schema is a struct, not %q", in.Type)
	}
	out := make(Schema, len(in.Fields))
	for i, f := range in.Fields {
		out[i] = Field{Name: f.Name, Type: f.Type, Nullable: f.Nullable}
		for k, raw := range f.Metadata {
			var v string
			if json.Unmarshal(raw, &v) != nil {
				v = string(raw)
			}
			if out[i].Metadata == nil {
				out[i].Metadata = map[string]string{}
			}
			out[i].Metadata[k] = v
		}
	}
	*s = out
	return nil
}

// MarshalJSON gives the type as the protocol writes it.
func (t Type) MarshalJSON() ([]byte, error) {
	switch t.Name {
	case "array":
		return json.Marshal(struct {
			Type         string `json:"type"`
			ElementType  *Type  `json:"elementType"`
			ContainsNull bool   `json:"containsNull"`
		}{"array", t.Elem, t.ContainsNull})
	case "map":
		return json.Marshal(struct {
			Type              string `json:"type"`
			KeyType           *Type  `json:"keyType"`
			ValueType         *Type  `json:"valueType"`
			ValueContainsNull bool   `json:"valueContainsNull"`
		}{"map", t.Key, t.Value, t.ContainsNull})
	case "struct":
		return json.Marshal(t.Fields)
	}
	return json.Marshal(t.Name)
}

// UnmarshalJSON reads a type.
func (t *Type) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*t = Type{}
		return json.Unmarshal(data, &t.Name)
	}
	var in struct {
		Type              string `json:"type"`
		ElementType       *Type  `json:"elementType"`
		ContainsNull      bool   `json:"containsNull"`
		KeyType           *Type  `json:"keyType"`
		ValueType         *Type  `json:"valueType"`
		ValueContainsNull bool   `json:"valueContainsNull"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*t = Type{Name: in.Type}
	switch in.Type {
	case "array":
		t.Elem, t.ContainsNull = in.ElementType, in.ContainsNull
	case "map":
		t.Key, t.Value, t.ContainsNull = in.KeyType, in.ValueType, in.ValueContainsNull
	case "struct":
		return json.Unmarshal(data, &t.Fields)
	default:
		return fmt.Errorf("%w: nested type %q", ErrUnsupported, in.Type)
	}
	return nil
}
