"""What releases of ClipCap's kind have in common: the blocks of the mapper, names and shapes written down from them."""

from __future__ import annotations


def block_shapes(place: str, width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a block of attention and feed-forward layers."""
    return {
        **{f"{place}.{norm}.{end}": (width,) for norm in ("norm1", "norm2") for end in ("weight", "bias")},
        f"{place}.attn.to_queries.weight": (width, width),
        f"{place}.attn.to_keys_values.weight": (2 * width, width),
        f"{place}.attn.project.weight": (width, width),
        f"{place}.attn.project.bias": (width,),
        f"{place}.mlp.fc1.weight": (2 * width, width),
        f"{place}.mlp.fc1.bias": (2 * width,),
        f"{place}.mlp.fc2.weight": (width, 2 * width),
        f"{place}.mlp.fc2.bias": (width,),
    }
