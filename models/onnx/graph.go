package onnx

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"winnow/models/internal/proto"
)

// Value is a tensor of a model: an input, an output, or one between them.
type Value struct {
	Name  string
	DType string   // float32, int64, …; unknown where the file does not say
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

// Node is one operation of a model.
type Node struct {
	Name, Op        string
	Inputs, Outputs []string
	outer           []string // names that its bodies use: If's branches, Loop's body
	at              span
}

// Weight is a constant of a model; its numbers stay in the file.
type Weight struct {
	Name, DType string
	Dims        []int64
	at          span
}

// Graph is what a model file says of itself, without its weights' numbers.
type Graph struct {
	Path            string
	Size            int64   // of the file, in bytes
	Inputs, Outputs []Value // inputs without those that have a default
	Inner           []Value // what the file says of tensors between, often nothing
	Nodes           []Node
	Weights         []Weight
	Parameters      int64 // numbers of all weights, constants in bodies and nodes included
	Opset           int64 // of ONNX's own operators
	Producer        string

	inputs, outputs, inner []span // as they stand in the file
	allInputs              []Value
	rest                   []span            // other fields of the graph
	model                  []span            // fields of the model beside the graph
	bodies                 map[string]string // tensors inside bodies, and the operation that the body is of
}

// span is a part of the file: a field's content, or with its tag.
type span struct{ from, to int64 }

const (
	mostNodes = 1 << 20 // the largest models have some ten thousand
	mostName  = 1 << 16
	mostDepth = 64 // of bodies inside bodies
)

var errWeightsElsewhere = errors.New("it keeps its weights in other files, which the spec's hash does not cover; save it as one file")

// Inspect reads a model file without its weights.
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
	g := &Graph{Path: path, Size: info.Size(), bodies: map[string]string{}}
	if err := g.read(newReader(f, info.Size())); err != nil {
		return nil, fmt.Errorf("%s is no ONNX model that winnow can use: %w", path, err)
	}
	return g, nil
}

// read reads a ModelProto.
func (g *Graph) read(r *protoReader) error {
	found := false
	err := r.message(func(f field) error {
		switch {
		case f.num == 7: // graph
			if found {
				return errors.New("it has two graphs")
			}
			found = true
			return r.within(f, func() error { return g.readGraph(r) })
		case f.num == 2 || f.num == 3: // producer_name, producer_version
			s, err := r.text(f)
			g.Producer = strings.TrimSpace(g.Producer + " " + s)
			g.model = append(g.model, f.whole)
			return err
		case f.num == 8: // opset_import
			g.model = append(g.model, f.whole)
			b, err := r.bytes(f, mostName)
			if err != nil {
				return err
			}
			return g.readOpset(b)
		}
		g.model = append(g.model, f.whole)
		return nil
	})
	if err != nil {
		return err
	}
	if !found || len(g.Outputs) == 0 {
		return errors.New("it has no graph")
	}
	weights := make(map[string]bool, len(g.Weights))
	for _, w := range g.Weights {
		weights[w.Name] = true
	}
	for _, v := range g.allInputs { // old models list their weights as inputs too
		if !weights[v.Name] {
			g.Inputs = append(g.Inputs, v)
		}
	}
	return nil
}

func (g *Graph) readOpset(msg []byte) error {
	domain, version := "", int64(0)
	err := proto.Walk(msg, func(num protowire.Number, v uint64, b []byte) error {
		switch num {
		case 1:
			domain = string(b)
		case 2:
			version = int64(v)
		}
		return nil
	})
	if domain == "" || domain == "ai.onnx" {
		g.Opset = version
	}
	return err
}

// readGraph reads the GraphProto of the model.
func (g *Graph) readGraph(r *protoReader) error {
	return r.message(func(f field) error {
		switch f.num {
		case 1: // node
			n := Node{at: f.whole}
			if len(g.Nodes) >= mostNodes {
				return fmt.Errorf("it has more than %d operations", mostNodes)
			}
			err := r.within(f, func() error { return g.readNode(r, &n, 0) })
			g.Nodes = append(g.Nodes, n)
			return err
		case 5: // initializer
			w := Weight{at: f.whole}
			err := r.within(f, func() error { return g.readWeight(r, &w) })
			g.Weights = append(g.Weights, w)
			return err
		case 11, 12, 13: // input, output, value_info
			b, err := r.bytes(f, 1<<20)
			if err != nil {
				return err
			}
			v, err := readValue(b)
			switch f.num {
			case 11:
				g.allInputs, g.inputs = append(g.allInputs, v), append(g.inputs, f.whole)
			case 12:
				g.Outputs, g.outputs = append(g.Outputs, v), append(g.outputs, f.whole)
			default:
				g.Inner, g.inner = append(g.Inner, v), append(g.inner, f.whole)
			}
			return err
		}
		g.rest = append(g.rest, f.whole)
		return nil
	})
}

