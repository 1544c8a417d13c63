"""CHAIR: how often captions name objects that their picture does not show.

Rohrbach et al., Object Hallucination in Image Captioning, EMNLP 2018 (arXiv 1809.02156), and its release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import BuildContext, Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of, ratio_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs
from regionkit.plugins.caption_metrics.overlap.tokenisers import TOKENISERS
from regionkit.plugins.caption_metrics.words.configs import ChairConfig
from regionkit.plugins.caption_metrics.words.lexicon import Lexicon, with_plurals

#: Before these words, "baby" and "adult" (animals) and "passenger" (vehicles) say which, and name no person.
_ANIMALS = ("animal", "bear", "bird", "cat", "cow", "cub", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
_VEHICLES = ("jet", "train")
#: All rules of the release that change what a word names; those that only join words follow from the lexicon.
_QUALIFIED = {
    **{f"{which} {animal}": animal for which in ("adult", "baby") for animal in _ANIMALS},
    **{f"passenger {vehicle}": vehicle for vehicle in _VEHICLES},
    "bow tie": "tie",
    "toilet seat": "toilet",
    "home plate": "home plate",  # of a baseball field, no dish
    "train track": "train track",  # no train need be there
    "hot dog": "hot dog",
    "teddy bear": "teddy bear",
}
#: What samples must carry, by the option ``objects``.
_NEEDED = {"both": "objects|references", "stated": "objects", "references": "references"}


class Chair(Metric):
    """CHAIRs (part ``sentences``, which stands for the metric) and CHAIRi (part ``instances``); lower is better.

    CHAIRs is the share of captions that name at least one object which the picture does not show. CHAIRi is the number
    of mentions of such objects over the number of mentions of any object, summed over all captions; 0 where no caption
    names one. A picture shows what ``Sample.info["objects"]`` states of the whole picture (of the region alone would
    not do: a caption may rightly name what lies beside it), and what the references name.

    Differences from the release: it brings every word of a caption to the singular with a library; here the lexicon
    gets the plurals of its own forms, so that no word is mistaken for another one. It joins two words at most and only
    those of a list; here every form of the lexicon is found, of however many words. Its tokeniser is NLTK's.

    Args:
        config: Options.
        lexicon: The forms that name objects, plurals included, and the object that each stands for.
    """

    higher_is_better: ClassVar[bool] = False
    parts = ("sentences", "instances")

    def __init__(self, config: ChairConfig, lexicon: Mapping[str, str]) -> None:
        self.config = config
        self.needs = (_NEEDED[config.objects],)
        qualified = {form: lexicon.get(word, "") for form, word in _QUALIFIED.items()}
        self.lexicon = Lexicon({**with_plurals(qualified), **lexicon})
        self._counts: list[tuple[int, int]] = []
        self._stated = 0

    @classmethod
    def build(cls, config: ChairConfig, context: BuildContext) -> Self:
        """Read the file of synonyms, or take the nouns of the data set in ``context.parts``.

        Raises:
            DataError: The file cannot be read; there is neither file nor data set; the data set has no lexicon.
        """
        if config.synonyms:
            return cls(config, read_synonyms(config.synonyms))
        dataset = context.parts.get("dataset")
        if dataset is None:
            raise DataError(
                "chair looks for objects of a lexicon, and neither a data set nor a file of synonyms was given",
                "name one with the option synonyms: FILE, one object a line: sofa, couch, settee",
            )
        return cls(config, dataset.lexicon("nouns"))

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            DataError: Nothing says what a sample's picture shows; a caption or a reference is no text.
        """
        for sample, caption in checked_pairs("chair", samples, captions, references=self.config.objects != "stated"):
            truth = self._truth(sample)
            named = self.objects(caption)
            if self.config.count == "objects":
                named = list(dict.fromkeys(named))
            self._counts.append((sum(name not in truth for name in named), len(named)))
            self._stated += "objects" in sample.info

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        counts = np.array(self._counts, dtype=np.float64).reshape(-1, 2)
        wrong = tuple((counts[:, 0] > 0).astype(np.float64).tolist())
        sentences = Score(mean_of(wrong), wrong, self._signature("sentences"))
        value = float(self.pool("instances", counts.sum(0)[None])[0])
        instances = Score(value, tuple(ratio_of(counts).tolist()), self._signature("instances"), statistics=counts)
        parts = {"sentences": sentences, "instances": instances}
        return Score(sentences.value, sentences.per_sample, sentences.signature, parts)

    @classmethod
    def pool(cls, part: str, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return wrong mentions over all mentions (d,) from their sums (d, 2); 0 where there is no mention."""
        return ratio_of(sums)

    def objects(self, text: str) -> list[str]:
        """Return the objects that a text names, one entry a mention, in order."""
        found = self.lexicon.mentions(TOKENISERS[self.config.tokeniser](text))
        # The seat of a toilet is no chair, however far from it in the text.
        if any(form.startswith("toilet") for form, _ in found):
            found = [(form, term) for form, term in found if form not in ("seat", "seats")]
        return [term for _, term in found]

    def _truth(self, sample: Sample) -> frozenset[str]:
        stated = sample.info.get("objects") if self.config.objects != "references" else None
        references = sample.references if self.config.objects != "stated" else ()
        if stated is None and not references:
            wanted = {"stated": "info['objects']", "references": "a reference caption"}
            what = wanted.get(self.config.objects, "info['objects'] or a reference caption")
            raise DataError(
                f"chair: sample '{sample.id}' has no {what.removeprefix('a ')}, so nothing says what its picture shows"
            )
        named = {name for reference in references for name in self.objects(reference)}
        forms = [" ".join(str(name).lower().split()) for name in stated or ()]
        return frozenset(named | {self.lexicon.terms.get(form, form) for form in forms})

    def _signature(self, part: str) -> str:
        return signature(
            f"chair-{part}",
            objects=self.config.objects,
            stated=self._stated if self.config.objects != "references" else None,
            count=self.config.count if part == "instances" else None,
            tokeniser=self.config.tokeniser,
            lexicon=self.lexicon.digest,
            n=len(self._counts),
        )


def read_synonyms(name: str) -> dict[str, str]:
    """Read a file of synonyms in the layout of the release: one object a line, its names separated by commas.

    The first name of a line is the object. A name in two lines stands for the object of the later one, as in the
    release. Plurals are added.

    Raises:
        DataError: There is no such file, it is no text, or it holds no name.
    """
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, RuntimeError, ValueError) as error:
        reason = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise DataError(f"chair: the file of synonyms '{name}' cannot be read: {reason}") from None
    forms: dict[str, str] = {}
    for line in text.splitlines():
        names = [" ".join(word.lower().split()) for word in line.split(",")]
        names = [word for word in names if word]
        forms |= dict.fromkeys(names, names[0]) if names else {}
    if not forms:
        raise DataError(
            f"chair: the file of synonyms '{name}' holds no name", "write one object a line: sofa, couch, settee"
        )
    return with_plurals(forms)
