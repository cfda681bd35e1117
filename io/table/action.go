package table

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// action is one line of a log entry: exactly one field is set. Kinds of
// actions that need a newer protocol decode to none and are passed over.
type action struct {
	CommitInfo map[string]json.RawMessage `json:"commitInfo,omitempty"`
	Protocol   *protocol                  `json:"protocol,omitempty"`
	MetaData   *metaData                  `json:"metaData,omitempty"`
	Txn        *txn                       `json:"txn,omitempty"`
	Remove     *remove                    `json:"remove,omitempty"`
	Add        *add                       `json:"add,omitempty"`
}

// The actions, as they stand in log entries and, by the parquet tags, in
// checkpoints. Pointers and maps are what the protocol calls optional.

type protocol struct {
	MinReaderVersion int32 `json:"minReaderVersion" parquet:"minReaderVersion"`
	MinWriterVersion int32 `json:"minWriterVersion" parquet:"minWriterVersion"`
}

type format struct {
	Provider string            `json:"provider" parquet:"provider"`
	Options  map[string]string `json:"options" parquet:"options"`
}

type metaData struct {
	ID               string            `json:"id" parquet:"id"`
	Name             *string           `json:"name,omitempty" parquet:"name,optional"`
	Description      *string           `json:"description,omitempty" parquet:"description,optional"`
	Format           format            `json:"format" parquet:"format"`
	SchemaString     string            `json:"schemaString" parquet:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns" parquet:"partitionColumns,list"`
	Configuration    map[string]string `json:"configuration" parquet:"configuration"`
	CreatedTime      *int64            `json:"createdTime,omitempty" parquet:"createdTime,optional"`
}

type txn struct {
	AppID       string `json:"appId" parquet:"appId"`
	Version     int64  `json:"version" parquet:"version"`
	LastUpdated *int64 `json:"lastUpdated,omitempty" parquet:"lastUpdated,optional"`
}

type add struct {
	Path             string            `json:"path" parquet:"path"`
	PartitionValues  map[string]string `json:"partitionValues" parquet:"partitionValues"`
	Size             int64             `json:"size" parquet:"size"`
	ModificationTime int64             `json:"modificationTime" parquet:"modificationTime"`
	DataChange       bool              `json:"dataChange" parquet:"dataChange"`
	Stats            *string           `json:"stats,omitempty" parquet:"stats,optional"`
	Tags             map[string]string `json:"tags,omitempty" parquet:"tags,optional"`

	// DeletionVector is only looked for, to refuse it.
	DeletionVector json.RawMessage `json:"deletionVector,omitempty" parquet:"-"`
}

type remove struct {
	Path              string `json:"path" parquet:"path"`
	DeletionTimestamp *int64 `json:"deletionTimestamp,omitempty" parquet:"deletionTimestamp,optional"`
	DataChange        bool   `json:"dataChange" parquet:"dataChange"`
	Size              *int64 `json:"size,omitempty" parquet:"size,optional"`
}

// encode gives the actions as a log entry, one JSON object a line.
func encode(actions []action) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, a := range actions {
		if err := enc.Encode(a); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// decode reads a log entry and hands each action on.
func decode(r io.Reader, each func(action) error) error {
	dec := json.NewDecoder(bufio.NewReaderSize(r, 64<<10))
	for line := 1; ; line++ {
		var a action
		err := dec.Decode(&a)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			var syntax *json.SyntaxError
			var typ *json.UnmarshalTypeError
			if errors.As(err, &syntax) || errors.As(err, &typ) {
				return fmt.Errorf("action %d is damaged: %w", line, err)
			}
			return err
		}
		if err := each(a); err != nil {
			return fmt.Errorf("action %d: %w", line, err)
		}
	}
}

// apply replays one action onto the state of version v.
func (st *state) apply(v int64, a action) error {
	switch {
	case a.Protocol != nil:
		if a.Protocol.MinReaderVersion > readerVersion {
			return fmt.Errorf("%w: it needs reader version %d of the Delta protocol, this winnow knows %d; use a newer winnow or the tool that wrote it",
				ErrUnsupported, a.Protocol.MinReaderVersion, readerVersion)
		}
		st.protocol = *a.Protocol
	case a.MetaData != nil:
		return st.applyMeta(v, a.MetaData)
	case a.Txn != nil:
		st.txns[a.Txn.AppID] = *a.Txn
	case a.Add != nil:
		return st.applyAdd(a.Add)
	case a.Remove != nil:
		p, err := decodePath(a.Remove.Path)
		if err != nil {
			return err
		}
		delete(st.files, p)
		st.removed[p] = *a.Remove
	}
	return nil
}

