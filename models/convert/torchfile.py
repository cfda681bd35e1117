"""Read a PyTorch checkpoint of the old kind (before 1.6: pickles, not a zip) without PyTorch.

The file is three header pickles, the state dict, the list of storage keys, and
then each storage: an 8-byte element count and the raw little-endian elements.
"""

import collections
import pickle

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage:
    def __init__(self, dtype, count):
        self.dtype, self.count, self.data = dtype, count, None


class _Tensor:
    """A view of a storage; offset and strides count elements."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self):
        # Strides matter: these files hold weights that were transposed in
        # place, and reading them as contiguous gives garbage without an error.
        data = self.storage.data
        size = data.itemsize
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides))
        if min(self.shape, default=1) < 1 or min(self.strides, default=0) < 0 or last >= len(data):
            raise ValueError("a tensor lies outside its storage: the file is damaged")
        view = np.lib.stride_tricks.as_strided(
            data[self.offset :], self.shape, [s * size for s in self.strides]
        )
        return view.copy(order="C")


class _Unpickler(pickle.Unpickler):
    """Builds tensors and nothing else: a checkpoint cannot name any other code."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"the checkpoint wants {module}.{name}, which is not a tensor")

    def persistent_load(self, pid):
        kind, dtype, key, _location, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"unknown persistent object {pid!r}")
        return self.storages.setdefault(key, _Storage(dtype, count))


def load(path):
    """Return the state dict as {name: numpy array}, every array contiguous."""
    with open(path, "rb") as f:
        if _header(f) != _MAGIC:
            raise ValueError(f"{path}: not a PyTorch checkpoint of the old format")
        _header(f)  # protocol version
        _header(f)  # sizes of the writer's C types; the storages below are fixed-width
        up = _Unpickler(f)
        state = up.load()
        for key in _header(f):
            storage = up.storages[key]
            count = int(np.frombuffer(f.read(8), "<i8")[0])
            raw = f.read(count * storage.dtype.itemsize)
            if count != storage.count or len(raw) != count * storage.dtype.itemsize:
                raise ValueError(f"{path}: storage {key} is cut short")
            storage.data = np.frombuffer(raw, storage.dtype)
    return {name: t.array() for name, t in state.items()}


def _header(f):
    return _Unpickler(f).load()
