package manifest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"winnow/io/store"
	"winnow/pipeline"
)

// VectorSource says where vectors are that another program made, and how their
// rows are told apart. Four kinds of files are read:
//
//   - Parquet with an id column and a column of lists of numbers
//   - JSON Lines of {"id": …, "vector": […]}, as Labelbox takes custom embeddings.
//     Labelbox's ids are those of data rows: IDs then names an export that says
//     which asset a data row is
//   - .npy matrices; IDs names as many files with their ids, in the same order:
//     text (an id a line), .npy, .jsonl or Parquet
//   - a folder that clip-retrieval has written: img_emb or text_emb, and metadata
type VectorSource struct {
	Files   string // URL or path: a file, a glob, or a clip-retrieval folder
	IDs     string // likewise, or ""
	Fields  Fields // the columns asset_id and vector, where their names differ
	Text    bool   // of a clip-retrieval folder: the vectors of its texts
	MaxLine int64  // of JSON Lines, in bytes; default DefaultMaxLine
}

// VectorFile is one file of vectors, with the file of its ids where it needs one.
type VectorFile struct {
	URI     string `json:"uri"` // for people
	Root    string `json:"root"`
	Key     string `json:"key"`
	Version string `json:"version"`
	IDs     *Place `json:"ids,omitempty"`
}

// Place is an object, and the version that was listed.
type Place struct {
	Root    string `json:"root"`
	Key     string `json:"key"`
	Version string `json:"version"`
}

// VectorRow is what ReadVectors finds: a vector, or a row's fault. Number is the
// row's, or the line's, from 1. Values are used again for the next row.
type VectorRow struct {
	Number int64
	ID     string
	Values []float32
	Fault  *pipeline.RowError
}

// vectorColumns are where vectors are looked for, unless Fields names a column.
var vectorColumns = []string{"vector", "embedding", "embeddings", "image_embedding", "text_embedding", "clip_embedding", "emb", "vec"}

// FindVectors lists the files of a source in order: img_emb_2.npy comes before
// img_emb_10.npy. That nothing is there, or that ids and matrices do not go
// together, is a *pipeline.UsageError.
func (r *Reader) FindVectors(ctx context.Context, src VectorSource) ([]VectorFile, error) {
	files, ids := src.Files, src.IDs
	if folder, options := clipFolder(src.Files); folder != "" {
		kind := "img"
		if src.Text {
			kind = "text"
		}
		files = fmt.Sprintf("%s/%s_emb/%s_emb_*.npy%s", folder, kind, kind, options)
		if ids == "" {
			ids = folder + "/metadata/metadata_*.parquet" + options
		}
	}
	found, err := r.listFiles(ctx, "vectors", files)
	if err != nil {
		return nil, err
	}
	out := make([]VectorFile, len(found))
	matrices := 0
	for i, p := range found {
		uri, err := store.ResolveURI(p.Root, p.Key)
		if err != nil {
			return nil, err
		}
		out[i] = VectorFile{URI: withoutQuery(uri), Root: p.Root, Key: p.Key, Version: p.Version}
		switch extension(p.Key) {
		case ".npy":
			matrices++
		case ".parquet", ".pq", ".jsonl", ".ndjson", ".json":
		default:
			return nil, pipeline.Usagef("vectors %s: winnow reads vectors from .parquet, .npy and .jsonl files", out[i].URI)
		}
	}
	if matrices > 0 && matrices < len(out) {
		return nil, pipeline.Usagef("vectors %s: matrices and other files stand together; give them an embedding each", files)
	}
	return out, r.addIDs(ctx, out, files, ids, matrices > 0)
}

// addIDs names the file of ids of each file that needs one.
func (r *Reader) addIDs(ctx context.Context, out []VectorFile, files, ids string, matrices bool) error {
	if ids == "" {
		if matrices {
			return pipeline.Usagef("vectors %s: a .npy file holds no ids; name the files that do with ids: …", files)
		}
		return nil
	}
	places, err := r.listFiles(ctx, "vectors", ids)
	if err != nil {
		return err
	}
	if !matrices {
		if len(places) != 1 {
			return pipeline.Usagef("vectors %s: ids: %s are %d files; one export of Labelbox is wanted", files, ids, len(places))
		}
		for i := range out {
			out[i].IDs = &places[0]
		}
		return nil
	}
	if len(places) != len(out) {
		return pipeline.Usagef("vectors: %s are %d files, ids: %s are %d; each matrix needs one file of ids", files, len(out), ids, len(places))
	}
	for i := range out {
		out[i].IDs = &places[i]
	}
	return nil
}

