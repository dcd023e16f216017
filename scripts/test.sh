#!/usr/bin/env bash
# Install the prerequisites and run all tests, including those of tools/. Arguments are passed to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
cargo test --workspace --locked "$@" | tee "$log"
awk '/^test result:/ { passed += $4; failed += $6; skipped += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }' "$log"
