"""Which names mean the same: those of one spelling, or those whose vectors lie near each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.language.encoder_folders import read_sentence_encoder
from regionkit.core.language.encoders import load_encoder
from regionkit.core.weights import WeightFile, WeightHeader
from regionkit.plugins.zeroshot.model_folders import model_folder
from regionkit.plugins.zeroshot.released_files import SENTENCE_ENCODER
from regionkit.plugins.zeroshot.scene_graph import Similarity
from regionkit.plugins.zeroshot.text_entities import plurals


def same_words(names: Sequence[str]) -> Tensor:
    """Return (n, n): 1 where two names are one word, in the singular or the plural, else 0."""
    forms = [{name, *plurals(name)} for name in names]
    return torch.tensor([[float(bool(one & other)) for other in forms] for one in forms]).view(len(names), len(names))


class SentenceSimilarity:
    """Cosines of vectors of an encoder of sentences, such as all-MiniLM-L6-v2; those of a name are made once.

    Args:
        folder: ``file:FOLDER``, as sentence-transformers writes it.
        who: Whose it is, for messages: ``decoder 'NAME'``.

    Raises:
        WeightsError: The folder is missing, damaged, or of another kind of model.
    """

    def __init__(self, folder: str, who: str) -> None:
        path = model_folder(folder, "similarity", SENTENCE_ENCODER.source.removeprefix("hub://"), who)
        tensors, extra = read_sentence_encoder(path, who)
        header = WeightHeader("decoder", who, extra=extra)
        self._encoder = load_encoder(who, WeightFile(path, header, {"model": path}, lambda: tensors))
        self._known: dict[str, Tensor] = {}

    def __call__(self, names: Sequence[str]) -> Tensor:
        """Return the cosines (n, n) of n names."""
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        if new:
            vectors = normalize(self._encoder.sentences(new), dim=-1).float()
            self._known |= dict(zip(new, vectors, strict=True))
        found = torch.stack([self._known[name] for name in names])
        return found @ found.T


def make_similarity(option: str, who: str) -> Similarity:
    """Make what an option asks for: ``words``, or ``file:FOLDER``; raises as :class:`SentenceSimilarity`."""
    return same_words if option == "words" else SentenceSimilarity(option, who)
