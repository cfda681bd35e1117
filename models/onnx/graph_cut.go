package onnx

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
	"google.golang.org/protobuf/encoding/protowire"
)

// Part is a model that was cut out of another.
type Part struct {
	Data    []byte   // an ONNX model
	Inputs  []Value  // as they are called in Data
	Outputs []Value  // as they are called in Data, in the order that was asked for
	cast    []string // inputs that are fed as float32
}

// FedAs is the name under which an input of the model is an input of the part.
func (p *Part) FedAs(name string) string {
	if slices.Contains(p.cast, name) {
		return float32Name(name)
	}
	return name
}

// CutOptions say what a part must have.
type CutOptions struct {
	Outputs []string // tensors of the graph, or of its outputs
	Inputs  []string // stay even where the outputs do not need them
	// Float32 lets inputs of float16 and outputs of other floats be fed and read as
	// float32. They then have other names in the part.
	Float32 bool
}

const mostCut = 2<<30 - 1<<20 // protobuf's limit of 2 GiB, which the runtime keeps too

// Cut makes a model of the operations and weights that the outputs need, and of
// nothing else. The file must be the one that was inspected. Of it the part alone is
// read, and held in memory: once, and again where the runtime has to be asked for a
// type that the file does not state, or where something is cast.
func (g *Graph) Cut(o CutOptions) (*Part, error) {
	if g.Size > mostCut {
		return nil, fmt.Errorf("%s has %d MB; models of more than 2 GB cannot be cut at a tensor inside: let output name one of its outputs, %s", g.Path, g.Size>>20, names(g.Outputs))
	}
	c := &cutter{g: g, needed: map[string]bool{}, o: o}
	if err := c.choose(); err != nil {
		return nil, fmt.Errorf("cut %s: %w", g.Path, err)
	}
	p, err := c.write()
	if err != nil {
		return nil, fmt.Errorf("cut %s: %w", g.Path, err)
	}
	asked := slices.ContainsFunc(p.Outputs, func(v Value) bool { return v.DType == "unknown" })
	if asked {
		if err := p.askRuntime(); err != nil {
			return nil, fmt.Errorf("cut %s: %w", g.Path, err)
		}
	}
	c.out = p.Outputs
	if cast := o.Float32 && c.casts(); !asked && !cast {
		return p, nil
	}
	if p, err = c.write(); err != nil {
		return nil, fmt.Errorf("cut %s: %w", g.Path, err)
	}
	return p, nil
}

// InputsOf lists the inputs that a tensor depends on.
func (g *Graph) InputsOf(tensor string) (inputs []Value) {
	c := &cutter{g: g, needed: map[string]bool{}, o: CutOptions{Outputs: []string{tensor}}}
	if c.choose() != nil {
		return nil
	}
	for _, v := range g.Inputs {
		if c.needed[v.Name] {
			inputs = append(inputs, v)
		}
	}
	return inputs
}

// Whole reports whether the file itself serves as well as a part: it has the
// output, does nothing else, and all is float32.
func (g *Graph) Whole(output string) bool {
	for _, v := range g.Inputs {
		if v.DType == "float16" {
			return false
		}
	}
	return len(g.Outputs) == 1 && g.Outputs[0].Name == output && g.Outputs[0].DType == "float32"
}

// cutter chooses what belongs to a part and writes it.
type cutter struct {
	g      *Graph
	o      CutOptions
	needed map[string]bool // tensors
	nodes  []bool          // which belong to the part
	out    []Value
	castIn []Value // inputs that are fed as float32
	castTo []Value // outputs that are read as float32
}

// choose walks from the outputs to what they need.
func (c *cutter) choose() error {
	g := c.g
	maker := map[string]int{}
	for i, n := range g.Nodes {
		for _, name := range n.Outputs {
			if name != "" {
				maker[name] = i
			}
		}
	}
	c.nodes = make([]bool, len(g.Nodes))
	var open []string
	need := func(name string) {
		if name != "" && !c.needed[name] {
			c.needed[name] = true
			open = append(open, name)
		}
	}
	for _, name := range c.o.Outputs {
		if _, made := maker[name]; !made {
			return c.noOutput(name)
		}
		c.out = append(c.out, g.tensor(name))
		need(name)
	}
	for len(open) > 0 {
		name := open[len(open)-1]
		open = open[:len(open)-1]
		i, made := maker[name]
		if !made || c.nodes[i] {
			continue
		}
		c.nodes[i] = true
		for _, in := range g.Nodes[i].Inputs {
			need(in)
		}
		for _, in := range g.Nodes[i].outer {
			need(in)
		}
	}
	for _, name := range c.o.Inputs {
		c.needed[name] = true
	}
	return nil
}

