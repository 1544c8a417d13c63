"""The five interfaces, Backbone, RegionEncoder, GapBridge, Decoder and Metric, and the supporting kinds.

Letters in shapes: b images, r regions in the whole batch, t tokens a region, h w patch grid, d width, n texts.
A component is a class that the registry builds from a filled config with :meth:`Component.build`; modules with
parameters inherit from ``torch.nn.Module`` first and from their contract second. All promises stand in this one file,
long as it is: whoever writes a component reads it from top to bottom.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regionkit.core.errors import DataError, FeatureError
from regionkit.core.explaining import Neighbour, TokenScore
from regionkit.core.features import Caption, Features, GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Region, Regions
from regionkit.core.spec import STILL_REGIONS
from regionkit.core.weights import WeightFile, WeightHeader

if TYPE_CHECKING:  # data sets and metrics are built, and ablations planned, without torch
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What surrounds a component while it is built.

    Attributes:
        reads: The space it reads, ``name[dim]``, resolved from the pipeline; empty for a backbone.
        writes: The space it writes; empty for a decoder.
        weights: The weight file that was chosen for it, None where it has none or starts untrained.
        bank: For a decoder whose spec names a ``memory``, the bank of texts that was chosen for it, with the tensors of
            :func:`regionkit.core.texts.bank_tensors`; None where it is fitted to a corpus after it was built, or not.
        backbone: The pipeline's backbone; None while the backbone itself is built.
        parts: What was built before it, by role, which is the kind unless a spec says otherwise. For a recipe, all
            parts of its file: those of its ``needs``, and a corpus where the file names one. For each of these, those
            that come before it in the order corpus, dataset, backbone, region encoder, bridge, decoder, others: an
            untrained decoder takes its words from the :class:`Corpus` in ``parts["corpus"]``. In a pipeline, the parts
            before it and never a corpus, so ask with ``parts.get("corpus")``. For a metric, what it judges with; for a
            data set or a corpus, what its spec needs.
        hashes: For a metric, the content hash of the weights of each part that has some, by role, for its signature.
        seed: Seed of a recipe, and of freshly initialised weights.
        scratch: For a recipe, a folder of its own beside the run, which it makes where it needs one: what lies there is
            found again when the run goes on, and removed when it ends. None where nobody keeps one.
    """

    reads: str = ""
    writes: str = ""
    weights: WeightFile | None = None
    bank: WeightFile | None = None
    backbone: Backbone | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    scratch: Path | None = None


class Component:
    """Common ground of all kinds."""

    @classmethod
    def build(cls, config: Any, context: BuildContext) -> Self:
        """Make the component from its filled config; weights named by ``context`` are loaded here.

        By default the constructor is given the config, or nothing where it takes nothing.
        """
        named = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        takes_config = any(parameter.kind in named for parameter in signature(cls).parameters.values())
        return cls(config) if takes_config else cls()  # type: ignore[call-arg]

    def artifact(self) -> WeightArtifact | None:
        """Return the component's weights as a file holds them; None for one that has none of its own.

        The header says the options that shape the architecture as ``config``, and all else that :meth:`build` needs as
        ``extra``. Spaces, corruption and corpus may be left empty: whoever trained the component fills them in.
        """
        return None


