"""The mini-world: scenes drawn from a seed, tiny models trained in it, and tasks, so that everything runs offline.

Mini models know nothing but the mini-world. What holds here is evidence that the code does what a paper says, never
that a paper's numbers were reached.
"""

from __future__ import annotations

from pathlib import Path

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, Port

_HERE = "regionkit.plugins.mini"
_DIM = 128
#: Tasks that the data set poses; the same words as region kinds, ``dense``: every object of a scene by its box, and
#: ``ris``: the object that an expression means, among candidates (referring image segmentation).
_TASKS = ("point", "box", "mask", "trace", "box-set", "patch", "image", "dense", "ris")
_BACKBONES = {
    "mini-clip": ("MiniClip", "Tiny backbone of the mini-world, trained like CLIP: only the class token is aligned"),
    "mini-mean": ("MiniMean", "Tiny backbone of the mini-world: mean of patches that attend to each other"),
    "mini-local": ("MiniLocal", "Tiny backbone of the mini-world: mean of patches that see their surroundings only"),
    "mini-dense": ("MiniDense", "Tiny backbone of the mini-world: phrases aligned with patches; stands for Talk2DINO"),
    "mini-vit": ("MiniVit", "Tiny vision transformer of the mini-world with exposed blocks, for parts between them"),
}
#: Backbones with exposed transformer blocks, and the width of what those hand on.
_BLOCKS = {"mini-vit": 96}


def _backbone(name: str) -> ComponentSpec:
    """Describe one of the backbones."""
    target, summary = _BACKBONES[name]
    return ComponentSpec(
        kind="backbone",
        name=name,
        target=f"{_HERE}.backbones:{target}",
        config=f"{_HERE}.config:MiniBackboneConfig",
        summary=summary,
        writes=Port(f"{name}/image[{_DIM}]"),
        text=f"{name}/text[{_DIM}]",
        blocks=f"{name}/blocks[{_BLOCKS[name]}]" if name in _BLOCKS else "",
        weights="index",
    )


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """Backbones, data and the recipe of the mini-world; region encoders, bridges and decoders are the real ones."""
    return [
        *(_backbone(name) for name in _BACKBONES),
        ComponentSpec(
            kind="dataset",
            name="mini",
            target=f"{_HERE}.data:MiniDataset",
            config=f"{_HERE}.config:MiniDatasetConfig",
            summary="Scenes of sprites on painted ground with exact boxes, masks and traces, drawn from a seed",
            accepts=_TASKS,
            license="OFL-1.1",
        ),
        ComponentSpec(
            kind="corpus",
            name="mini-captions",
            target=f"{_HERE}.data:MiniCaptions",
            config=f"{_HERE}.config:MiniCaptionsConfig",
            summary="Captions of regions and whole pictures of the mini-world, drawn from a seed",
            tiny="{size: 60}",
        ),
        ComponentSpec(
            kind="recipe",
            name="mini-contrast",
            target=f"{_HERE}.recipe:MiniContrast",
            config=f"{_HERE}.config:MiniContrastConfig",
            summary="Train a mini backbone from pictures with one caption each",
            tiny="{steps: 2, batch_size: 4, texts: 60, other_texts: 8}",
            needs=("backbone",),
            trains=("backbone",),
        ),
    ]


@hookimpl
def regionkit_presets() -> list[str]:
    """Return the folder of the mini pipelines."""
    return [str(Path(__file__).parent / "presets")]


@hookimpl
def regionkit_weights() -> list[str]:
    """Return the folder of the trained weights."""
    return [str(Path(__file__).parent / "weights")]