// readNode reads a NodeProto of the model, or of a body at some depth.
func (g *Graph) readNode(r *protoReader, n *Node, depth int) error {
	var bodies []field
	err := r.message(func(f field) (err error) {
		var s string
		switch f.num {
		case 1, 2, 3, 4: // input, output, name, op_type
			if s, err = r.text(f); err != nil {
				return err
			}
		case 5: // attribute
			return r.within(f, func() error { return g.readAttribute(r, &bodies) })
		}
		switch f.num {
		case 1:
			n.Inputs = append(n.Inputs, s)
		case 2:
			n.Outputs = append(n.Outputs, s)
		case 3:
			n.Name = s
		case 4:
			n.Op = s
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range bodies {
		if depth >= mostDepth {
			return errors.New("its graphs lie too deep in each other")
		}
		if err := r.again(b, func() error { return g.readBody(r, n, depth+1) }); err != nil {
			return err
		}
	}
	return nil
}

// readAttribute reads an AttributeProto and notes the graphs in it.
func (g *Graph) readAttribute(r *protoReader, bodies *[]field) error {
	return r.message(func(f field) error {
		switch f.num {
		case 5, 10: // t, tensors
			return r.within(f, func() error { return g.readWeight(r, &Weight{}) })
		case 6, 11: // g, graphs
			*bodies = append(*bodies, f)
		}
		return nil
	})
}

// readBody reads a GraphProto inside a node: which names it uses, and which
// tensors it has.
func (g *Graph) readBody(r *protoReader, n *Node, depth int) error {
	return r.message(func(f field) error {
		switch f.num {
		case 1:
			inner := Node{Op: n.Op}
			err := r.within(f, func() error { return g.readNode(r, &inner, depth) })
			n.outer = append(append(n.outer, inner.Inputs...), inner.outer...)
			for _, name := range inner.Outputs {
				g.bodies[name] = n.Op
			}
			if len(n.outer) > 8*mostNodes {
				return fmt.Errorf("a body of %s has more than %d inputs", n.Op, 8*mostNodes)
			}
			return err
		case 5:
			return r.within(f, func() error { return g.readWeight(r, &Weight{}) })
		case 12: // an output may be a tensor of the graph around it
			b, err := r.bytes(f, 1<<20)
			if err != nil {
				return err
			}
			v, err := readValue(b)
			n.outer = append(n.outer, v.Name)
			return err
		}
		return nil
	})
}

// readWeight reads a TensorProto without its numbers.
func (g *Graph) readWeight(r *protoReader, w *Weight) error {
	w.DType = "unknown"
	err := r.message(func(f field) (err error) {
		switch f.num {
		case 1: // dims: one, or packed
			if f.kind == protowire.VarintType {
				w.Dims = append(w.Dims, int64(f.v))
				return nil
			}
			b, err := r.bytes(f, mostName)
			for len(b) > 0 && err == nil {
				v, n := protowire.ConsumeVarint(b)
				if n < 0 {
					return protowire.ParseError(n)
				}
				w.Dims, b = append(w.Dims, int64(v)), b[n:]
			}
			return err
		case 2:
			if name := dtypes[f.v]; name != "" {
				w.DType = name
			}
		case 8:
			w.Name, err = r.text(f)
		case 13: // external_data
			return errWeightsElsewhere
		}
		return err
	})
	count := int64(1)
	for _, d := range w.Dims {
		if d < 0 || d > 0 && count > 1<<40/d {
			return errors.Join(err, fmt.Errorf("the weight %s has the shape %v", w.Name, w.Dims))
		}
		count *= d
	}
	g.Parameters += count
	return err
}

var dtypes = map[uint64]string{
	1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
	10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}

// readValue reads a ValueInfoProto.
func readValue(msg []byte) (Value, error) {
	v := Value{DType: "unknown"}
	err := proto.Walk(msg, func(num protowire.Number, _ uint64, b []byte) error {
		switch num {
		case 1:
			v.Name = string(b)
		case 2: // TypeProto
			return proto.Walk(b, func(num protowire.Number, _ uint64, b []byte) error {
				if num != 1 { // tensor_type
					return nil
				}
				return readTensorType(b, &v)
			})
		}
		return nil
	})
	return v, err
}

func readTensorType(msg []byte, v *Value) error {
	return proto.Walk(msg, func(num protowire.Number, n uint64, b []byte) error {
		switch num {
		case 1:
			if name := dtypes[n]; name != "" {
				v.DType = name
			}
		case 2: // TensorShapeProto
			return proto.Walk(b, func(_ protowire.Number, _ uint64, b []byte) error {
				dim, err := readDim(b)
				v.Dims = append(v.Dims, dim)
				return err
			})
		}
		return nil
	})
}

func readDim(msg []byte) (string, error) {
	dim := "?"
	err := proto.Walk(msg, func(num protowire.Number, n uint64, b []byte) error {
		switch num {
		case 1:
			if int64(n) >= 0 {
				dim = strconv.FormatUint(n, 10)
			}
		case 2:
			if len(b) > 0 {
				dim = string(b)
			}
		}
		return nil
	})
	return dim, err
}
