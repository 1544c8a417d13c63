"""How a task asks a decoder: prompts, regions that a prompt mentions, and how answers are written.

A call of :meth:`~regionkit.core.contracts.Decoder.generate` has one prompt, so samples are grouped by theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch.nn.functional import pad

from regionkit.core.blame import blamed
from regionkit.core.contracts import Decoder, Sample
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.tasks import REGION_MARK, Task
from regionkit.plugins.ablation.referring import Candidates, picked

Inputs = RegionTokens | RegionViews


@dataclass(frozen=True)
class Batch:
    """Samples that are asked the same, and what the decoder reads of each."""

    positions: tuple[int, ...]
    inputs: Inputs
    prompt: str | None


@dataclass
class Asked:
    """What samples are asked.

    Attributes:
        batches: Samples that go to the decoder, grouped by prompt.
        errors: Position -> reason, for samples that cannot be asked.
    """

    batches: list[Batch] = field(default_factory=list)
    errors: dict[int, RegionkitError] = field(default_factory=dict)


class Prompts:
    """The prompts of a task's samples, checked against what a decoder can do."""

    def __init__(self, task: Task, decoder: Decoder) -> None:
        self._task, self._decoder = task, decoder

    def of(self, sample: Sample) -> str | None:
        """Return what a sample is asked.

        Raises:
            RegionkitError: The task cannot make a prompt of it, or the decoder cannot place its regions.
        """
        with blamed(self._task, "task"):
            prompt = self._task.prompt(sample)
        marks, regions = (prompt or "").count(REGION_MARK), len(sample.mentioned)
        who = type(self._decoder).__name__
        if (marks or regions > 1) and not self._decoder.places_regions:
            told = "the regions that a question mentions" if regions else "a region where its prompt says"
            raise FeatureError(
                f"decoder '{who}' cannot read {told}: it takes none of the marks {REGION_MARK}",
                "choose a decoder that does, such as lm-tokens or seq2seq-tokens"
                + ("" if regions else f", or a prompt without {REGION_MARK}"),
            )
        if marks and marks != max(regions, 1):
            raise FeatureError(
                f'the prompt has {marks} {REGION_MARK} for {max(regions, 1)} regions: "{prompt}"',
                "a prompt has one mark for each region that is mentioned, in their order, or none at all",
            )
        return prompt

    def all_of(self, samples: Sequence[Sample], errors: dict[int, Exception]) -> dict[int, str | None]:
        """Return the prompt of each sample by its position; why there is none goes to ``errors``."""
        found: dict[int, str | None] = {}
        for position, sample in enumerate(samples):
            try:
                found[position] = self.of(sample)
            except Exception as error:  # a task of a stranger may raise anything
                errors[position] = error
        return found


def by_prompt(
    positions: Sequence[int], inputs: Inputs, prompts: dict[int, str | None]
) -> Iterator[tuple[tuple[int, ...], Inputs, str | None]]:
    """Cut a batch into parts of one prompt; regions without a prompt of theirs are left out."""
    rows: dict[str | None, list[int]] = {}
    for at, position in enumerate(positions):
        if position in prompts:
            rows.setdefault(prompts[position], []).append(at)
    for prompt, chosen in rows.items():
        kept = inputs if len(chosen) == len(positions) else picked(inputs, chosen)
        yield tuple(positions[at] for at in chosen), kept, prompt


def together(
    batches: Sequence[tuple[tuple[int, ...], Inputs]], spread: Candidates, prompts: dict[int, str | None]
) -> Asked:
    """Put the tokens of the regions that a sample mentions behind each other, each region as many.

    Args:
        batches: Positions of regions in ``spread``, and their tokens.
        spread: The regions of all samples.
        prompts: Prompt by position of the sample.

    Returns:
        Batches of samples of one prompt and one number of tokens; a sample of which a region is missing is left out.
    """
    rows: dict[int, RegionTokens] = {}
    asked = Asked()
    for positions, inputs in batches:
        for at, position in enumerate(positions):
            if isinstance(inputs, RegionViews):
                reason = "this pipeline draws pictures of regions, and a question that mentions regions needs tokens"
                asked.errors[spread.owner[position]] = FeatureError(
                    reason, "choose a region encoder that writes tokens"
                )
            else:
                rows[position] = RegionTokens(inputs.tokens[at : at + 1], inputs.mask[at : at + 1], inputs.space)
    groups: dict[tuple[str | None, int], tuple[list[int], list[RegionTokens]]] = {}
    for owner, members in spread.members().items():
        if owner in prompts and all(member in rows for member in members):
            joint = _behind([rows[member] for member in members])
            held = groups.setdefault((prompts[owner], joint.tokens.shape[1]), ([], []))
            held[0].append(owner)
            held[1].append(joint)
    for (prompt, _), (owners, several) in groups.items():
        tokens = torch.cat([one.tokens for one in several])
        mask = torch.cat([one.mask for one in several])
        asked.batches.append(Batch(tuple(owners), replace(several[0], tokens=tokens, mask=mask), prompt))
    return asked


def _behind(several: Sequence[RegionTokens]) -> RegionTokens:
    """Return the tokens (1, t, d) of regions as one row; shorter regions are padded, so that shares are equal."""
    longest = max(one.tokens.shape[1] for one in several)
    tokens = [pad(one.tokens, (0, 0, 0, longest - one.tokens.shape[1])) for one in several]
    mask = [pad(one.mask, (0, longest - one.mask.shape[1])) for one in several]
    return replace(several[0], tokens=torch.cat(tokens, 1), mask=torch.cat(mask, 1))
