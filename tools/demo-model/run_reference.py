"""Runs scripts/reference/run_reference.py with this model's Gemma 3:   python run_reference.py MODELS OUT.safetensors ..."""

import importlib.util

import torch

import architecture
import text_encoder

text_encoder.set_gemma_shape()
specification = importlib.util.spec_from_file_location("reference", architecture.REFERENCE / "run_reference.py")
reference = importlib.util.module_from_spec(specification)
specification.loader.exec_module(reference)

with torch.inference_mode():
    reference.main()
