"""Reading causal language models of the Hugging Face hub for the decoders that a text tower guides."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.core.language.causal import CAUSAL
from regionkit.core.language.released import read_decoder
from regionkit.plugins.zeroshot.caption_lm import OWNER
from regionkit.plugins.zeroshot.caption_lm_config import CaptionLmOptions


def read_caption_lm(files: Mapping[str, Path], config: CaptionLmOptions) -> WeightArtifact:
    """Turn a folder with a causal language model into the tensors of ``magic`` and ``zerocap``; no option counts here.

    Such a model reads words alone, so the header names no space: it goes with any backbone that has a text tower.

    Args:
        files: ``model``, the folder: config.json, weights in one file or several, tokenizer files.
        config: The options.

    Raises:
        WeightsError: Something is missing, damaged, of another kind of model, or not accounted for.
    """
    found = read_decoder(files, CAUSAL, OWNER)
    return dataclasses.replace(found, header=dataclasses.replace(found.header, space=""))
