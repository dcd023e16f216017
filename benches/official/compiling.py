"""torch.compile for the official modules, applied to repeated blocks to keep compilation times short."""
import torch


def compile_modules(modules: dict) -> None:
    config = torch._dynamo.config
    # Blocks have an index attribute; without this setting each block would be compiled separately.
    config.allow_unspec_int_on_nn_module = True
    config.recompile_limit = 32
    for name, module in modules.items():
        if name == "transformer":
            for block in module.velocity_model.transformer_blocks:
                block.compile()
        elif name == "encoder":
            for layer in module.model.model.language_model.layers:
                layer.compile()
        elif name == "processor":
            for connector in (module.video_connector, module.audio_connector):
                for block in connector.transformer_1d_blocks:
                    block.compile()
        else:
            # The tiled methods call `forward` directly.
            module.forward = torch.compile(module.forward)
