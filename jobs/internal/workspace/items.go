package workspace

import (
	"context"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"winnow/pipeline"
)

// itemRow is how an input row of an embed task is kept.
type itemRow struct {
	AssetID string `parquet:"asset_id,zstd"`
	Version string `parquet:"version,zstd"`
	URI     string `parquet:"uri,zstd"`
	Text    string `parquet:"text,zstd"`
}

// WriteItems freezes the input rows of a task, put-if-absent.
func (w *Workspace) WriteItems(ctx context.Context, key string, items []pipeline.Item) error {
	rows := make([]itemRow, len(items))
	for i, it := range items {
		rows[i] = itemRow(it)
	}
	_, err := w.Store.Create(ctx, key, func(out io.Writer) error {
		pw := parquet.NewGenericWriter[itemRow](out, parquet.CreatedBy("winnow", "1", ""))
		if _, err := pw.Write(rows); err != nil {
			return err
		}
		return pw.Close()
	})
	return err
}

// ReadItems reads what WriteItems wrote.
func (w *Workspace) ReadItems(ctx context.Context, key string, want int64) ([]pipeline.Item, error) {
	f, err := w.Store.OpenAt(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("input of the task: %w", err)
	}
	defer f.Close()
	rows, err := parquet.Read[itemRow](f, f.Size())
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", key, err)
	}
	if int64(len(rows)) != want {
		return nil, fmt.Errorf("%s has %d rows, its plan says %d", key, len(rows), want)
	}
	items := make([]pipeline.Item, len(rows))
	for i, r := range rows {
		items[i] = pipeline.Item(r)
	}
	return items, nil
}
