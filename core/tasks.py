"""Tasks: what is asked of a sample, how, and what counts as the answer.

A data set brings pictures, regions and what is right; a task brings the protocol under which a benchmark asks for it.
In YAML, ``keyword@lvis`` is both, and ``{task: {name: keyword, prompt: ...}, name: lvis}`` changes the protocol.
"""

from __future__ import annotations

from dataclasses import replace

from regionkit.core.contracts import Component, Sample
from regionkit.core.features import Caption, GenerateOptions
from regionkit.core.regions import Region

#: Stands in a prompt where the tokens of a mentioned region go, one for each of ``Sample.mentioned``, in their order.
REGION_MARK = "<region>"


class Task(Component):
    """A protocol. Everything that it does not change is left to the data and to the pipeline's parts.

    A pipeline answers a sample in one of two ways, and the sample says which. Where it has ``candidates``, the decoder
    scores the references on each, and the answer is the position of the likeliest. Otherwise the decoder writes.

    Attributes:
        metrics: Names of the metrics that are reported where nobody names any, as its papers do.
        generation: How answers are written; None leaves it to the decoder.
    """

    metrics: tuple[str, ...] = ()
    generation: GenerateOptions | None = None

    def prepare(self, sample: Sample) -> Sample | None:
        """Return the sample as it is asked and judged, None where this protocol leaves it out.

        It may ask about another region (one frame of a clip, the objects of a question), and clean references by the
        rules of the benchmark. The id stays what it is, and so does the picture, unless one frame of a clip takes the
        clip's place: ``CLIP#INDEX``, as ``Dataset.image`` loads it.
        """
        return sample

    def prompt(self, sample: Sample) -> str | None:
        """Return what is asked; None asks the decoder's own prompt.

        For a sample with ``mentioned`` regions it holds one :data:`REGION_MARK` for each, in their order.
        """
        return None

    def answer(self, sample: Sample, caption: Caption) -> Caption:
        """Return what metrics judge of what the decoder wrote."""
        return caption


def said(caption: Caption, text: str) -> Caption:
    """Return a caption with another text, for tasks that clean answers; tokens and score stay those of the decoder."""
    return replace(caption, text=text)


def regions_of(sample: Sample) -> tuple[Region, ...]:
    """Return the regions that a pipeline encodes for a sample: its candidates, those it mentions, or the one region."""
    return sample.candidates or sample.mentioned or (sample.region,)
