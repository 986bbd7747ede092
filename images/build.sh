#!/bin/sh
# Build root file systems from the recipes beside this script:  build.sh NAME...
#
# A recipe is images/NAME/recipe.sh: `recipe.sh key` prints one line that changes when the result would, and
# `recipe.sh build DIR` fills an empty directory. The result becomes images/NAME/rootfs by rename, so a reader sees a
# whole tree or none; when the key has not changed nothing is done. Builders exclude each other by a lock.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/.cache
mkdir -p "$cache"

build() (
  name=$1
  recipe=$here/$name/recipe.sh
  [ -f "$recipe" ] || { echo "images: no recipe $recipe" >&2; exit 1; }
  exec 9>"$cache/$name.lock"
  flock 9
  key=$(sh "$recipe" key)
  [ -d "$here/$name/rootfs" ] && [ "$(cat "$cache/$name.key" 2>/dev/null)" = "$key" ] && exit 0
  echo "images: building $name" >&2
  rm -rf "$cache/$name.new" "$cache/$name.old"
  mkdir "$cache/$name.new"
  trap 'rm -rf "$cache/$name.new"' EXIT
  # sudo's and engines' file descriptors and environment stay outside of what a recipe runs
  sh "$recipe" build "$cache/$name.new" 9>&-
  rm -f "$cache/$name.key"
  [ ! -d "$here/$name/rootfs" ] || mv "$here/$name/rootfs" "$cache/$name.old"
  mv -T "$cache/$name.new" "$here/$name/rootfs"
  printf '%s\n' "$key" >"$cache/$name.key"
  rm -rf "$cache/$name.old"
)

[ $# -gt 0 ] || { echo "usage: $0 NAME..." >&2; exit 2; }
for image; do build "$image"; done
