"""Recipe files: what to train, with what, and where the weights go. Nothing is built here and torch is not imported."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from regionkit.core.errors import ConfigError, Problem, RegionkitError, did_you_mean
from regionkit.core.spec import KINDS, PARTS, ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.plugins.training.variants import check_out, variants_of, varied
from regionkit.registry.document import Document, check_reader, read_document
from regionkit.registry.packages import require_packages
from regionkit.registry.plan import PipelinePlan, settle_pipeline
from regionkit.registry.ports import Spaces, spaces_of
from regionkit.registry.registry import get_registry, plural
from regionkit.registry.schema import Part, by_line, check_keys, fill
from regionkit.registry.weights.choice import Wanted, choose_weights, reference_of, settle_backbone
from regionkit.registry.weights.folders import default_folder
from regionkit.registry.weights.index import content_hash
from regionkit.registry.weights.option_files import asked_for, locate_option

#: Keys of a recipe file beside the parts that it trains with.
KEYS = ("recipe", "seed", "out", "half", "summary", "variants")
#: What torch takes.
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class TrainingPlan:
    """A recipe file, checked and filled.

    Attributes:
        recipe: The recipe.
        parts: What it trains with, by role, in the order in which they are built.
        weights: Weight files of the parts; None where a part has none or starts untrained.
        ports: ``(reads, writes)`` of every part as concrete spaces; empty strings where nothing is known.
        pipeline: The plan of a whole pipeline that is among the parts; None where there is none.
        trained: Roles of the parts that are trained.
        seed: Seed of initial weights, order and noise.
        out: The weight file to make; where several parts are trained, the name that their files begin with.
        half: Store floating-point weights as float16.
        command: What makes these weights again.
    """

    recipe: Part
    parts: dict[str, Part]
    weights: dict[str, WeightFile | None]
    ports: dict[str, tuple[str, str]]
    pipeline: PipelinePlan | None
    trained: tuple[str, ...]
    seed: int
    out: Path
    half: bool
    command: str

    @property
    def kinds(self) -> dict[str, str]:
        """Role of each trained part by its kind, which is what its weights say of themselves."""
        return {self.parts[role].kind: role for role in self.trained}

    @property
    def files(self) -> dict[str, Path]:
        """The weight file that each trained part gets, by role: ``out``, or NAME-ROLE.safetensors where several are."""
        if len(self.trained) == 1:
            return {self.trained[0]: self.out}
        return {role: self.out.with_name(f"{self.out.stem}-{role}{self.out.suffix}") for role in self.trained}

    def setup(self, threads: int) -> dict[str, Any]:
        """Return everything that decides the result, as JSON values: all options, weights by content, seed, threads."""
        fitted = dict(self.pipeline.fit_corpus) if self.pipeline else {}
        return {
            "recipe": self.recipe.to_dict(),
            **{role: part.to_dict() for role, part in self.parts.items()},
            "weights": {role: content_hash(file) for role, file in self.weights.items() if file},
            **({"fit_corpus": fitted} if fitted else {}),
            "seed": self.seed,
            "threads": threads,
            "half": self.half,
        }


def plan_variants(
    path: Path, overrides: Sequence[str] = (), *, folder: Path | None = None, only: Sequence[str] = ()
) -> list[TrainingPlan]:
    """Read a recipe file that trains several variants, one run each, or a single one where it names none.

    ``variants`` maps names to options that are laid over the file: ``small: {decoder.hidden: 64}``. A variant's weights
    are called after it.

    Args:
        path: The YAML file.
        overrides: ``a.b=c`` strings laid over it, and over every variant.
        folder: Where weights go; the first folder of $REGIONKIT_WEIGHTS, or ``weights``, by default.
        only: Names of the variants that are wanted; all where empty.

    Raises:
        ConfigError: All mistakes of the file and its variants together: names, options, missing parts, weights.
    """
    document = read_document(path, overrides)
    check_reader(document, "train")
    variants = variants_of(document)
    unknown = [name for name in only if name not in variants]
    if unknown:
        hint = f"variants are: {', '.join(variants)}" if variants else "the file names none"
        raise ConfigError([Problem(document.line("variants"), "--only", f"no variant named '{unknown[0]}'", (hint,))])
    if not variants:
        return [_plan(document, folder or default_folder(), _command(path, overrides))]
    chosen = {name: laid for name, laid in variants.items() if not only or name in only}
    commands = {name: _command(path, overrides, ["--only", name]) for name in chosen}
    return _plan_each(document, chosen, folder or default_folder(), commands)


def check_file(document: Document) -> str:
    """Say on one line what a recipe file trains, for ``toolkit validate``; raises as :func:`plan_variants`."""
    variants = variants_of(document)
    if variants:
        plans = _plan_each(document, variants, Path(), dict.fromkeys(variants, ""))
        trained = ", ".join(f"{role} {plans[0].parts[role].name}" for role in plans[0].trained)
        return f"recipe: {plans[0].recipe.name} trains {trained} in {len(plans)} variants: {', '.join(variants)}"
    plan = _plan(document, Path(), "")
    parts = ", ".join(f"{role} {part.name}" for role, part in plan.parts.items() if role not in plan.trained)
    trained = ", ".join(f"{role} {plan.parts[role].name}" for role in plan.trained)
    using = f" with {parts}" if parts else ""
    files = ", ".join(map(str, plan.files.values()))
    return f"recipe: {plan.recipe.name} trains {trained}{using}, into {files} in the folder that --out names"


def _plan_each(
    document: Document, variants: Mapping[str, Mapping[str, Any]], folder: Path, commands: Mapping[str, str]
) -> list[TrainingPlan]:
    """Plan every variant; the mistakes of all are told together.

    Raises:
        ConfigError: These mistakes, or one name of weights for several variants.
    """
    check_out(document, variants)
    plans: list[TrainingPlan] = []
    problems: list[Problem] = []
    for name, laid in variants.items():
        try:
            plans.append(_plan(varied(document, name, laid), folder, commands[name]))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(sorted(dict.fromkeys(problems), key=by_line))
    return plans


def _plan(document: Document, folder: Path, command: str) -> TrainingPlan:
    problems: list[Problem] = []
    recipe = fill("recipe", document.data.get("recipe"), document.line, "recipe", problems)
    spec = _spec(document)
    roles = _roles(document, spec)
    check_keys(document.data, tuple(dict.fromkeys((*KEYS, "corpus", *roles))), document.line, problems)
    seed, half, out = _seed(document, problems), _half(document, problems), _out(document, problems)
    trained = _trained(document, spec, recipe, problems)
    parts: dict[str, Part] = {}
    for role, kind in roles.items():
        part = _part(document, role, kind, spec, trained, problems)
        if part is not None:
            parts[role] = replace(part, run=Path(out).stem)
    trained = tuple(role for role in trained if role not in parts or _learns(parts[role].spec))
    _check_tasks(document, recipe, parts.get("dataset"), problems)
    if spec is not None and not trained:
        message = f"recipe '{spec.name}' has nothing left to train: its parts have no weights, or are frozen"
        hint = "freeze fewer parts: recipe.freeze; or choose parts with weights of their own"
        problems.append(Problem(document.line("recipe"), "recipe", message, (hint,)))
    weights, ports, pipeline = _settle(document, parts, trained, problems)
    if problems or recipe is None:
        raise ConfigError(sorted(dict.fromkeys(problems), key=by_line))
    return TrainingPlan(recipe, parts, weights, ports, pipeline, trained, seed, folder / out, half, command)


def _spec(document: Document) -> ComponentSpec | None:
    """Return the recipe's spec whatever its options are, so that mistakes in them do not hide those of its parts."""
    value = document.data.get("recipe")
    name = value.get("name") if isinstance(value, Mapping) else value
    return next((spec for spec in get_registry().specs("recipe") if spec.name == name), None)


