"""A judge that repeats what another one said, from a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from regionkit.core.errors import DataError
from regionkit.core.files import sha256_of
from regionkit.core.judging import Judge, Question, Reply
from regionkit.plugins.judges.backends.configs import RecordedConfig
from regionkit.plugins.judges.backends.recordings import Recording, collapsed, read_recordings

#: Digits of a file's hash in the name of a model that the file does not say.
_DIGITS = 12


class RecordedJudge(Judge):
    """Replies from a file, found by their prompts: by the very words first, then with runs of white space as one space.

    Where a file says more of a question than its prompt (the words of the system, pictures, how the answer was drawn),
    that must agree, too. Several different replies to one question are those of its attempts, in their order. A
    question that is not in the file has a reply with an error, which is counted.

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
        self.identity = config.model or (models[0] if models else f"{path.name}@{sha256_of(path)[:_DIGITS]}")
        self.sees = any(one.stated.get("images") for one in recordings)
        self._exact: dict[str, list[Recording]] = {}
        self._loose: dict[str, list[Recording]] = {}
        for one in recordings:
            self._exact.setdefault(one.prompt, []).append(one)
            self._loose.setdefault(collapsed(one.prompt), []).append(one)

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
        if known or loose:
            differs = ", ".join((known or loose)[0].differences(question))
            return Reply(None, f"{self._name} holds this prompt, but asked in another way: {differs}", final=True)
        return Reply(None, f"{self._name} holds no reply to this question", final=True)

    def _of_attempt(self, several: Sequence[Recording], attempt: int) -> Reply:
        """Return the reply of an attempt: by its number where the file says it, else by the order of the file."""
        numbered = {one.attempt: one.reply for one in several if one.attempt is not None}
        plain = list(dict.fromkeys(one.reply for one in several if one.attempt is None))
        replies = [numbered[number] for number in sorted(numbered)] + plain
        if attempt < len(replies):
            return Reply(replies[attempt])
        return Reply(None, f"{self._name} holds no further reply to this question", final=True)
