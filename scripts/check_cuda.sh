#!/usr/bin/env bash
# Type-check and lint the `cuda` feature on a machine with neither nvcc nor a GPU. candle's kernels, which nvcc compiles for
# minutes, are replaced by empty ones in a second workspace: same sources, same versions, another build script.
set -euo pipefail
cd "$(dirname "$0")/.."

root="$PWD"
target="${CARGO_TARGET_DIR:-$root/target}/check-cuda"
workspace="$target/workspace"
kernels="$target/candle-kernels"

host="$(rustc -vV | sed -n 's/^host: //p')"
manifest="$(cargo metadata --locked --features ltx2/cuda --filter-platform "$host" --format-version 1 |
  grep -o '"manifest_path":"[^"]*/candle-kernels-[^"]*/Cargo.toml"')"
source="$(dirname "$(cut -d '"' -f 4 <<<"$manifest")")"
rm -rf "$workspace" "$kernels"
mkdir -p "$workspace" "$kernels"

cp -r "$source/src" "$kernels/"
# Without the dependencies of the original build script.
sed '/^\[build-dependencies/,$d' "$source/Cargo.toml" >"$kernels/Cargo.toml"
modules="$(sed -n 's/^mdl!(\([A-Z_]*\),.*/\1/p' "$source/src/lib.rs")"
[ -n "$modules" ] || { echo "check_cuda: no modules found in candle-kernels/src/lib.rs" >&2; exit 1; }
{
  echo 'fn main() {'
  echo '    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());'
  echo "    let text = \"$(for module in $modules; do printf 'pub const %s: &str = \\"\\"; ' "$module"; done)\";"
  echo '    std::fs::write(out.join("ptx.rs"), text).unwrap();'
  echo '}'
} >"$kernels/build.rs"

for name in crates models scripts tools; do
  ln -s "$root/$name" "$workspace/$name"
done
cp Cargo.lock "$workspace/"
# Nothing is executed, so nothing is optimised.
sed '/^\[profile/,$d' Cargo.toml >"$workspace/Cargo.toml"
printf '\n[patch.crates-io]\ncandle-kernels = { path = "%s" }\n' "$kernels" >>"$workspace/Cargo.toml"

# cudarc asks nvcc for the toolkit's version unless it is given; our own kernels are left empty.
CUDARC_CUDA_VERSION=13000 LTX2_KERNELS_WITHOUT_NVCC=1 cargo clippy --manifest-path "$workspace/Cargo.toml" --target-dir "$target/build" \
  -p ltx2 -p ltx2-devtools -p ltx2-pipeline -p ltx2-models -p ltx2-kernels --no-default-features --features ltx2/cuda --all-targets \
  -- -D warnings
