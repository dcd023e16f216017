#!/usr/bin/env bash
# Install the prerequisites, start the server on the small demo model, generate a video over HTTP and print its path.
#   scripts/demo.sh [DIR]        (default DIR: demo)
set -euo pipefail
cd "$(dirname "$0")/.."

dir="${1:-demo}"
scripts/setup.sh
cargo build --release --locked --bin ltx2
ltx2="${CARGO_TARGET_DIR:-target}/release/ltx2"

mkdir -p "$dir"
"$ltx2" demo-model "$dir/models" >/dev/null

log="$dir/server.log"
"$ltx2" serve --port 0 --models "$dir/models" --data-dir "$dir/data" 2>"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT

base=
for _ in $(seq 100); do
  base="$(sed -n 's/.*listening on \(http[^ ]*\).*/\1/p' "$log")"
  [ -n "$base" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$base" ] || { echo "demo: the server did not start, see $log" >&2; exit 1; }

# The value of a string field of a flat JSON object.
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

task="$(curl -fsS "$base/v1/video/async_t2v" -H 'Content-Type: application/json' -d '{
  "prompt": "A red fox runs through fresh snow between dark pines, its paws crunching softly.",
  "width": 384, "height": 256, "num_frames": 25, "num_inference_steps": 8}' | field task_id)"
echo "task $task on $base"

while :; do
  answer="$(curl -fsS "$base/v1/video/tasks/$task")"
  case "$(printf '%s' "$answer" | field status)" in
    processing) sleep 0.5 ;;
    completed) break ;;
    *) echo "demo: $answer" >&2; exit 1 ;;
  esac
done

video="$dir/ltx2_$task.mp4"
curl -fsS -o "$video" "$(printf '%s' "$answer" | field url)"
ffprobe -v error -show_entries stream=codec_name,width,height,nb_frames,channels -of compact "$video"
echo "$video"
