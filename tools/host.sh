#!/bin/sh
# Install the packages that building and running need, and those given as arguments; silent and quick when nothing is
# missing.
set -eu

packages="gcc libc6-dev python3 python3-venv python3-dev libcap-dev libseccomp2 busybox-static uidmap iproute2 $*"

python=/usr/bin/python3
if ! command -v dpkg-query >/dev/null; then
    # another distribution: name what is needed by what it provides
    for need in gcc "$python"; do
        command -v "$need" >/dev/null || { echo "pycontain: $need is missing: install it first" >&2; exit 1; }
    done
    exit 0
fi

missing=
for package in $packages; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
        installed) ;;
        *) missing="$missing $package" ;;
    esac
done

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=sudo
    else
        echo "pycontain: packages are missing and neither root nor sudo is at hand: apt-get install$missing" >&2
        exit 1
    fi
    echo "apt-get install$missing"
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq --no-install-recommends $missing >/dev/null ||
        { $as_root apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq --no-install-recommends $missing >/dev/null; } ||
        { echo "pycontain: apt-get install$missing failed" >&2; exit 1; }
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "pycontain: $python is $("$python" -V 2>&1): 3.11 or later is needed" >&2; exit 1; }
