package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"winnow/models/onnx"
	"winnow/pipeline"
	"winnow/pipeline/embed"
)

// How far a number of a row's vector, taken to length 1, may move with the row's
// neighbours in a batch.
const (
	mostMove     = 1e-6
	mostMoveGPU  = 1e-5 // other batch sizes take other kernels there
	mostMoveHalf = 2e-3 // of models in 16-bit floats
)

// perBatch are operations that look at a whole batch at once.
var perBatch = []string{"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat"}

// traits notes what of a model's graph bears on batches.
func (m *Model) traits(g *onnx.Graph) {
	half := 0
	for _, w := range g.Weights {
		if w.DType == "float16" || w.DType == "bfloat16" {
			half++
		}
	}
	m.half = 2*half > len(g.Weights) || slices.ContainsFunc(g.Inputs, func(v onnx.Value) bool { return v.DType == "float16" })
	for _, n := range g.Nodes {
		if slices.Contains(perBatch, n.Op) {
			m.dynamic = n.Op
			break
		}
	}
}

// Tolerance is how far a number of a vector of length 1 may move with the batch.
func (m *Model) Tolerance() float64 {
	switch {
	case m.half:
		return mostMoveHalf
	case m.OnGPU():
		return mostMoveGPU
	}
	return mostMove
}

// checkBatches refuses a model whose rows depend on their batch mates, unless the
// spec allows it. What was found good is remembered in the user's cache.
func (m *Model) checkBatches(ctx context.Context) error {
	if m.spec.BatchDependent || m.fixedRows == 1 {
		return nil
	}
	memo := m.batchMemo()
	var found struct {
		Moves float64 `json:"moves"`
	}
	if raw, err := os.ReadFile(memo); err == nil && json.Unmarshal(raw, &found) == nil && found.Moves <= m.Tolerance() {
		return nil
	}
	by, err := m.Dependence(ctx)
	if err != nil {
		return err
	}
	if found.Moves = by; by <= m.Tolerance() {
		remember(memo, found)
		return nil
	}
	return pipeline.Usagef("a row's vector moves by %.2g with its neighbours in a batch, at most %.0e is allowed: %s. Or write batch_dependent: true in the spec: every row then runs alone, which is slower",
		by, m.Tolerance(), m.whyDependent())
}

func (m *Model) whyDependent() string {
	switch {
	case m.dynamic != "":
		return "the model is quantised dynamically (" + m.dynamic + "), with one scale for all rows of a batch; use a model in float32 or float16, or one that is quantised statically"
	case m.spec.Kind == Text && m.fixedTokens == 0 && !slices.ContainsFunc(m.spec.Inputs, func(in Input) bool { return in.Role == RoleMask }):
		return "shorter texts are padded, and the model has no mask; write text.pad_to in the spec, the length that the model was trained with"
	case m.spec.Kind == Text:
		return "the padding of shorter texts counts; are the inputs' roles right, and text.pad_id?"
	}
	return "the model mixes the rows of a batch"
}

// Dependence is how far a vector of length 1 moves when its row is in a batch with
// others, or in another place.
func (m *Model) Dependence(ctx context.Context) (by float64, err error) {
	in, err := m.probes()
	if err != nil {
		return 0, err
	}
	alone, err := m.unit(ctx, in[:1])
	if err != nil {
		return 0, err
	}
	for _, order := range [][]int{{0, 1}, {2, 0}, {1, 2, 0}} {
		if m.fixedRows > 0 && len(order) > m.fixedRows {
			continue
		}
		batch := make([]embed.Input, len(order))
		for i, k := range order {
			batch[i] = in[k]
		}
		all, err := m.unit(ctx, batch)
		if err != nil {
			return 0, err
		}
		at := slices.Index(order, 0) * m.spec.Dim
		for j, x := range alone {
			d := math.Abs(float64(x) - float64(all[at+j]))
			if math.IsNaN(d) {
				d = math.Inf(1)
			}
			by = max(by, d)
		}
	}
	return by, nil
}

// unit runs a batch and takes its vectors to length 1.
func (m *Model) unit(ctx context.Context, in []embed.Input) ([]float32, error) {
	out := make([]float32, len(in)*m.spec.Dim)
	if err := m.Run(ctx, in, out); err != nil {
		return nil, err
	}
	for i := range in {
		normalize(out[i*m.spec.Dim : (i+1)*m.spec.Dim])
	}
	return out, nil
}

// probes are three inputs that are unlike each other: a smooth picture between loud
// ones, a short text between long ones.
func (m *Model) probes() ([]embed.Input, error) {
	if m.spec.Kind == Text {
		var in []embed.Input
		for _, s := range []string{"a red apple", strings.Repeat("Seven ships left the harbour at dawn. ", 3), "On the table lie a 12 mm wrench, two bolts & a torn map of the old town!"} {
			x, err := m.tokenize([]byte(s))
			if err != nil {
				return nil, err
			}
			in = append(in, x)
		}
		return in, nil
	}
	var in []embed.Input
	size := m.decoder.Size()
	for k := range 3 {
		p := &pixels{make([]byte, size), m}
		seed := uint32(k + 1)
		for i := range p.b {
			switch seed = seed*1664525 + 1013904223; k {
			case 0:
				p.b[i] = byte(96 + 64*i/size)
			case 1:
				p.b[i] = byte(seed >> 24)
			default:
				p.b[i] = byte(seed>>31) * 255
			}
		}
		in = append(in, p)
	}
	return in, nil
}

// batchMemo is where a good result is remembered: for a fingerprint, a kind of
// device and a version of the runtime.
func (m *Model) batchMemo() string {
	base, err := os.UserCacheDir()
	if err != nil || m.spec.fingerprint == "" {
		return ""
	}
	version, _, err := onnx.Version()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(fmt.Sprint(m.spec.fingerprint, m.Kind(), version)))
	return filepath.Join(base, "winnow", "models", "batch-"+hex.EncodeToString(sum[:8])+".json")
}