def _roles(document: Document, spec: ComponentSpec | None) -> dict[str, str]:
    """Return the kind of each part by role, in the order in which they are built.

    Texts come first, since an untrained decoder takes its words from them, then what data flow through in their order.
    Any recipe may be given a corpus for that.
    """
    given = {kind: kind for kind in KINDS if kind in document.data and kind != "recipe"}
    roles = {**({"corpus": "corpus"} if "corpus" in given else {}), **spec.roles} if spec else given
    order = ("corpus", "dataset", *PARTS)
    ranks = {role: order.index(role) if role in order else len(order) for role in roles}
    return {role: roles[role] for role in sorted(roles, key=lambda role: (ranks[role], role))}


def _trained(
    document: Document, spec: ComponentSpec | None, recipe: Part | None, problems: list[Problem]
) -> tuple[str, ...]:
    """Return the roles that are trained: those of the recipe but for what its option ``freeze`` names."""
    if spec is None:
        return ()
    frozen = tuple(getattr(recipe.config, "freeze", ())) if recipe else ()
    unknown = [role for role in frozen if role not in spec.trains]
    if unknown:
        hint = f"it trains: {', '.join(spec.trains)}"
        message = f"recipe '{spec.name}' does not train '{unknown[0]}'"
        problems.append(Problem(document.line("recipe.freeze"), "recipe.freeze", message, (hint,)))
    return tuple(role for role in spec.trains if role not in frozen)


