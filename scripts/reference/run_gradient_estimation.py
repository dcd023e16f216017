"""run_reference.py's one-stage pipeline with the official gradient-estimating Euler loop instead of the plain one.

    python run_gradient_estimation.py MODELS OUT.safetensors [options of run_reference.py]

No official pipeline uses that loop, so it is patched in. The trace has `sampler: gradient-estimation` in its request. The last
step ends at the prediction and is not recorded: it equals `latent.*`.
"""
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import run_reference


def main() -> None:
    from ltx_pipelines import ti2vid_one_stage as module
    from ltx_pipelines.utils.samplers import gradient_estimating_euler_denoising_loop

    def euler_denoising_loop(**arguments):
        return gradient_estimating_euler_denoising_loop(**arguments)

    place = module
    if run_reference.NEW:
        from ltx_pipelines.utils import blocks as place
    place.euler_denoising_loop = euler_denoising_loop
    run_reference.main()

    out = Path(sys.argv[2])
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    metadata["request"] = json.dumps({**json.loads(metadata["request"]), "sampler": "gradient-estimation"})
    save_file(load_file(out), out, metadata=metadata)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
