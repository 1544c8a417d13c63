"""Weights of a pipeline that are not here: which file, from where, its licence and size, and the command for it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regionkit.core.errors import ConfigError, Problem, RegionkitError, WeightsAbsent, WeightsError
from regionkit.core.spec import PARTS, RELEASED
from regionkit.registry.document import Document
from regionkit.registry.plan import PipelinePlan, plan_pipeline
from regionkit.registry.ports import Spaces, spaces_of
from regionkit.registry.registry import get_registry, user_weight_folders
from regionkit.registry.schema import Part, fill
from regionkit.registry.trace import Trace, trace_parts
from regionkit.registry.weights.bank_choice import choose_bank, memory_of
from regionkit.registry.weights.choice import reference_of
from regionkit.registry.weights.fetching import Need, needs_of_component
from regionkit.registry.weights.index import get_index
from regionkit.registry.weights.official import is_released
from regionkit.registry.weights.option_files import described
from regionkit.registry.weights.pipeline_needs import is_awaited, needs_of_parts, needs_of_repository
from regionkit.registry.weights.references import is_offline, is_reference

#: What a bank beside a decoder's weights is called.
_MEMORY = "memory"


@dataclass(frozen=True)
class Absent:
    """One thing that a pipeline needs and that is not here.

    Attributes:
        part: Whose it is, ``backbone clip``.
        what: What it is to the part: a role of its release, or the name of trained weights or of a bank.
        files: Names that its file may have.
        source: Where it can be had; empty for what is made by training.
        license: Its licence.
        size: How large it is, in words.
        made: The command that makes it; empty for what is had from elsewhere.
        place: The option that says where it is; empty for what is found by its name.
        instead: Of such an option, the released file that it may ask for, in words; empty where there is none.
        close: Of a name, which ones that are here it may have been meant as, in words.
    """

    part: str
    what: str
    files: tuple[str, ...] = ()
    source: str = ""
    license: str = ""
    size: str = ""
    made: str = ""
    place: str = ""
    instead: str = ""
    close: str = ""

    def __str__(self) -> str:
        if self.place:
            told = f"{self.part}, {self.what}: no {self.files[0]}; say where it is: --set {self.place}=file:PATH"
            released = f"; the released one, --set {self.place}={RELEASED}, is {self.instead}"
            return f"{told}{released if self.instead else ''}"
        if self.made:
            close = f"; {self.close}" if self.close else ""
            return f"{self.part}, {self.what}: not released, made with {self.made}{close}"
        return f"{self.part}, {self.what}: {described(self.files, self.source, self.license, self.size)}"


def absent_weights(data: Mapping[str, Any]) -> list[Absent]:
    """Return what a pipeline needs and what is not here, in the order of its parts; each file once.

    Nothing is where something that is here is the mistake: a damaged file, weights for something else, a wrong folder.

    Raises:
        ConfigError: A part or an option of the pipeline is wrong.
    """
    folder = str(data.get("weights") or "")
    parts = {kind: fill(kind, data.get(kind)) for kind in PARTS}
    filled = {kind: replace(part, folder=folder) for kind, part in parts.items() if part is not None}
    try:
        trace = trace_parts(filled)
    except RegionkitError:
        trace = Trace()
    errors = [fault.error for fault in trace.faults if isinstance(fault.error, WeightsError)]
    if any(not isinstance(error, WeightsAbsent) for error in errors):
        return []
    if is_awaited(data):
        return [_told(need) for need in needs_of_repository(data)]
    own = spaces_of(filled["backbone"]) if "backbone" in filled else Spaces("", "")
    build = _build_command(filled["backbone"]) if "backbone" in filled else "toolkit bank build"
    made = {kind: found for kind, part in filled.items() if (found := _to_make(part, trace, own, build)) is not None}
    needs = [*(needs_of_repository(data) if is_offline() else ()), *needs_of_parts(data)]
    # A fault ends the trace: of parts behind it nothing was chosen yet, and what is here for them may well do. No bank
    # was released for the sentences of a backbone that nobody released; its own follows from the decoder.
    unseen = [part for kind, part in filled.items() if not _is_settled(kind, trace) and kind not in _faulty(trace)]
    ours = "backbone" in filled and not is_released(filled["backbone"])
    held = {part.kind for part in unseen if _held(part, own) or (ours and "corpus" in part.spec.needs)}
    waited = [need for need in needs if need.beside or need.kind not in (*made, *held)]
    lacking = [need for need in waited if need.status in ("to fetch", "by hand")]
    order = {f"{kind} {part.name}": at for at, (kind, part) in enumerate(filled.items())}
    named = [one for part in filled.values() for one in (*_memories(part, trace, own, build), *_without_files(part))]
    everything = [*map(_told, lacking), *made.values(), *named]
    return sorted(everything, key=lambda one: order.get(one.part, -1))


def as_needed(data: Mapping[str, Any], needs: Sequence[Need]) -> tuple[list[Need], list[Absent]]:
    """Return what of a pipeline's needs it takes, and what is absent beside them and cannot be fetched.

    Weights that the pipeline names, and that are made here, take the place of the released ones of their part; a
    memory that its decoder does not do without, as no bank is here, is no option.

    Args:
        data: The pipeline.
        needs: What the releases of its parts are.

    Raises:
        ConfigError: A part or an option of the pipeline is wrong.
    """
    absent = absent_weights(data)
    others = [one for one in absent if one.made or one.place]
    made = {one.part for one in others if one.made and one.what != _MEMORY}
    lacking = {(one.part, one.what) for one in absent if one not in others}
    kept = [need for need in needs if need.beside or need.part not in made]
    return [replace(need, optional=False) if (need.part, need.role) in lacking else need for need in kept], others


def plan_or_tell(document: Document, name: str) -> PipelinePlan:
    """Plan a pipeline, as :func:`plan_pipeline` does.

    Args:
        document: The pipeline.
        name: The preset or file, as the command line has it.

    Raises:
        ConfigError: It has mistakes; weights that are not here are told of file by file, beside them.
    """
    try:
        return plan_pipeline(document.data, document.line)
    except ConfigError as error:
        told = _told_by_weights(document.data)
        others = [one for one in error.problems if one.message not in told]
        absent = told_absent(document.data) if len(others) < len(error.problems) else []
        if not absent:
            raise
        raise ConfigError([*others, problem_of(absent, name, document)]) from None


def told_absent(data: Mapping[str, Any]) -> list[Absent]:
    """Return what is told instead of a plan's own words: a name that was misspelt says nothing of the rest."""
    absent = absent_weights(data)
    return [] if any(one.close for one in absent) else absent


