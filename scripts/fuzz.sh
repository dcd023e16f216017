#!/usr/bin/env bash
# Feeds every parser of outside data with random bytes, beginning with fuzz/seeds: scripts/fuzz.sh [SECONDS] [TARGET...]
# Needs nightly Rust (rustup toolchain install nightly) and cargo-fuzz (cargo install cargo-fuzz).
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift $(($# > 0 ? 1 : 0))
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
fi

# With checks of overflows, which a release leaves out.
build=(--release --debug-assertions)
cargo +nightly fuzz build "${build[@]}"
# The targets write files at each turn, in memory where there is such a place, and end without removing them.
TMPDIR=$(mktemp -d -p /dev/shm || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    mkdir -p "fuzz/corpus/$target"
    # An input that takes 10 s or, in one piece, more memory than a megapixel needs is a finding too.
    cargo +nightly fuzz run "${build[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -malloc_limit_mb=128 -max_len=65536 -print_final_stats=1 2>&1 |
        grep -E 'ERROR|SUMMARY|panicked|Test unit|DONE|stat::number_of_executed|stat::peak_rss' ||
        { echo "$target failed"; exit 1; }
done
