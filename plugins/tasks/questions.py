"""Tasks that ask a question, or which region is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.features import Caption
from regionkit.core.tasks import REGION_MARK, said
from regionkit.plugins.tasks.captioning import Asking
from regionkit.plugins.tasks.configs import RisOptions, VcrOptions, VqaOptions

#: What the text processors of the released code take out of questions and captions (LAVIS); a question mark stays.
_PUNCTUATION = re.compile(r"[.!\"()*#:;~]")
_NUMBER = re.compile(r"[0-9]+")
_VQA = {"paper": "Question: {} Answer:", "reference": "Question: {} Short answer:"}


class Ris(Asking):
    """Which of several regions an expression means (RegionVLM, section 4.3: RefCOCO, RefCOCO+, RefCOCOg).

    Nothing is written: the decoder scores the expression on each candidate.
    """

    usual = ("referring-iou",)

    def __init__(self, config: RisOptions) -> None:
        super().__init__(config)
        self._process = config.process

    def prepare(self, sample: Sample) -> Sample | None:
        """Return the sample with its expressions as they are scored."""
        if not self._process:
            return sample
        return replace(sample, references=tuple(processed_expression(text) for text in sample.references))


class Vqa(Asking):
    """A short answer to a question about a picture (RegionVLM, section 4.4: VQAv2, OK-VQA, GQA).

    The question is ``Sample.info["question"]``.
    """

    usual = ("vqa-accuracy",)

    def __init__(self, config: VqaOptions) -> None:
        super().__init__(config)
        self._template = config.prompt or _VQA[config.compat]
        self._process = config.process

    def prompt(self, sample: Sample) -> str | None:
        """Return the question in its template.

        Raises:
            DataError: The sample has no question.
        """
        question = _text_of(sample, "question")
        return self._template.replace("{}", processed(question) if self._process else question)


class Vcr(Asking):
    """The right one of four answers, or of four reasons, about numbered people and things (RegionVLM, section 4.2).

    ``Sample.mentioned`` are these, ``Sample.info["question_text"]`` (or ``question``) and ``Sample.info["choices"]``
    speak of them as ``[0]`` and ``[1]``. Where reasons are asked for, ``Sample.info["answer"]`` is the right answer,
    and the question becomes ``QUESTION Answer: ANSWER Why?``, as the released code writes it. The first number of what
    is written is the choice.
    """

    usual = ("vcr",)

    def __init__(self, config: VcrOptions) -> None:
        super().__init__(config)
        self._reference = config.compat == "reference"

    def prompt(self, sample: Sample) -> str | None:
        """Return regions, question and choices in one text.

        Raises:
            DataError: The sample has no question or no choices.
        """
        question, choices = _asked(sample), sample.info.get("choices")
        listed = isinstance(choices, Sequence) and not isinstance(choices, str)
        if not listed or not choices or not all(isinstance(choice, str) for choice in choices):
            raise DataError(f"sample '{sample.id}' has no choices", "info['choices'] is a list of texts")
        numbered = " ".join(f"{number}. {choice}" for number, choice in enumerate(choices, 1))
        if self._reference:
            named = " ".join(f"[{at}] be {REGION_MARK}" for at in range(len(sample.mentioned)))
            return f"{f'Let {named} ' if named else ''}Question: {question} {numbered} Answer: "
        named = " ".join(f"[{at}]: {REGION_MARK}" for at in range(len(sample.mentioned)))
        return f"{f'{named}, ' if named else ''}{question} {numbered} Answer:"

    def answer(self, sample: Sample, caption: Caption) -> Caption:
        """Return the first number of the answer, or all of it where there is none."""
        found = _NUMBER.search(caption.text)
        return caption if found is None else said(caption, found.group())


def processed(question: str) -> str:
    """Return a question as the released code reads it: small letters, without punctuation but ``?``."""
    return _PUNCTUATION.sub("", question.lower()).rstrip(" ")


def processed_expression(text: str) -> str:
    """Return an expression as the released code reads it: small letters, blanks for punctuation; not left empty."""
    return " ".join(_PUNCTUATION.sub(" ", text.lower()).split()) or text


def _asked(sample: Sample) -> str:
    """Return the question of a sample, with the right answer where a reason is asked for."""
    question = _text_of(sample, "question_text" if "question_text" in sample.info else "question")
    return f"{question} Answer: {_text_of(sample, 'answer')} Why?" if "answer" in sample.info else question


def _text_of(sample: Sample, key: str) -> str:
    """Return a text that a sample carries.

    Raises:
        DataError: It carries none.
    """
    found = sample.info.get(key)
    if not isinstance(found, str) or not found.strip():
        raise DataError(f"sample '{sample.id}' has no {key}", f"info['{key}'] is a text")
    return found
