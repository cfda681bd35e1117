package table

import (
	"bytes"
	"testing"
)

// FuzzEntry replays log entries of any bytes: an error or a state that can be
// written as a checkpoint and says the same again, never a panic.
func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"x","format":{"provider":"parquet"},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":\"array\",\"elementType\":\"float\",\"containsNull\":true},\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[]}}
{"add":{"path":"p%20q","size":1,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":3}","tags":{"a":"b"}}}
{"remove":{"path":"p","dataChange":true}}
{"txn":{"appId":"a","version":1}}`))
	f.Add([]byte(`{"add":null}{"commitInfo":{"timestamp":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		st := emptyState()
		if err := decode(bytes.NewReader(data), func(a action) error { return st.apply(0, a) }); err != nil {
			return
		}
		for p, file := range st.files {
			a, err := file.add(false)
			if err != nil {
				t.Fatal(err)
			}
			again := emptyState()
			if err := again.apply(0, action{Add: a}); err != nil {
				t.Fatalf("%q: %v", p, err)
			}
			got := again.files[p]
			if got.Path != file.Path || got.Size != file.Size || got.Rows != file.Rows && file.Rows >= 0 {
				t.Errorf("%+v became %+v", file, got)
			}
		}
		historyEntry(0, nil)
	})
}
