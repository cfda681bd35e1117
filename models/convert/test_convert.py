"""Mutations of the conversions: check.py must catch each. Run by `make interop`.

    test_convert.py CHECKPOINT.pth WEIGHTS.npz
"""

import sys
import unittest
from unittest import mock

import numpy as np

import check
import efficientnet_lite
import graph
import torchfile
import use_multilingual

CHECKPOINT = WEIGHTS = None


def image_verdict():
    model = efficientnet_lite.build(torchfile.load(CHECKPOINT)).serialize()
    return check.efficientnet_lite0(check.open_model(model))


def text_verdict(change=lambda w: w):
    with np.load(WEIGHTS, allow_pickle=False) as w:
        model = use_multilingual.build(change(dict(w))).serialize()
    return check.use_multilingual_v3(check.open_model(model))


class Images(unittest.TestCase):
    def test_right(self):
        self.assertIn("recognised", image_verdict())

    def caught(self, patch):
        with patch, self.assertRaises(check.Wrong):
            image_verdict()

    def test_strides_ignored(self):
        def contiguous(t):
            n = int(np.prod(t.shape, dtype=int))
            return t.storage.data[t.offset : t.offset + n].reshape(t.shape)

        self.caught(mock.patch.object(torchfile._Tensor, "array", contiguous))

    def test_symmetric_padding(self):
        def symmetric(size, kernel, stride):
            return kernel // 2, kernel // 2, -(-size // stride)

        self.caught(mock.patch.object(efficientnet_lite, "same_padding", symmetric))

    def test_wrong_epsilon(self):
        self.caught(mock.patch.object(efficientnet_lite, "BN_EPSILON", 1e-1))

    def test_wrong_pixels(self):
        right = check.picture
        self.caught(mock.patch.object(check, "picture", lambda f: right(f)[::-1]))  # BGR


class Texts(unittest.TestCase):
    def test_right(self):
        self.assertIn("translations", text_verdict())

    def caught(self, patch):
        with patch, self.assertRaises(check.Wrong):
            text_verdict()

    def test_window_shifted(self):
        self.caught(mock.patch.object(use_multilingual, "BRANCHES", [(2, 1), (3, 1), (5, 2)]))

    def test_padding_leaks(self):
        right = graph.Graph.node

        def leaky(self, op, inputs, name, **attributes):
            if name.endswith("masked"):
                op, inputs = "Identity", inputs[:1]
            return right(self, op, inputs, name, **attributes)

        self.caught(mock.patch.object(graph.Graph, "node", leaky))

    def test_chunks_exchanged(self):
        def exchanged(w):
            return {**w, "q1": w["q2"], "q2": w["q1"]}

        with self.assertRaises(check.Wrong):
            text_verdict(exchanged)


class Checkpoints(unittest.TestCase):
    def test_code_refused(self):
        import pickle
        import tempfile

        with tempfile.NamedTemporaryFile() as f:
            for part in (torchfile._MAGIC, 1001, {}, print):
                pickle.dump(part, f)
            f.flush()
            with self.assertRaisesRegex(pickle.UnpicklingError, "not a tensor"):
                torchfile.load(f.name)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    CHECKPOINT, WEIGHTS = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
