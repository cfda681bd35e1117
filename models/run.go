package models

import (
	"context"
	"errors"
	"fmt"
	"math"

	"winnow/models/onnx"
	"winnow/pipeline/embed"
)

// slot is the memory of one run at a time. It is reused from run to run.
type slot struct {
	session *onnx.Session
	in      []onnx.Tensor // in memory that the session's device reads by itself
	out     []float32
	sum     []float64
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
	if !m.spec.BatchDependent {
		return m.run(ctx, in, out)
	}
	for i, x := range in {
		if x == nil {
			continue
		}
		if err := m.run(ctx, in[i:i+1], out[i*m.spec.Dim:(i+1)*m.spec.Dim]); err != nil {
			return err
		}
	}
	return nil
}

// run is one run of the runtime.
func (m *Model) run(ctx context.Context, in []embed.Input, out []float32) error {
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
		m.imageTensor(s, in, rows)
	} else {
		m.textTensors(s, in, rows)
	}
	var result onnx.Tensor
	if width := m.spec.OutputDim; m.spec.Pooling == PoolNone && m.outRank == 2 { // else the runtime knows, such as [batch, dim, 1, 1]
		result = onnx.Tensor{Shape: []int64{int64(rows), int64(width)}, Float32: out}
		if rows != len(in) || width != m.spec.Dim || m.OnGPU() {
			s.out = onnx.Grow(s.session, s.out, rows*width)
			result.Float32 = s.out
		}
	}
	err := s.session.Run(ctx, s.in, &result)
	if err != nil && m.openDim && result.Float32 != nil && ctx.Err() == nil && !errors.Is(err, onnx.ErrMemory) {
		// Perhaps the output is of another length than the spec says, which pool tells.
		result = onnx.Tensor{}
		if s.session.Run(ctx, s.in, &result) == nil {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	if err := m.pool(result, in, rows, s, out); err != nil {
		return err
	}
	if m.spec.Normalized() {
		for i := range in {
			normalize(out[i*m.spec.Dim : (i+1)*m.spec.Dim])
		}
	}
	return nil
}

func (m *Model) imageTensor(s *slot, in []embed.Input, rows int) {
	t, p := &s.in[0], m.spec.Image
	h, w := p.Size.Height, p.Size.Width
	t.Shape = []int64{int64(rows), 3, int64(h), int64(w)}
	if p.Layout == "nhwc" {
		t.Shape = []int64{int64(rows), int64(h), int64(w), 3}
	}
	size := 3 * h * w
	t.Float32 = onnx.Grow(s.session, t.Float32, rows*size)
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
func (m *Model) textTensors(s *slot, in []embed.Input, rows int) {
	length := max(1, m.fixedTokens)
	for _, x := range in {
		if x != nil {
			length = max(length, x.Len())
		}
	}
	t := s.in
	for i, spec := range m.spec.Inputs {
		t[i].Shape = []int64{int64(rows), int64(length)}
		pad := m.spec.Text.PadID
		switch spec.DType {
		case "int64":
			t[i].Int64 = fillText(onnx.Grow(s.session, t[i].Int64, rows*length), in, rows, length, spec.Role, int64(pad))
		case "int32":
			t[i].Int32 = fillText(onnx.Grow(s.session, t[i].Int32, rows*length), in, rows, length, spec.Role, int32(pad))
		default:
			t[i].Float32 = fillText(onnx.Grow(s.session, t[i].Float32, rows*length), in, rows, length, spec.Role, float32(pad))
		}
	}
}

func fillText[T int32 | int64 | float32](dst []T, in []embed.Input, rows, length int, role Role, pad T) []T {
	if role == RoleTypeIDs {
		clear(dst)
		return dst
	}
	for k := range rows {
		row := dst[k*length : (k+1)*length]
		var ids tokens
		if k < len(in) && in[k] != nil {
			ids = in[k].(tokens)
		}
		n := len(ids)
		switch {
		case role == RoleIDs:
			for i, id := range ids {
				row[i] = T(id)
			}
		case n == 0: // of an empty slot the first position counts, so that no model divides by a length of 0
			n, row[0] = 1, 1
			pad = 0
		default:
			for i := range ids {
				row[i] = 1
			}
			pad = 0
		}
		for i := n; i < length; i++ {
			row[i] = pad
		}
	}
	return dst
}

// pool makes one vector of each row of the model's output.
func (m *Model) pool(t onnx.Tensor, in []embed.Input, rows int, slot *slot, out []float32) error {
	dim, width := m.spec.Dim, m.spec.OutputDim
	if m.spec.Pooling == PoolNone {
		if len(t.Float32) != rows*width {
			return fmt.Errorf("model %s: the output %s has the shape %v, not [%d, %d]; correct dim or pooling in the spec", m.spec.Name, m.spec.Output, t.Shape, rows, width)
		}
		if &t.Float32[0] == &out[0] {
			return nil
		}
		for i := range in {
			copy(out[i*dim:(i+1)*dim], t.Float32[i*width:])
		}
		return nil
	}
	if len(t.Shape) != 3 || t.Shape[0] != int64(rows) || t.Shape[1] < 1 || t.Shape[2] != int64(width) {
		return fmt.Errorf("model %s: the output %s has the shape %v; pooling %s needs [%d, tokens, %d]", m.spec.Name, m.spec.Output, t.Shape, m.spec.Pooling, rows, width)
	}
	steps := int(t.Shape[1])
	slot.sum = grow(slot.sum, dim)
	for i, x := range in {
		v, all := out[i*dim:(i+1)*dim], t.Float32[i*steps*width:(i+1)*steps*width]
		count := steps // of a picture all count, of a text its tokens
		if x != nil && x.Len() > 0 {
			count = min(steps, x.Len())
		}
		switch m.spec.Pooling {
		case PoolCLS:
			copy(v, all)
		case PoolLast:
			copy(v, all[(count-1)*width:])
		default:
			mean(v, all, slot.sum, count, width)
		}
	}
	return nil
}

// mean is the mean of count vectors that lie width numbers apart, summed in double
// precision in their order.
func mean(v, all []float32, sum []float64, count, width int) {
	clear(sum)
	for s := range count {
		row := all[s*width:][:len(sum)]
		for j, x := range row {
			sum[j] += float64(x)
		}
	}
	v = v[:len(sum)]
	for j, x := range sum {
		v[j] = float32(x / float64(count))
	}
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