// clipFolder returns the folder of a source that names one which clip-retrieval
// has written, and the options of its bucket; else "".
func clipFolder(files string) (folder, options string) {
	folder = files
	if i := strings.LastIndexByte(files, '?'); i >= 0 && strings.Contains(files[i:], "=") {
		folder, options = files[:i], files[i:]
	}
	if isGlob(folder) || strings.Contains(path.Base(folder), ".") {
		return "", ""
	}
	return strings.TrimRight(folder, "/"), options
}

// listFiles lists one file, or the files of a glob, in natural order. Errors
// begin with what they are.
func (r *Reader) listFiles(ctx context.Context, what, pattern string) ([]Place, error) {
	at, err := r.locate(ctx, pattern)
	if err != nil {
		return nil, err
	}
	o, err := at.st.Stat(ctx, at.key)
	if err == nil {
		return []Place{{at.root, o.Key, version(o)}}, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !isGlob(at.key) {
		return nil, pipeline.Usagef("%s %s does not exist; correct the path", what, pattern)
	}
	g, err := newGlob(at.key)
	if err != nil {
		return nil, pipeline.Usagef("%s: %v", what, err)
	}
	list := at.st.List(ctx, g.prefix)
	if !g.deep {
		list = at.st.ListDir(ctx, g.dir)
	}
	var out []Place
	for o, err := range list {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		// Spark and Dask put files such as _SUCCESS beside the parts.
		if _, ok := g.match(o.Key); ok && !o.IsDir && !strings.HasPrefix(path.Base(o.Key), "_") {
			out = append(out, Place{at.root, o.Key, version(o)})
		}
	}
	if len(out) == 0 {
		return nil, noMatch(pattern)
	}
	slices.SortFunc(out, func(a, b Place) int { return natural(a.Key, b.Key) })
	return out, nil
}

// natural compares texts with the numbers in them as numbers.
func natural(a, b string) int {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	x, y := a, b
	for x != "" && y != "" {
		if !digit(x[0]) || !digit(y[0]) {
			if x[0] != y[0] {
				return int(x[0]) - int(y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		i, j := 0, 0
		for i < len(x) && digit(x[i]) {
			i++
		}
		for j < len(y) && digit(y[j]) {
			j++
		}
		n, m := strings.TrimLeft(x[:i], "0"), strings.TrimLeft(y[:j], "0")
		if len(n) != len(m) {
			return len(n) - len(m)
		}
		if c := strings.Compare(n, m); c != 0 {
			return c
		}
		x, y = x[i:], y[j:]
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(a, b)
}

func extension(key string) string {
	return strings.ToLower(path.Ext(strings.TrimSuffix(key, ".gz")))
}

// ReadVectors calls fn with every row of a file in order. What is wrong with one
// row is its Fault; what is wrong with the whole file is an error. The file must
// still be the one that was listed.
func (r *Reader) ReadVectors(ctx context.Context, src VectorSource, f VectorFile, fn func(*VectorRow) error) error {
	var err error
	switch extension(f.Key) {
	case ".npy":
		err = r.readMatrix(ctx, src, f, fn)
	case ".parquet", ".pq":
		err = r.readVectorParquet(ctx, src, f, fn)
	default:
		err = r.readVectorLines(ctx, src, f, fn)
	}
	if err != nil {
		return fmt.Errorf("vectors %s: %w", f.URI, err)
	}
	return nil
}

// same finds an object again, in the version that was listed.
func (r *Reader) same(ctx context.Context, p Place) (*store.Store, store.Object, error) {
	st, err := r.store(ctx, p.Root)
	if err != nil {
		return nil, store.Object{}, err
	}
	o, err := st.Stat(ctx, p.Key)
	if err == nil && version(o) != p.Version {
		err = &pipeline.TransientError{Err: fmt.Errorf("%s changed since it was listed; run again", p.Key)}
	}
	return st, o, err
}

// readMatrix reads a .npy file beside its ids.
func (r *Reader) readMatrix(ctx context.Context, src VectorSource, f VectorFile, fn func(*VectorRow) error) (err error) {
	st, _, err := r.same(ctx, Place{f.Root, f.Key, f.Version})
	if err != nil {
		return err
	}
	in, _, err := st.NewReader(ctx, f.Key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	m, err := OpenMatrix(in, false)
	if err != nil {
		return err
	}
	ids, err := r.openIDs(ctx, src, *f.IDs)
	if err != nil {
		return fmt.Errorf("ids %s: %w", f.IDs.Key, err)
	}
	defer func() { err = errors.Join(err, ids.close()) }()
	row := VectorRow{Values: make([]float32, m.Dim)}
	for row.Number = 1; ; row.Number++ {
		if row.Number%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		id, idErr := ids.next()
		if idErr != nil && idErr != io.EOF {
			return fmt.Errorf("ids %s: %w", f.IDs.Key, idErr)
		}
		err := m.Next(row.Values)
		switch {
		case err == io.EOF && idErr == io.EOF:
			return nil
		case err == io.EOF:
			return pipeline.Usagef("vectors %s has %d rows, but %s has more ids; they do not belong together", f.URI, m.Rows, f.IDs.Key)
		case err != nil:
			return err
		case idErr == io.EOF:
			return pipeline.Usagef("vectors %s has %d rows, but %s has only %d ids; they do not belong together", f.URI, m.Rows, f.IDs.Key, row.Number-1)
		}
		row.ID, row.Fault = id, idFault(id)
		if err := fn(&row); err != nil {
			return err
		}
	}
}

func idFault(id string) *pipeline.RowError {
	switch {
	case strings.TrimSpace(id) == "":
		return rowFault(pipeline.ReasonMissingID, "the row has no id")
	case strings.ContainsRune(id, 0):
		return rowFault(pipeline.ReasonInvalidRow, "the id contains a zero byte")
	}
	return nil
}

// idList gives the ids of a matrix's rows; io.EOF follows the last.
type idList interface {
	next() (string, error)
	close() error
}

// openIDs opens a file of ids by its kind.
func (r *Reader) openIDs(ctx context.Context, src VectorSource, p Place) (idList, error) {
	st, _, err := r.same(ctx, p)
	if err != nil {
		return nil, err
	}
	if ext := extension(p.Key); ext == ".parquet" || ext == ".pq" {
		return openIDColumn(ctx, st, p.Key, src.Fields)
	}
	in, _, err := st.NewReader(ctx, p.Key)
	if err != nil {
		return nil, err
	}
	if extension(p.Key) == ".npy" {
		m, err := OpenMatrix(in, false)
		if err != nil {
			return nil, errors.Join(err, in.Close())
		}
		return &matrixIDs{m, in}, nil
	}
	br, err := maybeGzip(in)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	l := &lineIDs{r: br, in: in, most: int(Source{MaxLine: src.MaxLine}.maxLine())}
	if forms[extension(p.Key)] == formJSON {
		l.fields = newRowMapper(src.Fields)
	}
	return l, nil
}

type matrixIDs struct {
	m  *Matrix
	in io.Closer
}

func (l *matrixIDs) next() (string, error) { return l.m.NextText() }
func (l *matrixIDs) close() error          { return l.in.Close() }

// lineIDs reads an id a line: the line itself, or a word of a JSON object.
type lineIDs struct {
	r      *bufio.Reader
	in     io.Closer
	most   int
	fields *rowMapper // nil for plain lines
	lines  *lineReader
}

func (l *lineIDs) close() error { return l.in.Close() }

func (l *lineIDs) next() (string, error) {
	if l.lines == nil {
		l.lines = newLineReader(l.r, int64(l.most))
	}
	rec, err := l.lines.next()
	if err != nil {
		return "", err
	}
	if rec.err != nil {
		return "", fmt.Errorf("line %d: %w", rec.line, rec.err)
	}
	if l.fields == nil {
		return string(rec.data), nil
	}
	if len(rec.data) > 0 && rec.data[0] == '"' {
		return unquote(rec.data)
	}
	top, err := members(rec.data, nil)
	if err != nil {
		return "", fmt.Errorf("line %d: %w", rec.line, err)
	}
	l.fields.load(top)
	id, _, err := l.fields.find("asset_id", nil)
	return id, err
}
