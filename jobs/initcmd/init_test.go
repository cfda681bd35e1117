package initcmd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"winnow/configs"
	"winnow/jobs/internal/job"
	"winnow/pipeline"
)

// folder makes files in a fresh working directory.
func folder(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, c Cmd, config string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	app := &job.App{Out: &out, Getenv: os.LookupEnv}
	app.Globals.Config = config
	err := c.Run(t.Context(), app)
	return out.String(), err
}

// got is what a test wants to know of a config.
type got struct {
	Manifest, Allow, Fields, Embeddings, Batches, Anchor string
}

func load(t *testing.T, config string) got {
	t.Helper()
	c, err := configs.Load(config, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	wd, _ := os.Getwd()
	cut := func(s string) string { return strings.ReplaceAll(s, wd, "$") }
	g := got{Manifest: cut(c.Sources[0].Manifest), Allow: cut(strings.Join(c.Sources[0].Allow, " ")), Anchor: c.Definitions[0].Anchors.Positive[0].String()}
	if m := c.Sources[0].Fields.Map(); len(m) > 0 {
		g.Fields = fmt.Sprint(m)
	}
	for _, e := range c.Embeddings {
		g.Embeddings += e.Name + ":" + e.Of + " "
	}
	for _, b := range c.Batches {
		g.Batches += fmt.Sprintf("%s:%d ", b.Name, b.Size)
	}
	return g
}

func many(n int, line string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, line+"\n", i)
	}
	return b.String()
}

func TestInit(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		cmd   Cmd
		want  got
		says  string
	}{
		{"pictures", map[string]string{"photos/b.JPG": "", "photos/sub/a.jpg": "", "photos/c.txt": "", "photos/.hidden/d.jpg": "", "photos/e.pdf": ""}, Cmd{Path: "./photos"},
			got{Manifest: "$/photos/**/*.jpg", Allow: "$/photos/", Embeddings: "image:image ", Batches: "overview:1 example:1 ", Anchor: `asset "b.JPG"`}, "found 2 pictures\n"},
		{"kinds of pictures", map[string]string{"p q/a.png": "", "p q/b.jpeg": "", "p q/0012.webp": ""}, Cmd{Path: "p q"},
			got{Manifest: "$/p q/**/*.{jpeg,png,webp}", Allow: "$/p q/", Embeddings: "image:image ", Batches: "overview:1 example:1 ", Anchor: `asset "0012.webp"`}, "found 3 pictures\n"},
		{"one picture here", map[string]string{"a.png": "", "workspace/thumb.png": "", "b-workspace/t.png": ""}, Cmd{Path: "."},
			got{Manifest: "$/**/*.png", Allow: "$/", Embeddings: "image:image ", Batches: "example:1 ", Anchor: `asset "a.png"`}, "found 1 picture\n"},
		{"text files", map[string]string{"notes/a.txt": "a", "notes/b.md": "b", "notes/c.png": ""}, Cmd{Path: "notes"},
			got{Manifest: "$/notes/**/*.{md,txt}", Allow: "$/notes/", Embeddings: "text:text ", Batches: "overview:1 example:1 ", Anchor: `asset "a.txt"`}, "found 2 texts\n"},
		{"lines", map[string]string{"texts.txt": "\ufeffeins\n\n  zwei: <b>\n" + many(40, "%d")}, Cmd{Path: "texts.txt"},
			got{Manifest: "$/texts.jsonl", Allow: "$/", Embeddings: "text:text ", Batches: "overview:4 example:4 ", Anchor: `asset "line-000001"`}, "found 42 texts\nwrote texts.jsonl\n"},
		{"manifest of texts", map[string]string{"m.jsonl": many(50, `{"id": %d, "text": "x"}`)}, Cmd{Path: "m.jsonl"},
			got{Manifest: "$/m.jsonl", Allow: "$/", Embeddings: "text:text ", Batches: "overview:5 example:5 ", Anchor: `asset "0"`}, "found 50 texts\n"},
		{"captioned pictures", map[string]string{"d/m.csv": "asset_id,uri,caption\n" + many(20, "a%[1]d,img/%[1]d.jpg,c")}, Cmd{Path: "d/m.csv"},
			got{Manifest: "$/d/m.csv", Allow: "$/d/", Embeddings: "image:image text:caption ", Batches: "overview:2 example:2 ", Anchor: `asset "a0"`}, "found 20 pictures with captions\n"},
		{"a large manifest", map[string]string{"d/m.jsonl": many(3000, `{"asset_id": "a%[1]d", "uri": "../img/%[1]d.jpg"}`)}, Cmd{Path: "d/m.jsonl"},
			got{Manifest: "$/d/m.jsonl", Allow: "$/img/", Embeddings: "image:image ", Batches: "overview:100 example:100 ", Anchor: `asset "a0"`}, "found more than 1001 pictures\n"},
		{"other places", map[string]string{"m.jsonl": `{"asset_id": "a", "uri": "https://x.example.com/a.jpg"}` + "\n" + `{"asset_id": "b", "uri": "s3://b/c/d.jpg"}` + "\n" + `{"asset_id": "c", "uri": "img/d.jpg"}`}, Cmd{Path: "m.jsonl"},
			got{Manifest: "$/m.jsonl", Allow: "https://x.example.com/ s3://b/ $/img/", Embeddings: "image:image ", Batches: "overview:1 example:1 ", Anchor: `asset "a"`}, "found 3 pictures\n"},
		{"named columns", map[string]string{"m.csv": "code,title\n" + many(10, "c%d,t")}, Cmd{Path: "m.csv", Fields: map[string]string{"asset_id": "code", "text": "title"}},
			got{Manifest: "$/m.csv", Allow: "$/", Fields: "map[asset_id:code text:title]", Embeddings: "text:text ", Batches: "overview:1 example:1 ", Anchor: `asset "c0"`}, "found 10 texts\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder(t, c.files)
			out, err := run(t, c.cmd, "winnow.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, load(t, "winnow.yaml")); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if !strings.HasPrefix(out, c.says) || !strings.HasSuffix(out, "wrote functions/example.yaml\nwrote winnow.yaml\nnext: winnow run\n") {
				t.Errorf("says:\n%s", out)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		cmd   Cmd
		want  string
	}{
		{"config exists", map[string]string{"winnow.yaml": "x", "p/a.jpg": ""}, Cmd{Path: "p"}, "winnow.yaml: it exists, and init overwrites nothing; delete or rename it, or name another config with --config"},
		{"manifest exists", map[string]string{"t.jsonl": "x", "t.txt": "a"}, Cmd{Path: "t.txt"}, "t.jsonl: it exists, and init overwrites nothing; delete or rename it, or name another config with --config"},
		{"nothing there", nil, Cmd{Path: "p"}, "p: there is no such file or folder; name a folder of pictures or texts, or a manifest"},
		{"empty folder", map[string]string{"p/a.pdf": ""}, Cmd{Path: "p"}, "p: the folder holds neither pictures nor texts; name a folder that holds .jpg, .png, .gif, .webp, .bmp, .tif, .txt or .md files"},
		{"a bucket", nil, Cmd{Path: "s3://b/c"}, "s3://b/c: init looks at local folders and files only; begin with a local sample of it, and write the address into the config afterwards"},
		{"a pdf", map[string]string{"a.pdf": ""}, Cmd{Path: "a.pdf"}, `a.pdf: files that end in ".pdf" are no manifests; name a folder, a .jsonl, .csv, .tsv or .parquet manifest, or a .txt file with a text a line`},
		{"pattern characters", map[string]string{"p[1]/a.jpg": ""}, Cmd{Path: "p[1]"}, "p[1]: the name holds characters that patterns of files use; rename it, or write a manifest that lists its files"},
		{"no text", map[string]string{"t.txt": "\n \n"}, Cmd{Path: "t.txt"}, "t.txt: the file holds no text; name a file with a text a line"},
		{"no UTF-8", map[string]string{"t.txt": "a\n\xff\n"}, Cmd{Path: "t.txt"}, "t.txt:2: the line is not UTF-8; save the file as UTF-8"},
		{"unknown columns", map[string]string{"m.csv": "code,title\n1,2\n"}, Cmd{Path: "m.csv"}, "m.csv: no row of the manifest is usable; the first: the row has no asset_id; name its column with fields: {asset_id: …}; name the columns: winnow init FILE --fields asset_id=COLUMN --fields uri=COLUMN (or text=COLUMN)"},
		{"unknown word", map[string]string{"m.csv": "code,title\n1,2\n"}, Cmd{Path: "m.csv", Fields: map[string]string{"id": "code"}}, `--fields id=…: winnow has no word "id"; write one of asset_id, uri, text, caption, version, media_type`},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder(t, c.files)
			before := tree(t)
			_, err := run(t, c.cmd, "winnow.yaml")
			var usage *pipeline.UsageError
			if !errors.As(err, &usage) || err.Error() != c.want {
				t.Errorf("error %T:\n%v\nwant\n%s", err, err, c.want)
			}
			if d := cmp.Diff(before, tree(t)); d != "" {
				t.Errorf("a refusal wrote files:\n%s", d)
			}
		})
	}
}

