package initcmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/pipeline"
)

// survey is what init found.
type survey struct {
	manifest string            // as the config writes it
	fields   map[string]string // columns that the user named
	allow    []string          // places of the assets, where the default does not do
	unit     string            // pictures, texts or assets
	rows     int               // of the part that was looked at
	more     bool              // there are more than rows
	pictures bool              // rows with a uri
	texts    bool              // rows with a text, and no uri
	captions bool
	first    string // an asset_id to begin with

	converted *file // a manifest that init writes
}

func (s *survey) String() string {
	n := fmt.Sprint(s.rows)
	if s.more {
		n = "more than " + n
	}
	unit := s.unit
	if s.rows == 1 && !s.more {
		unit = strings.TrimSuffix(unit, "s")
	}
	out := n + " " + unit
	if s.captions {
		out += " with captions"
	}
	return out
}

func usage(path, fix, format string, args ...any) error {
	return &pipeline.UsageError{Problems: []pipeline.Problem{{File: path, What: fmt.Sprintf(format, args...), Fix: fix}}}
}

// words are what --fields may name columns for.
var words = []string{"asset_id", "uri", "text", "caption", "version", "media_type"}

// look finds out what path holds. dir is the folder of the config.
func look(ctx context.Context, path, dir string, fields map[string]string) (*survey, error) {
	if strings.Contains(path, "://") && !strings.HasPrefix(path, "file://") {
		return nil, usage(path, "begin with a local sample of it, and write the address into the config afterwards", "init looks at local folders and files only")
	}
	for word := range fields {
		if !slices.Contains(words, word) {
			return nil, usage("", "write one of "+strings.Join(words, ", "), "--fields %s=…: winnow has no word %q", word, word)
		}
	}
	abs, err := filepath.Abs(strings.TrimPrefix(path, "file://"))
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage(path, "name a folder of pictures or texts, or a manifest", "there is no such file or folder")
	case err != nil:
		return nil, err
	case strings.ContainsAny(relative(dir, abs), "*?[{\\"):
		return nil, usage(path, "rename it, or write a manifest that lists its files", "the name holds characters that patterns of files use")
	case info.IsDir():
		return lookFolder(ctx, abs, dir, path)
	}
	switch ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(strings.ToLower(abs), ".gz"))); ext {
	case ".txt", ".text", ".md":
		return lookLines(abs, dir, path)
	case ".jsonl", ".ndjson", ".json", ".manifest", ".csv", ".tsv", ".parquet", ".pq":
		return lookManifest(ctx, abs, dir, path, fields)
	default:
		return nil, usage(path, "name a folder, a .jsonl, .csv, .tsv or .parquet manifest, or a .txt file with a text a line", "files that end in %q are no manifests", ext)
	}
}

// kinds of the files that a folder may hold.
var kinds = map[string]string{
	".jpg": "pictures", ".jpeg": "pictures", ".png": "pictures", ".gif": "pictures", ".webp": "pictures", ".bmp": "pictures", ".tif": "pictures", ".tiff": "pictures",
	".txt": "texts", ".md": "texts", ".text": "texts",
}

// enough files and rows to know what there is.
const (
	enoughFiles = 100_000
	enoughRows  = 1000
)

