"""What a stage's output depends on, as one digest: equal keys mean equal outputs, in this run, the next, and on disk.

A key digests the key of the stage above, the component with its filled options and weights, the code that runs, and
where it runs. Keys of what regions become also digest the data; those of pictures' features do not: a picture is known
by its pixels, so that all tasks and data sets that show it share them.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Self

from regionkit.core.contracts import Corpus
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.trials import Selection, Trial, digest
from regionkit.registry import get_registry
from regionkit.registry.assembly import build
from regionkit.registry.plan import PipelinePlan

#: The stages of a trial, each below the one that it reads from.
STAGES: tuple[str, ...] = (*PARTS, "metrics")
#: Modules whose code decides what enters and leaves a stage.
ENGINE = (
    "regionkit.registry.assembly",
    "regionkit.plugins.ablation.batches",
    "regionkit.plugins.ablation.cache.rounding",
    "regionkit.plugins.ablation.encoding",
    "regionkit.plugins.ablation.memory",
    "regionkit.plugins.ablation.referring",
    "regionkit.plugins.ablation.trials",
)


@dataclass(frozen=True)
class Place:
    """Where stages run, as far as it changes the last bits of what they give.

    Attributes:
        device: Kind of device: ``cpu``, ``cuda``.
        precision: In which floating-point format outputs are handed on: ``float32`` leaves them as they are.
        computed: In which one backbones and decoders compute.
        products: ``onednn`` where float32 products take that route (see ``core/compute.py``), else empty.
    """

    device: str = "cpu"
    precision: str = "float32"
    computed: str = "float32"
    products: str = ""

    @functools.cached_property
    def words(self) -> tuple[str, ...]:
        """What enters every key."""
        beside = (f"computed in {self.computed}" if self.computed != "float32" else "", self.products)
        return (self.device, self.precision, version("torch"), *(word for word in beside if word))

    @classmethod
    def of(cls, device: str, precision: str, computed: str, *, onednn: bool) -> Self:
        """Return a place; the oneDNN route of float32 products is one of CPUs alone."""
        return cls(device, precision, computed, "onednn" if onednn and device == "cpu" else "")


class StageKeys:
    """Makes the keys of stages in one place."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._codes: dict[tuple[str, ...], str] = {}
        self._texts: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def backbone(self, plan: PipelinePlan) -> str:
        """Return the key of a backbone's features; a picture's own entry adds its pixels."""
        return self._chain("backbone", plan, "")

    def region_encoder(self, plan: PipelinePlan, selection: Selection) -> str:
        """Return the key of encoded regions."""
        return self._chain("region_encoder", plan, self._on(self.backbone(plan), selection))

    def bridge(self, plan: PipelinePlan, selection: Selection) -> str:
        """Return the key of bridged regions."""
        return self._chain("bridge", plan, self.region_encoder(plan, selection))

    def of_trial(self, trial: Trial) -> dict[str, str]:
        """Return the keys of all stages of a trial, in their order; that of its metrics is its id."""
        plan, selection = trial.combination.plan, trial.selection
        backbone = self.backbone(plan)
        encoded = self._chain("region_encoder", plan, self._on(backbone, selection))
        bridged = self._chain("bridge", plan, encoded)
        decoded = self._chain("decoder", plan, bridged)
        return dict(zip(STAGES, (backbone, encoded, bridged, decoded, trial.id), strict=True))

    def _on(self, backbone: str, selection: Selection) -> str:
        short = f"{backbone} {selection.key}"
        if short not in self._known:
            # A fingerprint is of the data alone: which samples a task leaves out, and what it asks, its code decides.
            parts = [selection.part, *([selection.task_part] if selection.task_part is not None else [])]
            code = self._code(*((part.spec.kind, part.name) for part in parts))
            self._known[short] = digest([backbone, selection.key, code])
        return self._known[short]

    def _chain(self, kind: str, plan: PipelinePlan, upstream: str) -> str:
        # A plan's key holds options, ports, weights by content and the name of the corpus that a bridge is fitted to.
        short = f"{kind} {plan.key(kind)} {upstream}"
        if short not in self._known:
            corpora = [plan.fit_corpus[kind]] if plan.fit_corpus.get(kind) else []
            code = self._code((kind, plan.parts[kind].name), *(("corpus", name) for name in corpora))
            words = (short, code, *map(self._texts_of, corpora), *self.place.words)
            self._known[short] = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
        return self._known[short]

    def _code(self, *used: tuple[str, str]) -> str:
        """Return the version of the code of components: kinds and names."""
        key = tuple(f"{kind}/{name}" for kind, name in used)
        if key not in self._codes:
            registry = get_registry()
            self._codes[key] = registry.code_version([registry.find(kind, name) for kind, name in used], ENGINE)
        return self._codes[key]

    def _texts_of(self, corpus: str) -> str:
        if corpus not in self._texts:
            self._texts[corpus] = texts_digest(corpus)
        return self._texts[corpus]


def texts_digest(corpus: str) -> str:
    """Return a digest of the sentences that a bank is made of; empty where they follow from the code.

    Raises:
        RegionkitError: They cannot be read.
    """
    built = build("corpus", corpus)
    assert isinstance(built, Corpus)
    return "" if built.generated else digest(list(built.texts()))


def entry_key(stage: str, *parts: Any) -> str:
    """Return the name of an entry on disk: a stage's key, and which picture or chunk of samples it is."""
    return hashlib.sha256(json.dumps([stage, *parts]).encode()).hexdigest()[:40]
