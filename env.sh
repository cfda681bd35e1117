# shellcheck shell=sh
# . ./env.sh, in the repository: after a setup without root it tells Go and the
# loader where .deps is; after one with root it only adds .deps/bin to PATH.
if [ ! -f ./setup.sh ] || [ ! -f ./env.sh ]; then
	echo 'env.sh: type ". ./env.sh" in the repository itself' >&2
elif [ ! -f .deps/env ]; then
	echo 'env.sh: nothing is set up yet, type: make setup' >&2
elif [ "${WINNOW_ENV:-}" != "$PWD" ]; then
	# shellcheck source=/dev/null # WINNOW_CFLAGS, WINNOW_LDFLAGS, WINNOW_LIBRARY_PATH
	. ./.deps/env
	export PATH="$PWD/.deps/bin:$PATH:$PWD/.deps/root/usr/bin" WINNOW_ENV="$PWD"
	if [ -n "${WINNOW_CFLAGS:-}" ]; then
		export CGO_CFLAGS="${CGO_CFLAGS:--O2 -g} $WINNOW_CFLAGS"
		export CGO_LDFLAGS="${CGO_LDFLAGS:--O2 -g} ${WINNOW_LDFLAGS:-}"
		export LD_LIBRARY_PATH="${WINNOW_LIBRARY_PATH:-}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
	fi
fi
