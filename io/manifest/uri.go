package manifest

import (
	"strings"

	"winnow/io/store"
	"winnow/pipeline"
)

// uriMaker makes the URIs of a manifest absolute and looks whether they lie in
// the allowed places, as far as their text tells. Whoever fetches them looks
// again, at links and addresses, too.
type uriMaker struct {
	allow []string // canonical, without parameters and without a slash at the end
	all   bool
}

func newURIMaker(allow []string) (*uriMaker, error) {
	m := &uriMaker{all: len(allow) == 0}
	for _, a := range allow {
		uri, err := store.ResolveURI("", a)
		if err != nil {
			return nil, pipeline.Usagef("allow: %v", err)
		}
		m.allow = append(m.allow, strings.TrimRight(withoutQuery(uri), "/"))
	}
	return m, nil
}

// withoutQuery cuts the parameters off a canonical URI of a bucket.
func withoutQuery(uri string) string {
	if strings.HasPrefix(uri, "file://") {
		return uri
	}
	if i := strings.LastIndexByte(uri, '?'); i >= 0 && strings.Contains(uri[i:], "=") {
		return uri[:i]
	}
	return uri
}

// resolve returns the absolute URI, or a *pipeline.RowError.
func (m *uriMaker) resolve(base, uri string) (string, error) {
	if strings.ContainsRune(uri, 0) {
		return "", rowFault(pipeline.ReasonInvalidRow, "the uri contains a zero byte")
	}
	abs, err := store.ResolveURI(base, uri)
	if err != nil {
		return "", rowFault(pipeline.ReasonInvalidRow, "%w", err)
	}
	if m.all || isIn(withoutQuery(abs), m.allow) {
		return abs, nil
	}
	return "", rowFault(pipeline.ReasonOutsideAllow, "%s lies in none of the places that the source allows; add its folder to allow: if it is right", withoutQuery(abs))
}

// isIn tells whether a canonical URI lies in one of the places.
func isIn(uri string, places []string) bool {
	for _, p := range places {
		if rest, ok := strings.CutPrefix(uri, p); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}