def _told_by_weights(data: Mapping[str, Any]) -> set[str]:
    """Return what a plan says of weights that it does not find; what it says of a name is right as it is."""
    folder = str(data.get("weights") or "")
    parts = {kind: part for kind in PARTS if (part := fill(kind, data.get(kind), problems=[])) is not None}
    faults = trace_parts({kind: replace(part, folder=folder) for kind, part in parts.items()}).faults
    named = {kind for kind, part in parts.items() if reference_of(part) not in ("", "auto", "none")}
    errors = [fault.error for fault in faults if fault.option != "weights" or fault.kind not in named]
    return {error.message for error in errors if isinstance(error, WeightsError)}


def problem_of(
    absent: Sequence[Absent], name: str, document: Document, recipes: Sequence[str] = (), *, dry: bool = False
) -> Problem:
    """Say what is absent, and the commands that get it.

    Args:
        absent: What is.
        name: The preset or file, as the command line has it.
        document: The pipeline; what was laid over it on the command line belongs to the commands, too.
        recipes: Recipes that make what was never released.
        dry: Whether the command that says it is the one that shows the whole pipeline.
    """
    count = "1 file of its weights is" if len(absent) == 1 else f"{len(absent)} files of its weights are"
    trained = any(one.made.startswith("toolkit train") for one in absent)
    released = any(not one.made and not one.place for one in absent)
    typed = shlex.join([name, *(word for text in document.overrides for word in ("--set", text))])
    get = f"get them with: toolkit weights pull {typed}" if released else ""
    of_them = "them" if trained else "what was not released for this row"
    made = f"recipes that make {of_them}: {', '.join(recipes)}" if recipes else ""
    show = "" if dry else f"what it would do: toolkit run {typed} --dry-run"
    hints = (*map(str, absent), *filter(None, (get, made, show)))
    return Problem("" if dry else document.line(""), "", f"{name} cannot run: {count} not here", hints)


def _told(need: Need) -> Absent:
    size = f"{need.size / 1e6:.1f} MB" if need.size else need.told
    return Absent(need.part, need.role, need.names, need.source, need.license, size)


