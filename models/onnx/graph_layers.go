package onnx

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// Layer is a tensor of a model that may serve as an embedding.
type Layer struct {
	Value
	Op      string // the operation that makes it
	What    string // what it seems to be
	Pooling string // none, or what makes one vector of it
	Dim     int    // length of a vector
}

const (
	nearTensors = 80 // before the outputs, are looked at
	mostLayers  = 12
)

// Layers lists tensors that may serve as embeddings, the likeliest first: outputs,
// what goes into a classifier, global pools, hidden states. Shapes that the file
// does not state come from running the model on an example. Where that fails, they
// stay open, and why says so.
func (g *Graph) Layers(ctx context.Context) (layers []Layer, why error) {
	near, fed := g.near()
	part, err := g.Cut(CutOptions{Outputs: near})
	if err != nil {
		return nil, err
	}
	// Of those that are vectors or may become some, the shapes.
	var shapes []Value
	var tensors []string
	open := false
	for i, v := range part.Outputs {
		if known := g.tensor(near[i]); known.DType != "unknown" {
			v = known
		}
		if slices.Contains(floats, v.DType) && len(v.Dims) >= 2 && len(v.Dims) <= 4 {
			v.Dims = slices.Clone(v.Dims)
			for d := range v.Dims { // exporters invent names for sizes that they do not know
				if v.Size(d) < 0 && !slices.ContainsFunc(g.Inputs, func(in Value) bool { return slices.Contains(in.Dims, v.Dims[d]) }) {
					v.Dims[d] = "?"
				}
			}
			shapes, tensors = append(shapes, v), append(tensors, v.Name)
			open = open || slices.Contains(v.Dims, "?")
		}
	}
	if open {
		why = g.measure(ctx, tensors, shapes)
	}
	l := lister{g: g, fed: fed, users: map[string][]int{}, makers: map[string]int{}}
	for i, n := range g.Nodes {
		for _, in := range n.Inputs {
			l.users[in] = append(l.users[in], i)
		}
		for _, out := range n.Outputs {
			l.makers[out] = i
		}
	}
	var ranks []int
	count := map[int]int{} // layers of the lesser ranks
	for _, v := range shapes {
		layer, rank := l.judge(v)
		if rank == 0 {
			continue
		}
		if count[rank]++; count[rank] > 2 && rank >= rankPooled && rank <= rankInner {
			continue
		}
		at, _ := slices.BinarySearch(ranks, rank+1) // after those as good
		layers, ranks = slices.Insert(layers, at, layer), slices.Insert(ranks, at, rank)
	}
	return layers[:min(len(layers), mostLayers)], why
}

// near lists tensors by their distance to the outputs: those that an input bears
// on, which are in fed.
func (g *Graph) near() (list []string, fed map[string]bool) {
	maker, fed := map[string]int{}, map[string]bool{}
	for _, v := range g.Inputs {
		fed[v.Name] = true
	}
	for i, n := range g.Nodes {
		live := slices.ContainsFunc(n.Inputs, func(s string) bool { return fed[s] }) || slices.ContainsFunc(n.outer, func(s string) bool { return fed[s] })
		for _, out := range n.Outputs {
			if maker[out] = i; live && out != "" {
				fed[out] = true
			}
		}
	}
	seen := map[string]bool{}
	add := func(name string) {
		if _, made := maker[name]; made && fed[name] && !seen[name] {
			seen[name] = true
			list = append(list, name)
		}
	}
	for _, v := range g.Outputs {
		add(v.Name)
	}
	for i := 0; i < len(list) && len(list) < nearTensors; i++ {
		n := g.Nodes[maker[list[i]]]
		for _, in := range append(slices.Clone(n.Inputs), n.outer...) {
			add(in)
		}
	}
	for i := len(g.Nodes) - 1; i >= 0 && len(list) < 2*nearTensors; i-- {
		if n := g.Nodes[i]; slices.Contains([]string{"GlobalAveragePool", "GlobalMaxPool"}, n.Op) && len(n.Outputs) > 0 {
			add(n.Outputs[0])
		}
	}
	return list, fed
}

