#!/usr/bin/env bash
# Set up and run the whole test suite. Further arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cargo test --workspace --locked "$@"