class Backbone(Component, ABC):
    """Turns pictures, and sentences where it has a text tower, into vectors.

    Attributes:
        space: Space of patches and class token, ``name[dim]``.
        text_space: Space of sentences, ``name[dim]``; empty without a text tower.
        block_space: Space of what its transformer blocks hand on, ``name[dim]``; empty for a backbone that is no ViT.
        masked_space: Space of what :meth:`encode_masked` gives, ``name[dim]``; empty for one that takes no masks.
        prefix_tokens: Tokens of :meth:`embed` in front that belong to no patch: class token, registers.
    """

    space: str
    text_space: str = ""
    block_space: str = ""
    masked_space: str = ""
    prefix_tokens: int = 0

    @property
    def blocks(self) -> Sequence[torch.nn.Module]:
        """Transformer blocks in order, for parts that work between them (INViTE, ProxyCLIP, DAM's adapters).

        Empty for a backbone that is no ViT. ``blocks`` take and give (b, n, d); :meth:`embed` makes their input.
        Running them hands gradients through to the input, so that parts before and between them can be trained.
        """
        return ()

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens (b, n, d) that enter the first block, for preprocessed pixels (b, 3, height, width).

        The ``prefix_tokens`` come first, then the patches, row-major over the grid of the frame.
        """
        raise NotImplementedError(f"{type(self).__name__} is no ViT: it has no blocks to enter")

    def preprocess(self, images: Sequence[Image.Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Return pixels (b, 3, height, width) as the model reads them, and the frames that say what was done."""
        raise NotImplementedError(f"{type(self).__name__} does not expose its pixels")

    @abstractmethod
    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Describe what preprocessing does to an image of ``(width, height)`` pixels."""

    @abstractmethod
    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Encode b pictures in one forward pass; the features of an image never depend on its batch mates."""

    def encode_masked(self, images: Sequence[Image.Image], masks: Sequence[NDArray[np.bool_]]) -> Features:
        """Encode b pictures, each with a mask of what is asked about beside its pixels (AlphaCLIP).

        Args:
            images: b pictures; one may come several times with different masks.
            masks: b masks (height, width) in pixels of their pictures, True inside.

        Raises:
            FeatureError: The backbone takes no masks, or they are not as many, or not as large, as the pictures.
        """
        raise FeatureError(
            f"backbone '{type(self).__name__}' takes no masks beside its pictures",
            "choose one that does; toolkit compat shows which parts fit",
        )

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, d), not normalised.

        Raises:
            FeatureError: The backbone has no text tower.
        """
        raise FeatureError(f"backbone '{type(self).__name__}' has no text tower")

    def check_images(self, images: Sequence[Image.Image]) -> None:
        """Refuse pictures that this backbone cannot make sense of.

        Raises:
            ImageError: One is refused; the message says what to use instead.
        """


class RegionEncoder(Component, ABC):
    """Turns regions of a scene into tokens, or into pictures for decoders that read pictures.

    Attributes:
        accepts: Region kinds that it takes; all others are refused with the standard error.
    """

    accepts: ClassVar[tuple[str, ...]] = STILL_REGIONS

    @abstractmethod
    def encode(self, scene: Scene, regions: Regions) -> RegionTokens | RegionViews:
        """Encode r regions.

        Args:
            scene: b images; ``scene.features`` is one shared forward pass, ``scene.backbone`` may be run again.
            regions: r regions in pixels of the original images.

        Raises:
            RegionError: A region is of another kind, or lies outside its image.
        """

    def attention(self, scene: Scene, regions: Regions) -> Tensor:
        """Return (r, h, w): how much each patch of its image counts for each region, each map summing to 1.

        Raises:
            FeatureError: This encoder has no such weights.
        """
        raise FeatureError(
            f"region encoder '{type(self).__name__}' has no attention map",
            "choose one that weighs the patches of the whole picture, such as patch-pool",
        )


class GapBridge(Component, ABC):
    """Carries vectors from image space to the text space that a decoder was trained in.

    A bridge acts at three moments: it may be fitted to a corpus, it may corrupt the text embeddings that a decoder sees
    in training, and it maps region tokens at inference. What it does to training is part of a decoder's identity:
    its config states it as ``corruption``.
    """

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Fit to a corpus of n texts and their embeddings (n, d); by default nothing is learned.

        Called once after :meth:`build` where no weight file was chosen, and only for a spec with ``needs=("corpus",)``
        and ``weights="index"``: the option ``bank`` of its config names the corpus. The embeddings are those of the
        backbone's text tower, float32, not normalised, on the device of the bridge.

        Of pictures it hears nothing. What is learned from pairs are weights, made beforehand by a recipe, for which
        there is :meth:`alignment_loss`, or by a script that ends with :func:`regionkit.core.weights.write_weights`.
        """
        return

    def corrupt(self, embeddings: Tensor, generator: torch.Generator) -> Tensor:
        """Turn text embeddings (n, d) into what the decoder sees in training; unit vectors by default."""
        from torch.nn.functional import normalize

        return normalize(embeddings, dim=-1)

    @abstractmethod
    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Map region tokens (r, t, d) to the space that the decoder reads."""

    def neighbours(self, tokens: RegionTokens, count: int) -> list[list[Neighbour]]:
        """Return the texts that each of r regions' bridged vector is made of, at most ``count``, most weight first.

        Texts that have no part in it are left out. Only a bridge with a memory of texts can say this.

        Raises:
            FeatureError: This bridge has no such memory, or the tokens are not what it reads.
        """
        raise FeatureError(
            f"bridge '{type(self).__name__}' has no memory of texts to show",
            "choose one that makes its vectors of texts, such as memory",
        )

    def without(self, tokens: RegionTokens, left_out: Sequence[Neighbour]) -> RegionTokens:
        """Bridge r regions as :meth:`bridge` does, each as if one text were not in the memory.

        Args:
            tokens: r regions.
            left_out: r of :meth:`neighbours`, one a region.

        Raises:
            FeatureError: This bridge has no memory of texts, or one of nothing else.
        """
        raise FeatureError(f"bridge '{type(self).__name__}' has no memory of texts to leave one out of")

    def alignment_loss(self, tokens: RegionTokens, targets: Tensor) -> Tensor:
        """Training loss of a bridge that is learned from pairs (a projector, the ViZer mapper)."""
        raise NotImplementedError(f"{type(self).__name__} is not trained with pairs")


class Decoder(Component, ABC):
    """Writes captions from region tokens or views. A caption never depends on its batch mates.

    Attributes:
        places_regions: Whether a prompt may say where regions stand in it, with
            :data:`~regionkit.core.tasks.REGION_MARK`. Its inputs are then, for each row, the tokens of as many regions
            as the prompt has marks, one after the other and each as many.
    """

    places_regions: ClassVar[bool] = False

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Fit to a corpus of n texts and their embeddings (n, d), for one that retrieves; by default nothing.

        Called as :meth:`GapBridge.fit` is, for a spec with ``needs=("corpus",)`` and ``weights="index"``, or with a
        ``memory``, where no file of the bank was chosen.
        """
        return

    @abstractmethod
    def generate(
        self,
        inputs: RegionTokens | RegionViews,
        prompt: str | None = None,
        options: GenerateOptions | None = None,
    ) -> list[Caption]:
        """Write one caption for each of r regions."""

    @abstractmethod
    def score(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return (r,) log-likelihoods of one given text a region after the prompt, the end token included."""

    def token_scores(
        self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None, alternatives: int = 3
    ) -> list[list[TokenScore]]:
        """Return the tokens of one given text a region, the end token included, and how likely each was.

        The log-probabilities of a text sum to what :meth:`score` says of it.

        Args:
            inputs: r regions.
            texts: r texts.
            prompt: As in :meth:`generate`.
            alternatives: Other tokens to name at each place.

        Raises:
            FeatureError: This decoder does not write token by token, or does not show how.
        """
        raise FeatureError(
            f"decoder '{type(self).__name__}' does not show its tokens",
            "choose one that does; toolkit list-components --kind decoder lists all",
        )

    @abstractmethod
    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the scalar training loss on r pairs; the prompt's own tokens are not part of it."""

    def loss_terms(self, texts: Sequence[str]) -> int:
        """Return how many terms :meth:`loss` on these texts is a mean of, such as tokens; one a text by default.

        Processes that share a batch weigh their gradients by it, and training counts tokens with it.
        """
        return len(texts)

    def hidden_states(
        self,
        inputs: RegionTokens | RegionViews,
        texts: Sequence[str],
        prompt: str | None = None,
        positions: Literal["pred", "tok"] = "pred",
    ) -> RegionTokens:
        """Return the last hidden states, before the output layer, at the tokens of given texts (ViZer, section 3).

        Args:
            inputs: r regions; gradients reach them and the decoder's weights.
            texts: r texts.
            prompt: As in :meth:`generate`.
            positions: ``pred``: the states that predict each token of a text, the end token included. ``tok``: the
                states at those tokens themselves.

        Returns:
            tokens (r, t, d), padded at the end as ``mask`` says, in a space of the decoder's own.

        Raises:
            FeatureError: This decoder has no such states to show.
        """
        raise FeatureError(f"decoder '{type(self).__name__}' does not show its hidden states")

    def visual_features(self, views: RegionViews) -> Tensor:
        """Return (r, d): for a decoder that reads pictures, the mean of what its own vision encoder sees in each.

        Raises:
            FeatureError: It has no vision encoder.
        """
        raise FeatureError(f"decoder '{type(self).__name__}' has no vision encoder of its own")


@dataclass(frozen=True, slots=True)
class Sample:
    """One region of a data set with what is known of it.

    Attributes:
        id: Unique in its data set and task, stable over runs.
        image_id: Key of the picture, shared by all samples of that picture; of a clip for a mask track.
        region: What to caption.
        references: Reference captions; none where something else in ``info`` says what is right.
        info: What metrics and tasks may need beyond them: ``nouns``, ``question``, ``choices``, ``answers``.
        candidates: For referring tasks, the regions among which a reference picks ``region``; empty otherwise.
        mentioned: Regions that a question speaks of by number, in that order, each handed to the decoder by itself;
            ``region`` holds them all together. Empty otherwise.
    """

    id: str
    image_id: str
    region: Region
    references: tuple[str, ...]
    info: Mapping[str, Any] = field(default_factory=dict)
    candidates: tuple[Region, ...] = ()
    mentioned: tuple[Region, ...] = ()

    def carries(self, need: str) -> bool:
        """Say whether it carries what a word of :attr:`Metric.needs` asks for; its picture is taken for granted."""
        held = {"image": True, "references": bool(self.references), "candidates": bool(self.candidates)}
        return any(held.get(word, word in self.info) for word in need.split("|"))


class Dataset(Component, ABC):
    """Pictures with regions, for one or more tasks.

    Attributes:
        splits: Names of the splits; the first is taken where nobody names one and there is no ``test``.
        disclaimer: A sentence that every report on these data prints; empty for none.
    """

    splits: tuple[str, ...] = ("test",)
    disclaimer: str = ""

    def lexicon(self, kind: str) -> Mapping[str, str]:
        """Map the words that captions may use to the terms that ``Sample.info[kind]`` lists, plurals included.

        Args:
            kind: ``nouns`` or ``attributes``. Words are lower-case; a term of several words is joined by spaces.

        Raises:
            DataError: The data set has no such list.
        """
        raise DataError(
            f"data set '{type(self).__name__}' has no lexicon of {kind}",
            "metrics that look for words, such as noun-f1, need one: drop them, or choose other data",
        )

    @abstractmethod
    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> Sequence[Sample]:
        """Return the samples of a task.

        Args:
            task: One of the tasks that the data set's spec lists in ``accepts``.
            split: One of ``splits``.
            seed: Selects other scenes where the data are generated.
            limit: Number of images, None for all.
        """

    @abstractmethod
    def image(self, image_id: str) -> Image.Image:
        """Load the picture of that key."""

    @abstractmethod
    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        """Return a short hash that changes whenever any sample or picture of that selection would."""

    def picture(self, image_id: str) -> Path | None:
        """Return the file of a picture; None for one that is no file of its own.

        Raises:
            DataError: It is not there; the message says where it was looked for.
        """
        return None

    def clip(self, image_id: str) -> Sequence[Image.Image]:
        """Load the frames of a clip that a mask track is about, one a mask.

        Raises:
            DataError: There is no such clip.
        """
        raise DataError(f"data set '{type(self).__name__}' has pictures, and no clips")

    def faults(self, task: str, split: str) -> Sequence[str]:
        """Return the records that cannot be used and are left out, ``FILE:LINE: reason`` each."""
        return ()

    def left(self, task: str, split: str) -> Sequence[str]:
        """Return the records that are left out by protocol, and are no faults, ``FILE:LINE: reason`` each."""
        return ()

    def make(self, folder: Path, split: str, seed: int, limit: int | None) -> Mapping[str, int]:
        """Write the data set into ``folder``, so that it can be looked at, changed and handed on.

        Returns:
            How many there are of what, in words for a report: ``{"pictures": 50}``.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be written to disk")

    def verify(self, folder: Path) -> list[str]:
        """Return what is wrong with a folder that :meth:`make` wrote, one line a fault."""
        raise NotImplementedError(f"{type(self).__name__} cannot be verified")


class Corpus(Component, ABC):
    """A named list of sentences, for banks and for text-only training.

    Attributes:
        generated: True where the sentences follow from the options and the code alone, no file being read; a cache then
            recognises them without making them.
    """

    generated: ClassVar[bool] = False

    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Return all sentences, in a fixed order."""

    def stream(self) -> Iterator[str]:
        """Yield the sentences of :meth:`texts` one by one; a corpus that is too large for memory reads as it goes."""
        yield from self.texts()

    def rows(self) -> Sequence[str] | None:
        """Return the sentences of :meth:`stream` by their numbers, each made or found when it is asked for, or None.

        None, the default, says that the sentences can only be read from front to back.
        """
        return None

    def pictures(self) -> Sequence[int] | None:
        """Return for each sentence of :meth:`texts` the number of the picture it is about; None if nobody knows."""
        return None

    def faults(self) -> Sequence[str]:
        """Return what could not be used and was left out when it was last read, ``FILE: reason`` each."""
        return ()


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome of a metric.

    Attributes:
        value: The corpus value.
        per_sample: One value a sample in the order of updates, or None where the metric has no such thing.
        signature: What the value depends on: metric, variant, tokeniser, idf source, weights hash, n; made with
            :func:`regionkit.core.signatures.signature`. Scores of different signatures are not comparable.
        parts: The values of a metric that has several, by the suffixes of :attr:`Metric.parts`; ``value``,
            ``per_sample`` and ``signature`` are then those of the part that stands for the metric.
        statistics: (n, k) what each sample adds to a corpus value that is no mean over samples; see
            :meth:`Metric.pool`. None where ``value`` is the mean of ``per_sample``, or follows from no sums.
        unjudged: Positions of samples that could not be judged, because a judge gave no answer, and why. They have no
            part in ``value``: their ``per_sample`` is NaN, their row of ``statistics`` zeros.
    """

    value: float
    per_sample: tuple[float, ...] | None
    signature: str
    parts: Mapping[str, Score] = field(default_factory=dict)
    statistics: NDArray[np.float64] | None = field(default=None, compare=False)
    unjudged: Mapping[int, str] = field(default_factory=dict)


class Metric(Component, ABC):
    """Judges captions.

    Attributes:
        needs: What samples must carry: ``references``, ``image`` (their pictures), or keys of ``Sample.info``; of words
            joined by ``|`` one is enough. A metric that needs ``candidates`` judges the answers of referring tasks,
            which are positions among them, and no captions; others never do.
        higher_is_better: Direction.
        parts: Suffixes of the values of a metric that gives several: ``("1", "4")`` are columns ``bleu-1`` and
            ``bleu-4``, and the empty suffix is a column named as the metric. Empty for a metric with one value.
    """

    needs: tuple[str, ...] = ("references",)
    higher_is_better: ClassVar[bool] = True
    parts: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Start what takes long, such as another process, without waiting for it; called before captions are made.

        What can never work, because something is not installed, is refused earlier, by :meth:`build`.
        """

    def expect(self, samples: Sequence[Sample]) -> None:
        """Hear of all samples that are to be judged, before any caption comes; some may never get one.

        What a metric makes of references alone, such as document frequencies, must not change with those that fail.
        """

    @abstractmethod
    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order."""

    def update_from(self, samples: Sequence[Sample], captions: Sequence[Caption]) -> None:
        """Take in captions as a decoder gave them, for metrics that look at more than their text."""
        self.update(samples, [caption.text for caption in captions])

    @abstractmethod
    def compute(self) -> Score:
        """Judge everything taken in so far."""

    @classmethod
    def pool(cls, part: str, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the corpus values (d,) of a part that follow from sums (d, k) of rows of ``Score.statistics``.

        Intervals and tests draw samples again and again; a metric with statistics says here what follows from a draw.
        """
        raise NotImplementedError(f"{cls.__name__} has no statistics")


def column(label: str, part: str) -> str:
    """Return what a value of a metric is called in tables, files and claims: ``bleu`` and ``4`` make ``bleu-4``."""
    return f"{label}-{part}" if part else label


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How a recipe is optimised, read by the training loop.

    Attributes:
        steps: Optimiser steps.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        warmup: Steps of linear warm-up.
        schedule: ``linear``, ``cosine`` (both to zero) or ``constant``, after the warm-up.
        clip: Gradient norm limit; 0 for none.
        betas: Decay of AdamW's running means of the gradient and of its square.
    """

    steps: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: int = 0
    schedule: str = "cosine"
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, slots=True)
class WeightArtifact:
    """A weight file that a recipe makes: tensors by name and the header that says what they are for."""

    tensors: Mapping[str, Tensor]
    header: WeightHeader


class Recipe(Component, ABC):
    """A training objective.

    A batch is a function of the seed and of the step alone, never of what ran before: that is what makes a run that was
    killed and resumed end with the very same weights.

    Attributes:
        settings: How it is optimised.
        rows_apart: Whether the loss of a batch is a mean of terms that each belong to one row, so that several
            processes may compute rows of it; a contrastive loss, which holds rows against each other, is none.
        fingerprint: Tells its data from others where options alone do not; a run does not go on with other data.
    """

    settings: TrainSettings
    rows_apart: ClassVar[bool] = False
    fingerprint: str = ""

    @property
    @abstractmethod
    def module(self) -> torch.nn.Module:
        """The module whose trainable parameters are optimised and checkpointed."""

    @abstractmethod
    def batch(self, step: int) -> Any:
        """Make the batch of a step (0-based) from the seed and the step."""

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        """Return the scalar loss and figures to show beside it; one named ``tokens`` is added up, shown as a rate."""

    def share(self, step: int, rank: int, count: int) -> Any:
        """Return rows ``rank::count`` of the batch of a step, for one of several processes.

        By default they are cut out of the whole batch, :func:`regionkit.core.sharing.rows_of`; for batches that it does
        not understand, or that cost less when made in part, a recipe says here how.
        """
        from regionkit.core.sharing import rows_of

        return rows_of(self.batch(step), rank, count)

    def weight(self, batch: Any) -> float:
        """Return how many terms the loss of a batch, or of a share of one, is a mean of; by default its rows."""
        from regionkit.core.sharing import count_rows

        return float(count_rows(batch))

    @abstractmethod
    def export(self) -> Sequence[WeightArtifact]:
        """Return the trained weights, one artifact for each part that was trained, of another kind each."""

    def evaluate(self) -> Iterable[tuple[str, float]]:
        """Return figures to report at the end of training; by default none."""
        return ()


def iter_batches(count: int, size: int) -> Iterator[slice]:
    """Cut ``range(count)`` into slices of at most ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
