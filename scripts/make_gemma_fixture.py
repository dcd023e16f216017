#!/usr/bin/env python3
"""Recreate crates/ltx2-models/tests/fixtures/gemma.safetensors: greedy generation with Gemma 3, by transformers in float32.

    ~/.ref/bin/python scripts/make_gemma_fixture.py [OUT.safetensors] [--seed N]

The model is the demo model's Gemma with synthetic weights; seed and configuration are in the metadata. `prompt` is longer than the
sliding window; `written` are the greedily generated tokens, and `logits` those from which each was chosen.
"""
import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "reference"))
import synth  # noqa: E402

OUT = HERE.parent / "crates" / "ltx2-models" / "tests" / "fixtures" / "gemma.safetensors"
TOKENS, STEPS = 75, 12


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    config = json.loads((HERE.parent / "models" / "demo" / "gemma" / "config.json").read_text())
    model = Gemma3ForCausalLM(Gemma3TextConfig(**config["text_config"])).float().eval()
    weights = {name: torch.from_numpy(synth.synth(f"language_model.{name}", tuple(value.shape), args.seed)).bfloat16().float()
               for name, value in model.state_dict().items() if name != "lm_head.weight"}
    model.load_state_dict({**weights, "lm_head.weight": weights["model.embed_tokens.weight"]})
    vocabulary = config["text_config"]["vocab_size"]
    prompt = torch.randint(9, vocabulary, (1, TOKENS), generator=torch.Generator().manual_seed(args.seed))
    with torch.inference_mode():
        answer = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=STEPS, do_sample=False,
                                eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True)
    tensors = {"prompt": prompt[0].contiguous(), "written": answer.sequences[0, TOKENS:].contiguous(),
               "logits": torch.cat(answer.logits).float().contiguous()}
    margins = tensors["logits"].topk(2).values
    print(f"written {tensors['written'].tolist()}, smallest margin {(margins[:, 0] - margins[:, 1]).min():.4f}")
    save_file(tensors, args.out, metadata={"config": json.dumps(config), "seed": str(args.seed)})


if __name__ == "__main__":
    main()
