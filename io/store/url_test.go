package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLocations(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	up := filepath.Dir(wd)
	for _, c := range []struct{ in, want string }{
		{"data", "file://" + wd + "/data"},
		{"./data/", "file://" + wd + "/data"},
		{"../x", "file://" + up + "/x"},
		{"/a/b/../c", "file:///a/c"},
		{"/a b/100%.jpg", "file:///a b/100%25.jpg"},
		{"a?b#c", "file://" + wd + "/a%3Fb%23c"},
		{"file://./data", "file://" + wd + "/data"},
		{"file://../data", "file://" + up + "/data"},
		{"file://.", "file://" + wd},
		{"file:///a/b%20c", "file:///a/b c"},
		{"file://localhost/a", "file:///a"},
		{"FILE:///a", "file:///a"},
		{"file:///ä", "file:///ä"},
		{"s3://b", "s3://b"},
		{"s3://b/", "s3://b"},
		{"s3://b/p/q", "s3://b/p/q"},
		{"s3://b/p%20q r", "s3://b/p%20q r"}, // keys are literal
		{"s3://b/p?region=eu&endpoint=http://h:1", "s3://b/p?endpoint=http%3A%2F%2Fh%3A1&region=eu"},
		{"s3://b/what?", "s3://b/what?"},
		{"s3://b//k", "s3://b/k"},
		{"s3://b/k?a=b?", "s3://b/k?a=b?"},
		{"s3://b/what?.jpg", "s3://b/what?.jpg"}, // no name=value: part of the key
		{"gs://b/k", "gs://b/k"},
		{"azblob://c/k?localemu=true", "azblob://c/k?localemu=true"},
		{"mem://", "mem://"},
		{"mem://n/p", "mem://n/p"},
		{"https://Example.com/a%20b?x=1", "https://example.com/a%20b?x=1"},
		{"C:/x", "file://" + wd + "/C:/x"},
	} {
		loc, err := parseLocation(c.in)
		if err != nil || loc.String() != c.want {
			t.Errorf("%s: %s, %v; want %s", c.in, loc, err, c.want)
			continue
		}
		if again, err := parseLocation(loc.String()); err != nil || again != loc {
			t.Errorf("%s: the canonical %s reads as %s, %v", c.in, loc, again, err)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"", "empty"},
		{"ftp://h/x", "file, s3, gs, azblob, mem"},
		{"file://", "no path"},
		{"file://data/x", "file://./data/x"},
		{"file:///a%zz", "%25"},
		{"s3://", "no bucket"},
		{"s3:///k", "no bucket"},
		{"s3://key:secret@b/x", "credentials"},
		{"s3://b/x?prefix=y", "prefix"},
		{"azblob://b/x?sas_token=y", "credentials"},
		{"https://u:p@h/x", "credentials"},
		{"https:///x", "no host"},
		{"a\x00b", "zero byte"},
	} {
		if loc, err := parseLocation(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %s, %v; want an error with %q", c.in, loc, err, c.want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for in, want := range map[string]string{
		"http://h/x":              "a web address is no store",
		"nope://b":                `unknown scheme "nope"; use one of file, s3, gs, azblob, mem`,
		"mem://b?x=1":             "takes no parameters",
		"s3://b?nonsense=1":       "nonsense",
		"s3://k:hunter2@b/prefix": "credentials",
	} {
		s, err := Open(t.Context(), in)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v; want %q", in, s, err, want)
		}
	}
}