// What a layer is worth.
const (
	rankClassified = 1 + iota
	rankOutput
	rankPooled
	rankHidden
	rankInner
	rankScores
	rankProbabilities
)

// lister judges tensors.
type lister struct {
	g      *Graph
	fed    map[string]bool  // tensors that an input bears on
	users  map[string][]int // nodes
	makers map[string]int
}

var (
	floats      = []string{"float32", "float16", "bfloat16", "float64"}
	reshapes    = []string{"Flatten", "Squeeze", "Reshape", "Identity", "Dropout", "Cast", "Unsqueeze"}
	poolings    = []string{"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2", "LpNormalization"}
	classifiers = []string{"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "QGemm", "FusedMatMul"}
)

// judge says what a tensor seems to be. A rank of 0 is nothing, 1 the best.
func (l *lister) judge(v Value) (Layer, int) {
	node := l.g.Nodes[l.makers[v.Name]]
	layer := Layer{Value: v, Op: node.Op, Pooling: "none"}
	output := has(l.g.Outputs, v.Name)
	size := func(i int) int { return int(max(v.Size(i), 0)) }
	switch rank := len(v.Dims); {
	case rank == 2:
		layer.Dim = size(1)
	case rank == 4 && size(2) == 1 && size(3) == 1:
		layer.Dim = size(1)
	case rank == 3 && size(1) == 1:
		layer.Dim = size(2)
	case rank == 3:
		return l.judgeHidden(layer, size(2), output)
	}
	if layer.Dim < 2 || layer.Dim > 1<<16 || v.Size(0) == 1 && !l.batchOne() {
		return layer, 0
	}
	if !output && l.passedOn(v.Name) {
		return layer, 0 // the same numbers come again, in a better shape
	}
	classes, projected, vectors := l.multiplied(v.Name)
	switch {
	case classes:
		layer.What = "before the classifier"
		return layer, rankClassified
	case projected && !output:
		layer.What = "before the projection"
		return layer, rankPooled
	case vectors:
		layer.What = "one side of a similarity"
		return layer, rankOutput
	case output && slices.Contains([]string{"Softmax", "Sigmoid", "LogSoftmax"}, node.Op):
		layer.What = "output: probabilities of classes"
		return layer, rankProbabilities
	case output && l.scores(v.Name):
		layer.What = "output: scores of classes"
		return layer, rankScores
	case output:
		layer.What = "output"
		return layer, rankOutput
	case node.Op == "Tanh":
		layer.What = "pooler output"
		return layer, rankPooled
	case slices.Contains(poolings, l.origin(v.Name)) && !l.convolved(v.Name):
		layer.What = "pooled"
		return layer, rankPooled
	case slices.Contains([]string{"Gemm", "Add", "MatMul", "LayerNormalization"}, node.Op):
		layer.What = "inner vector"
		return layer, rankInner
	}
	return layer, 0
}

// judgeHidden judges a tensor of [batch, tokens, dim].
func (l *lister) judgeHidden(layer Layer, dim int, output bool) (Layer, int) {
	perRow := layer.Size(0) < 0 || layer.Size(0) == 1 && l.batchOne()
	if layer.Dim = dim; dim < 2 || dim > 1<<16 || !perRow || !output && !l.endsLayer(layer.Name) {
		return layer, 0
	}
	layer.Pooling, layer.What = "mean", "hidden states: one vector a token"
	if output {
		return layer, rankOutput
	}
	return layer, rankHidden
}

// endsLayer reports whether a tensor is the end of a transformer's layer or of a
// normalisation, in one operation or in several: a sum of two tensors, or a scaled
// tensor and its shift.
func (l *lister) endsLayer(name string) bool {
	n := l.g.Nodes[l.makers[name]]
	if strings.Contains(n.Op, "LayerNormalization") {
		return true
	}
	if n.Op != "Add" || len(n.Inputs) != 2 {
		return false
	}
	if l.fed[n.Inputs[0]] && l.fed[n.Inputs[1]] {
		return true
	}
	for _, in := range n.Inputs {
		if i, made := l.makers[in]; made && l.g.Nodes[i].Op == "Mul" {
			return true
		}
	}
	return false
}

// convolved reports whether a pooled tensor goes on into a convolution, as in
// squeeze and excitation.
func (l *lister) convolved(name string) bool {
	return slices.ContainsFunc(l.users[name], func(u int) bool { return strings.HasSuffix(l.g.Nodes[u].Op, "Conv") })
}

// batchOne reports whether the model takes one row at a time.
func (l *lister) batchOne() bool {
	return slices.ContainsFunc(l.g.Inputs, func(v Value) bool { return v.Size(0) == 1 })
}

// passedOn reports whether a tensor is only put into another shape.
func (l *lister) passedOn(name string) bool {
	users := l.users[name]
	if len(users) == 0 {
		return false
	}
	for _, u := range users {
		if !slices.Contains(reshapes, l.g.Nodes[u].Op) {
			return false
		}
	}
	return true
}

// origin is the operation that made a tensor's numbers, whatever their shape.
func (l *lister) origin(name string) string {
	for range 8 {
		i, ok := l.makers[name]
		if !ok {
			return ""
		}
		n := l.g.Nodes[i]
		if !slices.Contains(reshapes, n.Op) || len(n.Inputs) == 0 {
			return n.Op
		}
		name = n.Inputs[0]
	}
	return ""
}

// multiplied says what a tensor is multiplied with where the product is, perhaps
// with a bias and a softmax, an output: a classifier's weights, a projection's, or
// other vectors, for a similarity.
func (l *lister) multiplied(name string) (classes, projected, vectors bool) {
	for _, u := range l.users[name] {
		n := l.g.Nodes[u]
		if len(n.Outputs) == 0 {
			continue
		}
		if n.Op == "Transpose" {
			_, _, v := l.multiplied(n.Outputs[0])
			vectors = vectors || v
			continue
		}
		if !slices.Contains(classifiers, n.Op) || len(n.Inputs) < 2 {
			continue
		}
		switch end := l.end(n.Outputs[0], 0); {
		case end == "":
		case l.fed[n.Inputs[0]] && l.fed[n.Inputs[1]]:
			vectors = true
		case n.Inputs[0] == name && l.scores(end):
			classes = true
		default:
			projected = true
		}
	}
	return classes, projected, vectors
}

// end is the output that a tensor is, or becomes by simple steps; else "".
func (l *lister) end(name string, depth int) string {
	if has(l.g.Outputs, name) {
		return name
	}
	for _, u := range l.users[name] {
		n := l.g.Nodes[u]
		if depth < 4 && len(n.Outputs) > 0 && (slices.Contains(reshapes, n.Op) || slices.Contains([]string{"Add", "Softmax", "Sigmoid", "LogSoftmax", "Mul"}, n.Op)) {
			if end := l.end(n.Outputs[0], depth+1); end != "" {
				return end
			}
		}
	}
	return ""
}

// scores reports whether an output seems to be scores of classes: by its name, or
// where a product with weights and a bias makes it.
func (l *lister) scores(output string) bool {
	like := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(output), w) })
	}
	switch {
	case like("logit", "prob", "class", "score", "softmax"):
		return true
	case like("emb", "feature", "vector", "pool", "hidden", "proj"):
		return false
	}
	name, bias := output, false
	for range 5 {
		i, ok := l.makers[name]
		if !ok {
			return false
		}
		n := l.g.Nodes[i]
		bias = bias || n.Op == "Add" || n.Op == "Gemm" && len(n.Inputs) > 2
		if slices.Contains(classifiers, n.Op) {
			return bias
		}
		simple := slices.Contains(reshapes, n.Op) || slices.Contains([]string{"Add", "Softmax", "Sigmoid", "LogSoftmax"}, n.Op)
		if !simple || len(n.Inputs) == 0 {
			return false
		}
		if name = n.Inputs[0]; !l.fed[name] && len(n.Inputs) > 1 {
			name = n.Inputs[1]
		}
	}
	return false
}

