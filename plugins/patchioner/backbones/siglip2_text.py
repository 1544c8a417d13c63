"""SigLIP 2's text tower: transformers' model, the tokenizer of its release."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import SiglipTextConfig, SiglipTextModel

from regionkit.core.contracts import iter_batches
from regionkit.core.errors import WeightsError
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.plugins.patchioner.backbones.clip_text import cut

#: Name of the tensor that holds the tokenizer as JSON, uint8: of 256,000 tokens it is too long for a header.
TOKENIZER = "tokenizer"
#: Sentences that go through the tower at once.
_BATCH = 128


def text_tower(
    *, width: int, layers: int, heads: int, intermediate: int, dim: int, context: int, vocabulary: int
) -> Any:
    """Make an untrained text tower, a ``torch.nn.Module`` whose ``head`` projects to ``dim``."""
    config = SiglipTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context,
        projection_size=dim,
        # transformers' defaults are ids of another tokenizer, which small vocabularies lack; the tower reads none.
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = SiglipTextModel(config)
    return getattr(model, "text_model", model)  # transformers before 5 had one more level


def encode_texts(tower: Any, tokenizer: LanguageTokenizer, texts: Sequence[str], context: int) -> Tensor:
    """Return the projected state at the last of ``context`` positions, (n, dim), not normalised.

    Texts are in lower case, end with the end token and are padded to the context; padding is read like words, as the
    tower was trained. Texts beyond it keep their first tokens and the end token.
    """
    weight: Tensor = tower.head.weight
    rows = [padded(tokenizer, text, context) for text in texts]
    vectors = weight.new_zeros(len(rows), len(weight))
    for part in iter_batches(len(rows), _BATCH):
        ids = torch.tensor(rows[part], device=weight.device)
        vectors[part] = tower(input_ids=ids).pooler_output
    return vectors


def padded(tokenizer: LanguageTokenizer, text: str, context: int) -> list[int]:
    """Return the ids of a text, exactly ``context`` of them: its words, the end token, padding.

    There is no start token, whatever the tokenizer does for the language model that it was made for.
    """
    ids = cut([*tokenizer.encode_literally(text.lower()), tokenizer.end], context)
    return ids + [tokenizer.pad] * (context - len(ids))


def tokenizer_tensors(tokenizer: LanguageTokenizer) -> dict[str, Tensor]:
    """Return the tokenizer's JSON as the tensor that a weight file keeps."""
    return {TOKENIZER: torch.frombuffer(bytearray(tokenizer.text.encode()), dtype=torch.uint8)}


def tokenizer_extra(tokenizer: LanguageTokenizer) -> dict[str, Any]:
    """Return what the header of a weight file says of the tokenizer."""
    return {name: value for name, value in tokenizer.to_extra().items() if name != "tokenizer"} | {"tensor": TOKENIZER}


def tokenizer_from(extra: Mapping[str, Any], source: str | Path, tensors: Mapping[str, Tensor]) -> LanguageTokenizer:
    """Rebuild the tokenizer from the header and the tensors of a weight file.

    Raises:
        WeightsError: There is none, or it is damaged.
    """
    said = extra.get("tokenizer")
    if TOKENIZER not in tensors or not isinstance(said, Mapping):
        raise WeightsError(
            f"{source}: the weights carry no tokenizer, and a text tower of SigLIP 2 needs its own",
            "convert them again from the folder of the release: toolkit weights convert",
        )
    try:
        whole = json.loads(bytes(tensors[TOKENIZER].numpy()))
    except ValueError:
        whole = None  # refused with the sentence for all damaged ones
    return LanguageTokenizer.of_extra({**said, "tokenizer": whole}, source)
