#!/bin/sh
# Get what requirements.txt beside this script names, as sources, unless it lies here already: then nothing is downloaded.
set -eu
cd "$(dirname "$0")"

sed -n 's/^\([a-z][a-z0-9-]*\)==\([^ ]*\) .*--hash=sha256:\([0-9a-f]*\)$/\3  \1-\2.tar.gz/p' requirements.txt >sums
trap 'rm -f sums' EXIT
sha256sum --check --status sums 2>/dev/null ||
    python3 -m pip --quiet download --no-deps --no-binary :all: --require-hashes --requirement requirements.txt ||
    { echo "without the package index: put the files of $PWD/requirements.txt beside it" >&2; exit 1; }
sha256sum --check --status sums
