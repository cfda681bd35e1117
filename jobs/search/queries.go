package search

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/pipeline"
)

// asked is a query of a file.
type asked struct {
	Query
	row   int64 // from 1; a line of text files
	id    string
	fault error // what is wrong with the row
}

const maxLine = 16 << 20 // bytes of a line

// checkQueries makes sure that there is such a file, of a kind that is read.
func checkQueries(path string) error {
	bad := func(what, fix string) error {
		return &pipeline.UsageError{Problems: []pipeline.Problem{{File: path, What: what, Fix: fix}}}
	}
	if readers[kind(path)] == nil {
		return bad("it ends in none of .jsonl, .csv, .txt, .npy and .parquet, so it is not known how to read it", "")
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return bad("there is no such file", "")
	}
	return err
}

func kind(path string) string {
	ext := strings.ToLower(filepath.Ext(path))
	if ext == ".ndjson" {
		return ".jsonl"
	}
	return ext
}

type queryReader func(ctx context.Context, path string, fn func(asked) error) error

var readers = map[string]queryReader{".jsonl": lines(jsonQuery), ".txt": lines(textQuery), ".csv": csvQueries, ".npy": npyQueries, ".parquet": parquetQueries}

// readQueries gives the queries of a file to fn, in order and one at a time.
func readQueries(ctx context.Context, path string, fn func(asked) error) error {
	var inner error
	err := readers[kind(path)](ctx, path, func(q asked) error {
		if inner = ctx.Err(); inner == nil {
			inner = fn(q)
		}
		return inner
	})
	if err != nil && inner == nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return err
}

// fields are the columns of a query.
type fields struct {
	ID      any       `json:"id"`
	Asset   string    `json:"asset"`
	AssetID string    `json:"asset_id"`
	Text    string    `json:"text"`
	File    string    `json:"file"`
	URI     string    `json:"uri"`
	Vector  []float32 `json:"vector"`
}

// query is what the fields ask for.
func (f fields) query(row int64) asked {
	q := asked{row: row}
	if f.ID != nil {
		q.id = fmt.Sprint(f.ID)
	}
	n := 0
	for _, s := range []string{f.Asset, f.AssetID, f.Text, f.File, f.URI} {
		if s != "" {
			n++
		}
	}
	if f.Vector != nil {
		n++
	}
	if n != 1 {
		q.fault = fmt.Errorf("it has %d of asset, text, file and vector; give one", n)
		return q
	}
	q.Query = Query{Asset: f.Asset + f.AssetID, Text: f.Text, File: f.File + f.URI, Vector: f.Vector}
	return q
}

