"""Reading released decoders of ViECap and MeaCap as they are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import DataError, WeightsError
from regionkit.core.texts import bank_tensors
from regionkit.core.unpickling import read_pickle, read_torch
from regionkit.plugins.zeroshot.entities import ENTRIES
from regionkit.plugins.zeroshot.gpt2_layout import AGAIN, Places, read_prefix_decoder
from regionkit.plugins.zeroshot.meacap import MEMORY
from regionkit.plugins.zeroshot.meacap_config import MeacapConfig
from regionkit.plugins.zeroshot.viecap_config import ViecapConfig
from regionkit.plugins.zeroshot.vocabularies import read_vocabulary

#: Where its tensors stand, and those of MeaCap and Patch-ioner, which took it over.
VIECAP = Places("mapping_network", "gpt")


def read_viecap(files: Mapping[str, Path], config: ViecapConfig) -> WeightArtifact:
    """Turn a released decoder into the tensors of ``viecap``.

    The file says neither in which space it was trained nor with which noise, only how wide the space is.

    Args:
        files: ``model``, the checkpoint; ``tokenizer``, the file ``tokenizer.json`` of GPT-2; and ``vocabulary``, the
            pickled vectors of the words of the option ``vocabulary``, where they are there.
        config: Options; ``heads`` and ``mapper_heads``, which no shape says, count.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown or missing, or the sizes contradict one another.
    """
    tensors, header = read_prefix_decoder(files, config, "viecap", (VIECAP,))
    if "vocabulary" not in files:
        return WeightArtifact(tensors, header)
    dim = tensors["mapper.linear.weight"].shape[1]
    words = read_vocabulary(config.vocabulary)
    vectors = read_vectors(files["vocabulary"], dim, len(words), f"the {len(words)} words of its vocabulary")
    entries = {ENTRIES + name: one for name, one in bank_tensors(vectors, words).items()}
    return WeightArtifact({**tensors, **entries}, header)


def read_meacap(files: Mapping[str, Path], config: MeacapConfig) -> WeightArtifact:
    """Turn ViECap's decoder and a released memory into the tensors of ``meacap``.

    Args:
        files: ``model`` and ``tokenizer`` as for :func:`read_viecap`; and the memory, where it is there:
            ``memory_embeddings``, a tensor that torch saved, and ``memory_captions``, a JSON list.
        config: As for :func:`read_viecap`.

    Raises:
        WeightsError: As for :func:`read_viecap`; or only one of the memory's files is there.
    """
    tensors, header = read_prefix_decoder(files, config, "meacap", (VIECAP,))
    header = dataclasses.replace(header, name="viecap")  # the same weights
    there = [role for role in ("memory_embeddings", "memory_captions") if role in files]
    if not there:
        return WeightArtifact(tensors, header)
    if len(there) == 1:
        raise WeightsError(
            f"{files[there[0]]}: a memory is two files, and one of them is not here",
            "memory_clip_embeddings.pt and memory_captions.json lie in one folder of the release",
        )
    captions = _captions(files["memory_captions"])
    dim = tensors["mapper.linear.weight"].shape[1]
    vectors = read_vectors(files["memory_embeddings"], dim, len(captions), f"{len(captions)} captions")
    memory = {MEMORY + name: one for name, one in bank_tensors(vectors, captions).items()}
    header = dataclasses.replace(header, extra={**header.extra, "memory": True})  # no bank is asked for beside it
    return WeightArtifact({**tensors, **memory}, header)


def read_vectors(path: Path, dim: int, count: int, what: str) -> Tensor:
    """Read a tensor (count, dim) that torch or pickle saved, as float32.

    Raises:
        WeightsError: It is damaged, holds something else, or is of another shape.
    """
    found = read_torch(path) if path.suffix in (".pt", ".pth") else read_pickle(path)
    if not isinstance(found, Tensor):
        raise WeightsError(f"{path}: it holds a {type(found).__name__}, and no table of vectors", AGAIN)
    if tuple(found.shape) != (count, dim):
        raise WeightsError(
            f"{path}: it holds vectors {tuple(found.shape)}, and {what} take {(count, dim)}",
            "the files do not belong together: those of one release have one suffix",
        )
    vectors = found.detach().float()
    if not bool(torch.isfinite(vectors).all()):
        raise WeightsError(f"{path}: it holds NaN or infinite numbers", AGAIN)
    return vectors


def _captions(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise ValueError("it holds no list of captions")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the captions of the memory cannot be read: {error}", AGAIN) from None
    if not found:
        raise DataError(f"{path}: it holds no captions", AGAIN)
    return [" ".join(one.split()) for one in found]
