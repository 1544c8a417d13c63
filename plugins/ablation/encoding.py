"""From samples to what a decoder reads, chunk by chunk: pictures, features, encoded regions, bridged regions."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from regionkit.core import seams
from regionkit.core.blame import blamed, told, who
from regionkit.core.contracts import Backbone, Dataset, RegionEncoder, Sample
from regionkit.core.errors import DataError, RegionkitError, RunFailed
from regionkit.core.features import Features, RegionTokens, RegionViews, Scene
from regionkit.core.out_of_memory import first_line, free_memory, is_out_of_memory, single_region
from regionkit.core.regions import Regions
from regionkit.plugins.ablation.batches import IMAGES_PER_BATCH, batches_of_one_grid
from regionkit.plugins.ablation.cache.entries import Precision
from regionkit.plugins.ablation.cache.rounding import rounded
from regionkit.plugins.ablation.cache.stage_cache import StageCache
from regionkit.plugins.ablation.clock import StageClock
from regionkit.plugins.ablation.memory import Encoded, FeatureStore, cat_features, nbytes
from regionkit.plugins.ablation.models import Models
from regionkit.plugins.ablation.out_of_memory import BatchSizes, each_that_fits, stops_all
from regionkit.plugins.ablation.referring import picked
from regionkit.plugins.ablation.stage_keys import entry_key
from regionkit.plugins.ablation.trials import Selection
from regionkit.registry.plan import PipelinePlan

#: Pictures by their keys, and some of them with the positions of the regions that are encoded in them.
Pictures = Sequence[tuple[str, Image.Image]]
Side = tuple[Pictures, list[int]]

#: What writing and reading a picture's features back costs: seconds a picture, and bytes a second. Features that are
#: computed faster than five times that are not worth the disk (a GPU that needs a millisecond a picture).
_ENTRY_SECONDS, _ENTRY_RATE, _WORTH = 0.001, 5e8, 5.0


@dataclass(frozen=True)
class Chunk:
    """Some pictures of a selection and the regions in them: what is encoded, kept and handed on together.

    Attributes:
        number: Which chunk of the selection.
        images: Key of a picture -> positions of its regions.
    """

    number: int
    images: dict[str, list[int]]

    @property
    def regions(self) -> int:
        """Number of regions."""
        return sum(map(len, self.images.values()))


def chunks_of(regions: Sequence[Sample]) -> list[Chunk]:
    """Cut the regions of a selection into chunks of whole pictures, in the order in which pictures first appear."""
    images: dict[str, list[int]] = {}
    for position, sample in enumerate(regions):
        images.setdefault(sample.image_id, []).append(position)
    names = list(images)
    starts = range(0, len(names), IMAGES_PER_BATCH)
    return [
        Chunk(number, {name: images[name] for name in names[start : start + IMAGES_PER_BATCH]})
        for number, start in enumerate(starts)
    ]


class SharedScene(Scene):
    """A scene whose features come from memory or disk; those that are missing are computed when first asked for."""

    def __init__(
        self, images: Sequence[Image.Image], backbone: Backbone, ids: Sequence[str], features: FeatureSource
    ) -> None:
        super().__init__(images, backbone)
        self._ids, self._source = tuple(ids), features

    @property
    def features(self) -> Features:
        """Features of all images."""
        if self._features is None:
            self._features = self._source.of(self.images, self._ids, self.backbone)
        return self._features


class FeatureSource:
    """Features of pictures: from memory, from disk, or from the backbone.

    Args:
        store: Memory.
        cache: Disk; None for none.
        clock: Counts the seconds.
        sizes: How many pictures fit.
        device: Where features go.
        precision: In which they are handed on, whether or not there is a cache.
    """

    def __init__(
        self,
        store: FeatureStore,
        cache: StageCache | None,
        clock: StageClock,
        sizes: BatchSizes,
        device: str,
        precision: Precision = "float32",
    ) -> None:
        self.store, self.cache, self.clock, self.sizes = store, cache, clock, sizes
        self.device, self.precision = device, precision
        self.stage, self.backbone, self.source = "", "", ""

    def enter(self, stage: str, backbone: str, source: str, wanted: frozenset[str]) -> None:
        """Say whose features come next: the backbone's stage key and name, where pictures come from, and which."""
        self.stage, self.backbone, self.source = stage, backbone, source
        self.store.enter(stage, frozenset((source, image) for image in wanted))

    def of(self, images: Sequence[Image.Image], ids: Sequence[str], backbone: Backbone) -> Features:
        """Return the features of pictures of one grid as one batch."""
        found = {at: held for at, name in enumerate(ids) if (held := self.store.get((self.source, name))) is not None}
        missing = [at for at in range(len(ids)) if at not in found]
        keys = {at: self._key(images[at]) for at in missing} if self.cache is not None else {}
        for at, key in keys.items():
            read = self._read(key, images[at], backbone)
            if read is not None:
                found[at] = read
        missing = [at for at in missing if at not in found]
        for start, features in self._compute([images[at] for at in missing], backbone, keys, missing):
            found[missing[start]] = features
        for at, name in enumerate(ids):
            self.store.put((self.source, name), found[at])
        return cat_features([found[at] for at in range(len(ids))])

    def _key(self, image: Image.Image) -> str:
        """Return the entry of a picture: it is known by its pixels."""
        pixels = hashlib.sha256(image.tobytes()).hexdigest()
        return entry_key(self.stage, image.mode, list(image.size), pixels)

    def _read(self, key: str, image: Image.Image, backbone: Backbone) -> Features | None:
        assert self.cache is not None
        with self.clock.stage("cache"):
            entry = self.cache.get(key, self.device)
        if entry is None:
            return None
        held = entry.tensors
        return Features(held["patches"], (backbone.frame(image.size),), held.get("cls"), held.get("attention"))

    def _compute(
        self, images: Sequence[Image.Image], backbone: Backbone, keys: dict[int, str], places: Sequence[int]
    ) -> Iterator[tuple[int, Features]]:
        """Run the backbone, as many pictures at a time as fit, and write what is worth it."""
        start = 0
        while start < len(images):
            size = self.sizes.of("pictures", self.stage, IMAGES_PER_BATCH)
            part = images[start : start + size]
            began = time.perf_counter()
            features = self._forward(part, backbone)
            if features is None:
                continue  # the same pictures, fewer at a time
            seconds = (time.perf_counter() - began) / len(part)
            self.clock.bytes["backbone"] += nbytes(features)
            for at in range(len(part)):
                one = self._written(features[at], keys.get(places[start + at], ""), seconds)
                yield start + at, one
            start += len(part)

    def _forward(self, images: Sequence[Image.Image], backbone: Backbone) -> Features | None:
        """Run the backbone once; None where memory ran out and fewer pictures may fit.

        Raises:
            RunFailed: Not even one picture fits.
        """
        try:
            with self.clock.stage("backbone", images=len(images)):
                return Scene(images, backbone).features
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            said = first_line(error)
        free_memory()
        if len(images) == 1:
            raise RunFailed(f"out of memory: the backbone cannot take a single picture: {said}")
        self.sizes.shrink("pictures", self.stage, len(images))
        return None

    def _written(self, features: Features, key: str, seconds: float) -> Features:
        """Write the features of a picture if reading them back is much faster than computing them."""
        tensors = {"patches": features.patches, "cls": features.cls, "attention": features.attention}
        kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        if self.cache is not None and seconds > _WORTH * (_ENTRY_SECONDS + nbytes(features) / _ENTRY_RATE):
            with self.clock.stage("cache"):
                about = {"stage": "backbone", "component": self.backbone, "key": self.stage, "seconds": seconds}
                self.cache.put(key, kept, about)
        back = rounded(kept, self.precision)
        return replace(features, patches=back["patches"], cls=back.get("cls"), attention=back.get("attention"))


