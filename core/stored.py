"""Building with weights: options that they decide, and starting without any.

Backbones, region encoders, projectors and decoders of several papers meet here.
"""

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


def with_stored(
    config: Config, stored: Mapping[str, Any], names: Sequence[str], *, kind: str, source: str, words_ask: bool = True
) -> Config:
    """Lay what weights were made with under the given options; a number at its default asks for nothing in particular.

    Args:
        config: The options, a dataclass whose fields all have defaults.
        stored: What the weights' header says, by option.
        names: The options that weights decide; one that the header leaves out stays as it is.
        kind: Kind of the component, for messages: ``decoder``.
        source: The weights, for messages.
        words_ask: Whether a word asks for what it says even where it is the default, such as the name of a model.

    Raises:
        WeightsError: An option asks for something else than the weights have; or what they have does not go with the
            other options.
    """
    defaults = type(config)()
    found = {name: stored[name] for name in names if name in stored}
    for name, value in found.items():
        given = getattr(config, name)
        silent = given == getattr(defaults, name) and not (words_ask and isinstance(given, str))
        if given != value and not silent:
            raise WeightsError(
                f"{kind}.{name}: {given} was asked for, the weights {source} have {value}",
                f"leave {kind}.{name} out, or name other weights: toolkit weights list",
            )
    try:
        return dataclasses.replace(config, **found)  # type: ignore[type-var]
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{source}: the weights do not fit the other options: {error}") from None


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed: building a part must not move the caller's random numbers."""
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
        if not name.endswith("position_ids"):  # transformers' towers count their positions in one
            raise RuntimeError(f"{type(network).__name__} has a buffer {name} that no weights fill")
        buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return network
