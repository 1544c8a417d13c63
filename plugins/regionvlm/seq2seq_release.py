"""Reading language models with encoder and decoder of the Hugging Face hub, such as FlanT5, as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.core.language.released import read_decoder
from regionkit.core.language.seq2seq import SEQ2SEQ
from regionkit.plugins.regionvlm.seq2seq_config import Seq2SeqTokensConfig


def read_seq2seq_tokens(files: Mapping[str, Path], config: Seq2SeqTokensConfig) -> WeightArtifact:
    """Turn a folder with a T5 type model into the tensors of ``seq2seq-tokens``; no option counts here."""
    return read_decoder(files, SEQ2SEQ, "seq2seq-tokens")
