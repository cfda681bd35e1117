#!/bin/sh
# Holds a finished workspace against other people's libraries.
#
# usage: run.sh WORKSPACE CONFIG
#
# Runs every check of this folder and ends with 1 when one fails. PYTHON names a Python with the packages of
# requirements.txt (default .deps/venv-interop, which make interop fills), TOOLPACKAGES the folder
# of those of tools.txt (default in .deps/venv-tools), MODELS the folder of the
# converted models (default .deps/models), WINNOW the binary (default build/winnow), PIXELS and TOKENS the compiled testdata/tools/pixels and
# testdata/tools/tokens (default build/pixels and build/tokens), DIAGNOSE that of testdata/tools/diagnose (default build/diagnose).
set -eu
[ $# -eq 2 ] || { sed -n '4s/^# //p' "$0" >&2; exit 2; }
workspace=$1 config=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
deps=$here/../../.deps
python=${PYTHON:-$deps/venv-interop/bin/python}
models=${MODELS:-$deps/models}
failed=''

run() {
    echo "== $1"
    name=$1
    shift
    "$python" "$@" || failed="$failed $name"
}

arguments=$("$python" "$here/config.py" "$config" "$models")
# pick KIND...: the arguments of these kinds, as --KIND VALUE, one word a line
pick() {
    for kind; do
        printf '%s\n' "$arguments" | sed -n "s/^$kind \(.*\)/--$kind\n\1/p"
    done
}
# with KINDS SCRIPT: run a script on the workspace with the arguments of these kinds
with() {
    kinds=$1 script=$2
    set -- "$here/$script" "$workspace"
    # shellcheck disable=SC2086 # a list of words
    while IFS= read -r word; do
        [ -z "$word" ] || set -- "$@" "$word"
    done <<END
$(pick $kinds)
END
    run "$script" "$@"
}

(cd "$here" && "$python" -m unittest -q test_interop) || failed=' test_interop'
run tables.py "$here/tables.py" "$workspace"
with 'image text of' vectors.py
with 'image text functions' scores.py
run where.py "$here/where.py" "$workspace"
run index.py "$here/index.py" "$workspace" --winnow "${WINNOW:-$here/../../build/winnow}" --config "$config"
run diagnose_check.py "$here/diagnose_check.py" "${DIAGNOSE:-$here/../../build/diagnose}"
run import_check.py "$here/import_check.py" "${WINNOW:-$here/../../build/winnow}"
run pixels.py "$here/pixels.py" "${PIXELS:-$here/../../build/pixels}"
run sentencepiece_check.py "$here/sentencepiece_check.py" "${TOKENS:-$here/../../build/tokens}" "$models/use-multilingual-v3/sp.model" \
    "$deps/data/tuxpaint/usr/share/tuxpaint/stamps"
if [ -f "$models/all-minilm-l6-v2/model.onnx" ]; then
    run sentences.py "$here/sentences.py" "${WINNOW:-$here/../../build/winnow}" "$models"
else
    echo "== sentences.py: SKIPPED, the sentence models are not here (./setup.sh models)"
fi
run tokenizers_check.py "$here/tokenizers_check.py" "${TOKENS:-$here/../../build/tokens}" "$models/use-multilingual-v3/sp.model" \
    "$deps/data/tuxpaint/usr/share/tuxpaint/stamps"
PYTHONPATH=${TOOLPACKAGES:-$(echo "$deps"/venv-tools/lib/python3*/site-packages)}
export PYTHONPATH
run tools_check.py "$here/tools_check.py" \
    "${WINNOW:-$here/../../build/winnow}" "$here/../photos" "$here/../../io/manifest/testdata/batch"
unset PYTHONPATH
if [ -n "$(find "$workspace/batches" -path '*/labelbox/data_rows*.json' 2>/dev/null)" ]; then
    run labelbox_files.py "$here/labelbox_files.py" "$workspace"
else
    echo "== labelbox_files.py: no batch was emitted for Labelbox"
fi
python=$deps/venv/bin/python # the converter's, which has onnx
run cut.py "$here/cut.py" --winnow "${WINNOW:-$here/../../build/winnow}" "$models"/*/model.onnx
if [ -n "$failed" ]; then
    echo "FAIL:$failed"
    exit 1
fi
echo "all interop checks passed"
