"""Choosing the weights of a part by what they were trained for, or saying which recipe makes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from regionkit.core.errors import WeightsError, did_you_mean
from regionkit.core.weights import WeightFile, WeightHeader
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part
from regionkit.registry.weight_index import get_index, open_reference, sound


@dataclass(frozen=True, slots=True)
class Wanted:
    """What weights must have been trained for; empty strings ask for nothing in particular.

    Attributes:
        space: Space, ``name[dim]``.
        corruption: What a decoder saw in training.
        corpus: Name of the corpus.
    """

    space: str = ""
    corruption: str = ""
    corpus: str = ""

    def __str__(self) -> str:
        words = [self.space]
        words += [f"corruption {self.corruption}"] if self.corruption else []
        words += [f"corpus {self.corpus}"] if self.corpus else []
        return ", ".join(word for word in words if word)


def reference_of(part: Part) -> str:
    """Return how a part names its weights: ``auto``, ``none``, a reference, or nothing where it has none."""
    if not part.spec.weights:
        return ""
    written = str(getattr(part.config, "weights", "auto"))
    return part.spec.weights if written == "auto" and part.spec.weights != "index" else written


def choose_weights(part: Part, wanted: Wanted) -> WeightFile | None:
    """Return the weights of a part; None where it has none, or is to start untrained.

    A file that is named outright must be of this component and space; its corruption is the user's own decision.

    Raises:
        WeightsError: No file, several files, a damaged file or a file for something else.
    """
    reference = reference_of(part)
    if reference in ("", "none"):
        return None
    if reference != "auto":
        file = open_reference(reference)
        _check_named(part, file, wanted)
        return file
    matches = _find(part, wanted)
    if not matches:
        raise missing(part, wanted)
    if len(matches) > 1:
        names = ", ".join(f"{file.path.stem} ({_described(file.header)})" for file in matches)
        raise WeightsError(
            f"several weight files fit {part.kind} '{part.name}' ({wanted}): {names}",
            f"say which: {part.kind}.weights: {matches[0].path.stem}",
        )
    return matches[0]


def _find(part: Part, wanted: Wanted) -> list[WeightFile]:
    index = get_index()
    question = (part.kind, part.name, wanted.space or None, wanted.corruption or None, wanted.corpus or None)
    return sound([*index.find(*question), *index.find_damaged(*question)])


def _check_named(part: Part, file: WeightFile, wanted: Wanted) -> None:
    header = file.header
    if (header.kind, header.name) != (part.kind, part.name):
        raise WeightsError(
            f"{file.path} holds weights of {header.kind} '{header.name}', not of {part.kind} '{part.name}'",
            _exist(part),
        )
    if wanted.space and header.space and header.space != wanted.space:
        raise WeightsError(
            f"{part.kind} weights '{file.path.stem}' were trained in {header.space}, and {wanted.space} is needed here",
            _exist(part),
            *_recipes(part),
        )


def missing(part: Part, wanted: Wanted) -> WeightsError:
    """Return the error of weights that are not there: what there is, and which recipe would make them."""
    index = get_index()
    broken = [str(file.error.message) for file in index.damaged if file.header is None]
    return WeightsError(
        f"no weights of {part.kind} '{part.name}' for {wanted}",
        _exist(part) or f"there are no weights of {part.kind} '{part.name}' at all",
        *_recipes(part),
        *broken,
        f"in a recipe it may start untrained: {part.kind}.weights: none" if hasattr(part.config, "weights") else "",
    )


def _exist(part: Part) -> str:
    """List what the weights of this component that exist were trained for."""
    headers = [file.header for file in get_index().find(part.kind, part.name)]
    listed = sorted({_described(header) for header in headers})
    return f"there are weights for: {'; '.join(listed)}" if listed else ""


def _described(header: WeightHeader) -> str:
    words = [header.space, f"corruption {header.corruption}" if header.kind == "decoder" else ""]
    words.append(f"corpus {header.corpus}" if header.corpus else "")
    return ", ".join(word for word in words if word)


def _recipes(part: Part) -> tuple[str, ...]:
    """Say how weights of this component are made: as the others were, else with a recipe that trains its kind."""
    index = get_index()
    files = index.find(part.kind, part.name)
    made = sorted({file.header.recipe for file in files if file.header.recipe})
    if made:
        return (f"the others were made with: {'; '.join(made)}",)
    names = [spec.name for spec in get_registry().specs("recipe") if spec.trains == part.kind]
    return (f"train them: toolkit train FILE, with recipe: {' or '.join(names)}",) if names else ()


@dataclass(frozen=True, slots=True)
class BankChoice:
    """Where a bridge's bank comes from: a weight file, or a corpus that it is fitted to on the spot."""

    file: WeightFile | None = None
    corpus: str = ""


def choose_bank(part: Part, space: str, decoder: WeightFile | None) -> BankChoice:
    """Choose the bank of a bridge that is fitted to a corpus.

    ``bank: NAME`` takes the indexed bank of that name, else the corpus component of that name. ``auto`` takes the only
    bank for the space, among several the one of the decoder's corpus, and without any the corpus of the decoder.

    Args:
        part: The bridge.
        space: Its text space, ``name[dim]``.
        decoder: The weights chosen for the decoder.

    Raises:
        WeightsError: There is no such bank, or none that follows from the rest.
    """
    if reference_of(part) != "auto":
        return BankChoice(choose_weights(part, Wanted(space)))
    name = str(getattr(part.config, "bank", "auto"))
    own = decoder.header.corpus if decoder else ""
    banks = _find(part, Wanted(space, corpus="" if name == "auto" else name))
    if name == "auto" and len(banks) > 1:
        banks = [file for file in banks if own and file.header.corpus == own] or banks
    if len(banks) == 1:
        return BankChoice(banks[0])
    corpora = get_registry().names("corpus")
    wanted = own if name == "auto" else name
    if not banks and wanted in corpora:
        return BankChoice(corpus=wanted)
    raise _no_bank(part, space, name, banks, corpora)


def _no_bank(part: Part, space: str, name: str, banks: Iterable[WeightFile], corpora: list[str]) -> WeightsError:
    known = sorted({file.header.corpus for file in get_index().find(part.kind, part.name, space)})
    shown = [f"banks for {space}: {', '.join(known)}"] if known else [f"there is no bank for {space}"]
    shown += [f"corpora to fit one to: {', '.join(corpora)}"] if corpora else []
    if name != "auto":
        close = did_you_mean(name, [*known, *corpora])
        several = len(list(banks)) > 1
        message = f"{'several files hold' if several else 'no'} bank '{name}' of {part.kind} '{part.name}' in {space}"
        return WeightsError(message, close, *shown, f"say which file: {part.kind}.weights: NAME" if several else "")
    return WeightsError(
        f"{part.kind} '{part.name}' needs a bank, and which one does not follow from the rest",
        *shown,
        f"say which: {part.kind}.bank: NAME",
    )
