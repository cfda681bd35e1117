package manifest

import (
	"fmt"
	"regexp"
	"strings"
)

// glob matches keys. "*" stands for any characters but "/", "?" for one of
// them, "**" as a whole element for any number of elements, [a-z] and [!a-z]
// for one of a set, {a,b} for one of several. The case of a file name's
// extension does not count: *.jpg matches IMG_1.JPG. Names that start with a dot
// match only where the pattern writes the dot.
type glob struct {
	dir     string // before the first element with a magic character: "" or ends in "/"
	prefix  string // every match begins with it; at least dir
	deep    bool   // matches may lie below dir's own level
	pattern string
	re      *regexp.Regexp
	hidden  bool
}

const magic = "*?[{"

func isGlob(s string) bool { return strings.ContainsAny(s, magic) }

func newGlob(pattern string) (*glob, error) {
	g := &glob{pattern: pattern}
	g.prefix = pattern
	if i := strings.IndexAny(pattern, magic); i >= 0 {
		g.prefix = pattern[:i]
	}
	g.dir = g.prefix[:strings.LastIndexByte(g.prefix, '/')+1]
	rest := pattern[len(g.dir):]
	g.deep = strings.Contains(rest, "/") || strings.Contains(rest, "**")
	g.hidden = strings.HasPrefix(rest, ".") || strings.Contains(rest, "/.")
	head, ext := rest, ""
	if i := strings.LastIndexByte(rest, '.'); i > strings.LastIndexByte(rest, '/') && strings.Count(rest[i:], "{") == strings.Count(rest[i:], "}") {
		head, ext = rest[:i], rest[i:]
	}
	h, err := globRegexp(head)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	e, err := globRegexp(ext)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	if g.re, err = regexp.Compile(`^` + h + `(?i:` + e + `)$`); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return g, nil
}

// match tells whether a key matches, and returns its part behind the fixed
// directory.
func (g *glob) match(key string) (rel string, ok bool) {
	rel, ok = strings.CutPrefix(key, g.dir)
	if !ok || !g.hidden && (strings.HasPrefix(rel, ".") || strings.Contains(rel, "/.")) {
		return "", false
	}
	return rel, g.re.MatchString(rel)
}

func globRegexp(p string) (string, error) {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '*':
			if !strings.HasPrefix(p[i:], "**") {
				b.WriteString(`[^/]*`)
				continue
			}
			i++
			if strings.HasPrefix(p[i:], "*/") {
				b.WriteString(`(?:.*/)?`)
				i++
			} else {
				b.WriteString(`.*`)
			}
		case '?':
			b.WriteString(`[^/]`)
		case '[':
			end := strings.IndexByte(p[i:], ']')
			if end < 2 {
				return "", fmt.Errorf("a [ without its ]; write \\[ for the character itself")
			}
			set := p[i+1 : i+end]
			b.WriteString("[")
			if set[0] == '!' || set[0] == '^' {
				b.WriteString("^/")
				set = set[1:]
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`, `&`, `\&`).Replace(set) + "]")
			i += end
		case '{':
			depth++
			b.WriteString("(?:")
		case '}':
			if depth--; depth < 0 {
				return "", fmt.Errorf("a } without its {")
			}
			b.WriteString(")")
		case ',':
			if depth > 0 {
				b.WriteString("|")
			} else {
				b.WriteString(",")
			}
		case '\\':
			if i++; i == len(p) {
				return "", fmt.Errorf("a backslash at the end")
			}
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	if depth > 0 {
		return "", fmt.Errorf("a { without its }")
	}
	return b.String(), nil
}
