"""The limit of the hardware: the model alone, in a loop over tensors that are ready, as ONNX Runtime's Python runs it.

usage: bare.py images MODEL.onnx LIST       the pictures of a list: 64 tensors of noise, again and again
       bare.py texts MODEL.onnx SP.model LIST   the texts of a list: tokenised, sorted, padded before the clock starts

Reads commands, one a line, and answers each with a line of JSON:

  SESSIONS BATCH SHARE    run that share (0 to 1) of the list in so many sessions, which divide the cores among them
"""
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort


def image_batches(path, batch, share):
    with open(path, encoding="utf8") as f:
        count = sum(1 for line in f if line.strip())
    rng = np.random.default_rng(1)
    ready = [rng.standard_normal((batch, 3, 224, 224), dtype=np.float32) for _ in range(max(1, 64 // batch))]
    count = max(1, int(count * share))
    sizes = [batch] * (count // batch) + ([count % batch] if count % batch else [])
    return [{"image": ready[i % len(ready)][:n]} for i, n in enumerate(sizes)]


def text_batches(ids, batch, share):
    ids = sorted(ids, key=len)[::max(1, round(1 / share))]
    out = []
    for f in range(0, len(ids), batch):
        part = ids[f:f + batch]
        longest = max(map(len, part))
        x, mask = np.zeros((len(part), longest), np.int64), np.zeros((len(part), longest), np.float32)
        for r, t in enumerate(part):
            x[r, :len(t)], mask[r, :len(t)] = t, 1
        out.append({"ids": x, "mask": mask})
    return out[::-1]  # the longest first, so that no session ends alone with one


def sessions(model, count):
    cores = len(os.sched_getaffinity(0))
    so = ort.SessionOptions()
    so.intra_op_num_threads = max(1, cores // count)
    return [ort.InferenceSession(model, so, providers=["CPUExecutionProvider"]) for _ in range(count)]


def main():
    kind, model = sys.argv[1:3]
    if kind == "texts":
        import sentencepiece
        tok = sentencepiece.SentencePieceProcessor(model_file=sys.argv[3])
        with open(sys.argv[4], encoding="utf8") as f:
            ids = tok.encode(f.read().split("\n"), add_bos=True, add_eos=True)
    opened = {}
    for line in sys.stdin:
        count, batch, share = line.split()
        count, batch, share = int(count), int(batch), float(share)
        if count not in opened:
            opened[count] = sessions(model, count)
        work = image_batches(sys.argv[3], batch, share) if kind == "images" else text_batches(ids, batch, share)
        rows = sum(len(next(iter(b.values()))) for b in work)
        todo = iter(work)

        def loop(session):
            for b in todo:  # next() of an iterator is atomic
                session.run(None, b)

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda s: s.run(None, work[-1]), opened[count]))  # warm
            begin, cpu = time.perf_counter(), time.process_time()
            list(pool.map(loop, opened[count]))
            seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": cpu, "per_second": rows / seconds}), flush=True)


if __name__ == "__main__":
    main()
