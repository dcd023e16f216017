#!/usr/bin/env python3
"""Write models/demo/NAME from a small model set: names and shapes of its tensors, and its metadata. The text encoder, with its
tokenizer files, is written to models/demo/gemma, which all sets share.

    python scripts/make_demo_manifest.py MODEL_SET models/demo/NAME

Values are not stored: `ltx2 demo-model --synthetic` recreates them from the synthetic rule. Needs: safetensors.
"""
import json
import shutil
import sys
from pathlib import Path

from safetensors import safe_open

source, target = Path(sys.argv[1]), Path(sys.argv[2])
for path in sorted(source.rglob("*")):
    inside = path.relative_to(source)
    out = (target.parent if inside.parts[0] == "gemma" else target) / inside
    out.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            lines = [f"{name} {'x'.join(map(str, file.get_slice(name).get_shape()))}" for name in sorted(file.keys())]
            metadata = file.metadata()
        out.with_suffix(".tensors").write_text("\n".join(lines) + "\n")
        out.with_suffix(".metadata.json").write_text(json.dumps(metadata, indent=1, sort_keys=True) + "\n")
    elif path.is_file():
        shutil.copyfile(path, out)
