"""Registers the plugin of fakes for the tests of this folder alone."""

from __future__ import annotations

from collections.abc import Iterator

import ablation_fakes
import pytest
import torch

from regionkit.registry import registry as registry_module
from regionkit.registry.registry import Owner


@pytest.fixture(scope="module", autouse=True)
def fakes() -> Iterator[None]:
    registry_module.get_registry.cache_clear()
    registry = registry_module.get_registry()
    registry.register(ablation_fakes, Owner("ablation_fakes", "tests", "0"))
    assert "ablation_fakes" in registry.plugins, registry.quarantined
    yield
    registry_module.get_registry.cache_clear()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ablation_fakes.FORWARDS.clear()
    yield
    torch.set_num_threads(threads)
