"""Tiny models for the tests: make.py writes them beside it. Made with onnx 1.23.2."""

import os

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper as N

HERE = os.path.dirname(os.path.abspath(__file__))


def value(name, dtype, shape):
    return H.make_tensor_value_info(name, dtype, shape)


def save(name, nodes, inputs, outputs, init=()):
    g = H.make_graph(nodes, name, inputs, outputs, [N.from_array(np.asarray(a, order="C"), n) for n, a in init])
    m = H.make_model(g, opset_imports=[H.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(m)
    onnx.save(m, os.path.join(HERE, name + ".onnx"))


def main():
    # Word vectors of 4 numbers: of token i they are i, -i, i·i and 1. type_ids are
    # added to the first, the mask multiplies the second.
    i = np.arange(64, dtype=np.float32)
    table = np.stack([i, -i, i * i, np.ones(64, np.float32)], 1)
    save(
        "words",
        [
            H.make_node("Gather", ["table", "ids"], ["word"]),
            H.make_node("Cast", ["mask"], ["m"], to=T.FLOAT),
            H.make_node("Cast", ["types"], ["t"], to=T.FLOAT),
            H.make_node("Unsqueeze", ["m", "axis"], ["m3"]),
            H.make_node("Unsqueeze", ["t", "axis"], ["t3"]),
            H.make_node("Mul", ["t3", "first"], ["t4"]),
            H.make_node("Add", ["word", "t4"], ["hidden0"]),
            H.make_node("Mul", ["m3", "second"], ["m4"]),
            H.make_node("Add", ["m4", "rest"], ["m5"]),
            H.make_node("Mul", ["hidden0", "m5"], ["hidden"]),
        ],
        [value("ids", T.INT64, ["batch", "tokens"]), value("mask", T.INT64, ["batch", "tokens"]), value("types", T.INT64, ["batch", "tokens"])],
        [value("hidden", T.FLOAT, ["batch", "tokens", 4])],
        [
            ("table", table),
            ("axis", np.array([2])),
            ("first", np.array([1, 0, 0, 0], np.float32)),
            ("second", np.array([0, 1, 0, 0], np.float32)),
            ("rest", np.array([1, 0, 1, 1], np.float32)),
        ],
    )
    # The mean of each channel of 4 × 6 pixels, as [batch, 3, 1, 1].
    save(
        "means",
        [H.make_node("GlobalAveragePool", ["pixels"], ["means"])],
        [value("pixels", T.FLOAT, ["batch", 3, 4, 6])],
        [value("means", T.FLOAT, ["batch", 3, 1, 1])],
    )
    # The same for channels last and batches of 2 alone.
    save(
        "pairs",
        [H.make_node("ReduceMean", ["pixels"], ["means"], axes=[1, 2], keepdims=0)],
        [value("pixels", T.FLOAT, [2, 4, 6, 3])],
        [value("means", T.FLOAT, [2, 3])],
    )
    # Adds 1 about as often as its input says: a run as long as one wants.
    body = H.make_graph(
        [H.make_node("Identity", ["cond"], ["cond_out"]), H.make_node("Add", ["v", "one"], ["v_out"])],
        "body",
        [value("i", T.INT64, []), value("cond", T.BOOL, []), value("v", T.FLOAT, [1])],
        [value("cond_out", T.BOOL, []), value("v_out", T.FLOAT, [1])],
        [N.from_array(np.ones(1, np.float32), "one")],
    )
    save(
        "loop",
        [H.make_node("Loop", ["times", "true", "zero"], ["sum"], body=body)],
        [value("times", T.INT64, [1])],
        [value("sum", T.FLOAT, [1])],
        [("true", np.array(True)), ("zero", np.zeros(1, np.float32))],
    )


main()
