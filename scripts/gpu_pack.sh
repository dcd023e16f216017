#!/usr/bin/env bash
# Pack what scripts/gpu_run.sh needs on a machine with a GPU, PyTorch and nothing else, into target/gpu.
#
#     scripts/gpu_pack.sh              # with CUDA: CUDA_HOME, and CUDA_COMPUTE_CAP of the GPU, such as 90
#     scripts/gpu_pack.sh --rehearse   # without CUDA, to try the calls on a CPU
#
# The official packages are taken from ~/.ref, see scripts/reference/requirements.txt; REF names another environment.
set -euo pipefail
cd "$(dirname "$0")/.."

root="$PWD"
ref="${REF:-$HOME/.ref}"
out="$root/target/gpu"
build="${CARGO_TARGET_DIR:-$root/target}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
features=(--features cuda)
test_features=(--features ltx2-pipeline/cuda)
# This machine may have no GPU driver, without which the program does not start.
program=(scripts/emulate_cuda.sh "$build/release/ltx2")
if [ "${1:-}" = --rehearse ]; then
  features=()
  test_features=()
  program=("$build/release/ltx2")
fi
rm -rf "$out"
mkdir -p "$out/wheels/official" "$work/bin/tests" "$work/traces"

cargo build --locked --release -p ltx2 --no-default-features "${features[@]}"
strip -o "$work/bin/ltx2" "$build/release/ltx2"
# One JSON object per line; test executables have `test` in their profile. The host emulation test needs a compiler and no GPU.
cargo test --locked --release --no-run --message-format=json -p ltx2-kernels -p ltx2-models -p ltx2-pipeline "${test_features[@]}" |
  sed -n 's/.*"name":"\([^"]*\)".*"test":true.*"executable":"\([^"]*\)".*/\1 \2/p' | sort -u |
  while read -r name executable; do
    [ "$name" = emulated ] || strip -o "$work/bin/tests/$name" "$executable"
  done
# Tests locate fixtures by the path at which they were built.
echo "$root" >"$work/bin/root"

# The official code's runs of the demo models: requests and noise.
for base in ltx-2-19b ltx-2.3-22b; do
  "${program[@]}" demo-model --synthetic "$work/$base" --base "$base" >/dev/null
  for dtype in f32 bf16; do
    PYTHONDONTWRITEBYTECODE=1 TQDM_DISABLE=1 "$ref/bin/python" scripts/reference/run_reference.py "$work/$base" \
      "$work/traces/$base.$dtype.safetensors" --dtype "$dtype" >/dev/null
  done
done

# Test executables share most of their code: a large window stores it once.
tar -C "$work" -c bin traces | xz -T1 --lzma2=preset=6,dict=256MiB >"$out/bin.tar.xz"
# The official packages are built from their repository; transformers comes with what it needs, except for the packages that PyTorch
# needs too.
grep '^ltx-' scripts/reference/requirements.txt >"$work/official.txt"
"$ref/bin/pip" wheel -q --no-deps -w "$out/wheels/official" -r "$work/official.txt" diffusers==0.38.0
"$ref/bin/pip" download -q --only-binary=:all: --python-version 3.12 --implementation cp --platform manylinux_2_17_x86_64 \
  --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 -d "$out/wheels" transformers==5.14.1 einops
rm -f "$out"/wheels/numpy-*
git describe --always --dirty >"$out/commit"
ls -l "$out" "$out/wheels" "$out/wheels/official"
total=$(($(du -sb "$out" | cut -f 1) + $(git ls-files -z | du -cb --files0-from=- | tail -1 | cut -f 1)))
echo "$((total >> 20)) MiB with the tracked files"
