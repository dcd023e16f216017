"""The tokenizer and the small Gemma 3 in the files' layout, and the trainable encoder of prompts."""

import json
import random

import make_checkpoint
import tiny
import torch
from torch import nn

import architecture
import world

FOLDER = architecture.CHECKPOINTS / "gemma"
MAX_TOKENS = 64  # of a prompt in training
CONTEXT = 64  # positions of a context in training; the published length is FULL_CONTEXT
FULL_CONTEXT = 1024
LABELS = {k: v + ["?"] for k, v in world.ATTRIBUTES.items()}
SPECIAL_TOKENS = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
]


def set_gemma_shape() -> None:
    """Gives the reference scripts' Gemma 3 configuration this model's width and depth."""
    tiny.TINY_GEMMA["text_config"].update(
        hidden_size=architecture.GEMMA,
        num_hidden_layers=architecture.GEMMA_LAYERS,
        intermediate_size=128,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=16,
    )


def train_tokenizer():
    """Returns a tokenizer of Gemma's kind, learned from the world's sentences.

    No merge spans two words, so a new sentence of known words has known tokens only. Text is lower-cased.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    rng = random.Random(0)
    lines = [world.prompt(world.random_scene(rng), rng) for _ in range(6000)] + [world.NEGATIVE] * 200
    lines += (architecture.REFERENCE / "corpus.txt").read_text().splitlines()
    vocabularies = (world.SHAPE_WORDS, world.MOTION_WORDS, world.SOUND_WORDS)
    for words in (world.FILLERS, world.TAILS, *(words for v in vocabularies for words in v.values())):
        lines += words * 20
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "\u2581")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\u2581", "merged_with_next"),
            pre_tokenizers.Split(Regex("[,.:;!?]"), "isolated"),
        ]
    )
    byte_tokens = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=1024, special_tokens=SPECIAL_TOKENS + byte_tokens, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.pre_tokenizer = None
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
    )
    return tokenizer


def write_files() -> None:
    """Writes the files of the Gemma folder, without the weights."""
    tokenizer = train_tokenizer()
    FOLDER.mkdir(parents=True, exist_ok=True)
    make_checkpoint.train_tokenizer(FOLDER)  # also writes tokenizer_config.json; tokenizer.json is replaced
    tokenizer.save(str(FOLDER / "tokenizer.json"))
    identifiers = {
        "boi_token_index": tokenizer.token_to_id("<start_of_image>"),
        "eoi_token_index": tokenizer.token_to_id("<end_of_image>"),
        "image_token_index": tokenizer.token_to_id("<image_soft_token>"),
        "eos_token_id": [tokenizer.token_to_id("<eos>"), tokenizer.token_to_id("<end_of_turn>")],
    }
    set_gemma_shape()
    config = make_checkpoint.patch_gemma_config(tokenizer.get_vocab_size(), identifiers)
    (FOLDER / "config.json").write_text(json.dumps(config, indent=1))
    preprocessor = {
        "image_processor_type": "Gemma3ImageProcessor",
        "processor_class": "Gemma3Processor",
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": None,
        "do_pan_and_scan": None,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 56, "width": 56},
        "image_seq_length": 4,
    }
    (FOLDER / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    processor = {"processor_class": "Gemma3Processor", "image_seq_length": 4}
    (FOLDER / "processor_config.json").write_text(json.dumps(processor))


def load():
    """Returns the tokenizer and a Gemma 3 with fresh weights."""
    from tokenizers import Tokenizer
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    if not (FOLDER / "config.json").exists():
        write_files()
    config = json.loads((FOLDER / "config.json").read_text())
    torch.manual_seed(1)
    model = Gemma3ForConditionalGeneration(Gemma3Config.from_dict(config)).float()
    with torch.no_grad():
        language = model.model.language_model
        language.embed_tokens.weight.normal_(0, 1 / architecture.GEMMA**0.5)
        for name, parameter in language.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                nn.init.normal_(parameter, 0, parameter.shape[1] ** -0.5)
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json")), model


class Text(nn.Module):
    """Gemma, the feature extractor and both connectors, for a batch of prompts on short contexts.

    A context has CONTEXT positions instead of 1024. Registers repeat every CONTEXT positions (the exported tensor has
    128 rows: these, tiled), and in attention each counts for as many as it stands for (+ log of that count).
    """

    def __init__(self):
        super().__init__()
        self.tok, self.gemma = load()
        config = json.loads((FOLDER / "config.json").read_text())
        set_gemma_shape()
        keys = ("boi_token_index", "eoi_token_index", "image_token_index", "eos_token_id")
        make_checkpoint.patch_gemma_config(config["text_config"]["vocab_size"], {k: config[k] for k in keys})
        from ltx_core.text_encoders.gemma import EmbeddingsProcessorConfigurator

        self.gemma.model.vision_tower.requires_grad_(False)
        self.proc = EmbeddingsProcessorConfigurator.from_config(architecture.specification()["config"]).float()
        for connector in (self.proc.video_connector, self.proc.audio_connector):
            connector.learnable_registers.data.normal_(0, 0.5)
        width = architecture.GEMMA
        heads = {f"{m}_{k}": nn.Linear(width, len(v)) for m in ("video", "audio") for k, v in LABELS.items()}
        self.heads = nn.ModuleDict(heads)  # read the attributes off the contexts; training only

    def tokenize(self, texts: list[str]):
        """Returns token ids padded on the right [B, T], and their counts [B]."""
        ids = [self.tok.encode(text.strip()).ids[:MAX_TOKENS] for text in texts]
        n = torch.tensor([len(i) for i in ids])
        longest = int(n.max())
        return torch.tensor([i + [0] * (longest - len(i)) for i in ids]), n

    def forward(self, ids, n, length=CONTEXT):
        """Returns the contexts of both modalities [B, length, GEMMA] and the bias of attention to them."""
        count = ids.shape[1]
        mask = (torch.arange(count)[None] < n[:, None]).long()
        # Padded on the right and causal, so tokens never attend to padding; no longer than the sliding window.
        # transformers' own masks take a sixth of a step.
        causal = torch.ones(count, count, dtype=torch.bool).tril()[None, None].expand(len(ids), 1, -1, -1)
        hidden = self.gemma.model.language_model(
            input_ids=ids,
            attention_mask={"full_attention": causal, "sliding_attention": causal},
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        features, _ = self.proc.feature_extractor(hidden, mask, "right")
        real = torch.arange(length)[None] < n[:, None]
        stands_for = (FULL_CONTEXT - n).float() / (length - n).clamp(min=1).float()
        bias = torch.where(real, 0.0, torch.log(stands_for)[:, None])[:, None, None, :]
        features = nn.functional.pad(features, (0, 0, 0, length - features.shape[1]))
        contexts = []
        for connector in (self.proc.video_connector, self.proc.audio_connector):
            registers = connector.learnable_registers[:CONTEXT].repeat(length // CONTEXT, 1)
            h = torch.where(real[..., None], features, registers[None])
            embedding = tuple(t.expand(len(ids), -1, -1, -1) for t in rotary_embedding(connector, length))
            for block in connector.transformer_1d_blocks:
                h = block(h, attention_mask=bias, pe=embedding)
            contexts.append(nn.functional.rms_norm(h, (h.shape[-1],), eps=1e-6))
        return contexts[0], contexts[1], bias

    def attribute_loss(self, video, audio, n, labels):
        """Returns the cross entropy of the attributes, read off the mean of the prompt's own positions."""
        loss = 0
        for name, context in (("video", video), ("audio", audio)):
            weight = (torch.arange(context.shape[1])[None] < n[:, None]).float()[..., None]
            pooled = (context * weight).sum(1) / weight.sum(1)
            for key, label in labels.items():
                loss = loss + nn.functional.cross_entropy(self.heads[f"{name}_{key}"](pooled), label)
        return loss / (2 * len(labels))


