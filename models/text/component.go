package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// component is a part of a tokenizer.json: an object with a type, or null.
type component struct{ raw json.RawMessage }

func (c *component) UnmarshalJSON(b []byte) error {
	c.raw = append(c.raw[:0], b...)
	return nil
}

// kind is the type, or empty where the part is null or not there.
func (c component) kind() (string, error) {
	if len(c.raw) == 0 || string(c.raw) == "null" {
		return "", nil
	}
	var v struct{ Type *string }
	if err := json.Unmarshal(c.raw, &v); err != nil {
		return "", err
	}
	if v.Type == nil || *v.Type == "" {
		return "", fmt.Errorf("%s has no type", short(c.raw))
	}
	return *v.Type, nil
}

// into decodes the part. What v does not know is an error: a setting that is not
// understood would change ids.
func (c component) into(v any) error {
	d := json.NewDecoder(bytes.NewReader(c.raw))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil || err == io.EOF {
		return nil
	}
	kind, _ := c.kind()
	return fmt.Errorf("%s: %w", kind, err)
}

// bare checks that the part has no settings.
func (c component) bare() error { return c.into(&struct{ Type string }{}) }

func (c component) lacks(name string) error {
	kind, _ := c.kind()
	return fmt.Errorf("%s lacks %s", kind, name)
}

// short is what of a part is shown in errors.
func short(b []byte) string {
	if len(b) > 80 {
		return string(bytes.ToValidUTF8(b[:80], nil)) + "…"
	}
	return string(b)
}
