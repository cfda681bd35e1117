// Package proto walks protobuf messages held in memory, for the few fields that
// winnow needs of the files that models come as. It knows no schema.
//
// models/text reads SentencePiece models with it. models/onnx, which has a copy of
// the same walk in graph.go for the small messages of a graph, can use it as it is.
package proto

import "google.golang.org/protobuf/encoding/protowire"

// Walk calls fn with each field of a message, in the order of the file: v holds
// numbers (varints, and the bits of fixed32 and fixed64), b the bytes of strings,
// byte strings and messages. Groups come with neither. b is a part of msg, not a
// copy. The walk ends at the first error, of fn or of a damaged message.
func Walk(msg []byte, fn func(num protowire.Number, v uint64, b []byte) error) error {
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
		case protowire.Fixed32Type:
			var w uint32
			w, n = protowire.ConsumeFixed32(msg)
			v = uint64(w)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(msg)
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
