"""Reading language models of the Hugging Face hub, such as the folder ``llm`` of DAM's release, as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.language.models import read_folder, sizes_of
from regionkit.core.weights import UNNAMED, WeightHeader
from regionkit.plugins.dam.lm_config import LmTokensConfig
from regionkit.plugins.dam.lm_decoder import NAMING


def read_lm_tokens(files: Mapping[str, Path], config: LmTokensConfig) -> WeightArtifact:
    """Turn a folder with a causal language model into the tensors of ``lm-tokens``, which keep their names.

    The folder does not say which region tokens the model was trained with, only how wide they are.

    Args:
        files: ``model``, the folder: config.json, weights in one file or several, tokenizer files.
        config: Options; none of them counts here.

    Raises:
        WeightsError: Something is missing, damaged, of another kind of model, or not accounted for.
    """
    if "model" not in files:
        raise WeightsError("decoder 'lm-tokens' needs a language model", "the folder with the role 'model'")
    found = read_folder(files["model"], NAMING, "decoder 'lm-tokens'")
    header = WeightHeader(
        "decoder",
        "lm-tokens",
        f"{UNNAMED}[{found.config.hidden_size}]",
        config=sizes_of(NAMING, found.config),
        extra={"tokenizer": found.tokenizer.to_extra(), "model": found.stored},
        license="see its release",
    )
    return WeightArtifact(found.tensors, header)
