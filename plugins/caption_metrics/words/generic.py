"""How many captions say nothing of their picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from regionkit.core.contracts import BuildContext, Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs
from regionkit.plugins.caption_metrics.overlap.tokenisers import TOKENISERS
from regionkit.plugins.caption_metrics.words.configs import GenericRateConfig
from regionkit.plugins.caption_metrics.words.lexicon import Lexicon

#: The same sentence under fewer pictures than this is chance, whatever share of a short run they are.
LEAST_IMAGES = 3


class GenericRate(Metric):
    """Share of captions that are generic, from 0 to 1; lower is better. References are not looked at.

    A caption is generic if one of these is true of it, each a part of its own besides the metric itself:

    * ``nounless`` (``nouns: true``): it names no noun of the lexicon, as "a photo from 2008" does not.
    * ``phrase`` (``phrases``): its words are those of one of the given phrases.
    * ``repeated`` (``repeated`` above 0): the same words are said of more than that share of all different pictures,
      and of :data:`LEAST_IMAGES` at least. It depends on the other captions of the run. Where regions are to be named
      by a word or two, repetition is no fault: set ``repeated: 0``.

    A caption without a word is always generic.

    Args:
        config: Options.
        lexicon: The forms of nouns; only read with ``nouns: true``.
    """

    needs = ()
    higher_is_better: ClassVar[bool] = False

    def __init__(self, config: GenericRateConfig, lexicon: Mapping[str, str]) -> None:
        self.config = config
        split = TOKENISERS[config.tokeniser]
        self._lexicon = Lexicon(lexicon)
        self._phrases = {" ".join(split(phrase)) for phrase in config.phrases}
        rules = {"nounless": config.nouns, "phrase": bool(config.phrases), "repeated": config.repeated > 0}
        self._rules = tuple(rule for rule, active in rules.items() if active)
        self.parts = ("", *self._rules)
        self._said: list[str] = []
        self._nounless: list[bool] = []
        self._images: defaultdict[str, set[str]] = defaultdict(set)
        self._all_images: set[str] = set()

    @classmethod
    def build(cls, config: GenericRateConfig, context: BuildContext) -> Self:
        """Take the nouns of the data set in ``context.parts``, if they are wanted.

        Raises:
            DataError: They are wanted, and there is no data set, or it has no lexicon.
        """
        if not config.nouns:
            return cls(config, {})
        hint = "without nouns, repeated sentences and given phrases are still counted: nouns: false"
        dataset = context.parts.get("dataset")
        if dataset is None:
            raise DataError("generic-rate takes its nouns from the lexicon of a data set, and none was given", hint)
        try:
            return cls(config, dataset.lexicon("nouns"))
        except DataError as error:
            raise DataError(f"generic-rate: {error.message}", hint) from error

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            DataError: A caption is no text.
        """
        split = TOKENISERS[self.config.tokeniser]
        for sample, caption in checked_pairs("generic-rate", samples, captions):
            words = split(caption)
            said = " ".join(words)
            self._said.append(said)
            self._nounless.append(not self._lexicon.mentions(words))
            self._images[said].add(sample.image_id)
            self._all_images.add(sample.image_id)

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        found = {rule: self._flags(rule) for rule in self._rules}
        flags = [not said or any(rule[at] for rule in found.values()) for at, said in enumerate(self._said)]
        parts = {part: self._score(part, flags if not part else found[part]) for part in self.parts}
        whole = parts[""]
        return Score(whole.value, whole.per_sample, whole.signature, parts)

    def _flags(self, rule: str) -> list[bool]:
        if rule == "nounless":
            return self._nounless
        if rule == "phrase":
            return [said in self._phrases for said in self._said]
        many = self.config.repeated * len(self._all_images)
        often = {said for said, images in self._images.items() if len(images) >= LEAST_IMAGES and len(images) > many}
        return [said in often for said in self._said]

    def _score(self, part: str, flags: Sequence[bool]) -> Score:
        values = tuple(float(flag) for flag in flags)
        told = signature(
            f"generic-rate-{part}" if part else "generic-rate",
            lexicon=self._lexicon.digest if self.config.nouns and part in ("", "nounless") else None,
            phrases="; ".join(sorted(self._phrases)) if part in ("", "phrase") else None,
            repeated=f"{self.config.repeated:g}" if self.config.repeated and part in ("", "repeated") else None,
            tokeniser=self.config.tokeniser,
            n=len(values),
        )
        return Score(mean_of(values), values, told)
