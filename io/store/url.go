package store

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// schemes are what a URL of a store may start with.
const schemes = "file, s3, gs, azblob, mem"

// location is a parsed address of a store or an object.
type location struct {
	scheme string // file, s3, gs, azblob, mem, http, https
	host   string // the bucket; "" for files
	path   string // file: absolute local path; buckets: literal key or prefix without leading slash
	query  string // sorted and encoded; "" for files. For http(s) as given
}

// parseLocation reads a URL or a plain local path.
//
// Keys of bucket URLs are literal, as other tools for buckets take them: "%20"
// is three characters. File URLs are percent-encoded, plain paths are literal.
func parseLocation(raw string) (location, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !isScheme(scheme) {
		if raw == "" {
			return location{}, errors.New("the address is empty")
		}
		return localLocation(raw)
	}
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "file":
		return fileLocation(rest)
	case "s3", "gs", "azblob", "mem":
		return bucketLocation(scheme, rest)
	case "http", "https":
		u, err := url.Parse(raw)
		if err != nil {
			return location{}, errors.New("this is no valid URL")
		}
		if u.Host == "" {
			return location{}, errors.New("the URL names no host")
		}
		if u.User != nil {
			return location{}, errCredentials
		}
		return location{scheme: scheme, host: strings.ToLower(u.Host), path: strings.TrimPrefix(u.EscapedPath(), "/"), query: u.RawQuery}, nil
	}
	return location{}, fmt.Errorf("unknown scheme %q; use one of %s", scheme, schemes)
}

var errCredentials = errors.New("the URL carries credentials; give them by the environment or the cloud's own configuration")