def _learns(spec: ComponentSpec) -> bool:
    """Say whether a part has weights that training makes; a bank is filled with a corpus, whoever else is trained."""
    return bool(spec.weights) and not (spec.kind == "bridge" and "corpus" in spec.needs)


def _check_tasks(document: Document, recipe: Part | None, dataset: Part | None, problems: list[Problem]) -> None:
    """Check that a recipe's option ``tasks`` names tasks that the data set can pose, where it says which."""
    known = dataset.spec.accepts if dataset else ()
    tasks = getattr(recipe.config, "tasks", ()) if recipe else ()
    if dataset is None or not known or not isinstance(tasks, tuple):
        return
    for task in dict.fromkeys(tasks):
        if task not in known:
            hints = [did_you_mean(str(task), known), f"it has: {', '.join(known)}"]
            message = f"'{dataset.name}' has no task '{task}'"
            problems.append(
                Problem(document.line("recipe.tasks"), "recipe.tasks", message, tuple(hint for hint in hints if hint))
            )


def _part(
    document: Document,
    role: str,
    kind: str,
    recipe: ComponentSpec | None,
    trained: Sequence[str],
    problems: list[Problem],
) -> Part | None:
    value = document.data.get(role)
    if value is None and recipe is not None:
        names = get_registry().names(kind)
        hint = f"{plural(kind)} are: {', '.join(names)}" if names else f"no plugin brings a {kind}"
        wanted = role if role == kind else f"{role}, a {kind}"
        message = f"recipe '{recipe.name}' needs a {wanted}"
        problems.append(Problem(document.line("recipe"), role, message, (f"write {role}: {{name: NAME}}", hint)))
        return None
    part = fill(kind, value, document.line, role, problems)
    if part is not None:
        try:
            require_packages(part.spec)
        except RegionkitError as error:
            problems.append(Problem(document.line(f"{role}.name"), role, error.message, error.hints))
        # What is trained starts from nothing unless the file names weights to start from.
        if role in trained and _learns(part.spec) and reference_of(part) == "auto":
            part = replace(part, config=replace(part.config, weights="none"))
    return part


def _settle(
    document: Document, parts: dict[str, Part], trained: Sequence[str], problems: list[Problem]
) -> tuple[dict[str, WeightFile | None], dict[str, tuple[str, str]], PipelinePlan | None]:
    """Choose weights and tell ports; options that weights decide are put into ``parts``."""
    weights: dict[str, WeightFile | None] = {}
    ports: dict[str, tuple[str, str]] = {}
    pipeline = None
    whole = set(PARTS) <= set(parts)
    if whole:
        found: list[Problem] = []
        pipeline = settle_pipeline({kind: parts[kind] for kind in PARTS}, document.line, found)
        problems += found
        if pipeline is not None:
            parts |= pipeline.parts
            weights, ports = dict(pipeline.weights), dict(pipeline.ports)
    elif "backbone" in parts and "backbone" not in trained:
        weights = _settle_backbone(document, parts, problems)
    spaces = _spaces(document, parts, problems)
    for role, part in parts.items():
        if whole and pipeline is None and role in PARTS:
            weights[role] = None  # what each part needs follows from all of them, and they do not fit
        if role not in weights:
            weights[role] = _weights(document, role, part, spaces, problems)
        if not whole or role not in PARTS:
            _check_option_files(document, role, part, problems)
        ports.setdefault(role, _ports(part, spaces))
    return weights, ports, pipeline


