package shard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// scorePageRows is the number of rows of a page of scores: pageBytes.
const scorePageRows = pageBytes / 4

// ScoreWriter writes a score file: asset_id, version and one FLOAT column a
// function. It holds at most one row group in memory.
//
// It encodes pages itself, as https://parquet.apache.org/docs/file-format says:
// of scores the numbers as they lie in memory, which saves boxing each of them
// and three copies. Only the schema is parquet-go's.
type ScoreWriter struct {
	w       io.Writer
	off     int64 // bytes written
	columns []string
	footer  format.FileMetaData
	limit   int // rows a row group
	rows    int64

	// The row group.
	keys [2]keyColumn
	cols [][]float32

	head pageHeader
	err  error // the first error; the file is lost
}

// keyColumn collects the strings of a row group in pages of pageBytes.
type keyColumn struct {
	values  []byte // of the page
	offsets []uint32
	pages   []byte // encoded, with headers
	whole   int64  // their size before compression
	lowest  string
	highest string
	buf     [2][]byte
}

// pageHeader encodes headers of pages.
type pageHeader struct {
	buf     bytes.Buffer
	encoder *thrift.Encoder
}

var (
	keyCodec    = zstd.Codec{Level: zstd.SpeedFastest}
	keyEncoding = &parquet.DeltaLengthByteArray
)

// NewScoreWriter returns a ScoreWriter with the given columns, whose names
// differ from each other and from asset_id and version, letters' case aside:
// SQL does not tell it.
func NewScoreWriter(w io.Writer, columns []string) (*ScoreWriter, error) {
	if err := checkColumns(columns); err != nil {
		return nil, fmt.Errorf("write scores: %w", err)
	}
	footer, err := scoreFooter(columns)
	if err != nil {
		return nil, fmt.Errorf("write scores: %w", err)
	}
	s := &ScoreWriter{w: w, columns: columns, footer: footer, limit: groupRows(len(columns)), cols: make([][]float32, len(columns))}
	var p thrift.CompactProtocol
	s.head.encoder = thrift.NewEncoder(p.NewWriter(&s.head.buf))
	return s, nil
}

// scoreFooter is the footer of a file without rows.
func scoreFooter(columns []string) (format.FileMetaData, error) {
	var empty bytes.Buffer
	if err := parquet.NewGenericWriter[any](&empty, append(writerOptions(), scoreSchema(columns), parquet.KeyValueMetadata(keyFormat, "1"))...).Close(); err != nil {
		return format.FileMetaData{}, err
	}
	f, err := openFile(bytes.NewReader(empty.Bytes()), int64(empty.Len()))
	if err != nil {
		return format.FileMetaData{}, err
	}
	return *f.Metadata(), nil
}

func checkColumns(columns []string) error {
	if len(columns) > MaxScoreColumns {
		return fmt.Errorf("%d columns; a file holds at most %d", len(columns), MaxScoreColumns)
	}
	seen := map[string]bool{"": true, colAsset: true, colVersion: true}
	for _, c := range columns {
		if l := strings.ToLower(c); seen[l] {
			return fmt.Errorf("column %q is empty, twice, or one of %s and %s", c, colAsset, colVersion)
		} else {
			seen[l] = true
		}
	}
	return nil
}

// Write appends rows: cols[c][i] is the score of asset ids[i] in column c, a
// finite number. The bytes of the file do not depend on how the rows are cut
// into calls. After an error the writer is of no use.
func (w *ScoreWriter) Write(ids, versions []string, cols [][]float32) error {
	if w.err != nil {
		return w.err
	}
	if err := w.write(ids, versions, cols); err != nil {
		w.err = fmt.Errorf("write scores: %w", err)
	}
	return w.err
}

