#!/usr/bin/env bash
# Fuzz every parser of untrusted data, starting from fuzz/seeds: scripts/fuzz.sh [SECONDS] [TARGET...]
# Needs nightly Rust (rustup toolchain install nightly) and cargo-fuzz (cargo install cargo-fuzz).
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift $(($# > 0 ? 1 : 0))
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
fi

# With overflow checks, which a release build omits.
build=(--release --debug-assertions)
cargo +nightly fuzz build "${build[@]}"
# The targets write files at every iteration, in memory if possible, and do not remove them when killed.
TMPDIR=$(mktemp -d -p /dev/shm || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    mkdir -p "fuzz/corpus/$target"
    # Also report inputs that take 10 s, or that allocate more at once than a megapixel needs.
    cargo +nightly fuzz run "${build[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -malloc_limit_mb=128 -max_len=65536 -print_final_stats=1 2>&1 |
        grep -E 'ERROR|SUMMARY|panicked|Test unit|DONE|stat::number_of_executed|stat::peak_rss' ||
        { echo "$target failed"; exit 1; }
done