def _to_make(part: Part, trace: Trace, own: Spaces, build: str) -> Absent | None:
    """Return what of a part is made here and not fetched: weights or a bank of a name, or what nobody released."""
    # Of a bank the trace notes that there are no weights yet, and then what keeps it from being chosen.
    noted = part.kind in trace.weights and part.kind not in _faulty(trace)
    if noted or part.kind in trace.fit_corpus or not part.spec.weights:
        return None
    owner, reference = f"{part.kind} {part.name}", reference_of(part)
    if reference == "none" or is_reference(reference):
        return None
    if reference != "auto":
        close = _not_named(reference)
        if close is None:
            return None
        return Absent(owner, f"weights '{reference}'", made="toolkit train FILE", close=close)
    bank = str(getattr(part.config, "bank", "auto"))
    if bank not in ("auto", "none") and part.kind == "bridge":
        if get_index().find(part.kind, part.name, corpus=bank):
            return None
        known = bank in get_registry().names("corpus")
        return Absent(owner, f"bank '{bank}'", made=f"{build} --corpus {bank if known else 'NAME'} --name {bank}")
    return None if is_released(part) or _held(part, own) else Absent(owner, "weights", made="toolkit train FILE")


def _faulty(trace: Trace) -> set[str]:
    return {fault.kind for fault in trace.faults}


def _is_settled(kind: str, trace: Trace) -> bool:
    return trace.weights.get(kind) is not None or kind in trace.fit_corpus


def _held(part: Part, own: Spaces) -> bool:
    """Say whether weights of a part are here that may be for a backbone's spaces, or a bank of the name asked for."""
    bank = str(getattr(part.config, "bank", "auto"))
    headers = [file.header for file in get_index().find(part.kind, part.name)]
    here = [header for header in headers if header.space in ("", own.image, own.text)]
    return any(bank in ("auto", header.corpus) for header in here)


def _memories(part: Part, trace: Trace, own: Spaces, build: str) -> Iterator[Absent]:
    """Yield the memory that a part holds beside its weights, where it has none; each file of one that was released."""
    file = trace.weights.get(part.kind)
    brings = file is not None and bool(file.header.extra.get("memory"))
    if not part.spec.memory or brings or getattr(part.config, "bank", "auto") == "none" or _has_bank(part, trace, own):
        return
    released = [need for need in needs_of_component(part) if need.role.startswith("memory")]
    if not released:
        yield Absent(f"{part.kind} {part.name}", _MEMORY, made=f"{build} --corpus NAME")
    yield from (_told(need) for need in released if need.path is None)


def _has_bank(part: Part, trace: Trace, own: Spaces) -> bool:
    """Say whether a bank follows for what a part holds beside its weights, as far as the rest is known."""
    try:
        choose_bank(memory_of(part), own.text, trace.weights.get(part.kind), trace.fit_corpus.get("bridge", ""), part)
    except WeightsError:
        return part.kind in trace.banks or part.kind in trace.fit_corpus
    return True


def _build_command(backbone: Part) -> str:
    """Return the command that makes a bank for a backbone, with those of its options that change its sentences."""
    sets = ""
    for option in sorted(backbone.given - {"weights"}):
        given = {key: value for key, value in backbone.to_dict().items() if key in backbone.given - {option, "weights"}}
        other = fill("backbone", {**given, "name": backbone.name}, problems=[])
        if other is not None and spaces_of(other).text != spaces_of(backbone).text:
            sets += f" --set backbone.{option}={backbone.to_dict()[option]}"
    return f"toolkit bank build --backbone {backbone.name}{sets}"


def _without_files(part: Part) -> Iterator[Absent]:
    """Yield the options that name a file or folder which is not there; weights are looked for elsewhere."""
    released = {
        entry.role: described(entry.files, entry.source, entry.license, entry.size) for entry in part.spec.option_files
    }
    for option, value in part.to_dict().items():
        if option != "weights" and isinstance(value, str) and value.startswith("file:"):
            path = Path(value.removeprefix("file:")).expanduser()
            # As decoders look for folders of models: where the path says, and among the user's weights.
            places = [path, *(folder / path for folder in user_weight_folders())]
            if not any(place.exists() for place in places):
                place, instead = f"{part.kind}.{option}", released.get(option, "")
                yield Absent(f"{part.kind} {part.name}", option, (str(path),), place=place, instead=instead)


def _not_named(name: str) -> str | None:
    """Return None where a weight file has a name, else which ones it may have been meant as, in words."""
    try:
        get_index().named(name)
    except WeightsError as error:
        return next((hint for hint in error.hints if hint.startswith("did you mean")), "")
    return None