func tree(t *testing.T) (out []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d os.DirEntry, err error) error {
		out = append(out, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOtherConfigAndFunctions(t *testing.T) {
	folder(t, map[string]string{"p/a.jpg": "", "conf/functions/mine.yaml": "name: mine\nembedding: clip\nanchors: {positive: [{asset: x}]}\n"})
	out, err := run(t, Cmd{Path: "p"}, "conf/photos.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := "found 1 picture\nwrote conf/functions/example.yaml\nwrote conf/photos.yaml\nnext: winnow run -c conf/photos.yaml\n"; out != want {
		t.Errorf("says:\n%s", out)
	}
	if _, err := run(t, Cmd{Path: "p"}, "conf/again.yaml"); err != nil {
		t.Error(err)
	}
	if c, err := configs.Load("conf/again.yaml", os.LookupEnv); err != nil || c.Definitions[0].Name != "example2" || len(c.Definitions) != 1 {
		t.Errorf("a second config beside it: %v", err)
	}
	for config, want := range map[string]string{"conf/photos.yaml": "photos-workspace", "conf/again.yaml": "again-workspace"} {
		if c, err := configs.Load(config, os.LookupEnv); err != nil || filepath.Base(c.Workspace) != want {
			t.Errorf("%s: workspace %v, %v", config, c, err)
		}
	}
	if g := load(t, "conf/photos.yaml"); g.Manifest != "$/p/**/*.jpg" {
		t.Errorf("manifest %s", g.Manifest)
	}
}
