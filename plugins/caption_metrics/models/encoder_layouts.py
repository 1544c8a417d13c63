"""Encoders as they are released: a folder of the Hugging Face hub becomes tensors and a header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.files import is_folder
from regionkit.core.language import encoder_folders
from regionkit.core.weights import WeightHeader
from regionkit.plugins.caption_metrics.models.configs import BertScoreConfig, SemanticSimilarityConfig


def read_bert(files: Mapping[str, Path], config: BertScoreConfig) -> WeightArtifact:
    """Turn a released encoder into what ``bert-score`` judges with.

    Args:
        files: ``model``, the folder.
        config: Options; none of them changes what is read.

    Raises:
        WeightsError: Something is missing, damaged, of another family, or not accounted for.
    """
    return _artifact("bert-score", *encoder_folders.read_encoder(_folder(files, "bert-score")))


def read_sentence_encoder(files: Mapping[str, Path], config: SemanticSimilarityConfig) -> WeightArtifact:
    """Turn a released sentence encoder into what ``semantic-similarity`` judges with.

    Args:
        files: ``model``, the folder, as sentence-transformers writes it.
        config: Options; none of them changes what is read.

    Raises:
        WeightsError: As :func:`read_bert`; or its sentences are made in another way than by mean or class token.
    """
    folder = _folder(files, "semantic-similarity")
    return _artifact("semantic-similarity", *encoder_folders.read_sentence_encoder(folder, "semantic-similarity"))


def _artifact(metric: str, tensors: Mapping[str, Tensor], extra: Mapping[str, Any]) -> WeightArtifact:
    return WeightArtifact(tensors, WeightHeader("metric", metric, extra=extra, license="see its release"))


def _folder(files: Mapping[str, Path], metric: str) -> Path:
    if "model" not in files:
        raise WeightsError(f"metric '{metric}' needs a text encoder", "the folder with the role 'model'")
    folder = files["model"]
    if not is_folder(folder):
        raise WeightsError(
            f"metric '{metric}' reads a folder with config.json, weights and tokenizer.json, and {folder} is no folder",
            f"name the folder that it lies in: weights: file:{folder.parent}",
        )
    return folder
