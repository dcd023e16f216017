#!/usr/bin/env bash
# Run a program built with --features cuda on a machine without a GPU: tools/cuda-emulator stands in for the driver,
# cuBLAS and cuRAND. The toolkit's other libraries are the real ones, from CUDA_HOME/lib64.
#
#     scripts/emulate_cuda.sh PROGRAM ARGS...
#
# LTX2_EMULATED_MODE=count runs no kernels, and only checks and counts what is asked for: for sizes that are too large for a
# CPU. LTX2_EMULATED_REPORT=FILE has the counts written there, to the end. Other settings: src/settings.rs of the crate.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
: "${CUDA_HOME:?the folder of the CUDA toolkit}"

(cd "$root" && cargo build --quiet --release -p ltx2-cuda-emulator)
built="$(cd "$root" && cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release"
links="$built/emulated-cuda"
mkdir -p "$links"
ln -sfn ../libltx2_cuda_emulator.so "$links/libcuda.so.1"
# The others are empty, and only have the versions that programs ask them for: the loader finds their functions in the first.
for name in libcublas.so.13 libcublas.so.12 libcurand.so.10; do
  [ -e "$links/$name" ] && continue
  printf '%s { };\n' "$name" >"$links/versions"
  cc -shared -nostdlib -x c /dev/null -Wl,-soname,"$name" -Wl,--version-script="$links/versions" -o "$links/$name"
done
export LD_LIBRARY_PATH="$links:$CUDA_HOME/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$@"