// noOutput says why a name cannot be an output.
func (c *cutter) noOutput(name string) error {
	g := c.g
	for _, v := range g.allInputs {
		if v.Name == name {
			return fmt.Errorf("%q is an input of the model, not a result", name)
		}
	}
	for _, w := range g.Weights {
		if w.Name == name {
			return fmt.Errorf("%q is a weight of the model, not a result", name)
		}
	}
	if op := g.bodies[name]; op != "" {
		return fmt.Errorf("the tensor %q is inside the body of an operation %s, where a model cannot be cut; name an output of the %s or a tensor outside", name, op, op)
	}
	near := ""
	if like := g.similar(name); len(like) > 0 {
		near = "; similar names: " + strings.Join(like, ", ")
	}
	return fmt.Errorf("the model has no tensor %q; its outputs are %s%s; winnow model inspect lists layers for embeddings", name, names(g.Outputs), near)
}

// similar lists a few tensors whose name holds the last part of a name.
func (g *Graph) similar(name string) (out []string) {
	want := strings.ToLower(name[strings.LastIndexAny(name, "/.:")+1:])
	if len(want) < 3 {
		return nil
	}
	for i := len(g.Nodes) - 1; i >= 0 && len(out) < 5; i-- {
		for _, o := range g.Nodes[i].Outputs {
			if strings.Contains(strings.ToLower(o), want) {
				out = append(out, o)
			}
		}
	}
	return out
}

// tensor is what the file says of a tensor.
func (g *Graph) tensor(name string) Value {
	for _, list := range [][]Value{g.Outputs, g.Inner} {
		for _, v := range list {
			if v.Name == name {
				return v
			}
		}
	}
	return Value{Name: name, DType: "unknown"}
}

func names(values []Value) string {
	var out []string
	for i, v := range values {
		if i == 10 {
			out = append(out, fmt.Sprintf("and %d more", len(values)-i))
			break
		}
		out = append(out, v.Name)
	}
	return strings.Join(out, ", ")
}

// casts notes what must be cast, and reports whether anything must.
func (c *cutter) casts() bool {
	for _, v := range c.g.Inputs {
		if c.needed[v.Name] && v.DType == "float16" {
			c.castIn = append(c.castIn, v)
		}
	}
	for _, v := range c.out {
		if slices.Contains([]string{"float16", "bfloat16", "float64"}, v.DType) {
			c.castTo = append(c.castTo, v)
		}
	}
	return len(c.castIn)+len(c.castTo) > 0
}

func float32Name(name string) string { return "winnow/float32/" + name }

func asFloat32(v Value) Value {
	return Value{Name: float32Name(v.Name), DType: "float32", Dims: v.Dims}
}

func has(values []Value, name string) bool {
	return slices.ContainsFunc(values, func(v Value) bool { return v.Name == name })
}

// piece is a part of the new graph: of the file, or new.
type piece struct {
	from span
	new  []byte
}

func (p piece) size() int64 { return p.from.to - p.from.from + int64(len(p.new)) }