func TestResolveURI(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const q = "?endpoint=http%3A%2F%2Fh&region=r"
	for _, c := range []struct{ base, uri, want string }{
		{"./data/m.jsonl", "a.jpg", "file://" + wd + "/data/a.jpg"},
		{"./data/m.jsonl", "../x/a.jpg", "file://" + wd + "/x/a.jpg"},
		{"./data/", "a%20b.jpg", "file://" + wd + "/data/a%2520b.jpg"}, // a path, not a URL
		{"file:///d/m.jsonl", "./sub/a.jpg", "file:///d/sub/a.jpg"},
		{"file:///d/m.jsonl", "/abs/a.jpg", "file:///abs/a.jpg"},
		{"file:///d/", "s3://b/k", "s3://b/k"},
		{"", "a.jpg", "file://" + wd + "/a.jpg"},
		{"s3://b/data/m.jsonl", "img/a.jpg", "s3://b/data/img/a.jpg"},
		{"s3://b/data/m.jsonl", "../a.jpg", "s3://b/a.jpg"},
		{"s3://b/data/", "a.jpg", "s3://b/data/a.jpg"},
		{"s3://b/m.jsonl", "a.jpg", "s3://b/a.jpg"},
		{"s3://b/data/m.jsonl" + q, "a.jpg", "s3://b/data/a.jpg" + q},
		{"s3://b/data/m.jsonl" + q, "s3://b/other/a.jpg", "s3://b/other/a.jpg" + q},
		{"s3://b/data/m.jsonl" + q, "s3://c/other/a.jpg", "s3://c/other/a.jpg"},
		{"s3://b/data/m.jsonl" + q, "s3://b/k?region=z", "s3://b/k?region=z"},
		{"https://h/d/m.jsonl?sig=1", "a%20b.jpg", "https://h/d/a%20b.jpg"},
	} {
		got, err := ResolveURI(c.base, c.uri)
		if err != nil || got != c.want {
			t.Errorf("%s + %s: %s, %v; want %s", c.base, c.uri, got, err, c.want)
		}
	}
	for _, c := range []struct{ base, uri string }{
		{"s3://b/data/m.jsonl", "../../a.jpg"},
		{"s3://b/m.jsonl", "x/../../a.jpg"},
		{"file:///d/", ""},
		{"file:///d/", "ftp://h/x"},
		{"nope://d/", "x"},
	} {
		if got, err := ResolveURI(c.base, c.uri); err == nil {
			t.Errorf("%s + %q: %s, want an error", c.base, c.uri, got)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		entry, uri string
		want       bool
	}{
		{"file:///d", "file:///d/a", true},
		{"file:///d/", "file:///d/a/b", true},
		{"file:///d", "file:///d", true},
		{"file:///d/a.jpg", "file:///d/a.jpg", true},
		{"file:///d", "file:///data/a", false},
		{"file:///d", "file:///d/../etc/passwd", false},
		{"file:///d", "file:///d/%2e%2e/etc/passwd", false},
		{"file:///", "file:///etc/passwd", true},
		{"file:///d", "s3://d/a", false},
		{"s3://b", "s3://b/k", true},
		{"s3://b/p", "s3://b/p/k", true},
		{"s3://b/p/", "s3://b/p/k", true},
		{"s3://b/p", "s3://b/pq/k", false},
		{"s3://b/p", "s3://b/p/../q", false},
		{"s3://b", "s3://B/k", false},
		{"s3://b", "gs://b/k", false},
		{"s3://b?endpoint=http://h", "s3://b/k", true},
		{"s3://b?endpoint=http://h", "s3://b/k?endpoint=http://h", true},
		{"s3://b?endpoint=http://h", "s3://b/k?endpoint=http://evil", false},
		{"s3://b", "s3://b/k?endpoint=http://evil", false},
		{"https://h/p", "https://h/p/x", true},
		{"https://h", "https://H/x?y", true},
		{"https://h", "http://h/x", false},
		{"https://h", "https://h:8443/x", false},
		{"https://h/p", "https://h/p/../q", false},
		{"https://h/p", "https://h/p/%2e%2e/q", false},
		{"https://h/p", "https://h/p%2f..%2fq", false},
		{"https://h/p", "https://h/pq", false},
	} {
		entry, err := parseLocation(c.entry)
		if err != nil {
			t.Fatal(err)
		}
		loc, err := parseLocation(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := covers(entry, loc); got != c.want {
			t.Errorf("%s covers %s: %v", c.entry, c.uri, got)
		}
	}
}
