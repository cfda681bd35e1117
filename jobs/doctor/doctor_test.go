package doctor

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseCPU(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       cpu
	}{
		{"x86", "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse4_2 avx avx2 avx512f xsave\n\nprocessor\t: 1\nmodel name\t: Other\nflags\t: avx512bw\n",
			cpu{"AMD EPYC", []string{"sse4_2", "avx", "avx2", "avx512f"}}},
		{"arm", "processor\t: 0\nFeatures\t: fp asimd asimddp\n", cpu{"", []string{"asimd", "asimddp"}}},
		{"nothing", "", cpu{}},
	} {
		if got := parseCPU(c.text); got.model != c.want.model || !cmp.Equal(got.features, c.want.features) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestMemory(t *testing.T) {
	m := parseMeminfo("MemTotal:       8388608 kB\nMemFree: 1 kB\nMemAvailable:   6291456 kB\nbad\n")
	if m.total != 8<<30 || m.available != 6<<30 || m.free() != 6<<30 {
		t.Errorf("%+v", m)
	}
	for _, c := range []struct {
		name     string
		edit     func(*memory)
		database uint64
		want     Status
		text     string
	}{
		{"enough", func(*memory) {}, 2 << 30, OK, "6.0 GiB free of 8.0 GiB"},
		{"a greedy database", func(*memory) {}, 6 << 30, Warn, "6.0 GiB free of 8.0 GiB; the database may take 6.0 GiB"},
		{"a small container", func(m *memory) { m.limit, m.used = 2<<30, 1<<30 }, 1 << 30, Warn, "1.0 GiB free of the container's 2.0 GiB"},
		{"a container without limit", func(m *memory) { m.limit = math.MaxUint64 }, 1 << 30, OK, "6.0 GiB free of 8.0 GiB"},
		{"a container over its limit", func(m *memory) { m.limit, m.used = 1<<30, 2<<30 }, 1 << 30, OK, "6.0 GiB free of the container's 1.0 GiB"},
	} {
		x := m
		c.edit(&x)
		if got := judgeMemory(x, c.database); got.Status != c.want || !strings.HasPrefix(got.What, c.text) || (got.Fix == "") != (c.want == OK) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestGPUs(t *testing.T) {
	cards := []Card{{"H100", 80 << 30, "9.0"}, {"H100", 80 << 30, "9.0"}}
	for _, c := range []struct {
		name string
		g    GPUs
		want Status
		text string
	}{
		{"none", GPUs{Device: "auto", Takes: []string{"cpu"}, Why: "no NVIDIA driver; run elsewhere", missing: "no NVIDIA driver"}, OK, "auto: models run on cpu, since there is no GPU"},
		{"none, but asked for", GPUs{Device: "cuda", err: errors.New("device cuda: no NVIDIA driver: x; run elsewhere")}, Fail, "device cuda: no NVIDIA driver: x"},
		{"taken", GPUs{Device: "auto", Cards: cards, Serves: "13.0", Takes: []string{"cuda:0", "cuda:1"}}, OK, "auto: models run on cuda:0, cuda:1"},
		{"the processor, as asked", GPUs{Device: "cpu", Cards: cards, Takes: []string{"cpu"}}, OK, "cpu: models run on cpu"},
		{"idle", GPUs{Device: "auto", Cards: cards, Takes: []string{"cpu"}, Why: "no cuBLAS\nmore lines; install it"}, Warn, "the GPU stands idle: no cuBLAS"},
	} {
		got := c.g.judge()
		if got.Status != c.want || !strings.Contains(got.What, c.text) || strings.Contains(got.What, "more lines") || (got.Fix == "") != (c.want == OK) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if n := len(c.g.checks()); n != 4+len(c.g.Cards) {
			t.Errorf("%s: %d checks", c.name, n)
		}
	}
	for text, want := range map[string]string{
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)\nGCC version:  gcc 12": "580.65.06",
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183  Sun May 12":                                                    "535.183",
		"": "of an unknown version",
	} {
		if got := driverVersion(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
	if g := readGPUs(nil); g.Device != "auto" || len(g.Takes) == 0 {
		t.Errorf("this machine: %+v", g)
	}
}

func TestSpace(t *testing.T) {
	for free, want := range map[uint64]Status{0: Fail, 255 << 20: Fail, 1 << 30: Warn, 4 << 30: OK} {
		if got := judgeSpace("cache", "/c", free, "fix"); got.Status != want || (got.Fix == "") != (want == OK) {
			t.Errorf("%d bytes: %+v", free, got)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	if got := folderCheck("cache", dir+"/not/yet", "fix"); got.Status == Fail {
		t.Errorf("a folder to come: %+v", got)
	}
	if got := existing(dir + "/not/yet"); got != dir {
		t.Errorf("existing: %s", got)
	}
	if got := folderCheck("cache", "/proc/nothing", "fix"); got.Status != Fail || got.Fix != "fix" {
		t.Errorf("a folder that nobody can write: %+v", got)
	}
}

func TestLoaded(t *testing.T) {
	const maps = `7f0000-7f1000 r-xp 00000000 fe:00 1 /usr/lib/libopenblasp-r0.3.21.so
7f2000-7f3000 rw-p 00000000 00:00 0
7f4000-7f5000 r--p 00000000 fe:00 2 /a dir/libfaiss_c.so
`
	for name, want := range map[string]string{"libfaiss_c": "/a dir/libfaiss_c.so", "libopenblas": "/usr/lib/libopenblasp-r0.3.21.so", "libx": ""} {
		if got := loaded(maps, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestLibrariesWork(t *testing.T) {
	if err := tryProduct(); err != nil {
		t.Error(err)
	}
	if err := tryIndex(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tryJPEG(t.Context()); err != nil {
		t.Error(err)
	}
	if v, err := duckDB(t.Context()); err != nil || !strings.HasPrefix(v, "v1.") {
		t.Errorf("DuckDB %q: %v", v, err)
	}
}

func TestCheckVector(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name       string
		v          []float32
		normalized bool
		want       string
	}{
		{"unit", []float32{0.6, 0.8}, true, ""},
		{"any length", []float32{3, 4}, false, ""},
		{"short", []float32{1}, false, "has 1 numbers, the spec says 2"},
		{"NaN", []float32{1, nan}, false, "number 1 of the vector is NaN"},
		{"infinite", []float32{inf, 1}, false, "number 0 of the vector is +Inf"},
		{"zeros", []float32{0, 0}, false, "all zeros"},
		{"not scaled", []float32{3, 4}, true, "has length 5, not 1"},
	} {
		got := ""
		if err := checkVector(c.v, 2, c.normalized); err != nil {
			got = err.Error()
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSkew(t *testing.T) {
	now := time.Unix(1_700_000_000, 500_000_000)
	for _, c := range []struct {
		name     string
		modified time.Time
		want     time.Duration
		status   Status
	}{
		{"between", now.Add(50 * time.Millisecond), 0, OK},
		{"whole seconds", now.Truncate(time.Second), 0, OK},
		{"a little ahead", now.Add(2 * time.Second), 1900 * time.Millisecond, OK},
		{"far ahead", now.Add(time.Minute), time.Minute - 100*time.Millisecond, Warn},
		{"far behind", now.Add(-time.Hour), -time.Hour, Warn},
	} {
		got := skewOf(c.modified, now, now.Add(100*time.Millisecond))
		if got != c.want || judgeSkew(got).Status != c.status {
			t.Errorf("%s: %v, %+v", c.name, got, judgeSkew(got))
		}
	}
	if got := judgeSkew(-time.Hour).What; got != "the store's clock is 1h0m0s behind this machine's" {
		t.Error(got)
	}
}

func TestFailedTakesTheFixFromTheError(t *testing.T) {
	got := failed("g", "n", errors.New("a; b; do this"), "otherwise")
	if got.What != "a; b" || got.Fix != "do this" {
		t.Errorf("%+v", got)
	}
	if got = failed("g", "n", errors.New("broken"), "otherwise"); got.What != "broken" || got.Fix != "otherwise" {
		t.Errorf("%+v", got)
	}
}

func TestReport(t *testing.T) {
	var r Report
	var b strings.Builder
	r.add(ok("libraries", "FAISS", "1.7.3"))
	if r.Print(&b); !r.OK || !strings.HasSuffix(b.String(), "\nall is well\n") {
		t.Errorf("all well: %s", b.String())
	}
	r.add(warn("disk", "cache", "free some", "1 GiB"))
	b.Reset()
	if r.Print(&b); !r.OK || !strings.HasSuffix(b.String(), "\nall works, with 1 warning\n") {
		t.Errorf("a warning: %s", b.String())
	}
	r.add(fail("disk", "temp", "free some", "%s", "full\nreally"))
	b.Reset()
	r.Print(&b)
	want := `libraries
  ok    FAISS  1.7.3

disk
  warn  cache  1 GiB
               → free some
  fail  temp   full
               really
               → free some

1 check failed, 1 warning
`
	if d := cmp.Diff(want, b.String()); d != "" || r.OK || r.Failed != 1 || r.Warned != 1 {
		t.Errorf("%+v\n%s", r, d)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1536: "1.5 KiB", math.MaxUint64: "16.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if count(1, "check") != "1 check" || count(2, "check") != "2 checks" {
		t.Error(count(1, "check"), count(2, "check"))
	}
}