// write makes the part. The order of a file's fields stays.
func (c *cutter) write() (*Part, error) {
	p := &Part{}
	pieces := c.pieces(p)
	size := int64(0)
	for _, x := range pieces {
		size += x.size()
	}
	head := protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.BytesType), uint64(size))
	total := int64(len(head)) + size
	for _, s := range c.g.model {
		total += s.to - s.from
	}
	f, err := os.Open(c.g.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != c.g.Size {
		return nil, errors.Join(err, errors.New("the file has changed since it was looked at"))
	}
	p.Data = make([]byte, 0, total)
	add := func(s span) error {
		n := len(p.Data)
		p.Data = p.Data[:n+int(s.to-s.from)]
		_, err := f.ReadAt(p.Data[n:], s.from)
		if errors.Is(err, io.EOF) && n == len(p.Data) {
			err = nil
		}
		return err
	}
	for _, s := range merge(c.g.model) {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	p.Data = append(p.Data, head...)
	for i := 0; i < len(pieces); i++ {
		s := pieces[i].from
		for ; i+1 < len(pieces) && len(pieces[i].new) == 0 && pieces[i+1].from.from == s.to && len(pieces[i+1].new) == 0; i++ {
			s.to = pieces[i+1].from.to
		}
		if err := add(s); err != nil {
			return nil, err
		}
		p.Data = append(p.Data, pieces[i].new...)
	}
	return p, nil
}

// merge joins spans that lie one after the other.
func merge(spans []span) (out []span) {
	for _, s := range spans {
		if n := len(out); n > 0 && out[n-1].to == s.from {
			out[n-1].to = s.to
			continue
		}
		out = append(out, s)
	}
	return out
}

// pieces lists what the new graph is made of, and notes the part's ends.
func (c *cutter) pieces(p *Part) (out []piece) {
	g := c.g
	old := func(s span) { out = append(out, piece{from: s}) }
	fresh := func(num protowire.Number, msg []byte) {
		out = append(out, piece{new: protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), msg)})
	}
	for _, v := range c.castIn {
		fresh(1, castNode(float32Name(v.Name), v.Name, 10))
		p.cast = append(p.cast, v.Name)
	}
	made := map[string]bool{}
	for i, n := range g.Nodes {
		if !c.nodes[i] {
			continue
		}
		old(n.at)
		for _, name := range n.Outputs {
			made[name] = true
		}
	}
	for _, v := range c.castTo {
		fresh(1, castNode(v.Name, float32Name(v.Name), 1))
	}
	for _, w := range g.Weights {
		if c.needed[w.Name] {
			old(w.at)
		}
	}
	for i, v := range g.allInputs {
		switch {
		case !c.needed[v.Name]:
		case has(c.castIn, v.Name):
			fresh(11, encodeValue(asFloat32(v)))
			p.Inputs = append(p.Inputs, asFloat32(v))
		default:
			old(g.inputs[i])
			if has(g.Inputs, v.Name) {
				p.Inputs = append(p.Inputs, v)
			}
		}
	}
	for _, v := range c.out {
		if has(c.castTo, v.Name) {
			v = asFloat32(v)
		}
		fresh(12, encodeValue(v))
		p.Outputs = append(p.Outputs, v)
	}
	for i, v := range g.Inner {
		if (made[v.Name] || c.needed[v.Name]) && !has(p.Outputs, v.Name) {
			old(g.inner[i])
		}
	}
	for _, s := range g.rest {
		old(s)
	}
	return out
}

// castNode is a NodeProto that turns a tensor into a type of numbers.
func castNode(from, to string, dtype uint64) []byte {
	str := func(b []byte, num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	attribute := str(nil, 1, "to")
	attribute = protowire.AppendVarint(protowire.AppendTag(attribute, 3, protowire.VarintType), dtype)
	attribute = protowire.AppendVarint(protowire.AppendTag(attribute, 20, protowire.VarintType), 2) // an integer
	n := str(str(str(str(nil, 1, from), 2, to), 3, "winnow/cast/"+from), 4, "Cast")
	return protowire.AppendBytes(protowire.AppendTag(n, 5, protowire.BytesType), attribute)
}

// encodeValue is a ValueInfoProto. What is not known stays open, for the runtime
// to find.
func encodeValue(v Value) []byte {
	sub := func(b []byte, num protowire.Number, msg []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), msg)
	}
	out := sub(nil, 1, []byte(v.Name))
	var code uint64
	for n, name := range dtypes {
		if name == v.DType {
			code = n
		}
	}
	if code == 0 {
		return out
	}
	tensor := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), code)
	if len(v.Dims) > 0 {
		var shape []byte
		for _, d := range v.Dims {
			var dim []byte
			if n, err := strconv.ParseUint(d, 10, 63); err == nil {
				dim = protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), n)
			} else if d != "?" {
				dim = sub(nil, 2, []byte(d))
			}
			shape = sub(shape, 1, dim)
		}
		tensor = sub(tensor, 2, shape)
	}
	return sub(out, 2, sub(nil, 1, tensor))
}

// askRuntime fills in the types of outputs that the file does not state.
func (p *Part) askRuntime() error {
	if err := Init(); err != nil {
		return err
	}
	_, outs, err := ort.GetInputOutputInfoWithONNXData(p.Data)
	if err != nil {
		return fmt.Errorf("ONNX Runtime does not take the part: %w", shorten(err))
	}
	for _, o := range outs {
		i := slices.IndexFunc(p.Outputs, func(v Value) bool { return v.Name == o.Name })
		if i < 0 || p.Outputs[i].DType != "unknown" {
			continue
		}
		if name := dtypes[uint64(o.DataType)]; name != "" {
			p.Outputs[i].DType = name
		}
		for _, d := range o.Dimensions {
			dim := "?"
			if d >= 0 {
				dim = strconv.FormatInt(d, 10)
			}
			p.Outputs[i].Dims = append(p.Outputs[i].Dims, dim)
		}
	}
	return nil
}
