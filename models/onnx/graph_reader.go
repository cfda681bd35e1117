package onnx

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a protobuf message in a file.
type field struct {
	num   protowire.Number
	kind  protowire.Type
	v     uint64 // of a varint
	body  span   // of a byte string or message
	whole span   // with its tag
}

// protoReader walks a protobuf message of any size in a file. What nobody asks for
// is skipped, not read.
type protoReader struct {
	f   io.ReaderAt
	r   *bufio.Reader
	pos int64 // of what r reads next
	end int64 // of the message at hand
}

const readAhead = 1 << 14

func newReader(f io.ReaderAt, size int64) *protoReader {
	p := &protoReader{f: f, end: size}
	p.r = bufio.NewReaderSize(nil, readAhead)
	p.seek(0)
	return p
}

// seek goes to a place of the file.
func (p *protoReader) seek(pos int64) {
	if n := pos - p.pos; n > 0 && n <= int64(p.r.Buffered()) {
		_, _ = p.r.Discard(int(n))
		p.pos = pos
		return
	}
	p.pos = pos
	p.r.Reset(io.NewSectionReader(p.f, pos, 1<<62))
}

// message calls fn with each field of the message at hand. fn may read its content
// with text, bytes or within.
func (p *protoReader) message(fn func(f field) error) error {
	for p.pos < p.end {
		f := field{whole: span{from: p.pos}}
		tag, err := p.varint()
		if err != nil {
			return err
		}
		f.num, f.kind = protowire.DecodeTag(tag)
		next := p.pos
		switch f.kind {
		case protowire.VarintType:
			f.v, err = p.varint()
			next = p.pos
		case protowire.Fixed32Type:
			next += 4
		case protowire.Fixed64Type:
			next += 8
		case protowire.BytesType:
			var n uint64
			if n, err = p.varint(); err != nil {
				return err
			}
			if n > uint64(p.end-p.pos) {
				return io.ErrUnexpectedEOF
			}
			f.body = span{p.pos, p.pos + int64(n)}
			next = f.body.to
		default:
			return errors.New("an unknown kind of field")
		}
		if err != nil {
			return err
		}
		if next > p.end {
			return io.ErrUnexpectedEOF
		}
		f.whole.to = next
		if err := fn(f); err != nil {
			return err
		}
		if p.pos != next {
			p.seek(next)
		}
	}
	return nil
}

// within reads the message that a field holds.
func (p *protoReader) within(f field, fn func() error) error {
	if f.kind != protowire.BytesType {
		return fmt.Errorf("field %d is no message", f.num)
	}
	outer := p.end
	p.end = f.body.to
	err := fn()
	p.end = outer
	return err
}

// again reads the message of a field that was passed before, and comes back.
func (p *protoReader) again(f field, fn func() error) error {
	back := p.pos
	p.seek(f.body.from)
	err := p.within(f, fn)
	p.seek(back)
	return err
}

func (p *protoReader) varint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		if p.pos >= p.end {
			return 0, io.ErrUnexpectedEOF
		}
		b, err := p.r.ReadByte()
		if err != nil {
			return 0, err
		}
		p.pos++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errors.New("a number without end")
}

// bytes reads a field of at most that many bytes.
func (p *protoReader) bytes(f field, most int64) ([]byte, error) {
	n := f.body.to - f.body.from
	if f.kind != protowire.BytesType || n > most {
		return nil, fmt.Errorf("field %d has %d bytes where a short one belongs", f.num, n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(p.r, b)
	p.pos += n
	return b, err
}

func (p *protoReader) text(f field) (string, error) {
	b, err := p.bytes(f, mostName)
	return string(b), err
}
