"""Weights of a component that has the very same network, taken as a part's own."""

from __future__ import annotations

from dataclasses import replace

from regionkit.core.weights import WeightFile
from regionkit.registry.ports import spaces_of
from regionkit.registry.schema import Part, fill, with_defaults


def as_own(part: Part, file: WeightFile) -> WeightFile:
    """Return a file of the component that a backbone is another reading of as one of its own, and any other as it is.

    The space becomes that which the backbone writes with this network. Where options of the user make another network
    of it than the file holds, its own space stays, and says so when it is compared.

    Args:
        part: The backbone; its spec says ``also`` whose files it reads.
        file: Weights that the user named.

    Raises:
        ConfigError: The file was made with options that the components do not have.
    """
    header = file.header
    if not part.spec.also or f"{header.kind}/{header.name}" != part.spec.also:
        return file
    whole = with_defaults(part, header.config)
    options = {name: getattr(whole.config, name) for name in header.config}
    relative = fill(header.kind, {"name": header.name, **options})
    assert relative is not None  # without a list to take them, mistakes are raised
    same = spaces_of(relative).image == header.space
    space = spaces_of(whole).image if same else header.space
    return replace(file, header=replace(header, name=part.name, space=space))