// lookFolder counts the pictures and texts below a folder. The greater number
// says what it is.
func lookFolder(ctx context.Context, folder, dir, shown string) (*survey, error) {
	counts := map[string]int{}
	exts := map[string]map[string]bool{"pictures": {}, "texts": {}}
	var names []string // of both kinds, relative
	total, more := 0, false
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if strings.HasPrefix(d.Name(), ".") && p != folder || d.IsDir() && filepath.Dir(p) == dir && strings.HasSuffix(d.Name(), "workspace") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		ext := strings.ToLower(filepath.Ext(p))
		kind := kinds[ext]
		if d.IsDir() || kind == "" {
			return nil
		}
		if total++; total > enoughFiles {
			more = true
			return fs.SkipAll
		}
		counts[kind]++
		exts[kind][strings.TrimPrefix(ext, ".")] = true
		rel, err := filepath.Rel(folder, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return nil, err
	}
	kind := "pictures"
	if counts["texts"] > counts["pictures"] {
		kind = "texts"
	}
	if counts[kind] == 0 {
		return nil, usage(shown, "name a folder that holds .jpg, .png, .gif, .webp, .bmp, .tif, .txt or .md files", "the folder holds neither pictures nor texts")
	}
	s := &survey{unit: kind, rows: counts[kind], more: more, pictures: kind == "pictures", texts: kind == "texts"}
	list := make([]string, 0, len(exts[kind]))
	for e := range exts[kind] {
		list = append(list, e)
	}
	slices.Sort(list)
	pattern := list[0]
	if len(list) > 1 {
		pattern = "{" + strings.Join(list, ",") + "}"
	}
	s.manifest = strings.TrimSuffix(relative(dir, folder), "/") + "/**/*." + pattern
	slices.Sort(names)
	for _, n := range names {
		if kinds[strings.ToLower(filepath.Ext(n))] == kind {
			s.first = n
			break
		}
	}
	return s, nil
}

// lookLines turns a file with a text a line into a manifest.
func lookLines(path, dir, shown string) (*survey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &survey{unit: "texts", texts: true}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, manifest.DefaultMaxLine/2)
	for n := 1; scan.Scan(); n++ {
		text := strings.TrimSpace(strings.TrimPrefix(scan.Text(), "\ufeff"))
		if text == "" {
			continue
		}
		if !utf8.ValidString(text) {
			return nil, usage(fmt.Sprintf("%s:%d", shown, n), "save the file as UTF-8", "the line is not UTF-8")
		}
		id := fmt.Sprintf("line-%06d", n)
		if s.first == "" {
			s.first = id
		}
		s.rows++
		if err := enc.Encode(struct {
			ID   string `json:"asset_id"`
			Text string `json:"text"`
		}{id, text}); err != nil {
			return nil, err
		}
	}
	if err := scan.Err(); err != nil {
		return nil, usage(shown, "put each text into a line of its own, or write a manifest", "the file cannot be read line by line: %v", err)
	}
	if s.rows == 0 {
		return nil, usage(shown, "name a file with a text a line", "the file holds no text")
	}
	base := filepath.Base(path)
	out := filepath.Join(dir, strings.TrimSuffix(base, filepath.Ext(base))+".jsonl")
	if !free(out) {
		return nil, taken(out)
	}
	s.converted = &file{out, b.String()}
	s.manifest = relative(dir, out)
	return s, nil
}

