"""Python peer for 'choose rows far from each other': plain k-center with numpy, as it is written everywhere.
usage: selection.py ROWS.f32 DIM SIZE PICKS.i32
Rows have length 1; the first one starts. Writes the picks, and prints the seconds without reading."""
import json
import sys
import time

import numpy as np

rows, dim, size = np.fromfile(sys.argv[1], np.float32), int(sys.argv[2]), int(sys.argv[3])
rows = rows.reshape(-1, dim)
rows @ rows[0]  # threads are there
t = time.perf_counter()
picks, nearest = [0], np.full(len(rows), 2, np.float32)
while len(picks) < size:
    np.minimum(nearest, 1 - rows @ rows[picks[-1]], out=nearest)
    picks.append(int(nearest.argmax()))
d = time.perf_counter() - t
np.array(picks, np.int32).tofile(sys.argv[4])
print(json.dumps({"peer": "numpy", "rows": len(rows), "picks": size, "seconds": round(d, 4)}))