// measure runs the model twice, with other sizes where they may vary, and fills in the
// shapes that are not known.
func (g *Graph) measure(ctx context.Context, tensors []string, shapes []Value) error {
	if err := Init(); err != nil {
		return err
	}
	part, err := g.Cut(CutOptions{Outputs: tensors, Float32: true})
	if err != nil {
		return err
	}
	var in, out []string
	for _, v := range part.Inputs {
		in = append(in, v.Name)
	}
	for _, v := range part.Outputs {
		out = append(out, v.Name)
	}
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(part.Data, in, out, nil)
	if err != nil {
		return fmt.Errorf("ONNX Runtime does not take the model: %w", shorten(err))
	}
	defer s.Destroy()
	var seen [2][][]int64
	for k := range seen {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if seen[k], err = measureOnce(s, part, k); err != nil {
			return fmt.Errorf("an example run fails, so that some shapes are not known: %w", shorten(err))
		}
	}
	for i := range shapes {
		a, b := seen[0][i], seen[1][i]
		if len(a) != len(b) || len(a) != len(shapes[i].Dims) {
			continue
		}
		dims := slices.Clone(shapes[i].Dims)
		for d := range dims {
			switch {
			case dims[d] != "?":
			case a[d] == b[d]:
				dims[d] = strconv.FormatInt(a[d], 10)
			default:
				dims[d] = nameOf(part, a[d], b[d])
			}
		}
		shapes[i].Dims = dims
	}
	return nil
}