func (st *state) applyMeta(v int64, m *metaData) error {
	if len(m.PartitionColumns) > 0 {
		return fmt.Errorf("%w: it is partitioned by %s", ErrUnsupported, strings.Join(m.PartitionColumns, ", "))
	}
	if m.Format.Provider != "parquet" {
		return fmt.Errorf("%w: its files are %q, not parquet", ErrUnsupported, m.Format.Provider)
	}
	if mode := m.Configuration["delta.columnMapping.mode"]; mode != "" && mode != "none" {
		return fmt.Errorf("%w: it maps columns by %s", ErrUnsupported, mode)
	}
	var schema Schema
	if err := json.Unmarshal([]byte(m.SchemaString), &schema); err != nil {
		return fmt.Errorf("schemaString: %w", err)
	}
	st.meta, st.metaAt, st.schema = m, v, schema
	return nil
}

func (st *state) applyAdd(a *add) error {
	if dv := string(a.DeletionVector); dv != "" && dv != "null" {
		return fmt.Errorf("%w: %s has a deletion vector", ErrUnsupported, a.Path)
	}
	p, err := decodePath(a.Path)
	if err != nil {
		return err
	}
	f := File{Path: p, Size: a.Size, Rows: -1, ModTime: a.ModificationTime}
	if len(a.Tags) > 0 {
		f.Tags = a.Tags
	}
	if a.Stats != nil && *a.Stats != "" {
		f.Stats = *a.Stats
		var s struct {
			NumRecords *int64 `json:"numRecords"`
		}
		if err := json.Unmarshal([]byte(f.Stats), &s); err != nil {
			return fmt.Errorf("stats of %s: %w", p, err)
		}
		if s.NumRecords != nil {
			f.Rows = *s.NumRecords
		}
	}
	st.files[p] = f
	delete(st.removed, p)
	return nil
}

// add returns the file as the log has it.
func (f File) add(dataChange bool) (*add, error) {
	a := &add{
		Path: encodePath(f.Path), PartitionValues: map[string]string{}, Size: f.Size,
		ModificationTime: f.ModTime, DataChange: dataChange, Tags: f.Tags,
	}
	stats := f.Stats
	if stats == "" && f.Rows >= 0 {
		stats = Stats(f.Rows, nil, nil, nil)
	}
	if stats != "" {
		if !json.Valid([]byte(stats)) {
			return nil, fmt.Errorf("the statistics of %s are no JSON", f.Path)
		}
		a.Stats = &stats
	}
	return a, nil
}

// Stats returns the statistics of a file for File.Stats: its rows and, for the
// columns given, the least and greatest values and the number of nulls. Values
// are strings, numbers and booleans, as they stand in the file.
func Stats(rows int64, least, greatest map[string]any, nulls map[string]int64) string {
	b, err := json.Marshal(struct {
		NumRecords int64            `json:"numRecords"`
		MinValues  map[string]any   `json:"minValues,omitempty"`
		MaxValues  map[string]any   `json:"maxValues,omitempty"`
		NullCount  map[string]int64 `json:"nullCount,omitempty"`
	}{rows, least, greatest, nulls})
	if err != nil {
		// A value that JSON cannot say, such as NaN, is no bound either.
		return fmt.Sprintf(`{"numRecords":%d}`, rows)
	}
	return string(b)
}

// encodePath makes a path the URI reference that the protocol wants.
func encodePath(p string) string {
	elems := strings.Split(p, "/")
	for i, e := range elems {
		// A colon in the first element would read as a scheme.
		elems[i] = strings.ReplaceAll(url.PathEscape(e), ":", "%3A")
	}
	return strings.Join(elems, "/")
}

func decodePath(s string) (string, error) {
	if strings.HasPrefix(s, "/") || strings.Contains(s, "://") {
		return "", fmt.Errorf("%w: the file %s lies outside the table", ErrUnsupported, s)
	}
	p, err := url.PathUnescape(s)
	if err != nil {
		return "", fmt.Errorf("path %q: %w", s, err)
	}
	return p, nil
}
