#!/usr/bin/env bash
# Run a program built with --features cuda on a machine without a GPU: tools/cuda-emulator replaces the driver, cuBLAS and
# cuRAND. The toolkit's other libraries are the real ones, from CUDA_HOME/lib64.
#
#     scripts/emulate_cuda.sh PROGRAM ARGS...
#
# LTX2_EMULATED_MODE=count executes no kernels; it checks and counts calls, for sizes that are too large for a CPU.
# LTX2_EMULATED_REPORT=FILE writes the counts to FILE. For other settings see tools/cuda-emulator/README.md.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
: "${CUDA_HOME:?set CUDA_HOME to the folder of the CUDA toolkit}"

(cd "$root" && cargo build --quiet --release -p ltx2-cuda-emulator)
built="$(cd "$root" && cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release"
links="$built/emulated-cuda"
mkdir -p "$links"
ln -sfn ../libltx2_cuda_emulator.so "$links/libcuda.so.1"
# The other libraries are empty and define only the versions that programs require: the loader finds the functions in the first.
for name in libcublas.so.13 libcublas.so.12 libcurand.so.10; do
  [ -e "$links/$name" ] && continue
  printf '%s { };\n' "$name" >"$links/versions"
  cc -shared -nostdlib -x c /dev/null -Wl,-soname,"$name" -Wl,--version-script="$links/versions" -o "$links/$name"
done
export LD_LIBRARY_PATH="$links:$CUDA_HOME/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$@"