// exampleSize is what a size that varies is taken as in run k.
func exampleSize(v Value, dim, k int) int64 {
	switch {
	case v.Size(dim) >= 0:
		return v.Size(dim)
	case dim == 0:
		return int64(2 + k)
	case len(v.Dims) == 4:
		return 224
	}
	return int64(7 + 4*k)
}

// nameOf finds the size of an input that was a in the first run and b in the other.
func nameOf(part *Part, a, b int64) string {
	found := "?"
	for _, v := range part.Inputs {
		for d, name := range v.Dims {
			if v.Size(d) >= 0 || name == "?" || exampleSize(v, d, 0) != a || exampleSize(v, d, 1) != b {
				continue
			}
			if found != "?" && found != name && d == 0 {
				return "batch" // each input has its own name for it
			}
			found = name
		}
	}
	return found
}

func measureOnce(s *ort.DynamicAdvancedSession, part *Part, k int) (shapes [][]int64, err error) {
	var in []ort.Value
	defer func() {
		for _, v := range in {
			_ = v.Destroy()
		}
	}()
	for _, v := range part.Inputs {
		shape := make([]int64, len(v.Dims))
		for d := range shape {
			shape[d] = exampleSize(v, d, k)
		}
		x, err := exampleTensor(v.DType, ort.NewShape(shape...))
		if err != nil {
			return nil, fmt.Errorf("input %v: %w", v, err)
		}
		in = append(in, x)
	}
	out := make([]ort.Value, len(part.Outputs))
	if err := s.Run(in, out); err != nil {
		return nil, err
	}
	for _, v := range out {
		shapes = append(shapes, v.GetShape())
		_ = v.Destroy()
	}
	return shapes, nil
}

// exampleTensor is a tensor of ones: a token that is there, a mask that is set.
func exampleTensor(dtype string, shape ort.Shape) (ort.Value, error) {
	n := shape.FlattenedSize()
	if n < 1 || n > 1<<28 {
		return nil, fmt.Errorf("the shape %v", shape)
	}
	switch dtype {
	case "float32":
		return ones[float32](shape)
	case "float64":
		return ones[float64](shape)
	case "int64":
		return ones[int64](shape)
	case "int32":
		return ones[int32](shape)
	case "uint8":
		return ones[uint8](shape)
	}
	return nil, fmt.Errorf("no example of %s", dtype)
}

func ones[T float32 | float64 | int64 | int32 | uint8](shape ort.Shape) (ort.Value, error) {
	return ort.NewTensor(shape, slices.Repeat([]T{1}, int(shape.FlattenedSize())))
}
