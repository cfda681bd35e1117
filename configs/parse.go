package configs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"winnow/pipeline"
)

const (
	maxFile  = 8 << 20 // bytes of a YAML file
	maxDepth = 100     // nesting of a YAML file; the parser recurses
)

// position is a place in a file, both numbers from 1.
type position struct {
	line, column int
	text         textPlace
}

// textPlace tells where a text stands whose characters are all as written: line
// n begins at file line line+n-1 in the given column. Zero when that is unknown,
// as for folded and escaped text.
type textPlace struct{ line, column int }

// within is the place of a line and column (from 1) of the text at p.
func (p position) within(line, column int) position {
	if p.text.line == 0 || line == 0 {
		return p
	}
	return position{line: p.text.line + line - 1, column: p.text.column + max(1, column) - 1}
}

// marks are the positions of the values of a file by their paths, such as
// "$.batches[0].size".
type marks map[string]position

// find returns the position of the value at path, or of the nearest value that
// holds it.
func (m marks) find(path string) position {
	for path != "" {
		if p, ok := m[path]; ok {
			return p
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return m["$"]
}

func child(path, key string) string { return path + "." + key }

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// at is where a node begins. A block mapping begins at its first key.
func at(n ast.Node) position {
	switch v := n.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return at(v.Values[0])
		}
	case *ast.MappingValueNode:
		return at(v.Key)
	}
	tk := n.GetToken()
	if tk == nil || tk.Position == nil {
		return position{line: 1, column: 1}
	}
	return position{line: tk.Position.Line, column: max(1, tk.Position.Column)}
}

// parse reads one YAML document. A problem ends the reading of the file: what
// stands after a syntax error cannot be told.
func parse(file string, data []byte) (body ast.Node, problem *pipeline.Problem) {
	bad := func(p position, fix, format string, args ...any) *pipeline.Problem {
		return &pipeline.Problem{File: file, Line: p.line, Column: p.column, What: fmt.Sprintf(format, args...), Fix: fix}
	}
	if len(data) > maxFile {
		return nil, bad(position{}, "split it", "the file has %d bytes, more than %d", len(data), maxFile)
	}
	if p := badUTF8(data); p.line > 0 {
		return nil, bad(p, "save it as UTF-8", "the file is not UTF-8")
	}
	// The parser has panicked on damaged input before: that is a fault of the file, too.
	defer func() {
		if r := recover(); r != nil {
			body, problem = nil, bad(position{}, "check its indentation and quotes", "the file cannot be read as YAML")
		}
	}()
	tokens := lexer.Tokenize(strings.TrimPrefix(string(data), "\ufeff"))
	if p := tooDeep(tokens); p.line > 0 {
		return nil, bad(p, "check the brackets and the indentation", "YAML is nested more than %d deep here", maxDepth)
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			tk := syntax.GetToken()
			return nil, bad(position{line: tk.Position.Line, column: max(1, tk.Position.Column)}, syntaxFix(syntax.GetMessage(), tk), "YAML: %s", syntax.GetMessage())
		}
		return nil, bad(position{}, "", "YAML: %v", err)
	}
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case body != nil:
			return nil, bad(at(doc.Body), "give each its own file", "the file holds more than one YAML document")
		default:
			body = doc.Body
		}
	}
	if body == nil {
		return nil, bad(position{line: 1, column: 1}, "see winnow init for a file to begin with", "the file is empty")
	}
	return body, nil
}

func syntaxFix(message string, tk *token.Token) string {
	switch {
	case strings.Contains(tk.Value, "\t") || strings.Contains(message, "\t"):
		return "indent with spaces"
	case strings.Contains(message, "mapping value is not allowed"):
		return "put text that holds a colon in quotes"
	case strings.Contains(message, "must be specified"):
		return "close the bracket; text with [ ] { } or , goes in quotes"
	}
	return "check the indentation, brackets and quotes before it"
}

// badUTF8 finds the first byte that is no UTF-8.
func badUTF8(data []byte) position {
	line, column := 1, 1
	for i, r := range string(data) {
		if r == '\ufffd' && data[i] != 0xef {
			return position{line: line, column: column}
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
	}
	return position{}
}

// tooDeep finds the first token beyond the depth that the parser may recurse to.
// A block is one level deeper only where it stands further right.
func tooDeep(tokens token.Tokens) position {
	flow := 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			if flow == 0 && t.Position.Column > 4*maxDepth {
				return position{line: t.Position.Line, column: t.Position.Column}
			}
		}
		if flow > maxDepth {
			return position{line: t.Position.Line, column: t.Position.Column}
		}
	}
	return position{}
}
