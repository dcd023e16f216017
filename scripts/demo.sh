#!/usr/bin/env bash
# Install the prerequisites, start the server on the demo model, generate a video over HTTP and print the paths of the video
# and of its contact sheet.
#   scripts/demo.sh [--keep] [DIR]        (default DIR: demo; --keep leaves the server running and prints its address)
set -euo pipefail
cd "$(dirname "$0")/.."

keep=
[ "${1:-}" = --keep ] && { keep=1; shift; }
dir="${1:-demo}"
prompt="A red ball moves from left to right on a blue background, with a low hum."
scripts/setup.sh
cargo build --release --locked --bin ltx2
ltx2="${CARGO_TARGET_DIR:-target}/release/ltx2"

mkdir -p "$dir"
"$ltx2" demo-model "$dir/models" >/dev/null

log="$dir/server.log"
setsid "$ltx2" serve --port 0 --models "$dir/models" --data-dir "$dir/data" 2>"$log" >/dev/null </dev/null &
server=$!
stop() { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
trap stop EXIT

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

# Size, length and steps are the model set's defaults.
task="$(curl -fsS "$base/v1/video/async_t2v" -H 'Content-Type: application/json' -d "{\"prompt\": \"$prompt\"}" | field task_id)"
echo "$prompt"

while :; do
  answer="$(curl -fsS "$base/v1/video/tasks/$task")"
  case "$(printf '%s' "$answer" | field status)" in
    processing) sleep 0.2 ;;
    completed) break ;;
    *) echo "demo: $answer" >&2; exit 1 ;;
  esac
done

video="$dir/ltx2_$task.mp4" sheet="$dir/ltx2_$task.png"
curl -fsS -o "$video" "$(printf '%s' "$answer" | field url)"
# Six frames, the first and the last among them, side by side.
frames="$(ffprobe -v error -select_streams v -show_entries stream=nb_frames -of csv=p=0 "$video")"
ffmpeg -v error -y -i "$video" -frames:v 1 \
  -vf "select='gt(floor(n*5/($frames-1)),floor((n-1)*5/($frames-1)))',tile=6x1:padding=4:color=white" "$sheet"
echo "$video"
echo "$sheet"
if [ -n "$keep" ]; then
  trap - EXIT
  echo "server: $base (process $server, log $log)"
fi
