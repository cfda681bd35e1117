"""A small builder of ONNX graphs whose files are the same bytes on every run.

The specs in models/specs pin the sha256 of each converted model, so nothing
here may depend on the clock, on hash order or on the machine: weights are
little-endian raw data, names are counted, and no tool version is recorded.
"""

import os
import tempfile

import numpy as np
import onnx
from onnx import helper

OPSET = 17  # the oldest with LayerNormalization
IR_VERSION = 8


class Graph:
    """Nodes and weights of one model, in the order in which they are added."""

    def __init__(self, name):
        self.name = name
        self._nodes = []
        self._weights = []
        self._inputs = []
        self._outputs = []
        self._names = set()

    def input(self, name, dtype, shape):
        """Declare a graph input; a string in shape is a free dimension."""
        self._inputs.append(helper.make_tensor_value_info(self._new(name), _elem(dtype), shape))
        return name

    def output(self, name, dtype, shape):
        """Declare the tensor name, which a node makes, as a graph output."""
        if name not in self._names:
            raise ValueError(f"no node makes the output {name!r}")
        self._outputs.append(helper.make_tensor_value_info(name, _elem(dtype), shape))

    def weight(self, name, array):
        """Store a constant tensor."""
        a = np.ascontiguousarray(array).reshape(np.shape(array))  # ascontiguousarray makes scalars 1-d
        little = a.astype(a.dtype.newbyteorder("<"), copy=False)
        self._weights.append(
            helper.make_tensor(self._new(name), _elem(a.dtype), a.shape, little.tobytes(), raw=True)
        )
        return name

    def node(self, op, inputs, name, **attributes):
        """Add a node with one output, called name."""
        for i in inputs:
            if i not in self._names:
                raise ValueError(f"{op} {name!r}: nothing makes its input {i!r}")
        self._nodes.append(helper.make_node(op, inputs, [self._new(name)], name=name, **attributes))
        return name

    def serialize(self, **metadata):
        """Check the model and return its bytes."""
        model = helper.make_model(
            helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._weights),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="winnow",
        )
        for key in sorted(metadata):
            entry = model.metadata_props.add()
            entry.key, entry.value = key, metadata[key]
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)

    def save(self, path, **metadata):
        """Check the model and put it at path in one rename."""
        write_file(path, self.serialize(**metadata))

    def _new(self, name):
        if name in self._names:
            raise ValueError(f"the name {name!r} is taken")
        self._names.add(name)
        return name


def _elem(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def write_file(path, data):
    """Write data to path so that a kill leaves the old file or the new one, never half of it."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    fd, temp = tempfile.mkstemp(prefix=".tmp-", dir=folder)
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temp, 0o644)
        os.replace(temp, path)
    except BaseException:
        os.unlink(temp)
        raise
