"""From what a decoder reads to answers: captions, or which of several candidates an expression means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from regionkit.core.blame import blamed, who
from regionkit.core.contracts import Decoder, Sample
from regionkit.core.errors import FeatureError
from regionkit.core.features import Caption
from regionkit.core.seams import written
from regionkit.plugins.ablation.asking import Batch, Inputs, Prompts, by_prompt, together
from regionkit.plugins.ablation.batches import joined
from regionkit.plugins.ablation.failures import reason_of
from regionkit.plugins.ablation.memory import Encoded
from regionkit.plugins.ablation.out_of_memory import BatchSizes, each_that_fits
from regionkit.plugins.ablation.referring import Candidates, expression_scores, picked
from regionkit.plugins.ablation.trials import Selection

#: Answers for some regions: their positions, what the decoder reads of them, and what it is asked.
Step = Callable[[tuple[int, ...], Inputs, str | None], None]
#: Regions that are handed to a decoder together; it cuts them into batches of its own.
ROWS_TOGETHER = 1024


@dataclass
class Answers:
    """What a pipeline answered.

    Attributes:
        captions: Position of a sample -> its caption; of one with candidates, the position of that which is meant.
        errors: Position -> why there is none.
    """

    captions: dict[int, Caption] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)


class Answering:
    """Answers the samples of one selection with one decoder.

    Args:
        selection: The samples and their task.
        spread: All regions of them.
        decoder: The decoder.
        key: Its key, under which it is known how many regions fit.
        sizes: How many regions fit.
        strict: Let an error of a single sample through instead of noting it.
    """

    def __init__(
        self,
        selection: Selection,
        spread: Candidates,
        decoder: Decoder,
        key: str,
        sizes: BatchSizes,
        *,
        strict: bool = False,
    ) -> None:
        self.selection, self.spread, self.decoder = selection, spread, decoder
        self.key, self.sizes, self.strict = key, sizes, strict
        self._prompts: dict[int, str | None] | None = None
        self.refers = any(sample.candidates for sample in selection.truth)
        self._mentions = any(sample.mentioned for sample in selection.truth)
        self.scores: dict[int, float] = {}
        self._region_errors: dict[int, str] = {}
        self.answers = Answers()

    def take(self, bridged: Sequence[Encoded]) -> None:
        """Answer the samples of some chunks."""
        for chunk in bridged:
            self._region_errors.update(chunk.errors)
        batches = [batch for chunk in bridged for batch in chunk.batches]
        if self.refers:
            self._refer(batches)
        else:
            self._write(batches)

    def finish(self, among: Sequence[int]) -> Answers:
        """Return the answers to the samples at these positions."""
        found = self.answers
        if self.refers:
            likeliest = self.spread.answers(self.scores, len(self.selection.truth))
            found.captions = {at: one for at in among if (one := likeliest[at]) is not None}
        else:
            said, found.captions = found.captions, {}
            for at in sorted(said):
                self._answer(at, said[at])
        for region in sorted(self._region_errors):
            found.errors.setdefault(self.spread.owner[region], self._region_errors[region])
        found.errors = {at: found.errors[at] for at in among if at in found.errors and at not in found.captions}
        return found

    def _answer(self, at: int, said: Caption) -> None:
        """Take what the task makes of a caption as the answer to a sample."""
        task = self.selection.task
        try:
            with blamed(task, "task"):
                answer = task.answer(self.selection.truth[at], said)
            if not (isinstance(answer, Caption) and isinstance(answer.text, str)):
                raise FeatureError(
                    f"{who(task, 'task')}: answer() gave {answer!r}, and no Caption with a text",
                    "return regionkit.core.tasks.said(caption, text)",
                )
        except Exception as error:  # a task of a stranger may raise anything
            self._note(error, [at])
        else:
            self.answers.captions[at] = answer

    def _write(self, batches: Sequence[tuple[tuple[int, ...], Inputs]]) -> None:
        prompts = self._all_prompts(self.selection.samples)
        if self._mentions:
            asked = together(batches, self.spread, prompts)
            for position, error in asked.errors.items():
                self._note(error, [position])
            parts = asked.batches
        else:
            parts = [Batch(*cut) for joint in joined(batches) for cut in by_prompt(*joint, prompts)]
        for batch in parts:
            for start in range(0, len(batch.positions), ROWS_TOGETHER):
                kept = range(start, min(start + ROWS_TOGETHER, len(batch.positions)))
                whole = len(kept) == len(batch.positions)
                inputs = batch.inputs if whole else picked(batch.inputs, kept)
                self._each(tuple(batch.positions[at] for at in kept), inputs, batch.prompt, self._caption)

    def _caption(self, positions: tuple[int, ...], inputs: Inputs, prompt: str | None) -> None:
        found = written(self.decoder, inputs, prompt, self.selection.task.generation)
        for position, one in zip(positions, found, strict=True):
            if isinstance(one, FeatureError):
                self._note(one, [position])
            else:
                self.answers.captions[position] = one

    def _score(self, positions: tuple[int, ...], inputs: Inputs, prompt: str | None) -> None:
        chosen = [self.spread.samples[position] for position in positions]
        found = expression_scores(self.decoder, inputs, chosen, prompt)
        self.scores |= dict(zip(positions, found, strict=True))

    def _each(self, positions: tuple[int, ...], inputs: Inputs, prompt: str | None, do: Step) -> None:
        """Answer for some regions; where that fails, for fewer of them, so that only the bad ones fail."""

        def some(rows: Sequence[int]) -> None:
            given = inputs if len(rows) == len(positions) else picked(inputs, rows)
            do(tuple(positions[row] for row in rows), given, prompt)

        def fail(error: Exception, row: int) -> None:
            self._note(error, [positions[row]])

        each_that_fits(range(len(positions)), some, fail, self.sizes, self.key)

    def _refer(self, batches: Sequence[tuple[tuple[int, ...], Inputs]]) -> None:
        """Score the expression of each sample on its candidates; a candidate that fails is out of the running."""
        prompts = self._all_prompts(self.spread.samples)
        for whole in batches:
            for positions, inputs, prompt in by_prompt(*whole, prompts):
                self._each(positions, inputs, prompt, self._score)

    def _all_prompts(self, samples: Sequence[Sample]) -> dict[int, str | None]:
        """Return the prompt of every sample, or of every region of a referring task; those that have none are noted."""
        if self._prompts is None:
            refused: dict[int, Exception] = {}
            self._prompts = Prompts(self.selection.task, self.decoder).all_of(samples, refused)
            for position, error in refused.items():
                if self.strict:
                    raise error
                if self.refers:
                    self._region_errors.setdefault(position, reason_of(error))
                elif position not in self._failed():
                    self.answers.errors[position] = reason_of(error)
        return self._prompts

    def _failed(self) -> set[int]:
        return {self.spread.owner[region] for region in self._region_errors}

    def _note(self, error: Exception, positions: Sequence[int]) -> None:
        if self.strict:
            raise error
        reasons = self._region_errors if self.refers else self.answers.errors
        for position in positions:
            reasons.setdefault(position, reason_of(error))
