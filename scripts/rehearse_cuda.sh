#!/usr/bin/env bash
# Run the GPU tests against the official code on a machine without a GPU, on tools/cuda-emulator. Requires nvcc and the toolkit's
# libraries. Takes about half an hour on two cores, most of it for the pipeline runs.
#
#     CUDA_HOME=/usr/local/cuda CUDA_COMPUTE_CAP=90 scripts/rehearse_cuda.sh [ARGS of cargo test, such as --test modules]
set -euo pipefail
cd "$(dirname "$0")/.."
: "${CUDA_HOME:?set CUDA_HOME to the folder of the CUDA toolkit}"

# Linking needs a libcuda; the toolkit's stub is sufficient.
export LIBRARY_PATH="$CUDA_HOME/lib64/stubs:$CUDA_HOME/lib64${LIBRARY_PATH:+:$LIBRARY_PATH}"
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}"
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/scripts/emulate_cuda.sh"
cargo test --release -p ltx2-kernels -p ltx2-models -p ltx2-pipeline --features ltx2-pipeline/cuda "$@"
