"""How a caption of a pipeline came about: which patches, which texts of a memory, which tokens.

Two kinds of answers stand beside each other. *Weights* are what a part says it did: the region encoder's attention, the
memory's shares. *Influence* is what happens when something is left out: the log-probability of the caption as it was,
minus that of the same caption without it, in nats. A large positive influence speaks for the caption, a negative one
against it. Influences do not add up: parts that say the same stand in for each other.

A patch that is left out takes the mean of the patches of the picture that stay; a text that is left out is out of the
memory, whose weights are made anew. Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014,
section 4.2, paint over pixels. Here the backbone runs once and what it saw is left out, wherever the region encoder
reads that; one that looks at the picture itself, such as a crop, is shown pictures with a square painted over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regionkit.core import seams
from regionkit.core.contracts import iter_batches
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.explaining import Neighbour, TokenScore
from regionkit.core.features import Caption, Features, GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.frames import Frame
from regionkit.core.geometry import patch_weights
from regionkit.core.pipeline import Pipeline
from regionkit.core.regions import Region, Regions

#: Cells whose influence is measured; the patches of larger grids are grouped into as many at most.
MOST_CELLS = 144
#: Squares of the picture that are painted over, for parts that run the backbone again for each.
MOST_SQUARES = 36
#: Pictures that are encoded together.
_PICTURES = 12
#: Bytes of features that are held at once, each copy of them with another cell left out.
_COPIES = 64 << 20
#: What half precision may leave of a sum of 1.
_ROUNDING = 1e-2

Floats = NDArray[np.float64]
Inputs = RegionTokens | RegionViews


@dataclass(eq=False)
class PatchesExplained:
    """What the patches of a picture had to do with a caption.

    Attributes:
        frame: How the picture became patches.
        touched: (rows, columns), True on the patches that the region touches.
        cells: (rows, columns) number of the cell that each patch belongs to; every patch its own on small grids.
        weights: (rows, columns) weights of the region encoder, summing to 1; None where it has none.
        influence: (cells,) log-probability that the caption loses without a cell; None where that says nothing.
        of_tokens: (tokens, cells) the same for each token; None where there are no tokens.
        how: What is left out: ``patches`` of the features, squares of the ``picture``, which are painted over, or
            nothing, where that says nothing.
        of_region: What the caption loses without all patches that the region touches, None where none would be left.
        region_of_tokens: (tokens,) the same for each token.
    """

    frame: Frame
    touched: NDArray[np.bool_]
    cells: NDArray[np.int64]
    weights: Floats | None = None
    influence: Floats | None = None
    of_tokens: Floats | None = None
    how: Literal["patches", "picture", ""] = ""
    of_region: float | None = None
    region_of_tokens: Floats | None = None

    @property
    def inside(self) -> float | None:
        """Share of the weight on the patches that the region touches."""
        return None if self.weights is None else float((self.weights * self.touched).sum())

    @property
    def area(self) -> float:
        """Share of the patches that the region touches."""
        return float(self.touched.mean())

    def influence_map(self) -> Floats | None:
        """Return (rows, columns): the influence of the cell that each patch belongs to."""
        return None if self.influence is None else self.influence[self.cells]


@dataclass(eq=False)
class Explanation:
    """How a caption came about.

    Attributes:
        image: The picture.
        region: What is captioned.
        made: What the pipeline writes now.
        text: The caption that is explained: ``made``, or one that was given.
        log_probability: Of ``text`` with its end token, in nats; NaN where the decoder cannot say.
        patches: Which patches.
        texts: Texts of the bridge's memory, most weight first.
        texts_influence: (texts,) log-probability that the caption loses without each.
        tokens: The tokens of ``text`` with that of the end.
        tokens_by_text: (tokens, texts) log-probability that a token loses without a text.
        notes: What a part cannot say, and why: ``weights``, ``influence``, ``texts``, ``tokens``; and what
            else a reader must know: ``region``, ``end``.
    """

    image: Image.Image
    region: Region
    made: Caption
    text: str
    log_probability: float
    patches: PatchesExplained
    texts: tuple[Neighbour, ...] = ()
    texts_influence: Floats | None = None
    tokens: tuple[TokenScore, ...] = ()
    tokens_by_text: Floats | None = None
    notes: dict[str, str] = field(default_factory=dict)


@torch.inference_mode()
def explain_caption(
    pipeline: Pipeline,
    image: Image.Image,
    region: Region,
    text: str | None = None,
    prompt: str | None = None,
    options: GenerateOptions | None = None,
    *,
    texts: int = 8,
) -> Explanation:
    """Caption one region of a picture, and say which patches, texts and tokens made the caption.

    A part that cannot say what it did leaves a sentence in ``notes``; nothing else is lost by it.

    Args:
        pipeline: The pipeline.
        image: The picture.
        region: In pixels of it.
        text: The caption to explain; None for the one that the pipeline writes.
        prompt: Passed to decoders that take one.
        options: How the caption is written.
        texts: Texts of the memory to name.

    Raises:
        RegionkitError: The region cannot be captioned at all.
    """
    scene, regions = Scene([image], pipeline.backbone), Regions.of([[region]])
    encoded = seams.encoded(pipeline.region_encoder, scene, regions)
    inputs = encoded if isinstance(encoded, RegionViews) else seams.bridged(pipeline.bridge, encoded)
    made = seams.captions(pipeline.decoder, inputs, prompt, options)[0]
    frame = pipeline.backbone.frame(image.size)
    patches = PatchesExplained(frame, patch_weights(region, frame) > 0, cells_of(frame.grid))
    found = Explanation(image, region, made, made.text if text is None else text, math.nan, patches)
    if not made.finished and found.text == made.text:
        found.notes["end"] = "the length limit cut this caption off: its end was never written"
    explainer = _Explainer(pipeline, found, prompt)
    explainer.weights(scene, regions)
    explainer.tokens(inputs)
    explainer.memory(encoded, texts)
    explainer.occlusion(scene, regions, encoded)
    return found


def cells_of(grid: tuple[int, int], most: int = MOST_CELLS) -> NDArray[np.int64]:
    """Return (rows, columns) the number of the cell of each patch: squares of patches, as small as ``most`` allows."""
    rows, columns = grid
    side = 1
    while math.ceil(rows / side) * math.ceil(columns / side) > most:
        side += 1
    across = math.ceil(columns / side)
    return (np.arange(rows)[:, None] // side * across + np.arange(columns)[None, :] // side).astype(np.int64)


class _Explainer:
    """Fills an explanation, a part of the pipeline after the other."""

    def __init__(self, pipeline: Pipeline, found: Explanation, prompt: str | None) -> None:
        self._pipeline, self._found, self._prompt = pipeline, found, prompt
        self._by_token = True
        self._base: Floats | None = None  # (tokens,), or (1,) where there are no tokens

    def weights(self, scene: Scene, regions: Regions) -> None:
        """Ask the region encoder where it looked."""
        encoder, patches = self._pipeline.region_encoder, self._found.patches
        try:
            maps = encoder.attention(scene, regions).double().cpu().numpy()
        except RegionkitError as error:
            self._note("weights", error)
            return
        fits = maps.shape == (1, *patches.frame.grid) and bool((maps >= 0).all())
        if not fits or abs(maps.sum() - 1) > _ROUNDING:
            self._found.notes["weights"] = f"region encoder '{type(encoder).__name__}' gave maps that are none"
            return
        patches.weights = maps[0]

    def tokens(self, inputs: Inputs) -> None:
        """Ask the decoder how likely each token was; one without tokens may still say how likely the caption was."""
        decoder, text = self._pipeline.decoder, [self._found.text]
        try:
            try:
                self._found.tokens = tuple(decoder.token_scores(inputs, text, self._prompt)[0])
                self._base = np.array([one.log_probability for one in self._found.tokens])
            except FeatureError as error:
                self._note("tokens", error)
                self._by_token = False
                self._base = decoder.score(inputs, text, self._prompt).double().cpu().numpy()
        except (RegionkitError, ValueError, NotImplementedError) as error:  # a caption that the decoder cannot read
            reason = f"decoder '{type(decoder).__name__}' cannot say how likely this caption is: {error}"
            self._found.notes["tokens"] = reason
            return
        self._found.log_probability = float(self._base.sum())

    def memory(self, encoded: Inputs, count: int) -> None:
        """Ask the bridge which texts its vector is made of, and what the caption is without each of them."""
        bridge, found = self._pipeline.bridge, self._found
        if isinstance(encoded, RegionViews):
            found.notes["texts"] = "the decoder reads pictures: no bridge and no memory stand before it"
            return
        try:
            found.texts = tuple(bridge.neighbours(encoded, count)[0])
        except RegionkitError as error:
            self._note("texts", error)
            return
        if self._base is None:
            return
        left: list[Floats] = []
        for text in found.texts:
            try:
                left.append(self._likely(bridge.without(encoded, [text]))[0])
            except RegionkitError:  # it may be all that the memory holds
                left.append(np.full(len(self._base), np.nan))
        lost = self._base - np.stack(left) if left else np.zeros((0, len(self._base)))
        found.texts_influence = lost.sum(1)
        found.tokens_by_text = lost.T if self._by_token else None

    def occlusion(self, scene: Scene, regions: Regions, encoded: Inputs) -> None:
        """Leave out one cell of patches after the other, and then all that the region touches."""
        found, patches = self._found, self._found.patches
        if self._base is None:
            found.notes["influence"] = found.notes["tokens"]
            return
        how: Literal["patches", "picture"] = "patches" if self._reads_patches(scene, regions, encoded) else "picture"
        if how == "picture":
            patches.cells = cells_of(patches.frame.grid, MOST_SQUARES)
        numbers = np.arange(int(patches.cells.max()) + 1)
        if len(numbers) == 1:
            found.notes["influence"] = "there is one patch alone: without it nothing would be left of the picture"
            return
        groups = patches.cells[None] == numbers[:, None, None]
        whole = bool(patches.touched.all())
        groups = groups if whole else np.concatenate([groups, patches.touched[None]])
        several = self._features_without if how == "patches" else self._pictures_without
        try:
            lost = self._lost(several(scene, regions, groups), encoded, len(groups))
        except RegionkitError as error:  # some parts refuse what no picture of theirs looks like
            found.notes["influence"] = f"nothing can be left out of the {how}: {error.message}"
            return
        patches.how = how
        patches.influence = lost[: len(numbers)].sum(1)
        patches.of_tokens = lost[: len(numbers)].T if self._by_token else None
        if whole:
            found.notes["region"] = "the region touches every patch: without it nothing would be left of the picture"
            return
        patches.of_region = float(lost[-1].sum())
        patches.region_of_tokens = lost[-1] if self._by_token else None

    def _reads_patches(self, scene: Scene, regions: Regions, encoded: Inputs) -> bool:
        """Say whether the region encoder reads the patches that the backbone saw in the whole picture."""
        if isinstance(encoded, RegionViews):
            return False
        features = scene.features
        other = Scene(scene.images, scene.backbone, replace(features, patches=features.patches.roll(1, -1)))
        again = self._pipeline.region_encoder.encode(other, regions)
        return isinstance(again, RegionTokens) and not torch.equal(again.tokens, encoded.tokens)

    def _features_without(self, scene: Scene, regions: Regions, groups: NDArray[np.bool_]) -> Iterator[Inputs]:
        """Yield the region encoded from features without each of n groups of patches (n, rows, columns), in batches."""
        for part in iter_batches(len(groups), max(1, _COPIES // max(scene.features.patches.nbytes, 1))):
            yield self._encoded(_copies(scene, groups[part]), regions)

    def _pictures_without(self, scene: Scene, regions: Regions, groups: NDArray[np.bool_]) -> Iterator[Inputs]:
        """Yield the region encoded from pictures with each of n groups of patches painted over, in batches."""
        image, cells = scene.images[0], self._found.patches.frame.cells()
        for part in iter_batches(len(groups), _PICTURES):
            yield self._encoded(Scene([_painted(image, cells[one]) for one in groups[part]], scene.backbone), regions)

    def _encoded(self, scene: Scene, regions: Regions) -> Inputs:
        count = len(scene.images)
        return self._pipeline.region_encoder.encode(scene, Regions(regions.items * count, tuple(range(count))))

    def _lost(self, batches: Iterator[Inputs], encoded: Inputs, count: int) -> Floats:
        """Return (count, tokens): what the caption loses where the region is encoded otherwise."""
        assert self._base is not None
        lost, start = np.zeros((count, len(self._base))), 0
        for again in batches:
            # What changes nothing costs the caption nothing, exactly, and need not be decoded.
            changed = _changed(again, encoded)
            if changed:
                rows = _picked(again, changed)
                bridged = rows if isinstance(rows, RegionViews) else self._pipeline.bridge.bridge(rows)
                lost[[start + row for row in changed]] = self._base - self._likely(bridged)
            start += len(again)
        return lost

    def _likely(self, inputs: Inputs) -> Floats:
        """Return (r, tokens) log-probabilities of the caption's tokens, or (r, 1) of the caption as a whole."""
        decoder, texts = self._pipeline.decoder, [self._found.text] * len(inputs)
        if not self._by_token:
            return decoder.score(inputs, texts, self._prompt).double().cpu().numpy()[:, None]
        rows = decoder.token_scores(inputs, texts, self._prompt, 0)
        return np.array([[one.log_probability for one in row] for row in rows])

    def _note(self, part: str, error: RegionkitError) -> None:
        self._found.notes[part] = error.message


