package shard

import (
	"bytes"
	"encoding/base64"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

// arrowSchema is the ARROW:schema entry of a shard: an Arrow IPC stream that
// holds only a schema, in base64. Readers that know Arrow restore its types.
func arrowSchema(dim int) (string, error) {
	fields := []arrow.Field{
		{Name: colAsset, Type: arrow.BinaryTypes.String},
		{Name: colVersion, Type: arrow.BinaryTypes.String},
		{Name: colHash, Type: arrow.BinaryTypes.String},
		{Name: colVector, Type: arrow.FixedSizeListOfNonNullable(int32(dim), arrow.PrimitiveTypes.Float32)},
	}
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(arrow.NewSchema(fields, nil)))
	if err := w.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes()), nil
}