func (w *ScoreWriter) write(ids, versions []string, cols [][]float32) error {
	if len(versions) != len(ids) || len(cols) != len(w.columns) {
		return fmt.Errorf("%d ids, %d versions and %d columns for the %d of the file", len(ids), len(versions), len(cols), len(w.columns))
	}
	for c, col := range cols {
		if len(col) != len(ids) {
			return fmt.Errorf("column %s has %d scores for %d rows", w.columns[c], len(col), len(ids))
		}
		if !finite(col) {
			for i, s := range col {
				if !finite([]float32{s}) {
					return fmt.Errorf("column %s, row %d (asset %q): the score is %v", w.columns[c], w.rows+int64(i), ids[i], s)
				}
			}
		}
	}
	for lo := 0; lo < len(ids); {
		group := int(w.rows % int64(w.limit))
		n := min(len(ids)-lo, w.limit-group)
		for k, texts := range [][]string{ids, versions} {
			if err := w.keys[k].append(&w.head, texts[lo:lo+n]); err != nil {
				return err
			}
		}
		for c, col := range cols {
			w.cols[c] = append(w.cols[c], col[lo:lo+n]...)
		}
		lo += n
		w.rows += int64(n)
		if group+n == w.limit {
			if err := w.flush(w.limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes the row group.
func (w *ScoreWriter) flush(rows int) error {
	if w.off == 0 {
		if err := w.put([]byte("PAR1")); err != nil {
			return err
		}
	}
	if rows == 0 {
		return nil
	}
	g := format.RowGroup{NumRows: int64(rows), FileOffset: w.off, Ordinal: int16(len(w.footer.RowGroups))}
	for k, name := range []string{colAsset, colVersion} {
		chunk, err := w.keyChunk(&w.keys[k], name, rows)
		if err != nil {
			return err
		}
		g.Columns = append(g.Columns, chunk)
	}
	for c, name := range w.columns {
		chunk, err := w.scoreChunk(w.cols[c], name)
		if err != nil {
			return err
		}
		g.Columns = append(g.Columns, chunk)
		w.cols[c] = w.cols[c][:0]
	}
	for i := range g.Columns {
		g.TotalByteSize += g.Columns[i].MetaData.TotalUncompressedSize
		g.TotalCompressedSize += g.Columns[i].MetaData.TotalCompressedSize
	}
	w.footer.RowGroups = append(w.footer.RowGroups, g)
	w.footer.NumRows += int64(rows)
	return nil
}

func (w *ScoreWriter) put(p []byte) error {
	n, err := w.w.Write(p)
	w.off += int64(n)
	return err
}

// scoreChunk writes a column of scores: PLAIN, which is how they lie in memory.
func (w *ScoreWriter) scoreChunk(col []float32, name string) (format.ColumnChunk, error) {
	m := format.ColumnMetaData{Type: format.Float, Encoding: []format.Encoding{format.Plain}, PathInSchema: []string{name},
		Codec: format.Uncompressed, NumValues: int64(len(col)), DataPageOffset: w.off}
	m.Statistics.MinValue, m.Statistics.MaxValue = boundsOf(col)
	for lo := 0; lo < len(col); lo += scorePageRows {
		page := col[lo:min(lo+scorePageRows, len(col))]
		data := plainBytes(page)
		head, err := w.head.encode(len(page), len(data), data, format.Plain, false)
		if err != nil {
			return format.ColumnChunk{}, err
		}
		if err := w.put(head); err != nil {
			return format.ColumnChunk{}, err
		}
		if err := w.put(data); err != nil {
			return format.ColumnChunk{}, err
		}
	}
	m.TotalCompressedSize = w.off - m.DataPageOffset
	m.TotalUncompressedSize = m.TotalCompressedSize
	return format.ColumnChunk{MetaData: m}, nil
}

// keyChunk writes a column of strings.
func (w *ScoreWriter) keyChunk(k *keyColumn, name string, rows int) (format.ColumnChunk, error) {
	if err := k.page(&w.head); err != nil {
		return format.ColumnChunk{}, err
	}
	m := format.ColumnMetaData{Type: format.ByteArray, Encoding: []format.Encoding{format.DeltaLengthByteArray}, PathInSchema: []string{name},
		Codec: format.Zstd, NumValues: int64(rows), DataPageOffset: w.off, TotalCompressedSize: int64(len(k.pages)), TotalUncompressedSize: k.whole}
	m.Statistics.MinValue, m.Statistics.MaxValue = []byte(k.lowest), []byte(k.highest)
	err := w.put(k.pages)
	k.pages, k.whole, k.lowest, k.highest = k.pages[:0], 0, "", ""
	return format.ColumnChunk{MetaData: m}, err
}

// append takes strings over. Pages end by their bytes alone, so they do not depend
// on how the caller cuts the rows.
func (k *keyColumn) append(h *pageHeader, texts []string) error {
	for _, s := range texts {
		if len(k.pages) == 0 && len(k.offsets) == 0 {
			k.lowest, k.highest = strings.Clone(s), strings.Clone(s)
		}
		if s < k.lowest {
			k.lowest = strings.Clone(s)
		}
		if len(k.offsets) == 0 {
			k.offsets = append(k.offsets, 0)
		}
		k.values = append(k.values, s...)
		k.offsets = append(k.offsets, uint32(len(k.values)))
		if s > k.highest {
			k.highest = s
		}
		if len(k.values)+4*len(k.offsets) >= pageBytes {
			if err := k.page(h); err != nil {
				return err
			}
		}
	}
	k.highest = strings.Clone(k.highest) // the caller's block may go
	return nil
}

// page encodes the strings that have come as a page.
func (k *keyColumn) page(h *pageHeader) (err error) {
	if len(k.offsets) == 0 {
		return nil
	}
	if k.buf[0], err = keyEncoding.EncodeByteArray(k.buf[0][:0], k.values, k.offsets); err != nil {
		return err
	}
	if k.buf[1], err = keyCodec.Encode(k.buf[1][:0], k.buf[0]); err != nil {
		return err
	}
	head, err := h.encode(len(k.offsets)-1, len(k.buf[0]), k.buf[1], format.DeltaLengthByteArray, true)
	if err != nil {
		return err
	}
	k.pages = append(append(k.pages, head...), k.buf[1]...)
	k.whole += int64(len(head) + len(k.buf[0]))
	k.values, k.offsets = k.values[:0], k.offsets[:0]
	return nil
}

// encode returns the header of a page of required values, which have no levels:
// whole is the size of data before compression. The bytes are the next call's.
func (h *pageHeader) encode(values, whole int, data []byte, e format.Encoding, compressed bool) ([]byte, error) {
	p := format.PageHeader{Type: format.DataPageV2, UncompressedPageSize: int32(whole), CompressedPageSize: int32(len(data)), CRC: int32(crc32.ChecksumIEEE(data))}
	p.DataPageHeaderV2.Valid = true
	p.DataPageHeaderV2.V = format.DataPageHeaderV2{NumValues: int32(values), NumRows: int32(values), Encoding: e, IsCompressed: thrift.New(compressed)}
	h.buf.Reset()
	err := h.encoder.Encode(&p)
	return h.buf.Bytes(), err
}

// boundsOf returns the least and the greatest number as Parquet wants them: zeros
// of both signs are equal, so a bound of zero includes both.
func boundsOf(col []float32) (lowest, highest []byte) {
	lo, hi := col[0], col[0]
	for _, x := range col {
		if x < lo {
			lo = x
		}
		if x > hi {
			hi = x
		}
	}
	if lo == 0 {
		lo = float32(math.Copysign(0, -1))
	}
	if hi == 0 {
		hi = 0
	}
	return binary.LittleEndian.AppendUint32(nil, math.Float32bits(lo)), binary.LittleEndian.AppendUint32(nil, math.Float32bits(hi))
}

// plainBytes are the numbers as the PLAIN encoding has them.
func plainBytes(v []float32) []byte {
	if littleEndian {
		return bytesOf(v)
	}
	out := make([]byte, 0, 4*len(v))
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

// Rows is the number of rows written.
func (w *ScoreWriter) Rows() int64 { return w.rows }

// Close writes the footer. It does not close the underlying writer.
func (w *ScoreWriter) Close() error {
	if w.err != nil {
		return w.err
	}
	w.err = errClosed
	if err := w.close(); err != nil {
		return fmt.Errorf("write scores: %w", err)
	}
	return nil
}

func (w *ScoreWriter) close() error {
	if err := w.flush(int(w.rows % int64(w.limit))); err != nil {
		return err
	}
	var p thrift.CompactProtocol
	footer, err := thrift.Marshal(&p, w.footer)
	if err != nil {
		return err
	}
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	return w.put(append(footer, "PAR1"...))
}
