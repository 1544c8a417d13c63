"""A judge that repeats what another one said, from a file."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

from regionkit.core.errors import DataError
from regionkit.core.files import sha256_of
from regionkit.core.judging import Judge, Place, Question, Reply
from regionkit.plugins.judges.backends.configs import RecordedConfig
from regionkit.plugins.judges.backends.recordings import Recording, collapsed, read_recordings

#: Digits of a file's hash in the name of a model that the file does not say.
_DIGITS = 12


class RecordedJudge(Judge):
    """Replies from a file, found by their prompts: by the very words first, then with runs of white space as one space.

    Where a file says more of a question than its prompt (the words of the system, pictures, how the answer was drawn),
    that must agree, too. Several different replies to one question are those of its attempts, in their order. A
    question that is not in the file has a reply with an error, which is counted.

    With option ``match: order`` a question whose words are not there is looked up by its sample and its number. Where
    the file has another number of replies for the sample, nothing is found either.

    Args:
        config: Options.

    Raises:
        DataError: The file cannot be read, is of no form that is known, or holds the replies of several models.
    """

    keeps = False

    def __init__(self, config: RecordedConfig) -> None:
        self.config = config
        path = Path(config.file).expanduser()
        self._name = path.name
        recordings = read_recordings(path)
        models = sorted({one.model for one in recordings if one.model})
        if config.model and models:
            recordings = [one for one in recordings if one.model in ("", config.model)]
            if not recordings:
                raise DataError(f"{path}: no reply is of '{config.model}'", f"models there: {', '.join(models)}")
        elif len(models) > 1:
            told = f"models there: {', '.join(models)}; choose one with the judge's option model"
            raise DataError(f"{path}: holds replies of {len(models)} models", told)
        self.content = sha256_of(path)[:_DIGITS]
        self.identity = config.model or (models[0] if models else f"{path.name}@{self.content}")
        self.places = config.match == "order"
        if self.places:
            self.identity += " (replies by order)"  # they may have been given to other captions
        self.sees = any(one.stated.get("images") for one in recordings)
        self._exact: dict[Hashable, list[Recording]] = {}
        self._loose: dict[Hashable, list[Recording]] = {}
        self._placed: dict[Hashable, list[Recording]] = {}
        for one in recordings:
            self._exact.setdefault(one.prompt, []).append(one)
            self._loose.setdefault(collapsed(one.prompt), []).append(one)
            self._placed.setdefault(one.place, []).append(one)
        if self.places and set(self._placed) == {None}:
            raise DataError(
                f"{path}: does not say which sample a reply is about, and match: order needs that",
                'such a file is {"ID": {"prompt": [...], "response": [...]}}',
            )

    def ask(self, questions: Sequence[Question], attempt: int = 0) -> Iterator[tuple[int, Reply]]:
        """Look questions up and yield what was said, in order."""
        for at, question in enumerate(questions):
            yield at, self._reply(question, attempt)

    def _reply(self, question: Question, attempt: int) -> Reply:
        known = self._exact.get(question.prompt, [])
        loose = self._loose.get(collapsed(question.prompt), [])
        for candidates in (known, loose):
            right = [one for one in candidates if one.agrees(question)]
            if right:
                return self._of_attempt(right, attempt)
        if self.places:
            return self._by_place(question, attempt)
        if known or loose:
            differs = ", ".join((known or loose)[0].differences(question))
            return Reply(None, f"{self._name} holds this prompt, but asked in another way: {differs}", final=True)
        return Reply(None, f"{self._name} holds no reply to this question", final=True)

    def _by_place(self, question: Question, attempt: int) -> Reply:
        place = question.place
        if place is None:
            return Reply(
                None, f"{self._name} holds no reply to this question, which does not say its place", final=True
            )
        found = self._placed.get(place)
        if found:
            return self._of_attempt(found, attempt)
        counts = {one.total for one in self._placed if isinstance(one, Place) and one.sample == place.sample}
        if not counts:
            return Reply(None, f"{self._name} holds no replies for sample '{place.sample}'", final=True)
        if place.total not in counts:
            there = f"{max(counts)} replies for sample '{place.sample}', of which {place.total} questions are asked"
            return Reply(None, f"{self._name} holds {there}", final=True)
        return Reply(None, f"{self._name} holds no reply to question {place.number + 1} of its sample", final=True)

    def _of_attempt(self, several: Sequence[Recording], attempt: int) -> Reply:
        """Return the reply of an attempt: by its number where the file says it, else by the order of the file."""
        numbered = {one.attempt: one.reply for one in several if one.attempt is not None}
        plain = list(dict.fromkeys(one.reply for one in several if one.attempt is None))
        replies = [numbered[number] for number in sorted(numbered)] + plain
        if attempt < len(replies):
            return Reply(replies[attempt])
        return Reply(None, f"{self._name} holds no further reply to this question", final=True)
