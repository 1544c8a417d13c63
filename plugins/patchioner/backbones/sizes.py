"""What the options of all backbones here share: sizes that a named model fills in, and their bounds; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

#: Width of an attention head in every ViT and text tower of CLIP and DINOv2.
HEAD_WIDTH = 64
#: Far beyond any model of this kind: what is more is a slip, and would fill the memory before anything is said.
MOST_PIXELS, MOST_LAYERS, MOST_SIZE = 8192, 1000, 10_000_000
#: What 0 stands for in the options of CLIP's text tower, that of B/16 and B/32.
TEXT_SIZES = {"text_width": 512, "text_layers": 12, "context": 77, "vocabulary": 49408}


class Sized:
    """Options of an architecture, where 0 stands for what the named model has."""

    #: What 0 stands for, by option; these are also the options that weights decide.
    SIZES: ClassVar[Mapping[str, int]]

    def size(self, name: str) -> int:
        """Return a size of the architecture: the option, or what 0 stands for."""
        value: int = getattr(self, name)
        return value or self.SIZES[name]


def check_picture(resolution: int, patch: int, batch: int) -> None:
    """Refuse a resolution that is no multiple of the patch, or a batch of nothing.

    Raises:
        ValueError: Starting with the name of the option.
    """
    if resolution < patch or resolution % patch:
        below = max(patch, resolution // patch * patch)
        raise ValueError(
            f"resolution: {resolution} is no multiple of the patch, {patch} pixels; {below} and {below + patch} are"
        )
    if resolution > MOST_PIXELS:
        raise ValueError(f"resolution: {resolution} is more than {MOST_PIXELS}")
    if batch < 1:
        raise ValueError(f"batch: {batch} must be 1 or more")


def check_sizes(config: Sized) -> None:
    """Refuse sizes that no network of this kind can have.

    Raises:
        ValueError: Starting with the name of the option.
    """
    for name in config.SIZES:
        value: int = getattr(config, name)
        if value < 0:
            raise ValueError(f"{name}: {value} must be 0 (as the named model says) or more")
        if value > MOST_SIZE:
            raise ValueError(f"{name}: {value} is more than {MOST_SIZE}")
        if name.endswith("layers") and value > MOST_LAYERS:
            raise ValueError(f"{name}: {value} is more than {MOST_LAYERS}")
        told = name == "width" and getattr(config, "heads", False)  # as many heads then, which divide it
        if name.endswith("width") and value % HEAD_WIDTH and not told:
            raise ValueError(f"{name}: {value} is no multiple of {HEAD_WIDTH}, the width of a head")
    context: int = getattr(config, "context", 0)
    if 0 < context < 2:
        raise ValueError(f"context: {context} has no room for the start and the end token")


def check_heads(config: Sized, heads: int) -> None:
    """Refuse heads that do not share the width of the vision tower evenly; 0 stands for as many as are 64 wide.

    Raises:
        ValueError: Starting with the name of the option.
    """
    if heads < 0 or (heads and config.size("width") % heads):
        raise ValueError(f"heads: {heads} must divide the width, {config.size('width')}, or be 0")
