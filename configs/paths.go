package configs

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

var schemeShape = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)

// schemes that an address may have, for people.
var storeSchemes = []string{"file", "s3", "gs", "azblob", "mem"}

// schemeOf returns the scheme of an address in small letters, "" for a path.
func schemeOf(address string) string {
	if m := schemeShape.FindStringSubmatch(address); m != nil {
		return strings.ToLower(m[1])
	}
	return ""
}

// resolve makes an address absolute. Local ones, plain or file://, become plain
// absolute paths below dir; a slash at the end stays. Addresses of buckets stay
// as they are.
func resolve(dir, address string, schemes []string) (string, *fault) {
	s := schemeOf(address)
	switch {
	case s == "" || s == "file":
		return localPath(dir, address)
	case !contains(schemes, s):
		return "", &fault{fmt.Sprintf("%s:// is no storage that winnow knows here", s), meant(s, schemes, "write "+oneOf(schemes)) + " (or a path)"}
	}
	rest := address[len(s)+3:]
	host, _, _ := strings.Cut(rest, "/")
	switch {
	case strings.Contains(host, "@"):
		return "", &fault{"the address carries credentials", "take them out: they come from the environment or the cloud's own configuration"}
	case s != "mem" && strings.Trim(host, "?") == "":
		return "", &fault{fmt.Sprintf("%q names no bucket", address), fmt.Sprintf("write %s://bucket/prefix", s)}
	}
	return address, nil
}

func localPath(dir, address string) (string, *fault) {
	p := address
	if schemeOf(address) == "file" {
		var err error
		if p, err = url.PathUnescape(address[len("file://"):]); err != nil {
			return "", &fault{fmt.Sprintf("%q is a damaged file URL", address), "write %25 for a percent sign"}
		}
		first, _, _ := strings.Cut(p, "/")
		switch first {
		case "", ".", "..":
		case "localhost":
			p = strings.TrimPrefix(p, first)
		default:
			return "", &fault{fmt.Sprintf("%q names a host", address), fmt.Sprintf("write file://./%s for a path beside the config, or file:///%s", p, p)}
		}
		if p == "" {
			return "", &fault{fmt.Sprintf("%q names no path", address), "write file://./dir or file:///dir"}
		}
	}
	if strings.ContainsRune(p, 0) {
		return "", &fault{"the path contains a zero byte", "take it out"}
	}
	slash := strings.HasSuffix(p, "/")
	if !filepath.IsAbs(p) {
		p = filepath.Join(dir, p)
	}
	if p = filepath.Clean(p); slash && p != "/" {
		p += "/"
	}
	return p, nil
}

// home is the place that a manifest's assets may be read from by default: the
// folder before the first glob character, or the bucket.
func home(manifest string) string {
	if s := schemeOf(manifest); s != "" {
		bucket, _, _ := strings.Cut(manifest[len(s)+3:], "/")
		bucket, _, _ = strings.Cut(bucket, "?")
		// The parameters that reach the bucket reach its assets, too.
		query := ""
		if i := strings.LastIndexByte(manifest, '?'); i >= 0 && strings.Contains(manifest[i:], "=") {
			query = manifest[i:]
		}
		return s + "://" + bucket + "/" + query
	}
	static := manifest
	if i := strings.IndexAny(manifest, "*?[{"); i >= 0 {
		static = manifest[:i]
	}
	dir := static[:strings.LastIndexByte(static, '/')+1]
	if dir == "" {
		return "/"
	}
	return dir
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
