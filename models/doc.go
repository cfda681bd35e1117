// Package models turns images and texts into vectors.
//
// A model is described by a Spec, a YAML file: the ONNX file with its hash, what
// goes in and what comes out, and everything that is done to a picture or a text
// before. winnow ships some specs; any ONNX model works by writing one.
//
// The fingerprint of a spec changes with everything that can change a vector, and
// with nothing else.
package models
