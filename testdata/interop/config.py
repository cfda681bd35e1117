"""Prints the arguments of the other scripts that a config stands for, one a line: KIND VALUE.

usage: config.py CONFIG MODELS_DIR

image and text name an embedding with the files of its model (MODELS_DIR/NAME/model.onnx, and sp.model beside
it for texts), of the column that it reads, functions a glob. Embeddings of other models are left out.
"""

import os
import sys

from workspace import load_yaml


def main(config, models):
    c = load_yaml(config)
    base = os.path.dirname(os.path.abspath(config))
    for e in c.get("embeddings", []):
        folder = os.path.join(models, e["model"])
        model, spm = os.path.join(folder, "model.onnx"), os.path.join(folder, "sp.model")
        if not os.path.exists(model):
            print(f"config.py: embedding {e['name']}: no {model}, its vectors are not recomputed", file=sys.stderr)
        elif os.path.exists(spm):
            print(f"text {e['name']}={model},{spm}")
            print(f"of {e['name']}={e['of']}")
        else:
            print(f"image {e['name']}={model}")
    functions = c.get("functions", [])
    for g in [functions] if isinstance(functions, str) else functions:
        print("functions", os.path.join(base, g.removeprefix("file://")))


if __name__ == "__main__":
    main(*sys.argv[1:])
