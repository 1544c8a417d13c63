"""Recipe files: what to train, with what, and where the weights go. Nothing is built here and torch is not imported."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from regionkit.core.errors import ConfigError, Problem, RegionkitError
from regionkit.core.spec import KINDS, PARTS, ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.registry.document import Document, check_reader, read_document
from regionkit.registry.packages import require_packages
from regionkit.registry.ports import Spaces, spaces_of
from regionkit.registry.registry import get_registry, plural
from regionkit.registry.schema import Part, by_line, check_keys, fill
from regionkit.registry.weights.choice import Wanted, choose_weights, reference_of, settle_backbone
from regionkit.registry.weights.folders import default_folder
from regionkit.registry.weights.index import content_hash

#: Keys of a recipe file beside the parts that it trains with.
KEYS = ("recipe", "seed", "out", "half", "summary")
#: What torch takes.
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class TrainingPlan:
    """A recipe file, checked and filled.

    Attributes:
        recipe: The recipe.
        parts: What it trains with, by kind, in the order in which they are built.
        weights: Weight files of the parts; None where a part has none or starts untrained.
        spaces: Image and text space of the backbone; None for a recipe without one.
        seed: Seed of initial weights, order and noise.
        out: The weight file to make.
        half: Store floating-point weights as float16.
        command: What makes these weights again.
    """

    recipe: Part
    parts: dict[str, Part]
    weights: dict[str, WeightFile | None]
    spaces: Spaces | None
    seed: int
    out: Path
    half: bool
    command: str

    @property
    def trained(self) -> str:
        """Kind of the part that is trained."""
        return self.recipe.spec.trains

    def setup(self, threads: int) -> dict[str, Any]:
        """Return everything that decides the result, as JSON values: all options, weights by content, seed, threads."""
        return {
            "recipe": self.recipe.to_dict(),
            **{kind: part.to_dict() for kind, part in self.parts.items()},
            "weights": {kind: content_hash(file) for kind, file in self.weights.items() if file},
            "seed": self.seed,
            "threads": threads,
            "half": self.half,
        }


def plan_training(
    path: Path, overrides: Sequence[str] = (), *, folder: Path | None = None, command: str = ""
) -> TrainingPlan:
    """Read and check a recipe file; every mistake is reported at once.

    Args:
        path: The YAML file.
        overrides: ``a.b=c`` strings laid over it.
        folder: Where ``out`` goes; the first folder of $REGIONKIT_WEIGHTS, or ``weights``, by default.
        command: Recorded in the weights as what makes them again; ``toolkit train PATH --set ...`` by default.

    Raises:
        ConfigError: Names, options, missing parts, weights: all mistakes together.
    """
    document = read_document(path, overrides)
    check_reader(document, "train")
    return _plan(document, folder or default_folder(), command or _command(path, overrides))


def check_file(document: Document) -> str:
    """Say on one line what a recipe file trains, for ``toolkit validate``; raises as :func:`plan_training`."""
    plan = _plan(document, Path(), "")
    parts = ", ".join(f"{kind} {part.name}" for kind, part in plan.parts.items() if kind != plan.trained)
    trained = plan.parts[plan.trained]
    using = f" with {parts}" if parts else ""
    return f"recipe: {plan.recipe.name} trains {trained.kind} {trained.name}{using}, into {plan.out}"


def _plan(document: Document, folder: Path, command: str) -> TrainingPlan:
    problems: list[Problem] = []
    recipe = fill("recipe", document.data.get("recipe"), document.line, "recipe", problems)
    spec = _spec(document)
    kinds = _kinds(document, spec)
    check_keys(document.data, (*KEYS, *kinds), document.line, problems)
    parts = {kind: part for kind in kinds if (part := _part(document, kind, spec, problems)) is not None}
    seed, half = _seed(document, problems), _half(document, problems)
    out = _out(document, problems)
    weights = _settle(document, parts, spec, problems)
    spaces = _spaces(document, parts, problems)
    weights |= {kind: _weights(document, part, spaces, problems) for kind, part in parts.items() if kind not in weights}
    if problems or recipe is None:
        raise ConfigError(sorted(dict.fromkeys(problems), key=by_line))
    return TrainingPlan(
        recipe=recipe,
        parts=parts,
        weights=weights,
        spaces=spaces,
        seed=seed,
        out=folder / out,
        half=half,
        command=command,
    )


def _spec(document: Document) -> ComponentSpec | None:
    """Return the recipe's spec whatever its options are, so that mistakes in them do not hide those of its parts."""
    value = document.data.get("recipe")
    name = value.get("name") if isinstance(value, Mapping) else value
    return next((spec for spec in get_registry().specs("recipe") if spec.name == name), None)


def _kinds(document: Document, spec: ComponentSpec | None) -> tuple[str, ...]:
    """Order the parts: texts first, since an untrained decoder takes its words from them, then as data flows."""
    kinds = {*spec.needs, spec.trains} if spec else {kind for kind in KINDS if kind in document.data} - {"recipe"}
    order = ("corpus", "dataset", *PARTS)
    return tuple(sorted(kinds, key=lambda kind: (order.index(kind) if kind in order else len(order), kind)))


def _part(document: Document, kind: str, recipe: ComponentSpec | None, problems: list[Problem]) -> Part | None:
    value = document.data.get(kind)
    if value is None and recipe is not None:
        names = get_registry().names(kind)
        hint = f"{plural(kind)} are: {', '.join(names)}" if names else f"no plugin brings a {kind}"
        message = f"recipe '{recipe.name}' needs a {kind}"
        problems.append(Problem(document.line("recipe"), kind, message, (f"write {kind}: {{name: NAME}}", hint)))
        return None
    part = fill(kind, value, document.line, kind, problems)
    if part is not None:
        try:
            require_packages(part.spec)
        except RegionkitError as error:
            problems.append(Problem(document.line(f"{kind}.name"), kind, error.message, error.hints))
        # What is trained starts from nothing unless the file names weights to start from.
        if recipe is not None and kind == recipe.trains and reference_of(part) == "auto":
            part = replace(part, config=replace(part.config, weights="none"))
    return part


def _settle(
    document: Document, parts: dict[str, Part], recipe: ComponentSpec | None, problems: list[Problem]
) -> dict[str, WeightFile | None]:
    """Choose the weights of the backbone that a recipe trains with; the sizes they say are put into ``parts``."""
    if "backbone" not in parts or (recipe is not None and recipe.trains == "backbone"):
        return {}
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
    if "corpus" in parts and not spaces.text:
        message = f"backbone '{parts['backbone'].name}' has no text tower, and this recipe trains on sentences"
        problems.append(Problem(document.line("backbone.name"), "backbone", message, ("see: toolkit compat",)))
    return spaces


def _weights(document: Document, part: Part, spaces: Spaces | None, problems: list[Problem]) -> WeightFile | None:
    """Choose the weights of a part; a bridge only corrupts in training and takes none unless it is told to."""
    if part.kind == "bridge" and reference_of(part) == "auto":
        return None
    space = ""
    if spaces is not None:
        space = spaces.text if part.kind == "decoder" else spaces.image
    try:
        return choose_weights(part, Wanted(space))
    except RegionkitError as error:
        problems.append(Problem(document.line(f"{part.kind}.weights"), part.kind, error.message, error.hints))
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


def _command(path: Path, overrides: Sequence[str]) -> str:
    shown = path
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        shown = path.relative_to(Path.cwd())
    return shlex.join(["toolkit", "train", str(shown), *(word for text in overrides for word in ("--set", text))])
