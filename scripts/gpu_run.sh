#!/usr/bin/env bash
# One call of a GPU session, each under ten minutes, with the package of scripts/gpu_pack.sh. All output is logged to $OUT.
#
#     OUT=DIR scripts/gpu_run.sh tests    # kernels, modules and pipeline runs against the official code; f32 and bf16 traces
#     OUT=DIR scripts/gpu_run.sh speed    # comparison with the official code at 768x512, 121 frames
#     OUT=DIR scripts/gpu_run.sh large    # the same at 1920x1088, and memory
#     OUT=DIR scripts/gpu_run.sh tests --rehearse     # any of them on a CPU, with the demo model
#
# A step that fails or times out is reported, and the next one runs. PYTHON is a Python with PyTorch, by default python3.
set -uo pipefail
cd "$(dirname "$0")/.."

call="${1:?tests, speed or large}"
rehearse="${2:-}"
out="${OUT:?set OUT to the folder for results}"
python="${PYTHON:-python3}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
device=cuda
[ "$rehearse" = --rehearse ] && device=cpu
# Deadline of the call in seconds.
end=$((SECONDS + 570))
mkdir -p "$out"
exec > >(tee "$out/$call.log") 2>&1
export PYTHONDONTWRITEBYTECODE=1 TQDM_DISABLE=1 PYTHONUNBUFFERED=1

# step SECONDS NAME COMMAND...: runs a command with a time limit, within the call's deadline.
step() {
  local limit="$1" name="$2" start="$SECONDS" left=$((end - SECONDS)) code
  shift 2
  if [ "$left" -lt 5 ]; then
    echo "=== $name: skipped, the call's time is used up"
    return 1
  fi
  echo "=== $name"
  timeout -k 5 "$((limit < left ? limit : left))" "$@"
  code=$?
  echo "=== $name: exit code $code after $((SECONDS - start)) s"
  return "$code"
}

unpack() {
  tar -xJf target/gpu/bin.tar.xz -C "$work" || return 1
  mv "$work/bin/ltx2" "$work/bin/ltx2.bin"
  # The CUDA libraries that PyTorch installed, for ltx2 only.
  libraries="$("$python" - <<'PY'
import glob, importlib.util, os
spec = importlib.util.find_spec("nvidia")
roots = list(spec.submodule_search_locations) if spec else []
print(":".join(sorted({os.path.dirname(p) for root in roots for p in glob.glob(f"{root}/**/lib*.so*", recursive=True)})))
PY
)"
  libraries="$libraries:/usr/local/cuda/lib64"
  printf '#!/bin/sh\nLD_LIBRARY_PATH="%s:$LD_LIBRARY_PATH" exec "%s" "$@"\n' "$libraries" "$work/bin/ltx2.bin" >"$work/bin/ltx2"
  chmod +x "$work/bin/ltx2"
  LD_LIBRARY_PATH="$libraries" ldd "$work/bin/ltx2.bin" | grep -E "not found|libcu|libnv"
  local built
  built="$(cat "$work/bin/root")"
  [ -e "$built" ] || { mkdir -p "$(dirname "$built")" && ln -s "$PWD" "$built"; }
}

