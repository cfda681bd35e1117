"""Tiny models for the tests: make.py writes them beside it. Made with onnx 1.23.2 and onnxruntime 1.32.0."""

import json
import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper as N

HERE = os.path.dirname(os.path.abspath(__file__))


def value(name, dtype, shape):
    return H.make_tensor_value_info(name, dtype, shape)


def save(name, nodes, inputs, outputs, init=(), inner=(), functions=()):
    g = H.make_graph(nodes, name, inputs, outputs, [N.from_array(np.asarray(a, order="C"), n) for n, a in init], value_info=list(inner))
    opsets = [H.make_opsetid("", 17)] + [H.make_opsetid("local", 1)] * bool(functions)
    m = H.make_model(g, opset_imports=opsets, ir_version=8, functions=list(functions))
    onnx.checker.check_model(m)
    onnx.save(m, os.path.join(HERE, name + ".onnx"))


def main():
    # Word vectors of 4 numbers: of token i they are i, -i, i·i and 1. type_ids are
    # added to the first, the mask multiplies the second.
    i = np.arange(512, dtype=np.float32)
    table = np.stack([i, -i, i * i, np.ones(512, np.float32)], 1)
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

    towers()
    # The means of float16 pixels, as float16.
    save(
        "half",
        [H.make_node("GlobalAveragePool", ["pixels"], ["pooled"]), H.make_node("Flatten", ["pooled"], ["means"])],
        [value("pixels", T.FLOAT16, ["batch", 3, 4, 6])],
        [value("means", T.FLOAT16, ["batch", 3])],
    )
    # Dynamically quantised, as onnxruntime.quantization.quantize_dynamic makes it: one
    # scale for the whole batch.
    save(
        "dynamic",
        [
            H.make_node("Flatten", ["pixels"], ["flat"]),
            H.make_node("DynamicQuantizeLinear", ["flat"], ["flat_q", "flat_scale", "flat_zero"]),
            H.make_node("MatMulInteger", ["flat_q", "weight_q", "flat_zero", "weight_zero"], ["product"]),
            H.make_node("Cast", ["product"], ["product_f"], to=T.FLOAT),
            H.make_node("Mul", ["flat_scale", "weight_scale"], ["scale"]),
            H.make_node("Mul", ["product_f", "scale"], ["vector"]),
        ],
        [value("pixels", T.FLOAT, ["batch", 3, 4, 6])],
        [value("vector", T.FLOAT, ["batch", 8])],
        [
            ("weight_q", np.random.default_rng(1).integers(0, 255, (72, 8), dtype=np.uint8)),
            ("weight_zero", np.array(128, np.uint8)),
            ("weight_scale", np.array(0.01, np.float32)),
        ],
    )


def towers():
    """A picture's tower and a text's in one graph, with a body, a local function, a
    constant in a node, and weights that a cut leaves behind."""
    r = np.random.default_rng(0)

    def w(*shape):
        return r.standard_normal(shape).astype(np.float32)

    then = H.make_graph([H.make_node("Mul", ["stem", "two"], ["doubled"])], "then", [], [value("doubled", T.FLOAT, None)])
    other = H.make_graph([H.make_node("Neg", ["stem"], ["negative"])], "other", [], [value("negative", T.FLOAT, None)])
    scaled = H.make_function("local", "Scaled", ["x"], ["y"], [H.make_node("Add", ["x", "x"], ["y"])], [H.make_opsetid("", 17)])
    save(
        "towers",
        [
            H.make_node("Conv", ["pixels", "conv_w"], ["conv"], name="/visual/conv", pads=[1, 1, 1, 1]),
            H.make_node("Relu", ["conv"], ["stem"], name="/visual/relu"),
            H.make_node("Constant", [], ["two"], value=N.from_array(np.array(2, np.float32))),
            H.make_node("Constant", [], ["yes"], value=N.from_array(np.array(True))),
            H.make_node("If", ["yes"], ["branch"], name="/visual/if", then_branch=then, else_branch=other),
            H.make_node("GlobalAveragePool", ["branch"], ["/visual/pool"], name="/visual/pool"),
            H.make_node("Flatten", ["/visual/pool"], ["/visual/flat"], name="/visual/flatten"),
            H.make_node("Scaled", ["/visual/flat"], ["scaled"], domain="local"),
            H.make_node("Gemm", ["scaled", "fc_w", "fc_b"], ["image_embeds"], name="/visual/fc"),
            H.make_node("Gather", ["words", "ids"], ["hidden"], name="/text/words"),
            H.make_node("LayerNormalization", ["hidden", "ln_w", "ln_b"], ["last_hidden"], name="/text/norm"),
            H.make_node("ReduceMean", ["last_hidden"], ["pooled"], name="/text/mean", axes=[1], keepdims=0),
            H.make_node("MatMul", ["pooled", "proj_w"], ["text_embeds"], name="/text/proj"),
            H.make_node("Transpose", ["text_embeds"], ["turned"], perm=[1, 0]),
            H.make_node("MatMul", ["image_embeds", "turned"], ["similarity"]),
        ],
        [value("pixels", T.FLOAT, ["pictures", 3, 8, 8]), value("ids", T.INT64, ["texts", "tokens"])],
        [value("similarity", T.FLOAT, ["pictures", "texts"])],
        [
            ("conv_w", w(5, 3, 3, 3)),
            ("fc_w", w(5, 6)),
            ("fc_b", w(6)),
            ("words", w(20, 4)),
            ("ln_w", w(4)),
            ("ln_b", w(4)),
            ("proj_w", w(4, 6)),
        ],
        [value("image_embeds", T.FLOAT, ["pictures", 6]), value("text_embeds", T.FLOAT, ["texts", 6])],
        [scaled],
    )
    # What every tensor of it is on an example, with the tensors as outputs.
    m = onnx.load(os.path.join(HERE, "towers.onnx"))
    tensors = [o for n in m.graph.node for o in n.output if n.op_type != "Constant"]
    for t in tensors:
        if t != "similarity":
            m.graph.output.append(onnx.ValueInfoProto(name=t))
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    s = ort.InferenceSession(m.SerializeToString(), o)
    pixels = (np.arange(2 * 3 * 8 * 8, dtype=np.float32) % 17 - 8).reshape(2, 3, 8, 8) / 8
    ids = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 19], [0, 0, 1]])
    got = s.run(tensors, {"pixels": pixels, "ids": ids})
    with open(os.path.join(HERE, "towers.json"), "w") as f:
        rows = ",\n".join(json.dumps({"name": t, "shape": v.shape, "numbers": [float(f"{x:.6g}") for x in v.ravel()[:40]]}) for t, v in zip(tensors, got))
        f.write(f"[{rows}]\n")


main()