def _check_option_files(document: Document, role: str, part: Part, problems: list[Problem]) -> None:
    """Note the released files that options of a part ask for and that are not here."""
    for entry in asked_for(part):
        try:
            locate_option(part, entry)
        except RegionkitError as error:
            problems.append(Problem(document.line(f"{role}.{entry.role}"), role, error.message, error.hints))


def _settle_backbone(
    document: Document, parts: dict[str, Part], problems: list[Problem]
) -> dict[str, WeightFile | None]:
    """Choose the weights of the backbone that a recipe trains with; the sizes they say are put into ``parts``."""
    try:
        parts["backbone"], file = settle_backbone(parts["backbone"])
    except RegionkitError as error:
        problems.append(Problem(document.line("backbone.weights"), "backbone", error.message, error.hints))
        return {"backbone": None}
    return {"backbone": file}


def _spaces(document: Document, parts: Mapping[str, Part], problems: list[Problem]) -> Spaces | None:
    if "backbone" not in parts:
        return None
    try:
        spaces = spaces_of(parts["backbone"])
    except RegionkitError as error:
        problems.append(Problem(document.line("backbone.name"), "backbone", error.message, error.hints))
        return None
    if "corpus" in parts and not spaces.text and "region_encoder" not in parts:
        message = f"backbone '{parts['backbone'].name}' has no text tower, and this recipe trains on sentences"
        problems.append(Problem(document.line("backbone.name"), "backbone", message, ("see: toolkit compat",)))
    return spaces


def _ports(part: Part, spaces: Spaces | None) -> tuple[str, str]:
    """Return what a part reads and writes where no whole pipeline says it: bridges and decoders work on sentences."""
    if spaces is None or part.kind not in PARTS:
        return "", ""
    reads = {"backbone": "", "decoder": spaces.text}.get(part.kind, spaces.image)
    writes = {"decoder": "", "bridge": spaces.text}.get(part.kind, spaces.image)
    return reads, writes


def _weights(
    document: Document, role: str, part: Part, spaces: Spaces | None, problems: list[Problem]
) -> WeightFile | None:
    """Choose the weights of a part; a bridge only corrupts in training and takes none unless it is told to."""
    if part.kind == "bridge" and reference_of(part) == "auto":
        return None
    space = ""
    if spaces is not None and role in PARTS:
        space = spaces.text if part.kind == "decoder" else spaces.image
    try:
        return choose_weights(part, Wanted(space))
    except RegionkitError as error:
        problems.append(Problem(document.line(f"{role}.weights"), role, error.message, error.hints))
        return None


def _seed(document: Document, problems: list[Problem]) -> int:
    seed = document.data.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.append(Problem(document.line("seed"), "seed", f"expected a whole number of 0 or more, got {seed!r}"))
        return 0
    if seed > LARGEST_SEED:
        problems.append(
            Problem(document.line("seed"), "seed", f"{seed} is too large", (f"seeds go up to {LARGEST_SEED}",))
        )
    return seed


def _half(document: Document, problems: list[Problem]) -> bool:
    half = document.data.get("half", False)
    if not isinstance(half, bool):
        problems.append(Problem(document.line("half"), "half", f"expected true or false, got {half!r}"))
    return bool(half)


def _out(document: Document, problems: list[Problem]) -> str:
    out = document.data.get("out", f"{document.name}.safetensors")
    inside = isinstance(out, str) and not PurePath(out).is_absolute() and ".." not in PurePath(out).parts
    if not (isinstance(out, str) and inside and out.endswith(".safetensors")):
        message = f"expected a file name that ends in .safetensors, got {out!r}"
        hint = "the folder is given on the command line: --out DIR"
        problems.append(Problem(document.line("out"), "out", message, (hint,)))
        return ""
    return out


def _command(path: Path, overrides: Sequence[str], more: Sequence[str] = ()) -> str:
    shown = path
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        shown = path.relative_to(Path.cwd())
    return shlex.join(
        ["toolkit", "train", str(shown), *more, *(word for text in overrides for word in ("--set", text))]
    )