# Installs the official packages with transformers 5.14, or with the installed transformers if that fails.
install() {
  local pip=("$python" -m pip install -q --no-index --no-deps --no-compile --target) wheels=target/gpu/wheels
  "${pip[@]}" "$work/site" $wheels/official/*.whl || return 1
  "${pip[@]}" "$work/hub" $wheels/*.whl || return 1
  export PYTHONPATH="$work/hub:$work/site"
  step 90 "ltx-core with transformers 5.14" "$python" -c "import ltx_core.text_encoders.gemma" || export PYTHONPATH="$work/site"
}

trace() {
  step 120 "trace $1 $2 $3" "$work/bin/ltx2" trace --models "$work/$1" --device "$2" --dtype "$3" --like "$4" --out "$5" \
    "${@:6}"
}

# compare LIMIT NAME REFERENCE OURS
compare() {
  step 60 "$2, limit $1" "$python" scripts/reference/compare.py "$3" "$4" --limit "$1"
}

tests() {
  local executable base traces="$work/traces"
  for executable in "$work"/bin/tests/*; do
    LD_LIBRARY_PATH="$libraries" step 120 "tests: $(basename "$executable")" "$executable" --test-threads=4
  done
  for base in ltx-2-19b ltx-2.3-22b; do
    "$work/bin/ltx2" demo-model --synthetic "$work/$base" --base "$base" >/dev/null
    trace "$base" "$device" f32 "$traces/$base.f32.safetensors" "$work/f32"
    compare 1e-3 "$base: $device f32 against the official f32" "$traces/$base.f32.safetensors" "$work/f32"
    # The official bfloat16 run's noise in both dtypes: the error of bfloat16 against float32, for the official code and for ltx2.
    trace "$base" "$device" bf16 "$traces/$base.bf16.safetensors" "$work/bf16"
    trace "$base" "$device" f32 "$traces/$base.bf16.safetensors" "$work/f32"
    compare 0.25 "$base: $device bf16 against the official bf16" "$traces/$base.bf16.safetensors" "$work/bf16"
    compare 1 "$base: official bf16 against $device f32" "$traces/$base.bf16.safetensors" "$work/f32"
    compare 1 "$base: $device bf16 against $device f32" "$work/f32" "$work/bf16"
  done
  # Heads of 128 and 64 as in the published models, which the attention kernel requires, compared with the CPU.
  step 120 "small model with wide heads" "$python" scripts/reference/make_checkpoint.py "$work/wide" --heads 2 --head-dim 128 --seed 1
  trace wide cpu f32 "$traces/ltx-2-19b.f32.safetensors" "$work/cpu"
  trace wide "$device" f32 "$traces/ltx-2-19b.f32.safetensors" "$work/f32"
  trace wide "$device" bf16 "$traces/ltx-2-19b.f32.safetensors" "$work/bf16"
  compare 1e-3 "wide: $device f32 against the CPU" "$work/cpu" "$work/f32"
  compare 1 "wide: $device bf16 against the CPU" "$work/cpu" "$work/bf16"
  trace wide "$device" bf16 "$traces/ltx-2-19b.f32.safetensors" "$work/mma" --attention-kernel mma
  compare 1 "wide: $device bf16 with mma.sync attention against the CPU" "$work/cpu" "$work/mma"
  grep -E "^=== |^test result|worst" "$out/$call.log" | tail -60
}

# bench NAME ARGUMENTS...
bench() {
  local name="$1"
  shift
  [ "$device" = cpu ] && set -- "$@" --small --width 256 --height 256 --frames 33
  step 570 "$name" "$python" benches/compare_official.py --ltx2 "$work/bin/ltx2" --results "$out" --name "$name" \
    --commit "$(cat target/gpu/commit)" --budget "$((end - SECONDS - 30))" "$@"
}

# A pass with the mma.sync attention of other GPUs, for comparison with Hopper's wgmma attention.
attention() {
  local model=(--base ltx-2-19b)
  [ "$device" = cpu ] && model=(--models "$work/ltx-2-19b" --width 256 --height 256 --frames 33) &&
    "$work/bin/ltx2" demo-model --synthetic "$work/ltx-2-19b" >/dev/null
  step 60 "forward pass with mma.sync attention" "$work/bin/ltx2" bench "${model[@]}" --device "$device" --phase forward \
    --attention-kernel mma --json "$out/forward-mma.json"
}

command -v nvidia-smi >/dev/null && nvidia-smi
unpack || { echo "cannot unpack target/gpu: expected the package of scripts/gpu_pack.sh"; exit 1; }
install
case "$call" in
  tests) tests ;;
  speed) attention; bench 768x512 --compile --diffusers ;;
  large) bench 1920x1088 --width 1920 --height 1088 --runs 3 --phase guided-step --phase forward --phase distilled-stage-1 \
    --phase distilled-stage-2 --phase decode-video-tiled --phase decode-video --diffusers ;;
  *) echo "unknown call $call: expected tests, speed or large" && exit 1 ;;
esac
