"""Small random causal language models as folders of the Hugging Face hub, written by hand, name by name.

Layouts of openai-community/gpt2, google/gemma-3-270m, Qwen/Qwen3-0.6B and meta-llama/Llama-3.2-1B: what their
config.json says, how their tensors are called, which special tokens their tokenizers have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor

FAMILIES = ("gpt2", "gemma3_text", "qwen3", "llama")
WIDTH, LAYERS, HEADS, KV_HEADS, HEAD, INNER, POSITIONS = 32, 2, 4, 2, 12, 48, 64
#: Rows of the word embedding; that of Qwen is larger than its tokenizer, that of Gemma smaller.
ROWS = {"gpt2": 257, "gemma3_text": 288, "qwen3": 300, "llama": 258}
#: End, padding and what stands before a text, as ids.
SPECIAL = {"gpt2": (256, 256, ()), "gemma3_text": (1, 0, (2,)), "qwen3": (258, 256, ()), "llama": (257, 257, (256,))}
Form = Literal["safetensors", "sharded", "bin"]


def write_folder(
    folder: Path,
    family: str,
    form: Form = "safetensors",
    *,
    tied: bool = True,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Path:
    """Write config, tokenizer and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _CONFIGS[family] | ({} if family == "gpt2" else {"tie_word_embeddings": tied})
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": str(dtype).removeprefix("torch.")}))
    _write_tokenizer(folder, family)
    tensors = {name: tensor.to(dtype) for name, tensor in tensors_of(family, tied=tied, seed=seed).items()}
    write_tensors(folder, tensors, form)
    return folder


