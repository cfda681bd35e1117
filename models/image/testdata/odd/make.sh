#!/bin/sh
# JPEGs of kinds that Pillow does not write, by libjpeg-turbo's cjpeg (Debian: libjpeg-turbo-progs).
# usage: make.sh PICTURE.ppm
set -eu
cd "$(dirname "$0")"
ppm=$1
make() { out=$1; shift; "${CJPEG:-cjpeg}" -quality 80 "$@" -outfile "$out.jpg" "$ppm"; }
for s in 1x2 2x1 4x1 1x4 4x2 2x4; do make "sample-$s" -sample "$s"; done
make sample-1x2-progressive -sample 1x2 -progressive
make sample-4x1-progressive -sample 4x1 -progressive
make sample-mixed -sample 2x2,1x2,2x1
make sample-mixed-2 -sample 2x1,1x1,2x1
make sample-cb -sample 1x1,2x2,1x1
make arithmetic -arithmetic
make arithmetic-progressive -arithmetic -progressive
make arithmetic-444 -arithmetic -sample 1x1 -restart 1B
make rgb -rgb
make rgb-progressive -rgb -progressive
make restart-rows -restart 1
make restart-blocks -restart 1B -progressive
make grey-2x2 -grayscale -sample 2x2
make baseline-q1 -baseline -quality 1
