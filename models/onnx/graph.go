package onnx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Value is an input or output of a model.
type Value struct {
	Name  string
	DType string   // float32, int64, …
	Dims  []string // a number, the name of a size that varies, or "?"
}

func (v Value) String() string {
	return fmt.Sprintf("%s %s[%s]", v.Name, v.DType, strings.Join(v.Dims, ","))
}

// Size returns a dimension where it is fixed, else -1.
func (v Value) Size(i int) int64 {
	if i < 0 || i >= len(v.Dims) {
		return -1
	}
	if n, err := strconv.ParseInt(v.Dims[i], 10, 64); err == nil {
		return n
	}
	return -1
}

// Graph is what a model file says of its ends.
type Graph struct {
	Inputs, Outputs []Value // inputs without those that have a default
}

// Inspect reads the inputs and outputs of a model file. Weights are skipped, not
// read.
func Inspect(path string) (*Graph, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	g := &Graph{}
	r := &protoReader{r: bufio.NewReaderSize(f, 1<<16), left: info.Size()}
	found := false
	initial := map[string]bool{}
	err = r.message(func(num protowire.Number, size int64) (bool, error) {
		if num != 7 { // ModelProto.graph
			return false, nil
		}
		found = true
		return true, r.within(size, func() error { return g.read(r, initial) })
	})
	if err == nil && (!found || len(g.Outputs) == 0) {
		err = errors.New("it has no graph")
	}
	if err != nil {
		return nil, fmt.Errorf("%s is no ONNX model that winnow can use: %w", path, err)
	}
	var inputs []Value
	for _, v := range g.Inputs {
		if !initial[v.Name] {
			inputs = append(inputs, v)
		}
	}
	g.Inputs = inputs
	return g, nil
}

// read reads a GraphProto.
func (g *Graph) read(r *protoReader, initial map[string]bool) error {
	return r.message(func(num protowire.Number, size int64) (bool, error) {
		switch num {
		case 5: // initializer: only its name, field 8, and only in old models, which list it as an input too
			return true, r.within(size, func() error {
				return r.message(func(num protowire.Number, size int64) (bool, error) {
					if num == 13 { // external_data
						return false, errors.New("it keeps its weights in other files, which the spec's hash does not cover; save it as one file")
					}
					if num != 8 || size > 1<<16 {
						return false, nil
					}
					b, err := r.bytes(size)
					initial[string(b)] = true
					return true, err
				})
			})
		case 11, 12: // input, output
			if size > 1<<20 {
				return false, errors.New("a name of a megabyte")
			}
			b, err := r.bytes(size)
			if err != nil {
				return true, err
			}
			v, err := readValue(b)
			if num == 11 {
				g.Inputs = append(g.Inputs, v)
			} else {
				g.Outputs = append(g.Outputs, v)
			}
			return true, err
		}
		return false, nil
	})
}

var dtypes = map[uint64]string{
	1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
	10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}

// readValue reads a ValueInfoProto.
func readValue(msg []byte) (Value, error) {
	v := Value{DType: "unknown"}
	err := walk(msg, func(num protowire.Number, _ uint64, b []byte) error {
		switch num {
		case 1:
			v.Name = string(b)
		case 2: // TypeProto
			return walk(b, func(num protowire.Number, _ uint64, b []byte) error {
				if num != 1 { // tensor_type
					return nil
				}
				return walk(b, func(num protowire.Number, n uint64, b []byte) error {
					switch num {
					case 1:
						if name := dtypes[n]; name != "" {
							v.DType = name
						}
					case 2: // TensorShapeProto
						return walk(b, func(_ protowire.Number, _ uint64, b []byte) error {
							dim, err := readDim(b)
							v.Dims = append(v.Dims, dim)
							return err
						})
					}
					return nil
				})
			})
		}
		return nil
	})
	return v, err
}

func readDim(msg []byte) (string, error) {
	dim := "?"
	err := walk(msg, func(num protowire.Number, n uint64, b []byte) error {
		switch num {
		case 1:
			if int64(n) >= 0 {
				dim = strconv.FormatUint(n, 10)
			}
		case 2:
			dim = string(b)
		}
		return nil
	})
	return dim, err
}

// walk calls fn with the numbers and byte strings of a small message.
func walk(msg []byte, fn func(num protowire.Number, v uint64, b []byte) error) error {
	for len(msg) > 0 {
		num, kind, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(msg)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(msg)
		default:
			n = protowire.ConsumeFieldValue(num, kind, msg)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		if err := fn(num, v, b); err != nil {
			return err
		}
	}
	return nil
}

// protoReader reads a protobuf message of any size from a file.
type protoReader struct {
	r    *bufio.Reader
	left int64 // bytes of the message that are not read yet
}

// message calls fn with each field of bytes; it says whether it has read them.
func (p *protoReader) message(fn func(num protowire.Number, size int64) (bool, error)) error {
	for p.left > 0 {
		tag, err := p.varint()
		if err != nil {
			return err
		}
		num, kind := protowire.DecodeTag(tag)
		var size int64
		switch kind {
		case protowire.VarintType:
			_, err = p.varint()
		case protowire.Fixed32Type:
			err = p.skip(4)
		case protowire.Fixed64Type:
			err = p.skip(8)
		case protowire.BytesType:
			var n uint64
			if n, err = p.varint(); err != nil {
				return err
			}
			if size = int64(n); size < 0 || size > p.left {
				return io.ErrUnexpectedEOF
			}
			var done bool
			if done, err = fn(num, size); err == nil && !done {
				err = p.skip(size)
			}
		default:
			err = errors.New("an unknown kind of field")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// within reads a message of size bytes inside this one.
func (p *protoReader) within(size int64, fn func() error) error {
	outer := p.left
	p.left = size
	err := fn()
	p.left += outer - size
	return err
}

func (p *protoReader) varint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		if p.left <= 0 {
			return 0, io.ErrUnexpectedEOF
		}
		b, err := p.r.ReadByte()
		if err != nil {
			return 0, err
		}
		p.left--
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errors.New("a number without end")
}

func (p *protoReader) bytes(n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(p.r, b)
	p.left -= n
	return b, err
}

func (p *protoReader) skip(n int64) error {
	if n > p.left {
		return io.ErrUnexpectedEOF
	}
	p.left -= n
	_, err := p.r.Discard(int(n))
	return err
}
