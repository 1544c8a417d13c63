"""Choosing the bank of a bridge, or of a decoder that retrieves."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from regionkit.core.errors import WeightsAbsent, WeightsError, did_you_mean
from regionkit.core.weights import WeightFile
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part, fill
from regionkit.registry.weights.choice import Wanted, choose_weights, find_weights, owner_of, reference_of, suits
from regionkit.registry.weights.index import get_index
from regionkit.registry.weights.official import find_installed
from regionkit.registry.weights.references import is_folder, is_reference


@dataclass(frozen=True, slots=True)
class BankChoice:
    """Where a bridge's bank comes from: a weight file, or a corpus that it is fitted to on the spot."""

    file: WeightFile | None = None
    corpus: str = ""


def memory_of(part: Part) -> Part:
    """Return the part whose banks a decoder holds beside its weights, as its option ``bank`` asks for one."""
    kind, _, name = part.spec.memory.partition("/")
    asked = str(getattr(part.config, "bank", "auto"))
    named = asked == "none" or is_reference(asked)
    bank = fill(kind, {"name": name, **({"weights": asked} if named else {"bank": asked})})
    assert bank is not None  # without a list to take them, mistakes are raised
    return replace(bank, folder=part.folder)


def choose_bank(
    part: Part, space: str, decoder: WeightFile | None, corpus: str = "", holder: Part | None = None
) -> BankChoice:
    """Choose the bank of a bridge, or of a decoder, that is fitted to a corpus.

    ``bank: NAME`` takes the indexed bank of that name, else the corpus component of that name. ``auto`` takes the only
    bank for the space, among several the one of the decoder's corpus, and without any the corpus of the decoder. For a
    decoder that retrieves, those of the bridge.

    Args:
        part: The bridge.
        space: Its text space, ``name[dim]``.
        decoder: The weights chosen for the decoder; for a decoder, those of the bridge.
        corpus: For a decoder, what the bridge is fitted to on the spot.
        holder: The decoder that holds the bank beside its weights, where ``part`` is what :func:`memory_of` made of it.

    Raises:
        WeightsError: There is no such bank, or none that follows from the rest.
    """
    name = str(getattr(part.config, "bank", "auto"))
    reference = reference_of(part)
    if reference != "auto":  # of a file that is named, the name of its bank is the user's own decision
        among = name if name != "auto" and is_reference(reference) and is_folder(reference) else ""
        return BankChoice(choose_weights(part, Wanted(space, corpus=among)))
    own = corpus or (decoder.header.corpus if decoder else "")
    banks = find_weights(part, Wanted(space, corpus="" if name == "auto" else name))
    if name == "auto" and len(banks) > 1:
        banks = [file for file in banks if own and file.header.corpus == own] or banks
    if len(banks) == 1:
        return BankChoice(banks[0])
    if not banks:
        asked = Wanted(space, corpus="" if name == "auto" else name)
        installed = find_installed(part, lambda file: suits(part, file, asked))
        if installed is not None and suits(part, installed, asked):
            return BankChoice(installed)
    wanted = own if name == "auto" else name
    if not banks and wanted in get_registry().names("corpus") and _fillable(wanted):
        return BankChoice(corpus=wanted)
    corpora = [known for known in get_registry().names("corpus") if _fillable(known)]
    raise _no_bank(part, space, name, banks, corpora, holder or part)


def _known(part: Part, space: str) -> list[str]:
    """Return the names of the banks for a space that are here, official ones included."""
    held = get_index().find(*owner_of(part), space)
    with suppress(WeightsError):  # a folder or files that nothing can be chosen from
        held += find_weights(part, Wanted(space))
    with suppress(WeightsError):
        installed = find_installed(part)
        held += [installed] if installed is not None and suits(part, installed, Wanted(space)) else []
    return sorted({file.header.corpus for file in held if file.header.corpus})


def _fillable(corpus: str) -> bool:
    """Say whether a corpus can be had by its name alone."""
    return fill("corpus", corpus, problems=[]) is not None


def _no_bank(
    part: Part, space: str, name: str, banks: Iterable[WeightFile], corpora: list[str], holder: Part
) -> WeightsError:
    who = f"{holder.kind} '{holder.name}'"
    known = _known(part, space)
    shown = [f"banks for {space}: {', '.join(known)}"] if known else [f"there is no bank for {space}"]
    shown += [f"corpora to fit one to: {', '.join(corpora)}"] if corpora else []
    if name != "auto":
        files = [file.label for file in banks]
        several = len(files) > 1
        close = "" if several else did_you_mean(name, [*known, *corpora])
        shown = [] if several else shown
        message = f"{'several files hold' if several else 'no'} bank '{name}' of {who} in {space}"
        option = "weights" if holder is part else "bank"
        # A bank's name is a corpus; the files of a bridge are named by its own option.
        close = f"name a file with {holder.kind}.weights: {name}" if is_reference(name) else close
        return (WeightsError if several or close else WeightsAbsent)(
            message,
            close,
            *shown,
            f"say which file: {holder.kind}.{option}: {' or '.join(files)}" if several else "",
            "" if several else "make one: toolkit bank build --help",
        )
    return (WeightsError if known else WeightsAbsent)(
        f"{who} needs a bank, and which one does not follow from the rest",
        *shown,
        f"say which: {holder.kind}.bank: NAME",
    )