func isScheme(s string) bool {
	for i, c := range []byte(strings.ToLower(s)) {
		if !(c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

func localLocation(p string) (location, error) {
	if strings.ContainsRune(p, 0) {
		return location{}, errors.New("the path contains a zero byte")
	}
	abs, err := filepath.Abs(p)
	if err != nil {
		return location{}, err
	}
	return location{scheme: "file", path: abs}, nil
}

func fileLocation(rest string) (location, error) {
	p, err := url.PathUnescape(rest)
	if err != nil {
		return location{}, fmt.Errorf("bad percent-encoding in the file URL (%v); write %%25 for a percent sign", err)
	}
	first, _, _ := strings.Cut(p, "/")
	switch first {
	case "localhost":
		p = strings.TrimPrefix(p, first)
	case "", ".", "..":
	default:
		return location{}, fmt.Errorf("a file URL has no host: write file://./%s or file:///%s", p, p)
	}
	if p == "" {
		return location{}, errors.New("the file URL names no path; write file://./dir or file:///dir")
	}
	return localLocation(p)
}

func bucketLocation(scheme, rest string) (location, error) {
	rest, query, err := cutQuery(rest)
	if err != nil {
		return location{}, err
	}
	host, key, _ := strings.Cut(rest, "/")
	switch {
	case strings.Contains(host, "@"):
		return location{}, errCredentials
	case host == "" && scheme != "mem":
		return location{}, fmt.Errorf("the URL names no bucket; write %s://bucket/prefix", scheme)
	}
	return location{scheme: scheme, host: host, path: strings.TrimLeft(key, "/"), query: query}, nil
}

// cutQuery splits the parameters off. A question mark is part of the key
// unless name=value pairs follow it.
func cutQuery(s string) (rest, query string, err error) {
	i := strings.LastIndexByte(s, '?')
	if i < 0 {
		return s, "", nil
	}
	for pair := range strings.SplitSeq(s[i+1:], "&") {
		name, _, ok := strings.Cut(pair, "=")
		if !ok || !isParam(name) {
			return s, "", nil
		}
	}
	values, err := url.ParseQuery(s[i+1:])
	if err != nil {
		return "", "", fmt.Errorf("bad query in the URL: %w", err)
	}
	for name := range values {
		switch strings.ToLower(name) {
		case "prefix", "key":
			return "", "", fmt.Errorf("the parameter %q is not used here; write the prefix into the path: s3://bucket/prefix", name)
		case "accesskey", "access_key", "secret", "secret_key", "secretkey", "sas", "sas_token", "token", "password", "sig":
			return "", "", errCredentials
		}
	}
	return s[:i], values.Encode(), nil
}

func isParam(name string) bool {
	for i, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return name != ""
}

// String returns the canonical URL.
func (l location) String() string {
	var b strings.Builder
	b.WriteString(l.scheme + "://")
	if l.scheme == "file" {
		escapeFile(&b, filepath.ToSlash(l.path))
		return b.String()
	}
	b.WriteString(l.host)
	if l.path != "" {
		b.WriteString("/" + l.path)
	}
	if l.query != "" {
		b.WriteString("?" + l.query)
	}
	return b.String()
}

// escapeFile encodes only what a reader of file URLs would take for something
// else, so that people still recognise their names.
func escapeFile(b *strings.Builder, p string) {
	for _, c := range []byte(p) {
		if c < ' ' || c == 0x7f || c == '%' || c == '?' || c == '#' {
			fmt.Fprintf(b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
}

// bucketURL returns the URL of the whole bucket.
func (l location) bucketURL() string {
	l.path = ""
	return l.String()
}

// join returns the location of a prefix below.
func (l location) join(key string) location {
	if l.scheme == "file" {
		l.path = filepath.Join(l.path, filepath.FromSlash(key))
		return l
	}
	if l.path != "" && !strings.HasSuffix(l.path, "/") {
		l.path += "/"
	}
	l.path += key
	return l
}

// child names an object for errors, without the query.
func (l location) child(key string) string {
	l.query = ""
	if key == "" {
		return l.String()
	}
	return l.join(key).String()
}

// redact shows an address that could not be parsed, without what may be a
// password.
func redact(raw string) string {
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		if scheme, _, ok := strings.Cut(raw, "://"); ok {
			return scheme + "://…" + raw[i:]
		}
	}
	return strconv.Quote(raw)
}

// ResolveURI returns the canonical absolute URI of uri, which may be relative
// to base: the URL or local path of the manifest that names it, or of a
// directory when base ends in a slash. A relative uri is literal (not
// percent-encoded) except below an http(s) base. A bucket URI without
// parameters of its own takes those of a base in the same bucket.
func ResolveURI(base, uri string) (string, error) {
	if uri == "" {
		return "", errors.New("the URI is empty")
	}
	if scheme, _, ok := strings.Cut(uri, "://"); ok && isScheme(scheme) {
		loc, err := parseLocation(uri)
		if err != nil {
			return "", fmt.Errorf("URI %s: %w", redact(uri), err)
		}
		if loc.query == "" && loc.isBucket() && base != "" {
			if b, err := parseLocation(base); err == nil && b.scheme == loc.scheme && b.host == loc.host {
				loc.query = b.query
			}
		}
		return loc.String(), nil
	}
	if filepath.IsAbs(uri) || base == "" {
		loc, err := localLocation(uri)
		if err != nil {
			return "", fmt.Errorf("URI %q: %w", uri, err)
		}
		return loc.String(), nil
	}
	loc, err := parseLocation(base)
	if err != nil {
		return "", fmt.Errorf("base %s of URI %q: %w", redact(base), uri, err)
	}
	switch {
	case loc.scheme == "file":
		// filepath.Abs dropped the slash that tells a directory.
		dir := loc.path
		if !strings.HasSuffix(base, "/") {
			dir = filepath.Dir(dir)
		}
		loc.path = filepath.Join(dir, filepath.FromSlash(uri))
		return loc.String(), nil
	case loc.isBucket():
		p := path.Join("/", path.Dir("/"+loc.path), uri)
		if escapes(path.Join(path.Dir("/"+loc.path)), uri) {
			return "", fmt.Errorf("URI %q leaves the bucket of %s", uri, loc)
		}
		loc.path = strings.TrimPrefix(p, "/")
		return loc.String(), nil
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("base of URI %q is no valid URL", uri)
	}
	ref, err := url.Parse(uri)
	if err != nil {
		return "", fmt.Errorf("URI %q: it is no valid relative URL", uri)
	}
	return u.ResolveReference(ref).String(), nil
}

// escapes tells whether rel climbs above the root when it starts in dir.
func escapes(dir, rel string) bool {
	depth := len(slices.DeleteFunc(strings.Split(dir, "/"), func(e string) bool { return e == "" }))
	for elem := range strings.SplitSeq(rel, "/") {
		switch elem {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

func (l location) isBucket() bool {
	switch l.scheme {
	case "s3", "gs", "azblob", "mem":
		return true
	}
	return false
}