// lookManifest reads the beginning of a manifest just as ingest does.
func lookManifest(ctx context.Context, path, dir, shown string, fields map[string]string) (_ *survey, err error) {
	tmp, err := os.MkdirTemp("", "winnow-init-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	db, err := query.Open(ctx, query.Options{Dir: filepath.Join(tmp, "db"), MemoryLimit: "1GB"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s := &survey{manifest: relative(dir, path), fields: fields}
	// The copy of the beginning lies as deep as the manifest, so that relative
	// addresses, even with .., can be led back.
	sample, root := filepath.Join(tmp, path), tmp
	if s.more, err = head(path, sample); err != nil {
		return nil, err
	}
	if !s.more {
		sample, root = path, ""
	}
	r := manifest.NewReader(db, filepath.Join(tmp, "cache"))
	defer func() { err = errors.Join(err, r.Close()) }()
	res, err := r.Read(ctx, manifest.Source{Manifest: sample, Fields: fields}, "sample", manifest.ReadOptions{})
	if err != nil {
		return nil, err
	}
	if res.Rows == 0 {
		return nil, unusable(ctx, db, res, shown)
	}
	return s, s.read(ctx, db, res, filepath.Dir(path), root)
}

// unusable says why no row of a manifest will do.
func unusable(ctx context.Context, db *query.DB, res *manifest.Result, shown string) error {
	if res.Rejected == 0 {
		return usage(shown, "write a row for each asset", "the manifest has no rows")
	}
	var why string
	if err := db.Row(ctx, "SELECT error FROM "+query.Ident(res.Rejects)+" ORDER BY file, line LIMIT 1", []any{&why}); err != nil {
		return err
	}
	return usage(shown, "name the columns: winnow init FILE --fields asset_id=COLUMN --fields uri=COLUMN (or text=COLUMN)", "no row of the manifest is usable; the first: %s", why)
}

// head copies the first lines of a file of lines; more says that there are others.
// Other files are not copied.
func head(path, to string) (more bool, err error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson", ".csv", ".tsv":
	default:
		return false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	const most = 32 << 20
	in := bufio.NewReader(io.LimitReader(f, most))
	var b strings.Builder
	for range enoughRows + 1 { // CSV has a header
		line, err := in.ReadString('\n')
		b.WriteString(line)
		if errors.Is(err, io.EOF) {
			return b.Len() == most, nil
		}
		if err != nil {
			return false, err
		}
	}
	if _, err := in.ReadByte(); err != nil {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return false, err
	}
	return true, os.WriteFile(to, []byte(b.String()), 0o600)
}

// read takes what init needs from the rows that ingest would see. root is what
// the sample's path has before the manifest's own.
func (s *survey) read(ctx context.Context, db *query.DB, res *manifest.Result, folder, root string) error {
	table := query.Ident(res.Table)
	var pictures, texts, captions int64
	err := db.Row(ctx, "SELECT count(uri), count(text) FILTER (uri IS NULL), count(caption) FROM "+table, []any{&pictures, &texts, &captions})
	if err != nil {
		return err
	}
	s.rows = int(res.Rows)
	s.pictures, s.texts, s.captions = pictures > 0, texts > 0, captions > 0
	switch {
	case texts == 0:
		s.unit = "pictures"
	case pictures == 0:
		s.unit = "texts"
	default:
		s.unit = "assets (pictures and texts)"
	}
	want := "uri IS NOT NULL"
	if !s.pictures {
		want = "text IS NOT NULL"
	}
	if err := db.Row(ctx, "SELECT asset_id FROM "+table+" WHERE "+want+" ORDER BY file, line LIMIT 1", []any{&s.first}); err != nil {
		return err
	}
	uris, err := query.Column[string](ctx, db, "SELECT DISTINCT uri FROM "+table+" WHERE uri IS NOT NULL ORDER BY uri")
	if err != nil {
		return err
	}
	s.allow = places(uris, folder, root)
	return nil
}

// places are where the addresses lie, nil when all are below folder: hosts and
// buckets, and the folder that local ones share.
func places(uris []string, folder, root string) []string {
	var out []string
	shared, outside := "", false
	for _, u := range uris {
		scheme, rest, _ := strings.Cut(u, "://")
		if scheme != "file" {
			host, _, _ := strings.Cut(rest, "/")
			if p := scheme + "://" + host + "/"; !slices.Contains(out, p) {
				out = append(out, p)
			}
			continue
		}
		dir := filepath.Dir(strings.TrimPrefix(rest, root))
		outside = outside || dir != folder && !strings.HasPrefix(dir, strings.TrimSuffix(folder, "/")+"/")
		for shared == "" || dir != shared && !strings.HasPrefix(dir, strings.TrimSuffix(shared, "/")+"/") {
			if shared == "" {
				shared = dir
			} else {
				shared = filepath.Dir(shared)
			}
		}
	}
	if shared != "" && (outside || len(out) > 0) {
		out = append(out, strings.TrimSuffix(shared, "/")+"/")
	}
	return out
}
