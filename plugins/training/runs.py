"""From a checked recipe file to a weight file: parts are built, trained, and what is known of them is written down."""

from __future__ import annotations

import errno
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from regionkit.core.contracts import Backbone, BuildContext, Recipe, WeightArtifact
from regionkit.core.errors import RegionkitError, RunFailed, WeightsError
from regionkit.core.spec import PARTS
from regionkit.core.weights import read_header, write_weights
from regionkit.plugins.training.checkpoint import SUFFIX, Checkpoint, differences
from regionkit.plugins.training.engine import Engine
from regionkit.plugins.training.loop import LoopOptions, Outcome, same_everywhere, train
from regionkit.plugins.training.progress import Progress
from regionkit.plugins.training.recipe_file import TrainingPlan
from regionkit.registry.assembly import build_part, build_planned, place
from regionkit.registry.ports import space_in
from regionkit.registry.weights.index import get_index

#: Key of ``WeightHeader.extra`` that says how the weights were trained.
TRAINING = "training"
#: Key of the set-up that tells a recipe's data from others; it is known once the recipe is built.
DATA = "data"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a recipe is carried out.

    Attributes:
        threads: CPU threads; part of the result.
        restart: Start over whatever is there.
        checkpoint_steps: See :class:`~regionkit.plugins.training.loop.LoopOptions`.
        checkpoint_seconds: The same.
    """

    threads: int = 1
    restart: bool = False
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run.

    Attributes:
        outcome: What the loop did; None where the weights were there already, made by the same set-up.
        figures: What the recipe found out about its result.
        failure: What kept it from finding out more, after all steps were made; the weights are written all the same.
    """

    outcome: Outcome | None = None
    figures: dict[str, float] = field(default_factory=dict)
    failure: RegionkitError | None = None


def carry_out(
    plan: TrainingPlan,
    options: RunOptions,
    engine: Engine,
    show: Callable[[int, int], AbstractContextManager[Progress]] | None = None,
) -> Report:
    """Train, and write the weights; a run that was killed goes on, one that is finished is left alone.

    Args:
        plan: The recipe file.
        options: Threads, checkpoints, whether to start over.
        engine: Where steps are computed.
        show: Makes the display from the number of all steps and of those done before.

    Raises:
        RegionkitError: The weights or the checkpoint that are there come from another set-up.
        RunFailed: The loss is not finite, or a file cannot be written.
    """
    setup = {**plan.setup(options.threads), **engine.setup()}
    checkpoint = Checkpoint(plan.out.with_name(plan.out.name + SUFFIX), setup)
    scratch = plan.out.with_name(f".{plan.out.name}.training")
    _check_free([*plan.files.values(), checkpoint.path])
    done = not options.restart and _finished(plan, setup, checkpoint.path)
    engine.wait()  # every process has looked before one of them tidies up
    if engine.main and (done or options.restart):
        _tidy(checkpoint, scratch)  # begins anew, or was killed between its last two files
    engine.wait()
    if done:
        return Report()
    checkpoint.check(but=(DATA,))  # encoding a corpus can take long: another set-up's is refused before it
    loop = LoopOptions(checkpoint, plan.seed, options.threads, options.checkpoint_steps, options.checkpoint_seconds)
    # Building counts too: text embeddings are sums whose last bit depends on the number of threads.
    with same_everywhere(loop, engine.device):
        recipe = build_recipe(plan, engine.device, scratch)
        if recipe.fingerprint:
            setup = {**setup, DATA: recipe.fingerprint}
            loop = replace(loop, checkpoint=replace(checkpoint, setup=setup))
        outcome = train(recipe, loop, engine=engine, show=show if show and engine.main else _silent)
        if not engine.main:
            return Report(outcome)
        figures, failure = _figures(recipe)
        for artifact in recipe.export():
            _write(plan, setup, artifact, outcome, figures)
    _tidy(checkpoint, scratch)
    get_index.cache_clear()
    return Report(outcome, figures, failure)


def _tidy(checkpoint: Checkpoint, scratch: Path) -> None:
    """Remove what a run keeps beside its weights."""
    checkpoint.remove()
    shutil.rmtree(scratch, ignore_errors=True)


def _figures(recipe: Recipe) -> tuple[dict[str, float], RegionkitError | None]:
    """Return the figures of a trained recipe, as far as they go, and what kept it from giving the rest."""
    figures: dict[str, float] = {}
    try:
        with torch.inference_mode():
            for name, value in recipe.evaluate():
                figures[name] = value
    except RegionkitError as error:
        return figures, error
    return figures, None