def write_tensors(folder: Path, tensors: dict[str, Tensor], form: Form = "safetensors") -> None:
    """Write weights in one of the forms that the hub has."""
    if form == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    if form == "safetensors":
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    places = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for place in set(places.values()):
        part = {name: tensors[name] for name in names if places[name] == place}
        save_file(part, folder / place, metadata={"format": "pt"})
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def tensors_of(family: str, *, tied: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors under the names of a release."""
    draw = torch.Generator().manual_seed(seed)
    shapes = _gpt2_shapes() if family == "gpt2" else _llama_like_shapes(family)
    if not tied:
        shapes["lm_head.weight"] = (ROWS[family], WIDTH)
    tensors = {}
    for name, shape in shapes.items():
        centre = 1.0 if _is_scale(name) and family != "gemma3_text" else 0.0  # Gemma stores scales minus one
        tensors[name] = centre + 0.2 * torch.randn(shape, generator=draw)
    if family == "gpt2":  # the release stores its causal masks
        for layer in range(LAYERS):
            tensors[f"h.{layer}.attn.bias"] = torch.ones(POSITIONS, POSITIONS).tril()[None, None]
    return tensors


def _is_scale(name: str) -> bool:
    return name.endswith(("norm.weight", "layernorm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))


def _gpt2_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (ROWS["gpt2"], WIDTH), "wpe.weight": (POSITIONS, WIDTH)}
    for layer in range(LAYERS):
        for part, wide, narrow in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH),
            ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ):
            shapes[f"h.{layer}.{part}.weight"], shapes[f"h.{layer}.{part}.bias"] = (wide, narrow), (narrow,)
        for part in ("ln_1", "ln_2"):
            shapes[f"h.{layer}.{part}.weight"] = shapes[f"h.{layer}.{part}.bias"] = (WIDTH,)
    shapes["ln_f.weight"] = shapes["ln_f.bias"] = (WIDTH,)
    return shapes


def _llama_like_shapes(family: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (ROWS[family], WIDTH)}
    norms = ["input_layernorm", "post_attention_layernorm"]
    if family == "gemma3_text":
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    for layer in range(LAYERS):
        place = f"model.layers.{layer}"
        shapes[f"{place}.self_attn.q_proj.weight"] = (HEADS * HEAD, WIDTH)
        shapes[f"{place}.self_attn.k_proj.weight"] = (KV_HEADS * HEAD, WIDTH)
        shapes[f"{place}.self_attn.v_proj.weight"] = (KV_HEADS * HEAD, WIDTH)
        shapes[f"{place}.self_attn.o_proj.weight"] = (WIDTH, HEADS * HEAD)
        if family in ("gemma3_text", "qwen3"):
            shapes[f"{place}.self_attn.q_norm.weight"] = shapes[f"{place}.self_attn.k_norm.weight"] = (HEAD,)
        shapes[f"{place}.mlp.gate_proj.weight"] = shapes[f"{place}.mlp.up_proj.weight"] = (INNER, WIDTH)
        shapes[f"{place}.mlp.down_proj.weight"] = (WIDTH, INNER)
        shapes |= {f"{place}.{norm}.weight": (WIDTH,) for norm in norms}
    shapes["model.norm.weight"] = (WIDTH,)
    return shapes


_SIZES: dict[str, Any] = {
    "attention_dropout": 0.0,
    "head_dim": HEAD,
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "max_position_embeddings": POSITIONS,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS,
    "use_cache": True,
}
_CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": 256,
        "embd_pdrop": 0.1,
        "eos_token_id": 256,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": POSITIONS,
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_layer": LAYERS,
        "n_positions": POSITIONS,
        "resid_pdrop": 0.1,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": ROWS["gpt2"],
    },
    "gemma3_text": _SIZES
    | {
        "_sliding_window_pattern": 6,
        "architectures": ["Gemma3ForCausalLM"],
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "final_logit_softcapping": None,
        "hidden_activation": "gelu_pytorch_tanh",
        "layer_types": ["sliding_attention", "full_attention"],
        "model_type": "gemma3_text",
        "pad_token_id": 0,
        "query_pre_attn_scalar": 16,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 8,  # shorter than captions here
        "transformers_version": "4.55.0.dev0",
        "use_bidirectional_attention": False,
        "vocab_size": ROWS["gemma3_text"],
    },
    "qwen3": _SIZES
    | {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 256,
        "eos_token_id": 258,
        "hidden_act": "silu",
        "max_window_layers": LAYERS,
        "model_type": "qwen3",
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "transformers_version": "4.51.0",
        "use_sliding_window": False,
        "vocab_size": ROWS["qwen3"],
    },
    "llama": _SIZES
    | {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "hidden_act": "silu",
        "mlp_bias": False,
        "model_type": "llama",
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 16,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "transformers_version": "4.45.0.dev0",
        "vocab_size": ROWS["llama"],
    },
}


def _write_tokenizer(folder: Path, family: str) -> None:
    maker = _gemma_tokenizer if family == "gemma3_text" else _byte_tokenizer
    tokenizer, said = maker(family)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(said))


def _byte_tokenizer(family: str) -> tuple[Tokenizer, dict[str, Any]]:
    """Byte pairs without merges: 256 bytes, then special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if family == "gpt2":  # its config.json alone says the end
        _add(tokenizer, "<|endoftext|>")
        return tokenizer, {"model_max_length": POSITIONS}
    if family == "qwen3":
        _add(tokenizer, "<|endoftext|>", "<|im_start|>", "<|im_end|>")
        said: dict[str, Any] = {"add_bos_token": False, "bos_token": None}
        return tokenizer, said | {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    _add(tokenizer, "<|begin_of_text|>", "<|end_of_text|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 256)]
    )
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}


def _gemma_tokenizer(family: str) -> tuple[Tokenizer, dict[str, Any]]:
    """Letters with bytes to fall back on, and one token that only the larger models of the family have a row for."""
    special = ("<pad>", "<eos>", "<bos>", "<unk>")
    units = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnoprstuvwxyz."]
    units = [*units, *(f"<unused{number}>" for number in range(ROWS[family] - len(units)))]
    vocabulary = {unit: index for index, unit in enumerate(units)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    _add(tokenizer, *special, "<image_soft_token>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return tokenizer, {"add_bos_token": True, "add_eos_token": False, **tokens}


def _add(tokenizer: Tokenizer, *tokens: str) -> None:
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
