package argo

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"unicode"
)

//go:embed workflow.yaml.tmpl
var source string

// Argo's own expressions are {{…}}, so the template's are [[…]].
var manifests = template.Must(template.New("workflow.yaml").Delims("[[", "]]").Funcs(template.FuncMap{
	"q": quote, "literal": literal, "dict": dict,
}).Parse(source))

func render(w io.Writer, v *view) error {
	var b strings.Builder
	if err := manifests.Execute(&b, v); err != nil {
		return fmt.Errorf("write the workflow: %w", err)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quote writes a string so that YAML takes it for nothing else: as JSON, which
// is YAML.
func quote(s string) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// literal writes a file as a literal block below a key that is indented by two,
// where the block keeps every character, and in quotes otherwise.
func literal(text string) (string, error) {
	odd := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	body, ends := strings.CutSuffix(text, "\n")
	if !ends || body == "" || strings.ContainsFunc(text, odd) || strings.HasSuffix(body, "\n") || strings.HasPrefix(body, " ") || strings.HasPrefix(body, "\n") {
		return quote(text)
	}
	var b strings.Builder
	b.WriteString("|")
	for line := range strings.SplitSeq(body, "\n") {
		b.WriteString("\n")
		if line != "" {
			b.WriteString("    " + line)
		}
	}
	return b.String(), nil
}

// dict makes a map of its arguments, for templates that call templates.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict takes pairs")
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m, nil
}