// lines reads a file with a query a line. Empty lines are passed over.
func lines(parse func(line []byte, row int64) asked) queryReader {
	return func(_ context.Context, path string, fn func(asked) error) error {
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		s := bufio.NewScanner(in)
		s.Buffer(make([]byte, 64<<10), maxLine)
		row := int64(0)
		for s.Scan() {
			row++
			line := bytes.TrimSpace(s.Bytes())
			if row == 1 {
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			if len(line) == 0 {
				continue
			}
			if err := fn(parse(line, row)); err != nil {
				return err
			}
		}
		if errors.Is(s.Err(), bufio.ErrTooLong) {
			return pipeline.Usagef("line %d has more than %d bytes", row+1, maxLine)
		}
		return s.Err()
	}
}

func textQuery(line []byte, row int64) asked {
	return asked{row: row, Query: Query{Text: string(line)}}
}

func jsonQuery(line []byte, row int64) asked {
	if line[0] == '[' {
		v, err := jsonVector(line)
		return asked{row: row, Query: Query{Vector: v}, fault: err}
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	d.UseNumber()
	var f fields
	err := d.Decode(&f)
	if err == nil && d.More() {
		err = errors.New("more than one value")
	}
	if err != nil {
		return asked{row: row, fault: fmt.Errorf(`it is no query such as {"id": 1, "asset": "a"}: %w`, err)}
	}
	return f.query(row)
}

// queryColumns are the columns of tables of queries.
var queryColumns = []string{"id", "asset", "asset_id", "text", "file", "uri", "vector"}

func csvQueries(_ context.Context, path string, fn func(asked) error) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	r := csv.NewReader(in)
	r.ReuseRecord, r.FieldsPerRecord = true, 0
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return pipeline.Usagef("%v", err)
	}
	names := slices.Clone(head)
	names[0] = strings.TrimPrefix(names[0], "\ufeff")
	if err := checkColumns(names); err != nil {
		return err
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var wrong *csv.ParseError
		if errors.As(err, &wrong) {
			if !errors.Is(err, csv.ErrFieldCount) {
				return pipeline.Usagef("%v", err) // what follows cannot be told apart
			}
			if err := fn(asked{row: int64(wrong.StartLine), fault: fmt.Errorf("it has %d fields, the first line %d", len(record), len(names))}); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		var f fields
		for i, s := range record {
			f.set(names[i], s)
		}
		if err := fn(f.query(int64(line))); err != nil {
			return err
		}
	}
}

// set sets a text column; a vector is a JSON list.
func (f *fields) set(name, s string) {
	switch name {
	case "id":
		f.ID = s
	case "asset":
		f.Asset = s
	case "asset_id":
		f.AssetID = s
	case "text":
		f.Text = s
	case "file":
		f.File = s
	case "uri":
		f.URI = s
	case "vector":
		if s != "" {
			if f.Vector, _ = jsonVector([]byte(s)); f.Vector == nil {
				f.Vector = []float32{} // of no dimension
			}
		}
	}
}

func checkColumns(names []string) error {
	ways := 0
	for _, n := range names {
		if slices.Contains(queryColumns[1:], n) {
			ways++
		}
	}
	if ways == 0 {
		return pipeline.Usagef("it has no column asset, text, file or vector, but %s", strings.Join(names, ", "))
	}
	return nil
}

func npyQueries(_ context.Context, path string, fn func(asked) error) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	m, err := manifest.OpenMatrix(in, true)
	if err != nil {
		return pipeline.Usagef("%v", err)
	}
	for row := int64(1); row <= m.Rows; row++ {
		v := make([]float32, m.Dim)
		if err := m.Next(v); err != nil {
			return err
		}
		if err := fn(asked{row: row, Query: Query{Vector: v}}); err != nil {
			return err
		}
	}
	return nil
}

// parquetQueries reads through a database of its own: the workspace's may be locked
// down for a condition.
func parquetQueries(ctx context.Context, path string, fn func(asked) error) (err error) {
	dir, err := os.MkdirTemp("", "winnow-queries-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := query.Open(ctx, query.Options{Dir: dir, MemoryLimit: "256MB"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	from := query.Parquet([]string{filepath.ToSlash(path)})
	have, err := db.Columns(ctx, from)
	if err != nil {
		return pipeline.Usagef("it is no Parquet file: %v", err)
	}
	var names, sql []string
	for _, c := range have {
		if !slices.Contains(queryColumns, c.Name) {
			continue
		}
		names = append(names, c.Name)
		if c.Name == "vector" {
			sql = append(sql, "to_json(vector::FLOAT[])::VARCHAR")
			continue
		}
		sql = append(sql, query.Ident(c.Name)+"::VARCHAR")
	}
	if err := checkColumns(names); err != nil {
		return err
	}
	row := int64(0)
	return db.Each(ctx, "SELECT "+strings.Join(sql, ", ")+" FROM "+from, func(scan func(...any) error) error {
		row++
		values := make([]*string, len(names))
		dest := make([]any, len(names))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := scan(dest...); err != nil {
			return err
		}
		var f fields
		for i, v := range values {
			if v != nil {
				f.set(names[i], *v)
			}
		}
		return fn(f.query(row))
	})
}
