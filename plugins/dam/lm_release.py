"""Reading causal language models of the Hugging Face hub, such as the folder ``llm`` of DAM's release, as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.core.language.causal import CAUSAL
from regionkit.core.language.released import read_decoder
from regionkit.plugins.dam.lm_config import LmTokensConfig


def read_lm_tokens(files: Mapping[str, Path], config: LmTokensConfig) -> WeightArtifact:
    """Turn a folder with a causal language model into the tensors of ``lm-tokens``; no option counts here."""
    return read_decoder(files, CAUSAL, "lm-tokens")
