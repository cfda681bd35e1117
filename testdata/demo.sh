#!/usr/bin/env bash
# The demo: 785 captioned pictures from a Debian package, two embeddings, seven functions, three batches.
# `make demo` calls it after it has installed what is missing and built winnow.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly pictures=.deps/data/tuxpaint config=configs/demo/winnow.yaml
if [[ ! -d $pictures/usr ]]; then
	echo "demo: the pictures are not at $pictures; type: ./setup.sh demo" >&2
	exit 1
fi
if [[ ! -s $pictures/manifest.jsonl ]]; then
	python3 testdata/demo_manifest.py "$pictures"
fi
echo 'demo       winnow run -c configs/demo/winnow.yaml'
build/winnow run -c "$config"

cat <<'END'

What happened: winnow read a manifest of pictures with captions, turned every picture and every caption into a
vector, scored each of them against the functions in configs/demo/functions/, and chose three batches for labeling.

Try next:
  build/winnow search -c configs/demo/winnow.yaml -t "ein roter Apfel"       search by text, in 16 languages
  build/winnow search -c configs/demo/winnow.yaml -a food/fruit/mango        what looks like this picture?
  build/winnow status -c configs/demo/winnow.yaml                            what is in the workspace
  make demo                                                                  again: nothing is new, nothing is done twice
  build/winnow init ./my-photos                                              your own data
END
