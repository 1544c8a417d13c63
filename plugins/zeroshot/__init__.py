"""Zero-shot captioners: decoders trained on text alone, or guided by a text tower while they write.

Those that Patch-ioner (Bianchi et al., arXiv 2510.02898) compares in its tables 1, 2 and 4, each behind any region.
"""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, PaperSpec
from regionkit.plugins.zeroshot.papers import PAPERS
from regionkit.plugins.zeroshot.specs import COMPONENTS


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """Decoders, each of a paper of its own."""
    return list(COMPONENTS)


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Papers whose ideas live in this plugin."""
    return list(PAPERS)
