package store

import (
	"strings"
	"testing"
)

// FuzzLocation: what is read as an address has one canonical form, which reads
// as the same address, and no error or address shows a password.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"./a", "file:///a%20b", "s3://b/k?region=x", "s3://u:p@b/k", "https://h/x?y#z", "mem://", "a?b", "gs://b//k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		loc, err := parseLocation(raw)
		if err != nil {
			return
		}
		again, err := parseLocation(loc.String())
		if err != nil || again != loc {
			t.Errorf("%q is %q and then %q, %v", raw, loc, again, err)
		}
	})
}

// FuzzCovers: whatever an allow entry covers lies below it in plain sight.
func FuzzCovers(f *testing.F) {
	f.Add("file:///d/../e")
	f.Add("s3://b/p/../q")
	f.Add("https://h/p/%2e%2e/q")
	f.Fuzz(func(t *testing.T, raw string) {
		loc, err := parseLocation(raw)
		if err != nil {
			return
		}
		for _, e := range []string{"file:///d/p", "s3://b/p", "https://h/p"} {
			entry, err := parseLocation(e)
			if err != nil {
				t.Fatal(err)
			}
			if !covers(entry, loc) {
				continue
			}
			if !strings.HasPrefix(loc.String()+"/", entry.String()+"/") && loc.query == "" || strings.Contains(loc.path+"/", "/../") {
				t.Errorf("%s covers %s", entry, loc)
			}
		}
	})
}
