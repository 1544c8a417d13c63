"""Building parts and pipelines from plans. Plugins' code is imported here, torch only with the parts of pipelines."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from regionkit.core.blame import note_made
from regionkit.core.compute import Precision, in_precision
from regionkit.core.contracts import Backbone, BuildContext, Component, Corpus, Decoder, GapBridge, RegionEncoder
from regionkit.core.errors import RegionkitError, RunFailed, did_you_mean
from regionkit.core.spec import KINDS, PARTS, ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.registry.building import check_made, check_whole, not_built, who_is
from regionkit.registry.packages import require_packages
from regionkit.registry.plan import PipelinePlan
from regionkit.registry.ports import space_in
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part, fill, with_defaults
from regionkit.registry.weights.choice import Wanted, choose_weights, settle_backbone
from regionkit.registry.weights.option_files import OptionFile, asked_for, locate_option, with_files

if TYPE_CHECKING:
    import torch

    from regionkit.core.pipeline import Pipeline

#: Kinds of components whose options name others that they are built with.
_HELPED = ("dataset", "metric", "judge", "task", "corpus")


def build_pipeline(
    plan: PipelinePlan,
    *,
    device: str = "auto",
    reuse: MutableMapping[str, Component] | None = None,
    precision: Precision = "float32",
) -> Pipeline:
    """Build the parts of a plan, in evaluation mode.

    Args:
        plan: What :func:`regionkit.registry.plan.plan_pipeline` decided.
        device: See :func:`pick_device`.
        reuse: Built components by ``plan.key(kind)``. What is there is taken, what is built is put in. Use one such
            mapping for one device and precision only.
        precision: In what backbone and decoder compute; see :func:`regionkit.core.compute.in_precision`.

    Raises:
        MissingExtra: A package that a part needs is not installed; nothing was built.
        WeightsError: A weight file turned out to be damaged.
    """
    from regionkit.core.pipeline import Pipeline

    for part in plan.parts.values():
        require_packages(part.spec)
    target = pick_device(device)
    reuse = {} if reuse is None else reuse
    built: dict[str, Component] = {}
    for kind in PARTS:
        key = plan.key(kind)
        if key not in reuse:
            reuse[key] = build_planned(plan, kind, built, target)
            in_precision(reuse[key], precision)
        built[kind] = reuse[key]
    backbone, encoder, bridge, decoder = (built[kind] for kind in PARTS)
    assert isinstance(backbone, Backbone)
    assert isinstance(encoder, RegionEncoder)
    assert isinstance(bridge, GapBridge)
    assert isinstance(decoder, Decoder)
    return Pipeline(backbone, encoder, bridge, decoder)


def build_planned(
    plan: PipelinePlan, kind: str, built: Mapping[str, Component], device: torch.device, seed: int = 0
) -> Component:
    """Build one part of a plan, in evaluation mode.

    Args:
        plan: The plan.
        kind: Which of its parts.
        built: Parts that were built before, the backbone first; for an untrained decoder perhaps a corpus.
        device: Where it goes.
        seed: Of the initial weights of an untrained part.
    """
    backbone = built.get("backbone")
    reads, writes = map(space_in, plan.ports[kind])
    context = BuildContext(
        reads=reads,
        writes=writes,
        weights=plan.weights[kind],
        bank=plan.banks.get(kind),
        backbone=backbone if isinstance(backbone, Backbone) else None,
        parts=dict(built),
        seed=seed,
    )
    part = plan.parts[kind]
    component = place(build_part(part, context, plan.files.get(kind, {})), device)
    # What it writes is held against what the plan says, wherever it is handed on.
    note_made(component, replace(who_is(part.spec), writes=plan.ports[kind][1]))
    if kind in plan.fit_corpus:
        from regionkit.registry.weights.banks import embed_corpus

        assert isinstance(component, (GapBridge, Decoder))
        assert isinstance(backbone, Backbone)
        sentences = fill("corpus", plan.fit_corpus[kind])
        assert sentences is not None
        corpus = build_part(sentences, BuildContext())
        assert isinstance(corpus, Corpus)
        code = get_registry().code_version([plan.parts["backbone"].spec])
        with _told_as(part.spec, "fitted"):
            embeddings, texts = embed_corpus(backbone, f"{plan.key('backbone')} {code}", sentences, corpus)
            component.fit(embeddings.to(device), texts)
    return component


def build_part(part: Part, context: BuildContext, files: Mapping[str, OptionFile] | None = None) -> Component:
    """Import the code of a component and build it.

    What a data set or a metric needs beside itself, such as a judge, is built first, as its options say; what the
    context holds in such a role stays. Released files that its options ask for are named to it as ``file:PATH``: those
    of ``files``, by option, or they are looked for.

    Raises:
        MissingExtra: A package that it needs is not installed.
        RegionkitError: Its plugin's code cannot be imported, is not of the promised kind, or cannot be built.
        RunFailed: It does not fit into memory.
        WeightsError: A released file that an option asks for is not here.
    """
    require_packages(part.spec)
    if files is None:
        files = {entry.role: locate_option(part, entry) for entry in asked_for(part)}
    config = with_files(part.config, files)
    if part.kind in _HELPED and part.spec.needs:
        from regionkit.registry.helpers import Helpers  # which builds parts, too

        context = Helpers(part).join(context)
    found = component_class(part.spec)
    check_whole(found, part.spec)
    try:
        with _told_as(part.spec, "built"):
            component = found.build(config, context)
    except (MemoryError, RuntimeError) as error:
        from regionkit.core.out_of_memory import first_line, is_out_of_memory  # torch, which has failed already

        if not is_out_of_memory(error):
            raise
        reason = f"{part.kind} '{part.name}' does not fit into memory: {first_line(error)}"
    else:
        check_made(component, part.spec)
        note_made(component, who_is(part.spec))
        return component
    raise RunFailed(
        reason, "check the sizes among its options; where they are meant, it takes a machine with more memory"
    )


@contextmanager
def _told_as(spec: ComponentSpec, what: str) -> Iterator[None]:
    """Say of what the code of a component raises which one it is: a traceback of strangers' code names no component.

    Raises:
        RegionkitError: It raised something; a lack of memory is left to whoever can do with less.
    """
    try:
        yield
    except RegionkitError:
        raise
    except Exception as error:
        if isinstance(error, (MemoryError, RuntimeError)):
            from regionkit.core.out_of_memory import is_out_of_memory

            if is_out_of_memory(error):
                raise
        raise not_built(spec, what, error) from error


def component_class(spec: ComponentSpec) -> type[Component]:
    """Import the class of a component and check that it implements the contract of its kind.

    Raises:
        RegionkitError: It cannot be imported, or is something else.
    """
    module, _, name = spec.target.partition(":")
    owner = get_registry().owner(spec)
    fault = f"this is a fault of plugin {owner}, which names it as {spec.target}"
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a stranger's module may raise anything, such as OSError for a missing library
        raise RegionkitError(
            f"the code of {spec.kind} '{spec.name}' cannot be imported: {type(error).__name__}: {error}", fault
        ) from error
    contract_module, _, contract_name = KINDS[spec.kind].partition(":")
    contract = getattr(importlib.import_module(contract_module), contract_name)
    if not (isinstance(found, type) and issubclass(found, contract)):
        raise RegionkitError(f"{spec.target} does not implement {contract_name}, as a {spec.kind} must", fault)
    return found


def build(kind: str, value: str | Mapping[str, Any], /, **context: Any) -> Component:
    """Build a single component by name: a dataset, metric, corpus or recipe, or a part with a context of your own.

    Args:
        kind: Its kind.
        value: Its name, or a mapping with ``name`` and options.
        **context: Fields of ``BuildContext``. Without ``weights``, they are chosen by ``reads``, where there is
            that; a backbone's by what it writes.

    Raises:
        ConfigError: The name or an option is wrong.
    """
    part, file = chosen(kind, value, str(context.get("reads", "")), choose="weights" not in context)
    return build_part(part, BuildContext(**{"weights": file, **context}))


def chosen(
    kind: str, value: str | Mapping[str, Any], reads: str = "", *, choose: bool = True
) -> tuple[Part, WeightFile | None]:
    """Return a component with its options filled, and the weights that it would be built with.

    Args:
        kind: Its kind.
        value: Its name, or a mapping with ``name`` and options.
        reads: The space that it is to read, ``name[dim]``; empty for any.
        choose: Whether to choose weights at all.

    Raises:
        ConfigError: The name or an option is wrong.
        WeightsError: There are no weights, or several that fit.
    """
    part = fill(kind, value)
    assert part is not None  # without a list to take them, mistakes are raised
    if not (part.spec.weights and choose):
        return part, None
    if kind == "backbone":
        return settle_backbone(part)
    file = choose_weights(part, Wanted(reads))
    return with_defaults(part, file.header.config if file else {}), file


def place(component: Component, device: torch.device) -> Component:
    """Move a component to a device and into evaluation mode, where it is a module."""
    torch = sys.modules.get("torch")  # without torch there is no module
    if torch is not None and isinstance(component, torch.nn.Module):
        component.to(device)
        component.eval()
    return component


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is a GPU where there is one.

    Raises:
        RegionkitError: There is no such device here.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        known = ("auto", "cpu", "cuda", "cuda:0", "mps")
        raise RegionkitError(
            f"no device named '{name}'", did_you_mean(name, known) or f"devices are: {', '.join(known)}"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RegionkitError("device 'cuda' is not available here", "use --device cpu, or see: toolkit doctor")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise RegionkitError(f"device '{name}' is not there: {torch.cuda.device_count()} CUDA devices, counted from 0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RegionkitError("device 'mps' is not available here", "use --device cpu, or see: toolkit doctor")
    return device
