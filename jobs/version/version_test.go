package version

import (
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestRevision(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings []debug.BuildSetting
		want     string
	}{
		{"unknown", nil, ""},
		{"clean", []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "false"}}, "abc"},
		{"changed", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "abc"}}, "abc-dirty"},
		{"changes of nothing known", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, ""},
	} {
		if got := revision(&debug.BuildInfo{Settings: c.settings}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := revision(nil); got != "" {
		t.Errorf("without build info: %q", got)
	}
}

func TestModuleVersion(t *testing.T) {
	b := &debug.BuildInfo{Deps: []*debug.Module{
		{Path: "a/b", Version: "v1"},
		{Path: "a/c", Version: "v1", Replace: &debug.Module{Path: "x", Version: "v2"}},
	}}
	for path, want := range map[string]string{"a/b": "v1", "a/c": "v2", "a": ""} {
		if got := moduleVersion(b, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestCollect(t *testing.T) {
	v, err := collect(t.Context(), "v9")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, l := range v.Libraries {
		if have[l.Name] = l.Version; l.Version == "" && l.Error == "" {
			t.Errorf("nothing is said of %s", l.Name)
		}
	}
	if !strings.HasPrefix(have["FAISS"], "1.") || !strings.HasPrefix(have["DuckDB"], "v1.") {
		t.Errorf("versions: %v", have)
	}
	i := slices.IndexFunc(v.Models, func(m Model) bool { return m.Name == "efficientnet-lite0" })
	if i < 0 || v.Models[i].Dim != 1280 || len(v.Models[i].Fingerprint) != 16 {
		t.Errorf("models: %+v", v.Models)
	}
	var b strings.Builder
	v.Print(&b)
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"winnow v9", " FAISS ", " use-multilingual-v3 text → 512 numbers"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestMissingLibraryIsSaid(t *testing.T) {
	v := &Info{Libraries: []Library{{Name: "X", Error: "not found"}}}
	var b strings.Builder
	if v.Print(&b); !strings.Contains(b.String(), "X  cannot be used: not found") {
		t.Error(b.String())
	}
}
