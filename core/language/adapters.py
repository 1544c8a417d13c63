"""Low-rank adapters (LoRA) inside a language model, through peft; imported on first use.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from regionkit.core.errors import MissingExtra, RegionkitError

_ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """How adapters are put on.

    Attributes:
        rank: Their rank.
        alpha: They are scaled by ``alpha / rank``.
        dropout: Before them, in training only.
        targets: Regular expression of the full names of the linear layers that get one.
    """

    rank: int
    alpha: float
    dropout: float
    targets: str


def add_adapters(model: nn.Module, options: AdapterOptions, who: str) -> None:
    """Put fresh adapters on linear layers, in place, and leave nothing else of the model to be trained.

    A fresh adapter is random times zero: the model's output stays what it was, bit for bit.

    Args:
        model: A language model of transformers.
        options: How.
        who: Whose model it is, for messages: ``decoder 'NAME'``.

    Raises:
        MissingExtra: peft is not installed.
        RegionkitError: No linear layer has such a name.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtra(f"{who} with adapters", "peft", "lora") from None
    chosen: list[tuple[str, nn.Module]] = []
    others: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        if type(module).__name__ in ("Linear", "Conv1D"):  # transformers' GPT-2 has layers of the second kind
            (chosen if re.fullmatch(options.targets, name) else others).append((name, module))
    if not chosen:
        known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name, _ in others))
        raise RegionkitError(
            f"{who}: no linear layer has a name that fits lora_targets '{options.targets}'",
            f"its layers end in: {known}",
        )
    turned = type(chosen[0][1]).__name__ == "Conv1D"  # it keeps its weight as (in, out)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=[name for name, _ in chosen],
        fan_in_fan_out=turned,
        bias="none",
    )
    inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    for name, weight in model.named_parameters():
        weight.requires_grad_(is_adapter(name))


def is_adapter(name: str) -> bool:
    """Say whether a tensor of that name belongs to an adapter."""
    return ".lora_" in name


def plain_name(name: str) -> str:
    """Return the name of a tensor as files have it: that of the model without adapters, ``lora_A.weight`` beside it."""
    return name.replace(".base_layer.", ".").replace(f".{_ADAPTER}.", ".") if "." in name else name


def switch_adapters(model: nn.Module, on: bool) -> None:
    """Let the adapters of a model count, or leave them out; which weights are trained stays as it is."""
    for layer in _layers(model):
        trained = {name: weight.requires_grad for name, weight in layer.named_parameters()}
        layer.enable_adapters(on)
        for name, weight in layer.named_parameters():
            weight.requires_grad_(trained[name])


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Leave the adapters of a model out for a while: exactly the model that they were put on."""
    were_on = [not layer.disable_adapters for layer in _layers(model)]
    switch_adapters(model, on=False)
    try:
        yield
    finally:
        if any(were_on):
            switch_adapters(model, on=True)


def _layers(model: nn.Module) -> list[Any]:
    """Return the layers that have an adapter."""
    return [
        module for module in model.modules() if hasattr(module, "enable_adapters") and hasattr(module, "base_layer")
    ]
