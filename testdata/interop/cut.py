"""Holds `winnow model cut` against onnx and onnxruntime in Python.

usage: cut.py --winnow BINARY [--count N] [--seed N] MODEL.onnx...

Of each model it takes every output and N tensors by chance. The part that winnow cuts must be a valid
model, have the operations and weights that onnx.utils finds, and give the very numbers that the whole
model gives when the tensor is made one of its outputs. Needs onnx and onnxruntime: the converter's venv.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx.utils import Extractor

VARY = {"batch": 2, "tokens": 9, "seq": 9}


def session(model):
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # else other outputs are other fusions
    o.intra_op_num_threads = 1
    o.log_severity_level = 3
    return ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])


def example(inputs):
    """A tensor of each input: pixels by chance, ids of small numbers, masks of ones."""
    r = np.random.default_rng(0)
    feed = {}
    for v in inputs:
        four = len(v.shape) == 4
        shape = [d if isinstance(d, int) else (2 if i == 0 else 224 if four else VARY.get(d, 9)) for i, d in enumerate(v.shape)]
        if "int" in v.type:
            value = np.ones(shape) if "mask" in v.name else np.zeros(shape) if "type" in v.name else r.integers(1, 20, shape)
            feed[v.name] = value.astype(np.int64 if "64" in v.type else np.int32)
        else:
            value = np.ones(shape) if "mask" in v.name else r.standard_normal(shape)
            feed[v.name] = value.astype(np.float16 if "16" in v.type else np.float32)
    return feed


def live(graph):
    """The tensors that an input bears on."""
    fed = {v.name for v in graph.input} - {w.name for w in graph.initializer}
    out = []
    for n in graph.node:
        if fed.intersection(n.input):
            fed.update(o for o in n.output if o)
            out += [o for o in n.output if o]
    return out


def check(winnow, path, count, seed, folder):
    whole = onnx.load(path)
    outputs = [v.name for v in whole.graph.output]
    inner = [t for t in live(whole.graph) if t not in outputs]
    chosen = outputs + random.Random(seed).sample(inner, min(count, len(inner)))
    more = onnx.ModelProto()
    more.CopyFrom(whole)
    more.graph.output.extend(onnx.ValueInfoProto(name=t) for t in chosen if t not in outputs)
    s = session(more.SerializeToString())
    feed = example(s.get_inputs())
    want = dict(zip(chosen, s.run(chosen, feed)))
    known = {v.name for v in whole.graph.value_info}
    for t in chosen:  # the extractor knows no tensor without
        if t not in outputs and t not in known:
            dtype = onnx.helper.np_dtype_to_tensor_dtype(want[t].dtype)
            whole.graph.value_info.append(onnx.helper.make_tensor_value_info(t, dtype, None))
    faults = 0
    for t in chosen:
        part = os.path.join(folder, "part.onnx")
        subprocess.run([winnow, "model", "cut", path, t, "-o", part, "--json"], check=True, stdout=subprocess.PIPE)
        m = onnx.load(part)
        if m.graph.output[0].type.tensor_type.HasField("shape"):  # of an unknown rank the checker takes none
            onnx.checker.check_model(part)
        x = Extractor(whole).extract_model([v.name for v in whole.graph.input], [t]).graph
        nodes, weights = {n.output[0] for n in x.node}, {w.name for w in x.initializer}
        have = ({n.output[0] for n in m.graph.node}, {w.name for w in m.graph.initializer})
        p = session(part)
        got = p.run(None, {v.name: feed[v.name] for v in p.get_inputs()})
        same = len(got) == 1 and got[0].dtype == want[t].dtype and np.array_equal(got[0], want[t], equal_nan=True)
        if not same or have != (nodes, weights) or m.metadata_props != whole.metadata_props or m.opset_import != whole.opset_import:
            print(f"FAIL {path} at {t}: same numbers {same}, same operations {have[0] == nodes}, same weights {have[1] == weights}")
            faults += 1
    print(f"{os.path.basename(os.path.dirname(path))}: {len(chosen)} cuts, {faults} wrong")
    return faults


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--winnow", required=True)
    a.add_argument("--count", type=int, default=4)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("models", nargs="+")
    a = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = sum(check(a.winnow, p, a.count, a.seed, folder) for p in a.models)
    sys.exit(1 if faults else 0)


main()