class Encoder:
    """Encodes and bridges the chunks of one selection by one pipeline.

    Args:
        selection: The samples.
        regions: All regions of them, as samples of their own.
        plan: The pipeline.
        models: Where its parts come from, built when they are needed.
        features: Where features come from.
        note: Told of samples that fail: error, positions, what they became.
    """

    def __init__(
        self,
        selection: Selection,
        regions: Sequence[Sample],
        plan: PipelinePlan,
        models: Models,
        features: FeatureSource,
        note: Callable[[Exception, Sequence[int], Encoded], None],
    ) -> None:
        self.selection, self.regions, self.plan, self.models = selection, regions, plan, models
        self.features, self._note = features, note

    @property
    def _clock(self) -> StageClock:
        return self.features.clock

    def encode(self, chunk: Chunk) -> Encoded:
        """Encode the regions of a chunk."""
        result = Encoded()
        backbone = self.models.backbone(self.plan)
        with self._clock.stage("region_encoder", regions=chunk.regions):
            for batch in batches_of_one_grid(self._load(chunk, result), backbone):
                self._batch(batch, chunk.images, result)
        return result

    def bridge(self, encoded: Encoded) -> Encoded:
        """Carry encoded regions over the gap; pictures need no bridge."""
        result = Encoded(errors=dict(encoded.errors), seconds=dict(encoded.seconds))
        with self._clock.stage("bridge", regions=encoded.regions):
            for positions, inputs in encoded.batches:
                if isinstance(inputs, RegionViews):
                    result.batches.append((positions, inputs))
                else:
                    self._bridged(positions, inputs, result)
        return result

    def _load(self, chunk: Chunk, result: Encoded) -> Iterator[tuple[str, Image.Image]]:
        for image_id, positions in chunk.images.items():
            try:
                with self._clock.stage("data", images=1):
                    image = loaded(self.selection.dataset, image_id)
            except Exception as error:  # a reader of a stranger may raise anything
                if is_out_of_memory(error):
                    raise
                self._note(error, positions, result)
            else:
                yield image_id, image

    def _batch(self, batch: Pictures, positions: dict[str, list[int]], result: Encoded) -> None:
        """Encode the regions of some pictures; where that fails, fewer of them, so that only the bad ones fail."""
        chosen = [position for image_id, _ in batch for position in positions[image_id]]
        sizes, key = self.features.sizes, self.plan.key("region_encoder")
        if sizes.of("regions", key, len(chosen)) < len(chosen):
            self._parts(_halves(batch, positions, chosen), positions, result)
            return
        # Built before anything is tried: that a part cannot be built is no matter of single regions.
        backbone, encoder = self.models.backbone(self.plan), self.models.region_encoder(self.plan)
        fault = ""
        try:
            result.batches.append((tuple(chosen), self._tokens(batch, chosen, backbone, encoder)))
            return
        except Exception as error:  # a part of a stranger may raise anything
            full = is_out_of_memory(error)
            if not full and stops_all(error):
                raise
            if len(chosen) == 1:
                self._note(RunFailed(single_region(error)) if full else error, chosen, result)
                return
            fault = "" if full or isinstance(error, RegionkitError) else told(error)
        alone: list[Side] = [([one], [position]) for one in batch for position in positions[one[0]]]
        if full:
            free_memory()
            sizes.shrink("regions", key, len(chosen))
        self._parts(_halves(batch, positions, chosen) if full else alone, positions, result)
        if fault and not result.errors.keys() & set(chosen):
            sizes.note_together(len(chosen), fault)

    def _parts(self, parts: Sequence[Side], positions: dict[str, list[int]], result: Encoded) -> None:
        for images, kept in parts:
            among = set(kept)
            self._batch(images, {name: [at for at in positions[name] if at in among] for name, _ in images}, result)

    def _tokens(
        self, batch: Pictures, chosen: Sequence[int], backbone: Backbone, encoder: RegionEncoder
    ) -> RegionTokens | RegionViews:
        ids = [image_id for image_id, _ in batch]
        scene = SharedScene([image for _, image in batch], backbone, ids, self.features)
        index = {image_id: at for at, image_id in enumerate(ids)}
        samples = [self.regions[position] for position in chosen]
        regions = Regions(
            tuple(sample.region for sample in samples), tuple(index[sample.image_id] for sample in samples)
        )
        return seams.encoded(encoder, scene, regions)

    def _bridged(self, positions: tuple[int, ...], tokens: RegionTokens, result: Encoded) -> None:
        bridge = self.models.bridge(self.plan)

        def do(rows: Sequence[int]) -> None:
            given = tokens if len(rows) == len(positions) else picked(tokens, rows)
            assert isinstance(given, RegionTokens)
            result.batches.append((tuple(positions[row] for row in rows), seams.bridged(bridge, given)))

        def fail(error: Exception, row: int) -> None:
            self._note(error, [positions[row]], result)

        each_that_fits(range(len(positions)), do, fail, self.features.sizes, self.plan.key("bridge"))


def loaded(dataset: Dataset, image_id: str) -> Image.Image:
    """Load a picture of a data set.

    Raises:
        DataError: What it hands on is none.
    """
    with blamed(dataset, "dataset"):
        image = dataset.image(image_id)
    if not isinstance(image, Image.Image):
        gave = "None" if image is None else f"a {type(image).__name__}"
        raise DataError(f"{who(dataset, 'dataset')}: image('{image_id}') gave {gave}, and no PIL image")
    return image


def _halves(batch: Pictures, positions: dict[str, list[int]], chosen: list[int]) -> list[Side]:
    """Cut a batch of several regions into two: by pictures, and of a single picture by regions."""
    if len(batch) > 1:
        half = len(batch) // 2
        sides = (batch[:half], batch[half:])
        return [(side, [at for name, _ in side for at in positions[name]]) for side in sides]
    half = len(chosen) // 2
    return [(batch, chosen[:half]), (batch, chosen[half:])]
