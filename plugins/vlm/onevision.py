"""LLaVA-OneVision-1.5, which transformers has no model of: RICE-ViT before a Qwen3, on the blocks that it has.

An et al., LLaVA-OneVision-1.5, arXiv 2509.23661, section 2; Xie et al., Region-based Cluster Discrimination for Visual
Representation Learning (RICE), arXiv 2507.20025. Names of tensors are those of the release, with ``visual`` and
``language_model`` under ``model`` as in later models of transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchMerger, Qwen2VLVisionBlock, VisionMlp
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

#: Base of the angles of rows and columns.
_THETA = 10_000.0


class RiceConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes of RICE-ViT, by the names of the release; those of its L/14."""

    model_type = "rice_vit"
    base_config_key = "vision_config"

    depth: int = 24
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_heads: int = 16
    in_channels: int = 3
    patch_size: int = 14
    spatial_merge_size: int = 2
    temporal_patch_size: int = 1
    text_hidden_size: int = 2560
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02


class OneVisionConfig(PreTrainedConfig):  # type: ignore[misc]
    """A Qwen3 that reads what RICE-ViT sees."""

    model_type = "llavaonevision1_5"
    sub_configs_defaults = {"text_config": Qwen3Config, "vision_config": RiceConfig}  # noqa: RUF012 (as transformers)

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    image_token_id: int = 151655
    video_token_id: int | None = 151656
    vision_start_token_id: int | None = 151652
    vision_end_token_id: int | None = 151653
    tie_word_embeddings: bool = False

    def __post_init__(self, **given: Any) -> None:
        if isinstance(self.text_config, dict):  # the release names a type of its own for what is a Qwen3
            self.text_config = {**self.text_config, "model_type": Qwen3Config.model_type}
        super().__post_init__(**given)


class Rice(nn.Module):
    """A vision transformer for any size: a class token before the patches, rotary positions in rows and columns."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        sizes = Qwen2VLVisionConfig(
            depth=config.depth, embed_dim=width, num_heads=config.num_heads, hidden_act=config.hidden_act
        )
        sizes._attn_implementation = "sdpa"
        half = width // config.num_heads // 2
        self.merge: int = config.spatial_merge_size
        project = nn.Conv2d(config.in_channels, width, patch, patch, bias=False)
        self.patch_embed = nn.ModuleDict({"proj": project})
        self.patch_shape = (config.in_channels, patch, patch)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.class_pos_emb = nn.Parameter(torch.randn(1, half) * width**-0.5)
        self.pre_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        blocks = [Qwen2VLVisionBlock(sizes) for _ in range(config.depth)]
        for block in blocks:
            block.mlp = VisionMlp(width, config.intermediate_size, config.hidden_act)
            block.norm1.eps = block.norm2.eps = config.layer_norm_eps
        self.blocks = nn.ModuleList(blocks)
        self.merger = PatchMerger(config.text_hidden_size, width, self.merge)
        self.merger.ln_q.eps = config.layer_norm_eps

    def forward(self, pixels: Tensor, grid_thw: Tensor) -> BaseModelOutputWithPooling:
        """Look at one picture.

        Args:
            pixels: (n, 3 * patch * patch), patches of a token side by side.
            grid_thw: (1, 3): 1, rows and columns of patches.

        Returns:
            ``last_hidden_state`` (n, d_v) without the class token, ``pooler_output`` (n / merge^2, d).
        """
        rows, columns = grid_thw[0, 1:].tolist()
        patches = self.patch_embed["proj"](pixels.view(-1, *self.patch_shape)).flatten(1)
        states = self.pre_layernorm(torch.cat([self.class_embedding.unsqueeze(0), patches]))
        # In float32, as angles grow with the number of the row.
        angles = torch.cat([self.class_pos_emb.float(), self._angles(rows, columns)])
        angles = torch.cat([angles, angles], dim=-1)
        places, ends = (angles.cos(), angles.sin()), torch.tensor([0, len(states)], device=states.device)
        for block in self.blocks:
            states = block(states, cu_seqlens=ends, position_embeddings=places)
        return BaseModelOutputWithPooling(last_hidden_state=states[1:], pooler_output=self.merger(states[1:]))

    def _angles(self, rows: int, columns: int) -> Tensor:
        """Return (n, head / 2): row and column of each patch times the frequencies, in the order of the patches."""
        device, count = self.class_pos_emb.device, self.class_pos_emb.shape[1]
        frequencies = _THETA ** -(torch.arange(0, count, 2, device=device, dtype=torch.float32) / count)
        grid = torch.stack(
            torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"), -1
        )
        blocks = grid.view(rows // self.merge, self.merge, columns // self.merge, self.merge, 2).transpose(1, 2)
        return (blocks.reshape(-1, 2, 1) * frequencies).flatten(1)


class _Inner(PreTrainedModel):  # type: ignore[misc]
    """Tower and language model."""

    config_class = OneVisionConfig
    _supports_sdpa = True

    def __init__(self, config: OneVisionConfig) -> None:
        super().__init__(config)
        self.visual = Rice(config.vision_config)
        self.language_model = Qwen3Model(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the word embeddings."""
        found: nn.Module = self.language_model.embed_tokens
        return found

    def forward(self, **inputs: Any) -> BaseModelOutputWithPast:
        """Run the language model on embeddings with the picture's tokens in them."""
        return self.language_model(**inputs)


class OneVisionModel(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """LLaVA-OneVision-1.5 with its output layer; it reads embeddings with the picture's tokens in them."""

    config_class = OneVisionConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012 (as transformers)

    def __init__(self, config: OneVisionConfig) -> None:
        super().__init__(config)
        self.model = _Inner(config)
        text = config.get_text_config()
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the word embeddings."""
        return self.model.get_input_embeddings()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **inputs: Any,
    ) -> CausalLMOutputWithPast:
        """Return logits, as transformers' causal language models do."""
        found = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **inputs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(found.last_hidden_state[:, kept])
        return CausalLMOutputWithPast(logits=logits, past_key_values=found.past_key_values)
