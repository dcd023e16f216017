#!/usr/bin/env bash
# Install the build and test prerequisites on a bare Debian or Ubuntu machine with Rust: ffmpeg's libraries and clang.
set -euo pipefail

packages=(
  build-essential pkg-config clang libclang-dev curl ffmpeg
  libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libswresample-dev
)

command -v cargo >/dev/null || { echo "setup: cargo not found; install Rust first (https://rustup.rs)" >&2; exit 1; }

if dpkg -s "${packages[@]}" >/dev/null 2>&1; then
  exit 0
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  sudo=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -q
"${sudo[@]}" apt-get install -q -y --no-install-recommends "${packages[@]}"
