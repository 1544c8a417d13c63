"""Checks of every kind: seeds, random state, precision, devices, weights on disk, other processes."""

from __future__ import annotations

import copy
import pickle
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regionkit.core.features import RegionTokens
from regionkit.core.testing.checks import check, crash
from regionkit.core.testing.demands import DEVICE_TOLERANCE, HALF_TOLERANCE, Skip, demand, digest, near
from regionkit.core.testing.stand_ins import Recast
from regionkit.core.testing.subject import Subject, answer, must_agree, numbers
from regionkit.core.testing.worker import ask
from regionkit.core.weights import write_weights

_PARTS = ("backbone", "region_encoder", "bridge", "decoder")
_KINDS = (*_PARTS, "metric", "dataset", "corpus", "recipe", "judge", "task")
_TWICE = {
    "region_encoder": "encoding twice gives two results",
    "backbone": "encoding twice gives two results",
    "bridge": "bridging twice gives two results",
    "decoder": "generating twice gives two results",
}


def random_state() -> str:
    """Return a hash of the global random states of torch, numpy and Python."""
    return digest([torch.get_rng_state(), list(np.random.get_state()), random.getstate()])


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """Put the global random states of torch, numpy and Python back at the end."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def _shuffled() -> str:
    """Seed the global random states, draw from each, and return their hash: no seed alone leads there."""
    torch.manual_seed(999)
    np.random.seed(999)
    random.seed(999)
    torch.rand(3)
    np.random.rand(3)
    random.random()
    return random_state()


@check(*_KINDS)
def deterministic(subject: Subject) -> None:
    """Asked twice, it gives the same bits, wherever the global random state stands."""
    before = torch.get_rng_state()
    first = answer(subject)
    try:
        torch.manual_seed(12345)
        second = answer(subject)
    finally:
        torch.set_rng_state(before)
    must_agree(first, second, _TWICE.get(subject.kind, "asking twice gives two results"))


@check(*_KINDS)
def same_seed_same_component(subject: Subject) -> None:
    """Built twice from one seed, it gives the same bits, wherever the global random state stands."""
    with _random_states_kept():
        first = answer(replace(subject, component=subject.another(0)))
        _shuffled()
        second = answer(replace(subject, component=subject.another(0)))
    must_agree(first, second, "built twice from one seed, it differs: it draws from the global random state")


@check(*_KINDS)
def random_state_untouched(subject: Subject) -> None:
    """Building and using it leaves the global random state of torch, numpy and Python as it was."""
    with _random_states_kept():
        # A state that no component leaves behind: one that was built before may have seeded it as this one would again.
        before = _shuffled()
        answer(subject)
        demand(
            random_state() == before, "using it moves the global random state: draw from a torch.Generator of its own"
        )
        if subject.make is not None:
            subject.make(0)
            message = "building it moves the global random state: seed inside torch.random.fork_rng"
            demand(random_state() == before, message)


@check(*_PARTS)
def bfloat16(subject: Subject) -> None:
    """In bfloat16, fed with bfloat16, it gives finite numbers near those in float32 (a fifth of their length)."""
    half = torch.bfloat16
    component = _moved(subject.component, dtype=half)
    backbone = Recast(_moved(subject.backbone), partial(torch.Tensor.to, dtype=half))
    inputs = _fed(subject, dtype=half)
    if component is subject.component and subject.kind == "backbone":
        raise Skip("it is no module that could be moved to bfloat16")
    texts = _texts(subject)
    wide = answer(subject, texts)
    narrow = answer(replace(subject, component=component, backbone=backbone, inputs=inputs), texts)
    for name, values in numbers(narrow).items():
        right = (half, torch.float32)
        demand(values.dtype in right, f"in bfloat16, its {name} are {values.dtype}, neither bfloat16 nor float32")
        demand(bool(torch.isfinite(values).all()), f"in bfloat16, its {name} hold NaN or infinity")
        near(wide[name], values, f"in bfloat16, its {name} are far from those in float32", HALF_TOLERANCE)


@check(*_PARTS, gpu=True)
def gpu(subject: Subject) -> None:
    """On a GPU it gives what it gives on a CPU, but for rounding (a thousandth of its length)."""
    if not torch.cuda.is_available():
        raise Skip("there is no CUDA device here")
    device = "cuda"
    texts = _texts(subject)
    moved = replace(
        subject,
        component=_moved(subject.component, device=device),
        backbone=Recast(_moved(subject.backbone, device=device), partial(torch.Tensor.to, device=device)),
        inputs=_fed(subject, device=device),
    )
    here, there = answer(subject, texts), answer(moved, texts)
    for name, values in numbers(there).items():
        near(here[name].cpu(), values.cpu(), f"on a GPU, its {name} differ from those on a CPU", DEVICE_TOLERANCE)


@check(*_PARTS, "metric")
def save_load(subject: Subject) -> None:
    """Saved as safetensors and loaded into one that was built from another seed, it gives the same bits."""
    module = _module(subject.component)
    if module is None:
        raise Skip("it has no weights: it is made from its options alone")
    other = subject.another(1)
    target = _module(other)
    assert target is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        _save(path, module.state_dict())
        try:
            target.load_state_dict(_load(path))
        except RuntimeError as error:
            raise AssertionError(f"one from another seed cannot load its weights: {_line(error, 1)}") from error
    if isinstance(other, nn.Module):
        other.eval()
    message = "state is lost on the way through a weight file: what matters must be a parameter or a buffer"
    must_agree(answer(subject), answer(replace(subject, component=other)), message)


@check(*_PARTS)
def artifact(subject: Subject) -> None:
    """Its artifact, written to a file and built from it, gives the same bits."""
    made = subject.component.artifact()
    if made is None:
        raise Skip("it has no weights of its own")
    if subject.read is None:
        raise Skip("the subject does not say how to build one from a weight file")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        write_weights(path, made.tensors, made.header)
        other = subject.read(path)
    if isinstance(other, nn.Module):
        other.eval()
    must_agree(answer(subject), answer(replace(subject, component=other)), "artifact() loses state")


@check(*_KINDS)
def pickles(subject: Subject) -> None:
    """Pickled and sent to a fresh process, it gives the same bits there."""
    cls = type(subject.component)
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is not cls or cls.__module__ == "__main__":
        raise Skip(f"its class {cls.__qualname__} cannot be imported by name from another process")
    try:
        pickle.dumps(subject.component)
    except Exception as error:
        raise AssertionError(f"it cannot be pickled: {_line(error)}") from error
    there = ask("answer", subject.portable())
    must_agree(answer(subject), there, "in another process it gives another result")


def _line(error: BaseException, number: int = 0) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[min(number, len(lines) - 1)] if lines else type(error).__name__


def _module(component: Any) -> nn.Module | None:
    """Return the module that holds a component's weights, if there are any."""
    if isinstance(component, nn.Module):
        return component
    inner = getattr(component, "module", None)
    return inner if isinstance(inner, nn.Module) else None


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    # Cloned: tied weights share their storage, which safetensors refuses.
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, path)


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _moved(component: Any, **where: Any) -> Any:
    """Return a copy of a module, moved; what is no module as it is."""
    if not isinstance(component, nn.Module) or not where:
        return component
    try:
        twin = copy.deepcopy(component)
    except Exception as error:
        raise AssertionError(f"it cannot be copied: {crash(error)}") from error
    return twin.to(**where).eval()


def _fed(subject: Subject, **where: Any) -> Any:
    """Return what a bridge or decoder reads, moved; of the other kinds nothing."""
    if subject.kind not in ("bridge", "decoder"):
        return None
    inputs = subject.fed()
    if not isinstance(inputs, RegionTokens):
        return inputs
    mask = inputs.mask.to(where["device"]) if "device" in where else inputs.mask
    return RegionTokens(inputs.tokens.to(**where), mask, inputs.space)


def _texts(subject: Subject) -> list[str] | None:
    """Return the captions that a decoder gives in float32 on the CPU, to be scored elsewhere too."""
    if subject.kind != "decoder":
        return None
    with torch.no_grad():
        return [caption.text for caption in subject.component.generate(subject.fed())]
