package models

import (
	"context"
	"fmt"
	"math"

	"winnow/models/onnx"
	"winnow/pipeline/embed"
)

// slot is the memory of one run at a time. It is reused from run to run.
type slot struct {
	in  []onnx.Tensor
	out []float32
}

// grow returns n numbers of b's memory, of any value.
func grow[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}

// Run implements embed.Model. A batch of texts is padded to its longest; a model
// of fixed shape gets that shape. A nil input is an empty slot: its vector means
// nothing.
func (m *Model) Run(ctx context.Context, in []embed.Input, out []float32) error {
	if len(out) != len(in)*m.spec.Dim || len(in) == 0 {
		return fmt.Errorf("model %s: room for %d numbers, want %d × %d", m.spec.Name, len(out), len(in), m.spec.Dim)
	}
	if m.fixedRows > 0 && len(in) > m.fixedRows {
		return fmt.Errorf("model %s: a batch of %d, the model takes %d", m.spec.Name, len(in), m.fixedRows)
	}
	var s *slot
	select {
	case s = <-m.slots:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { m.slots <- s }()
	rows := max(len(in), m.fixedRows)
	s.in = grow(s.in, len(m.spec.Inputs))
	if m.spec.Kind == Image {
		m.imageTensor(&s.in[0], in, rows)
	} else {
		m.textTensors(s.in, in, rows)
	}
	var result onnx.Tensor
	if m.spec.Pooling == PoolNone && m.outRank == 2 { // else the runtime knows, such as [batch, dim, 1, 1]
		s.out = grow(s.out, rows*m.spec.Dim)
		result = onnx.Tensor{Shape: []int64{int64(rows), int64(m.spec.Dim)}, Float32: s.out}
	}
	if err := m.session.Run(ctx, s.in, &result); err != nil {
		return err
	}
	if err := m.pool(result, in, rows, out); err != nil {
		return err
	}
	if m.spec.Normalized() {
		for i := range in {
			normalize(out[i*m.spec.Dim : (i+1)*m.spec.Dim])
		}
	}
	return nil
}

func (m *Model) imageTensor(t *onnx.Tensor, in []embed.Input, rows int) {
	p := m.spec.Image
	h, w := p.Size.Height, p.Size.Width
	t.Shape = []int64{int64(rows), 3, int64(h), int64(w)}
	if p.Layout == "nhwc" {
		t.Shape = []int64{int64(rows), int64(h), int64(w), 3}
	}
	size := 3 * h * w
	t.Float32 = grow(t.Float32, rows*size)
	for k := range rows {
		dst := t.Float32[k*size : (k+1)*size]
		if k >= len(in) || in[k] == nil {
			clear(dst)
			continue
		}
		m.fill(dst, in[k].(*pixels).b)
	}
}

// fill turns pixels into numbers in the model's layout and order of channels.
func (m *Model) fill(dst []float32, b []byte) {
	p := m.spec.Image
	order := [3]int{0, 1, 2}
	if p.Channels == "bgr" {
		order = [3]int{2, 1, 0}
	}
	t0, t1, t2 := &m.table[order[0]], &m.table[order[1]], &m.table[order[2]]
	n := p.Size.Height * p.Size.Width
	if p.Layout == "nhwc" {
		for i := range n {
			px, d := b[i*3:i*3+3:i*3+3], dst[i*3:i*3+3:i*3+3]
			d[0], d[1], d[2] = t0[px[order[0]]], t1[px[order[1]]], t2[px[order[2]]]
		}
		return
	}
	d0, d1, d2 := dst[:n], dst[n:2*n], dst[2*n:3*n]
	for i := range d0 {
		px := b[i*3 : i*3+3 : i*3+3]
		d0[i], d1[i], d2[i] = t0[px[order[0]]], t1[px[order[1]]], t2[px[order[2]]]
	}
}

// textTensors fills ids, mask and type ids of rows × the longest text.
func (m *Model) textTensors(t []onnx.Tensor, in []embed.Input, rows int) {
	length := max(1, m.fixedTokens)
	for _, x := range in {
		if x != nil {
			length = max(length, x.Len())
		}
	}
	for i, spec := range m.spec.Inputs {
		t[i].Shape = []int64{int64(rows), int64(length)}
		var value func(k, pos int, id int64, token bool) int64
		switch spec.Role {
		case RoleIDs:
			pad := int64(m.spec.Text.PadID)
			value = func(_, _ int, id int64, token bool) int64 {
				if token {
					return id
				}
				return pad
			}
		case RoleMask:
			// Of an empty slot the first position counts, so that no model divides by
			// a length of 0.
			value = func(k, pos int, _ int64, token bool) int64 {
				if token || pos == 0 && (k >= len(in) || in[k] == nil) {
					return 1
				}
				return 0
			}
		default:
			value = func(int, int, int64, bool) int64 { return 0 }
		}
		switch spec.DType {
		case "int64":
			t[i].Int64 = fillText(t[i].Int64, in, rows, length, value)
		case "int32":
			t[i].Int32 = fillText(t[i].Int32, in, rows, length, value)
		default:
			t[i].Float32 = fillText(t[i].Float32, in, rows, length, value)
		}
	}
}

func fillText[T int32 | int64 | float32](dst []T, in []embed.Input, rows, length int, value func(k, pos int, id int64, token bool) int64) []T {
	dst = grow(dst, rows*length)
	for k := range rows {
		var ids tokens
		if k < len(in) && in[k] != nil {
			ids = in[k].(tokens)
		}
		for pos := range length {
			if pos < len(ids) {
				dst[k*length+pos] = T(value(k, pos, ids[pos], true))
			} else {
				dst[k*length+pos] = T(value(k, pos, 0, false))
			}
		}
	}
	return dst
}

// pool makes one vector of each row of the model's output.
func (m *Model) pool(t onnx.Tensor, in []embed.Input, rows int, out []float32) error {
	dim := m.spec.Dim
	if m.spec.Pooling == PoolNone {
		if len(t.Float32) != rows*dim {
			return fmt.Errorf("model %s: the output %s has the shape %v, not [%d, %d]; correct dim or pooling in the spec", m.spec.Name, m.spec.Output, t.Shape, rows, dim)
		}
		copy(out, t.Float32)
		return nil
	}
	if len(t.Shape) != 3 || t.Shape[0] != int64(rows) || t.Shape[1] < 1 || t.Shape[2] != int64(dim) {
		return fmt.Errorf("model %s: the output %s has the shape %v; pooling %s needs [%d, tokens, %d]", m.spec.Name, m.spec.Output, t.Shape, m.spec.Pooling, rows, dim)
	}
	steps := int(t.Shape[1])
	sum := make([]float64, dim)
	for i, x := range in {
		v, all := out[i*dim:(i+1)*dim], t.Float32[i*steps*dim:(i+1)*steps*dim]
		if m.spec.Pooling == PoolCLS {
			copy(v, all)
			continue
		}
		count := steps // of a picture all count, of a text its tokens
		if x != nil && x.Len() > 0 {
			count = min(steps, x.Len())
		}
		clear(sum)
		for s := range count {
			for j, x := range all[s*dim : (s+1)*dim] {
				sum[j] += float64(x)
			}
		}
		for j := range v {
			v[j] = float32(sum[j] / float64(count))
		}
	}
	return nil
}

// normalize scales a vector to length 1. One without a direction stays as it is.
func normalize(v []float32) {
	var s float64
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	if s == 0 || math.IsNaN(s) || math.IsInf(s, 0) {
		return
	}
	k := 1 / math.Sqrt(s)
	for i, x := range v {
		v[i] = float32(float64(x) * k)
	}
}
