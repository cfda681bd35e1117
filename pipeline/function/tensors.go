package function

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"lukechampine.com/blake3"
)

// Statistics and fitted functions are kept as safetensors files, which every
// numerical library opens: 8 bytes of header length, a JSON header that names
// the arrays, the arrays. winnow adds its format, the format's version and a
// BLAKE3 checksum to the header's metadata. The same content always has the
// same bytes.

// tensor is one array of a file: F32 when f32 is set, else F64.
type tensor struct {
	name  string
	shape []int
	f32   []float32
	f64   []float64
}

type tensorHeader struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

const (
	metaFormat   = "winnow.format"
	metaVersion  = "winnow.version"
	metaChecksum = "winnow.blake3"
)

var noChecksum = strings.Repeat("0", 64)

// encodeTensors lays the arrays out in their order. It returns the file and
// its checksum, 64 hexadecimal digits.
func encodeTensors(meta map[string]string, ts []tensor) (data []byte, sum string, err error) {
	header := map[string]any{}
	size := 0
	for _, t := range ts {
		n, width, dtype := len(t.f32), 4, "F32"
		if t.f64 != nil {
			n, width, dtype = len(t.f64), 8, "F64"
		}
		header[t.name] = tensorHeader{dtype, t.shape, [2]int{size, size + n*width}}
		size += n * width
	}
	m := map[string]string{metaChecksum: noChecksum}
	for k, v := range meta {
		m[k] = v
	}
	header["__metadata__"] = m
	head, err := json.Marshal(header)
	if err != nil {
		return nil, "", err
	}
	for len(head)%8 != 0 { // the format wants the arrays aligned
		head = append(head, ' ')
	}
	data = make([]byte, 8, 8+len(head)+size)
	binary.LittleEndian.PutUint64(data, uint64(len(head)))
	data = append(data, head...)
	for _, t := range ts {
		for _, v := range t.f32 {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		for _, v := range t.f64 {
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
		}
	}
	b3 := blake3.Sum256(data)
	sum = hex.EncodeToString(b3[:])
	at := bytes.Index(data, []byte(`"`+metaChecksum+`":"`+noChecksum))
	copy(data[at+len(metaChecksum)+4:], sum)
	return data, sum, nil
}

// decodeTensors reads a file of the given format and version, and checks every
// byte of it.
func decodeTensors(data []byte, format string, version string) (meta map[string]string, ts map[string]tensor, sum string, err error) {
	if len(data) < 8 {
		return nil, nil, "", errors.New("the file is cut off")
	}
	n := binary.LittleEndian.Uint64(data)
	if n > uint64(len(data)-8) {
		return nil, nil, "", errors.New("the file is cut off or no safetensors file")
	}
	head, body := data[8:8+n], data[8+n:]
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(head, &raw); err != nil {
		return nil, nil, "", fmt.Errorf("the header is no JSON: %w", err)
	}
	if err := json.Unmarshal(raw["__metadata__"], &meta); err != nil {
		return nil, nil, "", errors.New("the header has no metadata: this is not a file of winnow's")
	}
	delete(raw, "__metadata__")
	if meta[metaFormat] != format {
		return nil, nil, "", fmt.Errorf("the file holds %q, want %q", meta[metaFormat], format)
	}
	if meta[metaVersion] != version {
		return nil, nil, "", fmt.Errorf("format version %s of %s is unknown; this winnow reads version %s", meta[metaVersion], format, version)
	}
	sum = meta[metaChecksum]
	if err := verify(data[:8], head, body, sum); err != nil {
		return nil, nil, "", err
	}
	ts = map[string]tensor{}
	for name, r := range raw {
		t, err := decodeTensor(r, body)
		if err != nil {
			return nil, nil, "", fmt.Errorf("array %s: %w", name, err)
		}
		t.name = name
		ts[name] = t
	}
	return meta, ts, sum, nil
}

func verify(length, head, body []byte, sum string) error {
	field := `"` + metaChecksum + `":"`
	at := bytes.Index(head, []byte(field+sum+`"`))
	if len(sum) != 64 || at < 0 {
		return errors.New("the checksum is missing")
	}
	h := blake3.New(32, nil)
	h.Write(length)
	h.Write(head[:at+len(field)])
	h.Write([]byte(noChecksum))
	h.Write(head[at+len(field)+64:])
	h.Write(body)
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return errors.New("the checksum does not match: the file is damaged")
	}
	return nil
}

func decodeTensor(raw json.RawMessage, body []byte) (tensor, error) {
	var h tensorHeader
	if err := json.Unmarshal(raw, &h); err != nil {
		return tensor{}, err
	}
	lo, hi := h.Offsets[0], h.Offsets[1]
	if lo < 0 || hi < lo || hi > len(body) {
		return tensor{}, errors.New("it lies outside the file")
	}
	n := 1
	for _, s := range h.Shape {
		if s < 0 || (s > 0 && n > len(body)/s) {
			return tensor{}, errors.New("its shape is impossible")
		}
		n *= s
	}
	t := tensor{shape: h.Shape}
	b := body[lo:hi]
	switch {
	case h.DType == "F32" && len(b) == 4*n:
		t.f32 = make([]float32, n)
		for i := range t.f32 {
			t.f32[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case h.DType == "F64" && len(b) == 8*n:
		t.f64 = make([]float64, n)
		for i := range t.f64 {
			t.f64[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
	default:
		return tensor{}, fmt.Errorf("%d bytes of type %s do not fit shape %v", len(b), h.DType, h.Shape)
	}
	return t, nil
}

// shaped returns the named array when it has the shape, else an error.
func shaped(ts map[string]tensor, name string, shape ...int) (tensor, error) {
	t, ok := ts[name]
	if !ok {
		return tensor{}, fmt.Errorf("array %s is missing", name)
	}
	if len(t.shape) != len(shape) {
		return tensor{}, fmt.Errorf("array %s has shape %v, want %v", name, t.shape, shape)
	}
	for i := range shape {
		if t.shape[i] != shape[i] {
			return tensor{}, fmt.Errorf("array %s has shape %v, want %v", name, t.shape, shape)
		}
	}
	return t, nil
}
