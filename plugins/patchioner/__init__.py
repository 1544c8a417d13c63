"""Patch-ioner: zero-shot captioning of any set of patches.

Bianchi et al., One Patch to Caption Them All: A Unified Zero-Shot Captioning Framework, arXiv 2510.02898.
"""

from __future__ import annotations

from pathlib import Path

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, PaperSpec
from regionkit.plugins.patchioner.papers import PAPERS
from regionkit.plugins.patchioner.specs import COMPONENTS


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """Backbones, pooling over patches, two bridges, the decoder and how it is trained."""
    return list(COMPONENTS)


@hookimpl
def regionkit_presets() -> list[str]:
    """Return the folder of the released pipelines."""
    return [str(Path(__file__).parent / "presets")]


@hookimpl
def regionkit_published() -> list[str]:
    """Return the folder of the paper's tables."""
    return [str(Path(__file__).parent / "published")]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Papers whose ideas live in this plugin."""
    return list(PAPERS)
