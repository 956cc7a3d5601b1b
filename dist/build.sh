#!/usr/bin/env bash
# The release: binary, manual page, completions and, where cargo-deb is installed, the Debian package.
# Reproducible: nothing of the machine, its paths or its clock goes in, only the compiler and the C compiler do. Two builds of
# one commit, at two paths with two target directories, gave the same binary and the same package.
# Use: dist/build.sh [a target directory]
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
export CARGO_TARGET_DIR=${1:-$here/target}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
# What is stamped with a time is stamped with the commit's; a source tree without git says its own.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# No path of this machine ends up in the binary: Rust's by the first, those of the C parts of aws-lc by the second.
remap="--remap-path-prefix=$here=/razao --remap-path-prefix=$cargo_home=/cargo"
map="-ffile-prefix-map=$here=/razao -ffile-prefix-map=$CARGO_TARGET_DIR=/target -ffile-prefix-map=$cargo_home=/cargo"
RUSTFLAGS="$remap --remap-path-prefix=$CARGO_TARGET_DIR=/target" CFLAGS="$map" \
  cargo build --release --locked --bin razao
# The package takes all this from target/package, where its table in Cargo.toml looks for it.
cargo run --locked --example packaging -- target/package
if command -v cargo-deb >/dev/null; then
  cargo deb --locked --no-build
else
  echo "SKIPPED: no Debian package without cargo-deb (cargo install cargo-deb --locked)" >&2
fi
sha256sum "$CARGO_TARGET_DIR/release/razao"
