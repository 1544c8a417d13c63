"""The matrix of parts: every backbone, region encoder, bridge and decoder whose ports fit, across all papers, captions.

A sample runs by default: as few pipelines as hold every two parts that may stand in one pipeline. All of them run with
``pytest -n 0 -s -m slow tests/test_pairings_run.py``, which prints how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any, Literal

import pytest
import torch
from PIL import Image

from regionkit.core.contracts import Component, Decoder, GapBridge
from regionkit.core.features import GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.regions import Box, Point, Regions
from regionkit.core.spec import PARTS, ComponentSpec
from regionkit.core.testing import SENTENCES, Sentences
from regionkit.registry.assembly import build, build_planned
from regionkit.registry.plan import PipelinePlan, settle_pipeline
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import fill, nowhere, option_types
from regionkit.registry.trace import trace_parts
from regionkit.registry.yaml_text import read_value

param = pytest.param

#: Parts that stand in no pipeline: this one compares what a decoder thinks with what an encoder sees, in training.
ELSEWHERE = {("bridge", "mapper")}

Names = tuple[str, ...]
State = Literal["untrained", "trained"]


def options_of(spec: ComponentSpec, state: State) -> dict[str, Any]:
    """The part at a tiny size and untrained; or as it comes, with the weights of the mini-world."""
    if state == "trained":
        return {"name": spec.name}
    options = dict(read_value(spec.tiny, spec.name)) if spec.tiny else {}
    if "weights" in option_types(spec):
        options["weights"] = "none"
    if spec.kind == "decoder" and "positions" in option_types(spec):
        options["positions"] = 512  # room for all patches of a picture
    if spec.memory:
        options["bank"] = "none"  # it is fitted to a few sentences
    return {"name": spec.name, **options}


def fitting(state: State) -> Iterator[tuple[Names, PipelinePlan]]:
    """All pipelines whose ports fit and whose weights, if any are asked for, are here."""
    registry = get_registry()
    owned = {kind: registry.specs(kind) for kind in PARTS}
    if state == "trained":  # official weights are nobody's here, and asking for them is tested elsewhere
        owned["backbone"] = [spec for spec in owned["backbone"] if registry.owner(spec).plugin == "mini"]
    candidates = {kind: [fill(kind, options_of(spec, state)) for spec in specs] for kind, specs in owned.items()}
    for chosen in product(*candidates.values()):
        parts = {part.kind: part for part in chosen if part is not None}
        plan = None if trace_parts(parts).faults else settle_pipeline(parts, nowhere, [])
        if plan is not None:
            yield tuple(part.name for part in parts.values()), plan


def covering(names: Sequence[Names]) -> list[int]:
    """Choose pipelines that together hold every two parts that any of them holds, most new pairs first."""
    pairs = [set(combinations(enumerate(row), 2)) for row in names]
    left, chosen = set().union(*pairs), []
    while left:
        best = max(range(len(names)), key=lambda place: (len(pairs[place] & left), -place))
        chosen.append(best)
        left -= pairs[best]
    return chosen


@dataclass
class Matrix:
    """Runs pipelines on one picture; parts, and what they make of it, are kept for all that share them."""

    image: Image.Image
    built: dict[str, Component]
    seen: dict[tuple[str, ...], Any]

    @classmethod
    def of_a_scene(cls) -> Matrix:
        dataset = build("dataset", "mini")
        return cls(dataset.image(dataset.samples("box", "test", 0, 1)[0].image_id), {}, {})

    def run(self, plan: PipelinePlan) -> tuple[list[str], torch.Tensor]:
        """Caption a box and a point, and score a sentence for each."""
        parts: dict[str, Any] = {"corpus": Sentences()}
        for kind in PARTS:
            parts[kind] = self._part(plan, kind, parts)
        with torch.inference_mode():
            inputs = self._inputs(plan, parts)
            captions = parts["decoder"].generate(inputs, options=GenerateOptions(max_tokens=3))
            return [caption.text for caption in captions], parts["decoder"].score(inputs, ["a cat", "a dog"])

    def _part(self, plan: PipelinePlan, kind: str, parts: dict[str, Any]) -> Component:
        key = plan.key(kind)
        if key not in self.built:
            # A bank of ten sentences shows as much of a pairing as one of ten thousand.
            part = build_planned(replace(plan, fit_corpus={}), kind, parts, torch.device("cpu"))
            spec = plan.parts[kind].spec
            if spec.memory or ("corpus" in spec.needs and plan.weights[kind] is None):
                assert isinstance(part, (Decoder, GapBridge))
                part.fit(parts["backbone"].encode_text(SENTENCES), SENTENCES)
            self.built[key] = part
        return self.built[key]

    def _inputs(self, plan: PipelinePlan, parts: dict[str, Any]) -> RegionTokens | RegionViews:
        keys = tuple(plan.key(kind) for kind in PARTS)
        if keys[:1] not in self.seen:
            self.seen[keys[:1]] = Scene([self.image], parts["backbone"])
        if keys[:2] not in self.seen:
            regions = Regions((Box(8, 8, 60, 60), Point.at(40, 40)), (0, 0))
            self.seen[keys[:2]] = parts["region_encoder"].encode(self.seen[keys[:1]], regions)
        encoded = self.seen[keys[:2]]
        return parts["bridge"].bridge(encoded) if isinstance(encoded, RegionTokens) else encoded


def run_all(rows: Sequence[tuple[Names, PipelinePlan]]) -> None:
    torch.set_num_threads(1)
    matrix = Matrix.of_a_scene()
    faults = []
    for names, plan in rows:
        try:
            captions, scores = matrix.run(plan)
        except Exception as error:  # every pairing is told, not only the first
            faults.append(f"{' -> '.join(names)}: {type(error).__name__}: {error}")
            continue
        if len(captions) != 2 or not bool(torch.isfinite(scores).all()):
            faults.append(f"{' -> '.join(names)}: {captions}, {scores.tolist()}")
    assert not faults, "\n".join(faults)


def test_a_sample_that_holds_every_two_parts_runs() -> None:
    every = list(fitting("untrained"))
    sample = covering([names for names, _ in every])
    registry = get_registry()
    in_some = {(kind, name) for names, _ in every for kind, name in zip(PARTS, names, strict=True)}
    all_parts = {(kind, spec.name) for kind in PARTS for spec in registry.specs(kind)}
    assert all_parts - in_some == ELSEWHERE, "a part fits nowhere"
    assert len(sample) < len(every) / 2
    run_all([every[place] for place in sample])


def test_pipelines_mix_papers() -> None:
    papers = {spec.name: spec.paper for kind in PARTS for spec in get_registry().specs(kind)}
    mixed = {
        names[1:]
        for names, _ in fitting("untrained")
        if len({papers[name] for name in names[1:]} - {"", "clip", "decap", "capdec"}) > 1
    }
    assert len(mixed) >= 6, sorted(mixed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("state", [param("untrained", id="untrained"), param("trained", id="trained")])
def test_every_pairing_that_fits_runs(state: State) -> None:
    rows = list(fitting(state))
    of = 1
    for kind in PARTS:
        of *= len(get_registry().specs(kind))
    print(f"\n{state}: {len(rows)} pipelines fit, of {of} that could be written; all of them are run")
    run_all(rows)
    print(f"{state}: {len(rows)} of {len(rows)} ran")
