"""Every pairing of parts that the ports allow, across all papers, is built untrained and tiny, and captions a scene."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch

from regionkit.core.contracts import Component
from regionkit.core.features import GenerateOptions, Scene
from regionkit.core.regions import Box, Point, Regions
from regionkit.core.spec import PARTS, ComponentSpec
from regionkit.core.testing import Sentences
from regionkit.registry.assembly import build, build_planned
from regionkit.registry.plan import PipelinePlan, settle_pipeline
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import fill, nowhere, option_types
from regionkit.registry.trace import trace_parts
from regionkit.registry.yaml_text import read_value

#: Fitting a bank to ten thousand captions for each backbone takes minutes; other tests run it.
LEFT_OUT = ("memory",)


def specs(kind: str) -> list[ComponentSpec]:
    return [spec for spec in get_registry().specs(kind) if spec.name not in LEFT_OUT]


def tiny(spec: ComponentSpec) -> dict[str, Any]:
    options = dict(read_value(spec.tiny, spec.name)) if spec.tiny else {}
    if "weights" in option_types(spec):
        options["weights"] = "none"
    if spec.kind == "decoder" and "positions" in option_types(spec):
        options["positions"] = 512  # room for all patches of a picture
    return {"name": spec.name, **options}


def fitting() -> Iterator[tuple[tuple[str, ...], PipelinePlan]]:
    candidates = {kind: [fill(kind, tiny(spec)) for spec in specs(kind)] for kind in PARTS}
    for chosen in product(*candidates.values()):
        parts = {part.kind: part for part in chosen if part is not None}
        plan = None if trace_parts(parts).faults else settle_pipeline(parts, nowhere, [])
        if plan is not None:
            yield tuple(part.name for part in parts.values()), plan


def test_every_pairing_that_fits_runs() -> None:
    scene_of = build("dataset", "mini").samples("box", "test", 0, 1)[0]
    image = build("dataset", "mini").image(scene_of.image_id)
    regions = Regions((Box(8, 8, 60, 60), Point.at(40, 40)), (0, 0))
    shared: dict[str, Component] = {}
    ran: set[tuple[str, ...]] = set()
    torch.set_num_threads(1)
    for names, plan in fitting():
        built: dict[str, Any] = {"corpus": Sentences()}
        for kind in PARTS:
            key = plan.key(kind)
            if key not in shared:
                shared[key] = build_planned(plan, kind, built, torch.device("cpu"))
            built[kind] = shared[key]
        with torch.inference_mode():
            encoded = built["region_encoder"].encode(Scene([image], built["backbone"]), regions)
            inputs = built["bridge"].bridge(encoded) if hasattr(encoded, "tokens") else encoded
            captions = built["decoder"].generate(inputs, options=GenerateOptions(max_tokens=3))
            scores = built["decoder"].score(inputs, ["a cat", "a dog"])
        assert len(captions) == 2, names
        assert bool(torch.isfinite(scores).all()), names
        ran.add(names[1:])
    papers = {spec.name: spec.paper for kind in PARTS for spec in get_registry().specs(kind)}
    mixed = {row for row in ran if len({papers[name] for name in row} - {"", "clip", "decap", "capdec"}) > 1}
    assert len(mixed) >= 6, sorted(mixed)