def _copies(scene: Scene, groups: NDArray[np.bool_]) -> Scene:
    """Return a scene of n copies of one picture, each with one of n groups of patches (rows, columns) left out."""
    features, count = scene.features, len(groups)
    height, width = features.patches.shape[1:3]
    flat = features.patches[0].reshape(height * width, -1).float()
    gone = torch.from_numpy(groups.reshape(count, -1)).to(flat.device)
    means = (~gone).float() @ flat / (~gone).sum(1, keepdim=True)
    patches = torch.where(gone.unsqueeze(-1), means.unsqueeze(1), flat.unsqueeze(0))
    copies = Features(
        patches.view(count, height, width, -1).to(features.patches.dtype),
        features.frames * count,
        _repeated(features.cls, count),
        _repeated(features.attention, count),
    )
    return Scene(scene.images * count, scene.backbone, copies)


def _repeated(values: Tensor | None, count: int) -> Tensor | None:
    return None if values is None else values.expand(count, *values.shape[1:])


def _painted(image: Image.Image, boxes: Floats) -> Image.Image:
    """Paint boxes (n, 4), x1, y1, x2, y2 in pixels, with the mean colour of what stays of the picture."""
    pixels = np.array(image.convert("RGB"))
    gone = np.zeros(pixels.shape[:2], dtype=bool)
    for x1, y1, x2, y2 in boxes.round().astype(int).clip(0):
        gone[y1:y2, x1:x2] = True
    if gone.any() and not gone.all():
        pixels[gone] = pixels[~gone].mean(0).round()
    painted = Image.fromarray(pixels)
    painted.info = dict(image.info)  # what its file says of it, which some backbones look at
    return painted


def _changed(again: Inputs, encoded: Inputs) -> list[int]:
    """Return the rows that are not what the region was encoded as."""
    if isinstance(again, RegionViews) and isinstance(encoded, RegionViews):
        was = encoded.pictures[0]
        pairs = enumerate(again.pictures)
        return [row for row, one in pairs if one.size != was.size or one.tobytes() != was.tobytes()]
    assert isinstance(again, RegionTokens)
    assert isinstance(encoded, RegionTokens)
    rows: list[int] = (again.tokens != encoded.tokens).flatten(1).any(1).nonzero().flatten().tolist()
    return rows


def _picked(inputs: Inputs, rows: list[int]) -> Inputs:
    if isinstance(inputs, RegionViews):
        return RegionViews(tuple(inputs.pictures[row] for row in rows))
    return RegionTokens(inputs.tokens[rows], inputs.mask[rows], inputs.space)
