"""Building with weights: sizes that they decide, and starting without any."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from regionkit.core.errors import WeightsError

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)


def with_stored(config: Config, stored: Mapping[str, Any], names: Sequence[str], source: str, kind: str) -> Config:
    """Lay the sizes of weights under the given options; a size at its default asks for nothing in particular.

    Args:
        config: The options.
        stored: ``config`` of the weights' header.
        names: The options that weights decide.
        source: The weights, for messages.
        kind: Kind of the component, for messages.

    Raises:
        WeightsError: An option asks for another size, or by its name for another model, than the weights have; or what
            they have does not go with the other options.
    """
    defaults = type(config)()
    for name in names:
        given = getattr(config, name)
        silent = not isinstance(given, str) and given == getattr(defaults, name)
        if name in stored and not silent and given != stored[name]:
            raise WeightsError(
                f"{kind}.{name}: {given} was asked for, the weights {source} have {stored[name]}",
                f"write {name}: {stored[name]}, or name other weights: toolkit weights list",
            )
    found = {name: stored[name] for name in names if name in stored}
    try:
        return dataclasses.replace(config, **found)  # type: ignore[type-var]
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{source}: the weights do not fit the other options: {error}") from None


@contextmanager
def untrained(seed: int) -> Iterator[None]:
    """Initialise modules from a seed, without moving the caller's random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def with_memory(skeleton: Network) -> Network:
    """Give a network of device ``meta`` memory for the weights that are loaded next, which spares initialising them.

    Raises:
        RuntimeError: It has a buffer that neither weights nor this function fill.
    """
    network = skeleton.to_empty(device="cpu")
    stored = network.state_dict()
    for name, buffer in network.named_buffers():
        if name in stored:
            continue
        if not name.endswith("position_ids"):  # transformers' text tower counts its positions in one
            raise RuntimeError(f"{type(network).__name__} has a buffer {name} that no weights fill")
        buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return network
