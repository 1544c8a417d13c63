"""Registers the plugin of fakes for the tests of this folder alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import ablation_fakes
import pytest
import torch
import worker_fakes
from worker_fakes import processes

from regionkit.plugins.ablation.launching import children
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


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let workers be copies of this process, and no test find what another one keeps of stages."""
    monkeypatch.setattr("regionkit.registry.registry.Registry.code_version", lambda *_: "fixed")
    monkeypatch.setattr(children, "spawn", worker_fakes.spawn)
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def others() -> list[int]:
    """Processes that other tests have left running before this one, such as multiprocessing's tracker."""
    return processes(os.getpid())
