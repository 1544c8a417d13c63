"""Language models of the Hugging Face hub as decoders: a folder becomes tensors and a header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.language.models import Naming, read_folder, sizes_of
from regionkit.core.weights import UNNAMED, WeightHeader


def read_decoder(files: Mapping[str, Path], naming: Naming, name: str) -> WeightArtifact:
    """Turn a folder with a language model into the tensors of a decoder, which keep their names.

    The folder does not say which region tokens the model was trained with, only how wide they are.

    Args:
        files: ``model``, the folder: config.json, weights in one file or several, tokenizer files.
        naming: How the decoder's options are called in that family of models.
        name: Of the decoder.

    Raises:
        WeightsError: Something is missing, damaged, of another kind of model, or not accounted for.
    """
    if "model" not in files:
        raise WeightsError(f"decoder '{name}' needs a language model", "the folder with the role 'model'")
    found = read_folder(files["model"], naming, f"decoder '{name}'")
    header = WeightHeader(
        "decoder",
        name,
        f"{UNNAMED}[{found.config.hidden_size}]",
        config=sizes_of(naming, found.config),
        extra={"tokenizer": found.tokenizer.to_extra(), "model": found.stored},
        license="see its release",
    )
    return WeightArtifact(found.tensors, header)
