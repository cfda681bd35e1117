package store

import "testing"

func TestFlocked(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  WRITE 1 fe:00:7 0 EOF
2: FLOCK  ADVISORY  WRITE 9210 fe:01:11421732 0 EOF
2: -> FLOCK  ADVISORY  WRITE 9300 fe:01:42 0 EOF
3: FLOCK  ADVISORY  WRITE
4: FLOCK  ADVISORY  WRITE 12 103:100:9 0 EOF
`
	dev := func(major, minor uint64) uint64 {
		return minor&0xff | major&0xfff<<8 | minor&^0xff<<12 | major&^0xfff<<32
	}
	for _, c := range []struct {
		name     string
		dev, ino uint64
		want     bool
	}{
		{"held", dev(0xfe, 1), 11421732, true},
		{"wide numbers", dev(0x103, 0x100), 9, true},
		{"another device", dev(0xfe, 0), 11421732, false},
		{"another file", dev(0xfe, 1), 11421733, false},
		{"waited for, not held", dev(0xfe, 1), 42, false},
		{"another kind of lock", dev(0xfe, 0), 7, false},
	} {
		if got := flocked(locks, c.dev, c.ino); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestLockInfo(t *testing.T) {
	for _, url := range []string{t.TempDir() + "/w", "mem://lock-info/p"} {
		s, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		held := func(when, want string) {
			t.Helper()
			l, err := s.LockInfo(t.Context(), "workspace")
			if err != nil {
				t.Fatalf("%s, %s: %v", url, when, err)
			}
			switch got := ""; {
			case l != nil:
				if got = l.Holder; got != want || l.Since.IsZero() {
					t.Errorf("%s, %s: %+v, want %q", url, when, *l, want)
				}
			case want != "":
				t.Errorf("%s, %s: free, want %q", url, when, want)
			}
		}
		held("never taken", "")
		for _, who := range []string{"run 1", "run 2"} {
			l, err := s.Lock(t.Context(), "workspace", LockOptions{Holder: who})
			if err != nil {
				t.Fatal(err)
			}
			held("taken", who)
			if err := l.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
			held("given back", "")
		}
	}
}