def _check_free(paths: Sequence[Path]) -> None:
    """Find out before hours of training that the weights have nowhere to go.

    Raises:
        RunFailed: The folder cannot be made or written, or a folder has the name of the weights or the checkpoint.
    """
    try:
        for path in paths:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder")
        with tempfile.TemporaryFile(dir=next(parent for parent in paths[0].absolute().parents if parent.exists())):
            pass
    except OSError as error:
        raise RunFailed(
            f"{paths[0]}: no weights can be written there: {error.strerror or error}",
            "choose another folder with --out",
        ) from None


def _restarted(out: Path, checkpoint: Path) -> bool:
    """Say whether a run with --restart was stopped: its checkpoint is younger than the weights that it will replace."""
    return checkpoint.exists() and checkpoint.stat().st_mtime_ns > out.stat().st_mtime_ns


def build_recipe(plan: TrainingPlan, device: torch.device, scratch: Path | None = None) -> Recipe:
    """Build the parts, then the recipe with them.

    Args:
        plan: The recipe file.
        device: Where parts live.
        scratch: Folder of what the recipe keeps until the run is finished.
    """
    built: dict[str, Any] = {}
    for role, part in plan.parts.items():
        if plan.pipeline is not None and role in PARTS:
            built[role] = build_planned(plan.pipeline, role, built, device, plan.seed)
            continue
        backbone = built.get("backbone")
        reads, writes = map(space_in, plan.ports[role])
        context = BuildContext(
            reads=reads,
            writes=writes,
            weights=plan.weights[role],
            backbone=backbone if isinstance(backbone, Backbone) else None,
            parts=dict(built),
            seed=plan.seed,
        )
        built[role] = place(build_part(part, context), device)
    context = BuildContext(parts=built, seed=plan.seed, backbone=built.get("backbone"), scratch=scratch)
    recipe = build_part(plan.recipe, context)
    if not isinstance(recipe, Recipe):
        raise RegionkitError(f"recipe '{plan.recipe.name}' does not implement Recipe")
    return recipe


def _write(
    plan: TrainingPlan, setup: dict[str, Any], artifact: WeightArtifact, outcome: Outcome, figures: dict[str, float]
) -> None:
    """Complete the header with what only the file of the recipe knows, and write the weights of one part."""
    header = artifact.header
    if header.kind not in plan.kinds:
        return  # a part that is not trained, or left as it is
    role = plan.kinds[header.kind]
    out, (reads, writes) = plan.files[role], map(space_in, plan.ports[role])
    training: dict[str, Any] = {"setup": setup, "torch": torch.__version__.partition("+")[0], "figures": figures}
    if math.isfinite(outcome.loss):
        training["loss"] = outcome.loss
    corruption = header.corruption
    if header.kind == "decoder" and "bridge" in plan.parts:
        corruption = str(getattr(plan.parts["bridge"].config, "corruption", "none"))
    corpus = ""
    if "corpus" in plan.parts:  # one that reads any file says in its options what that one is called
        corpus = str(getattr(plan.parts["corpus"].config, "corpus", plan.parts["corpus"].name))
    if "dataset" in plan.parts:  # what was seen with pictures says more than where words came from
        corpus = plan.parts["dataset"].name
    header = replace(
        header,
        space=header.space or reads,
        writes=header.writes or (writes if header.kind in ("region_encoder", "bridge") else ""),
        corruption=corruption,
        corpus=header.corpus or corpus,
        recipe=header.recipe or plan.command,
        extra={**header.extra, TRAINING: training},
    )
    try:
        write_weights(out, artifact.tensors, header, half=plan.half)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the system says in a type of its own
        raise RunFailed(
            f"{out}: the trained weights could not be written: {error}",
            "make room and run the same command again, without --restart: it goes on from the last checkpoint",
        ) from None


def _finished(plan: TrainingPlan, setup: dict[str, Any], checkpoint: Path) -> bool:
    """Say whether all weights that this run would make are there.

    Raises:
        RegionkitError: Some are there from another set-up, or are damaged.
    """
    there = [path for path in plan.files.values() if path.exists() and not _restarted(path, checkpoint)]
    for path in there:
        _check_same(path, setup)
    return len(there) == len(plan.files)


def _check_same(path: Path, setup: dict[str, Any]) -> None:
    again = "to replace them add --restart; to keep them train elsewhere: --out DIR, or --set out=NAME.safetensors"
    try:
        header = read_header(path)
    except WeightsError as error:
        raise WeightsError(error.message, "make it again with --restart") from None
    stored = header.extra.get(TRAINING, {}).get("setup") if header else None
    if stored is None:
        raise RegionkitError(f"{path}: there are weights already, and they do not say how they were trained", again)
    changes = list(differences({key: value for key, value in stored.items() if key != DATA}, setup))
    if changes:
        raise RegionkitError(f"{path}: there are weights already, made by another set-up", *changes, again)


def _silent(total: int, start: int) -> AbstractContextManager[Progress]:
    from regionkit.plugins.training.progress import Silent

    return nullcontext(Silent())
