package workspace

import (
	"bytes"
	"context"
	"fmt"

	"github.com/parquet-go/parquet-go"

	"winnow/io/table"
	"winnow/pipeline"
	"winnow/pipeline/task"
)

// rejectRow is a row of the rejects table. The run that found it stands in the
// table's log, so that the same faults give the same file.
type rejectRow struct {
	AssetID   string `parquet:"asset_id,zstd"`
	Version   string `parquet:"version,zstd"`
	Stage     string `parquet:"stage,zstd"`
	Subject   string `parquet:"subject,zstd"`
	Source    string `parquet:"source,zstd"`
	Line      int64  `parquet:"line"`
	Reason    string `parquet:"reason,zstd"`
	Error     string `parquet:"error,zstd"`
	Transient bool   `parquet:"transient"`
}

// RejectsSchema describes the rejects table.
var RejectsSchema = table.Schema{
	{Name: "asset_id", Type: table.String, Nullable: true},
	{Name: "version", Type: table.String, Nullable: true},
	{Name: "stage", Type: table.String, Nullable: true},
	{Name: "subject", Type: table.String, Nullable: true},
	{Name: "source", Type: table.String, Nullable: true},
	{Name: "line", Type: table.Long, Nullable: true},
	{Name: "reason", Type: table.String, Nullable: true},
	{Name: "error", Type: table.String, Nullable: true},
	{Name: "transient", Type: table.Boolean, Nullable: true},
}

// AppendRejects lists rejects in the rejects table. app names the plan or
// manifest that they come from: a second call with the same app changes nothing.
func (w *Workspace) AppendRejects(ctx context.Context, run, app string, rejects []pipeline.Reject) error {
	rows := make([]rejectRow, len(rejects))
	for i, r := range rejects {
		rows[i] = rejectRow{r.AssetID, r.Version, r.Stage, r.Subject, r.Source, r.Line, r.Reason, r.Error, r.Transient}
	}
	return Append(ctx, w, RejectsRoot, app, run, RejectsSchema, rows)
}

// Append adds rows to a small table in one commit. app names the transaction: a
// second call with the same app changes nothing. The parquet tags of T match the
// schema.
func Append[T any](ctx context.Context, w *Workspace, root, app, run string, schema table.Schema, rows []T) error {
	if len(rows) == 0 {
		return nil
	}
	snap, err := w.Snapshot(ctx, root)
	if err != nil {
		return err
	}
	if _, done := snap.Txns[app]; done {
		return nil
	}
	var data bytes.Buffer
	pw := parquet.NewGenericWriter[T](&data, parquet.CreatedBy("winnow", "1", ""))
	if _, err = pw.Write(rows); err == nil {
		err = pw.Close()
	}
	if err != nil {
		return fmt.Errorf("append to table %s: %w", root, err)
	}
	// The rows are part of the name: a file that a killed run left under the same
	// app may hold others.
	name := task.NewHash().Add(root).Add(app).Add(data.String()).Sum() + ".parquet"
	if _, err = w.Store.CreateAll(ctx, root+"/"+name, data.Bytes()); err != nil {
		return fmt.Errorf("append to table %s: %w", root, err)
	}
	file, err := w.DataFile(ctx, root, name, int64(len(rows)))
	if err != nil {
		return err
	}
	_, err = w.Table(root).Commit(ctx, table.Change{Base: snap.Version, Schema: schema, Adds: []table.File{file}, AppID: app, AppVersion: 1,
		Operation: "WRITE", Info: map[string]string{"run": run, "winnow": w.App.Version}})
	delete(w.loaded, root)
	return err
}