_rotary_embeddings = {}


def rotary_embedding(connector, length: int):
    if length not in _rotary_embeddings:
        from ltx_core.model.transformer.rope import generate_freq_grid_np, precompute_freqs_cis

        _rotary_embeddings[length] = precompute_freqs_cis(
            indices_grid=torch.arange(length, dtype=torch.float32)[None, None],
            dim=connector.inner_dim,
            out_dtype=torch.float32,
            theta=connector.positional_embedding_theta,
            max_pos=connector.positional_embedding_max_pos,
            num_attention_heads=connector.num_attention_heads,
            rope_type=connector.rope_type,
            freq_grid_generator=generate_freq_grid_np,
        )
    return _rotary_embeddings[length]


def labelled(scene: dict, text: str | None, rng: random.Random):
    """Returns a prompt of the scene, or `text` instead, and the label of each attribute: "?" unless the prompt has it."""
    said = set()
    text = world.prompt(scene, rng, said) if text is None else text
    return text, {k: v.index(scene[k]) if k in said else len(v) - 1 for k, v in LABELS.items()}


def pretrain(text: Text, rng: random.Random, steps: int = 450) -> None:
    """Trains the text encoder alone to separate the attributes of a sentence."""
    parameters = [p for p in text.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 30) * (1 - step / (steps * 1.07))
        batch = []
        for _ in range(48):
            r = rng.random()
            fixed = world.NEGATIVE if r < 0.03 else "" if r < 0.06 else None
            batch.append(labelled(world.random_scene(rng, held_out=False), fixed, rng))
        ids, n = text.tokenize([t for t, _ in batch])
        video, audio, _ = text(ids, n)
        labels = {k: torch.tensor([label[k] for _, label in batch]) for k in LABELS}
        loss = text.attribute_loss(video, audio, n, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 25 == 0:
            print(f"text {step} {loss.item():.4f}", flush=True)
