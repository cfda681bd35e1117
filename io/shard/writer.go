package shard

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/parquet-go/parquet-go"
)

// Columns of a shard.
const (
	colAsset   = "asset_id"
	colVersion = "version"
	colHash    = "content_hash"
	colVector  = "vector"
)

const (
	// RowGroupRows is the number of rows of a shard's row group; the last one
	// may be shorter.
	RowGroupRows = 4096
	// MaxDim is the largest dimension of a vector.
	MaxDim = 65536

	pageBytes = 256 << 10
	// chunkRows are handed to parquet-go at a time. It ends pages only between
	// chunks, so they must not depend on how the caller cuts the rows.
	chunkRows = 64
	// formatVersion counts changes of the layout. Readers refuse what is newer.
	//
	//	1: asset_id, version, content_hash, vector
	formatVersion = 1
)

// Keys of the file's metadata.
const (
	keyFormat      = "winnow.format"
	keyDim         = "winnow.dim"
	keyEmbedding   = "winnow.embedding"
	keyFingerprint = "winnow.fingerprint"
	keyNormalized  = "winnow.normalized"
)

// Meta describes the vectors of a shard.
type Meta struct {
	Dim         int    // numbers a vector, 1 to MaxDim
	Embedding   string // its name
	Fingerprint string // of the embedding's model spec
	Normalized  bool   // all vectors have length 1
}

// Block is a run of rows. Row i has AssetID[i] and Vectors[i*Dim : (i+1)*Dim].
type Block struct {
	Dim         int
	AssetID     []string
	Version     []string
	ContentHash []string
	Vectors     []float32 // n × Dim
	First       int64     // row number in the file of row 0
	Rows        []int64   // row numbers in the file of all rows, when ScanOptions.Only is given
}

// Len is the number of rows.
func (b *Block) Len() int {
	if len(b.AssetID) > 0 || b.Dim == 0 {
		return len(b.AssetID)
	}
	return len(b.Vectors) / b.Dim
}

type vectorRow struct {
	AssetID     string    `parquet:"asset_id,zstd"`
	Version     string    `parquet:"version,zstd"`
	ContentHash string    `parquet:"content_hash,zstd"`
	Vector      []float32 `parquet:"vector,list,uncompressed" parquet-element:",plain"`
}

// Writer writes a shard. It holds at most one row group in memory.
type Writer struct {
	w       *parquet.GenericWriter[vectorRow]
	dim     int
	rows    int64
	buf     []vectorRow
	vectors []float32 // of buf
	err     error     // the first error; the file is lost
}

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer, m Meta) (*Writer, error) {
	if m.Dim < 1 || m.Dim > MaxDim {
		return nil, fmt.Errorf("write shard of %s: dimension %d is not within 1 to %d", m.Embedding, m.Dim, MaxDim)
	}
	pw := parquet.NewGenericWriter[vectorRow](w, append(writerOptions(),
		parquet.MaxRowsPerRowGroup(RowGroupRows),
		parquet.SkipPageBounds(colVector, "list", "element"),
		parquet.KeyValueMetadata(keyFormat, strconv.Itoa(formatVersion)),
		parquet.KeyValueMetadata(keyDim, strconv.Itoa(m.Dim)),
		parquet.KeyValueMetadata(keyEmbedding, m.Embedding),
		parquet.KeyValueMetadata(keyFingerprint, m.Fingerprint),
		parquet.KeyValueMetadata(keyNormalized, strconv.FormatBool(m.Normalized)),
	)...)
	return &Writer{w: pw, dim: m.Dim, vectors: make([]float32, chunkRows*m.Dim)}, nil
}

// writerOptions are what all files of this package share. created_by names no
// version, so that the bytes of a file do not depend on the build.
func writerOptions() []parquet.WriterOption {
	return []parquet.WriterOption{
		parquet.CreatedBy("winnow", "1", "0"),
		parquet.PageBufferSize(pageBytes),
		parquet.DataPageStatistics(false),
	}
}

// Write appends the rows of b: all four columns, vectors of the writer's
// dimension, finite numbers. After an error the writer is of no use.
func (w *Writer) Write(b *Block) error {
	if w.err != nil {
		return w.err
	}
	if err := w.write(b); err != nil {
		w.err = fmt.Errorf("write shard: %w", err)
	}
	return w.err
}

func (w *Writer) write(b *Block) error {
	n := len(b.AssetID)
	if b.Dim != w.dim || len(b.Vectors) != n*w.dim || len(b.Version) != n || len(b.ContentHash) != n {
		return fmt.Errorf("a block of %d asset_ids, %d versions, %d content_hashes and %d numbers of dimension %d does not fit dimension %d",
			n, len(b.Version), len(b.ContentHash), len(b.Vectors), b.Dim, w.dim)
	}
	for i := range n {
		v := b.Vectors[i*w.dim : (i+1)*w.dim]
		if !finite(v) {
			return fmt.Errorf("row %d (asset %q): the vector is not finite", w.rows, b.AssetID[i])
		}
		k := len(w.buf)
		own := w.vectors[k*w.dim : (k+1)*w.dim]
		copy(own, v)
		w.buf = append(w.buf, vectorRow{b.AssetID[i], b.Version[i], b.ContentHash[i], own})
		w.rows++
		if len(w.buf) == chunkRows {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// finite adds up zeros: x·0 is NaN for NaN and the infinities.
func finite(v []float32) bool {
	var s float32
	for _, x := range v {
		s += x * 0
	}
	return !math.IsNaN(float64(s))
}

var errClosed = errors.New("the writer is closed")

// Rows is the number of rows written.
func (w *Writer) Rows() int64 { return w.rows }

// Close writes the footer. It does not close the underlying writer.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.err = errClosed
	if err := w.flush(); err != nil {
		return fmt.Errorf("write shard: %w", err)
	}
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("write shard: %w", err)
	}
	return nil
}
