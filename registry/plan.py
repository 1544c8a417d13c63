"""A pipeline on paper: parts, ports and weights, all decided before torch is imported."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from regionkit.core.errors import ConfigError, MissingExtra, Problem, RegionkitError, WeightsAbsent, WeightsError
from regionkit.core.spec import PARTS
from regionkit.core.weights import WeightFile
from regionkit.registry.misspelt import as_meant
from regionkit.registry.packages import missing_module, missing_package, require_packages
from regionkit.registry.registry import get_registry, plural
from regionkit.registry.schema import (
    Part,
    Where,
    by_line,
    check_keys,
    fill,
    fill_options,
    nowhere,
    owner_text,
    with_defaults,
)
from regionkit.registry.trace import Fault, trace_parts
from regionkit.registry.weights.index import content_hash
from regionkit.registry.weights.option_files import OptionFile
from regionkit.registry.weights.references import is_reference, locate
from regionkit.registry.weights.shared_choices import Choices

#: Keys of a pipeline file.
PIPELINE_KEYS = (*PARTS, "weights", "summary")


@dataclass(frozen=True)
class PipelinePlan:
    """Everything that assembly needs to know, and all that a report says about a pipeline.

    Attributes:
        parts: The four parts by kind; options that a weight file decides are filled in.
        ports: ``(reads, writes)`` of every part as concrete spaces; ``views`` where pictures flow.
        weights: The weight file of every part, None where it has none.
        fit_corpus: For a bridge or a decoder that is fitted on the spot, the name of the corpus.
        banks: The banks of texts that parts hold beside their weights.
        files: Where the released files are that options name beside the weights, by kind and option.
        corruption: What the bridge does to text embeddings in training, which is what the decoder must have seen.
        unbridged: True where vectors of one space are handed to a decoder of another as they are.
        text: The backbone's space of sentences; empty without a text tower.
        on_trust: Kinds of the parts whose weights do not say in which space they were trained.
    """

    parts: dict[str, Part]
    ports: dict[str, tuple[str, str]]
    weights: dict[str, WeightFile | None]
    fit_corpus: dict[str, str] = field(default_factory=dict)
    corruption: str = "none"
    unbridged: bool = False
    text: str = ""
    on_trust: tuple[str, ...] = ()
    banks: Mapping[str, WeightFile] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, OptionFile]] = field(default_factory=dict)

    def key(self, kind: str) -> str:
        """Return a digest of all that decides what the built part is; equal keys mean that one can be shared."""
        return self._keys[kind]

    @functools.cached_property
    def identity(self) -> str:
        """A digest of all four parts: equal ones are pipelines that do the same."""
        return hashlib.sha256("".join(self._keys[kind] for kind in PARTS).encode()).hexdigest()[:20]

    @functools.cached_property
    def _keys(self) -> dict[str, str]:
        keys: dict[str, str] = {}
        for kind in PARTS:
            file = self.weights[kind]
            content = (
                *(kind, self.parts[kind].text, *self.ports[kind]),
                *(content_hash(file) if file else "", self.fit_corpus.get(kind, ""), keys.get("backbone", "")),
                *((content_hash(self.banks[kind]),) if kind in self.banks else ()),
                *(f"{option} {file.digest}" for option, file in sorted(self.files.get(kind, {}).items())),
            )
            keys[kind] = hashlib.sha256("\n".join(content).encode()).hexdigest()[:20]
        return keys

    def to_dict(self) -> dict[str, Any]:
        """Return the plan in plain values, for ``--plan``, reports and trial ids; weights by name and content.

        It is made once: whoever changes it copies it first.
        """
        return self._plain

    @functools.cached_property
    def _plain(self) -> dict[str, Any]:
        weights = {
            kind: None if file is None else {"name": file.label, "sha256": content_hash(file)}
            for kind, file in self.weights.items()
        }
        banks = {kind: {"name": file.label, "sha256": content_hash(file)} for kind, file in self.banks.items()}
        files = {
            kind: {option: {"name": file.name, "sha256": file.digest} for option, file in found.items()}
            for kind, found in self.files.items()
        }
        return {
            **{kind: part.to_dict() for kind, part in self.parts.items()},
            "ports": {kind: list(ports) for kind, ports in self.ports.items()},
            "weights": weights,
            **({"banks": banks} if banks else {}),
            **({"files": files} if files else {}),
            "fit_corpus": dict(self.fit_corpus),
            "corruption": self.corruption,
            "unbridged": self.unbridged,
            **({"on_trust": list(self.on_trust)} if self.on_trust else {}),
            **({"folder": folder} if (folder := _absolute(next(iter(self.parts.values())).folder)) else {}),
        }

    def describe(self) -> list[str]:
        """Return one line a part: its name, what flows through it, and the weights that were chosen."""
        lines = []
        for kind, part in self.parts.items():
            reads, writes = self.ports[kind]
            flow = " -> ".join(space for space in (reads, writes) if space)
            file = self.weights[kind]
            source = f", weights {file.label}" if file else ""
            source += f", memory {self.banks[kind].label}" if kind in self.banks else ""
            source += "".join(f", {option} {file.name}" for option, file in self.files.get(kind, {}).items())
            source += f", fitted to {self.fit_corpus[kind]}" if kind in self.fit_corpus else ""
            lines.append(f"{kind} {part.name}: {flow}{source}")
        return [*lines, *self.notes()]

    def notes(self) -> list[str]:
        """Return what whoever reads a result has to know of this pipeline."""
        notes = ["unbridged: image vectors enter a decoder of text as they are"] if self.unbridged else []
        for kind in self.on_trust:
            file = self.weights[kind]
            assert file is not None
            space = self.ports[kind][1 if kind == "bridge" else 0]
            saw = self.corruption if kind == "decoder" and self.corruption != "none" else ""
            unsaid, taken = ("their space or what texts they saw", f"{space}, {saw}") if saw else ("their space", space)
            notes.append(f"{kind} weights do not say {unsaid}, they are taken to be for {taken}: {file.label}")
        return [*notes, *self.remarks()]

    def remarks(self) -> list[str]:
        """Return what the options of parts, their weights, and corpora that they are fitted to say of themselves.

        A config says it as ``notes``, a weight file under ``notes`` of its header's ``extra``.
        """
        found = []
        for kind, part in self.parts.items():
            file, corpus = self.weights.get(kind), self.fit_corpus.get(kind, "")
            said = [*part_notes(part), *header_notes(file), *header_notes(self.banks.get(kind))]
            said += part_notes(fill("corpus", corpus, problems=[])) if corpus else []
            found += [f"{kind} {part.name}: {note}" for note in said]
        return found


def _absolute(reference: str) -> str:
    """Return the reference of a folder so that it means the same from wherever it is read again."""
    path = reference.removeprefix("file:")
    return reference if path == reference else f"file:{os.path.abspath(os.path.expanduser(path))}"


def part_notes(part: Part | None) -> list[str]:
    """Return what the options of a part, and of the components that they name, say to whoever reads its results."""
    if part is None:
        return []
    found = [str(note) for note in getattr(part.config, "notes", ())]
    for role, kind in part.spec.roles.items() if part.kind == "corpus" else ():
        value = getattr(part.config, role, None)
        found += part_notes(fill(kind, value, problems=[])) if value else []
    return list(dict.fromkeys(found))


def header_notes(file: WeightFile | None) -> list[str]:
    """Return what weights say to whoever reads results that were made with them."""
    said = file.header.extra.get("notes", ()) if file is not None else ()
    return [str(note) for note in said] if isinstance(said, (list, tuple)) else []


def plan_pipeline(
    data: Mapping[str, Any],
    where: Where = nowhere,
    problems: list[Problem] | None = None,
    parts: Mapping[str, Part] | None = None,
    choices: Choices | None = None,
) -> PipelinePlan:
    """Decide everything about a pipeline without loading anything.

    Args:
        data: A mapping with ``backbone``, ``region_encoder``, ``bridge`` and ``decoder``, and perhaps ``weights``: the
            reference of a folder in which each of them looks for its weights first.
        where: Tells where a dotted path was written.
        problems: If given, takes every mistake too, beside the exception.
        parts: Parts of ``data`` that were filled already, by kind: a grid uses most of its parts many times.
        choices: Choices of weights that were made for other pipelines of the same plan.

    Raises:
        ConfigError: All mistakes together: names, options, ports, missing packages, weights.
    """
    found: list[Problem] = []
    check_keys(data, PIPELINE_KEYS, where, found)
    data, where = as_meant(data, PIPELINE_KEYS, where)
    known = parts or {}
    filled = {kind: known.get(kind) or fill(kind, data.get(kind), where, kind, found) for kind in PARTS}
    folder = read_folder(data.get("weights"), where, found)
    given = {kind: part for kind, part in filled.items() if part is not None}
    parts = {kind: replace(part, folder=folder) if folder != part.folder else part for kind, part in given.items()}
    found += [_missing_problem(error, kind, where) for kind, error in _missing_packages(parts)]
    found += [_missing_code(part, where) for part in parts.values() if missing_module(part.spec)]
    plan = settle_pipeline(parts, where, found, choices)
    if plan is not None and not found:
        found += _unused_folder(folder, plan, where)
    if found or plan is None:
        found.sort(key=by_line)
        if problems is not None:
            problems += found
        raise ConfigError(found)
    return plan


def settle_pipeline(
    parts: Mapping[str, Part], where: Where, problems: list[Problem], choices: Choices | None = None
) -> PipelinePlan | None:
    """Follow the vectors through filled parts and choose their weights; None, and the mistakes, where they do not fit.

    Ports of a pipeline with a hole or a wrong option would be guesses: what is wrong with single parts is told first.
    """
    if len(parts) != len(PARTS):
        return None
    trace = trace_parts(parts, choices)
    found = [_problem(fault, parts, where) for fault in trace.faults]
    problems += found
    if found:
        return None
    return PipelinePlan(
        _with_stored_options(parts, trace.weights, where, problems),
        trace.ports,
        trace.weights,
        trace.fit_corpus,
        trace.corruption,
        trace.unbridged,
        trace.text,
        tuple(trace.on_trust),
        trace.banks,
        trace.files,
    )


def fitting(parts: PipelinePlan | Mapping[str, Part], kind: str) -> list[str]:
    """Return the names of the parts of a kind that fit with the others, and whose packages and weights are there.

    That the weights of a decoder among the others are not there is no reason against a part that fits with it.

    Args:
        parts: A plan, or some of its parts by kind; what they hold of ``kind`` itself is ignored.
        kind: One of the four parts of a pipeline.
    """
    given = parts.parts if isinstance(parts, PipelinePlan) else parts
    names = []
    for spec in get_registry().specs(kind):
        if missing_package(spec):
            continue
        try:
            candidate = fill_options(spec, {}, nowhere, kind, [])
        except RegionkitError:  # a plugin whose options cannot be read fits nowhere, and says so when it is used
            continue
        if candidate is None:
            continue
        candidate = replace(candidate, folder=next((part.folder for part in given.values()), ""))
        chosen = {**given, kind: candidate}
        trace = trace_parts({known: chosen[known] for known in PARTS if known in chosen})
        fits_without = kind != "decoder" and "decoder" in trace.ports
        if not trace.faults or (fits_without and all(_is_absent(fault) for fault in trace.faults)):
            names.append(spec.name)
    return names


def _is_absent(fault: Fault) -> bool:
    return fault.kind == "decoder" and isinstance(fault.error, WeightsAbsent)


def read_folder(value: Any, where: Where, problems: list[Problem]) -> str:
    """Return the pipeline's own ``weights``, the folder in which all parts look first; mistakes go to ``problems``."""
    if value is None:
        return ""
    if not isinstance(value, str) or not is_reference(value):
        forms = ("write file:DIR, pkg:PACKAGE/DIR or hub://ORG/NAME; the weights of one part stand at the part",)
        problems.append(Problem(where("weights"), "weights", f"expected a reference to a folder, got {value!r}", forms))
        return ""
    try:
        path = locate(value)
    except WeightsError as error:
        problems.append(Problem(where("weights"), "weights", error.message, error.hints))
        return ""
    if not path.is_dir():
        hint = f"for one part write it there: decoder.weights: {value}"
        problems.append(Problem(where("weights"), "weights", f"{path} is a file, and a folder is needed here", (hint,)))
        return ""
    return value


def _unused_folder(folder: str, plan: PipelinePlan, where: Where) -> list[Problem]:
    """Report a folder of weights that no part found anything in: other weights would be taken in silence."""
    if not folder:
        return []
    place = locate(folder).resolve()
    paths = [(kind, file.path) for kind, file in (*plan.weights.items(), *plan.banks.items()) if file is not None]
    paths += [(kind, file.path) for kind, files in plan.files.items() for file in files.values()]
    if any(path.resolve().is_relative_to(place) for _, path in paths):
        return []
    wanted = list(dict.fromkeys(kind for kind, _ in paths))
    hint = f"files of this pipeline's {', '.join(wanted)} belong there" if wanted else "no part has weights"
    return [Problem(where("weights"), "weights", f"{place} holds weights of none of the parts", (hint,))]


def _missing_packages(parts: Mapping[str, Part]) -> list[tuple[str, MissingExtra]]:
    missing = []
    for kind, part in parts.items():
        try:
            require_packages(part.spec)
        except MissingExtra as error:
            missing.append((kind, error))
    return missing


def _missing_code(part: Part, where: Where) -> Problem:
    message = f"the code of {part.kind} '{part.name}' is not there: no module named '{missing_module(part.spec)}'"
    fault = f"this is a fault of {owner_text(part.spec)}, which names it as {part.spec.target}"
    return Problem(where(f"{part.kind}.name"), part.kind, message, (fault,))


def _missing_problem(error: MissingExtra, kind: str, where: Where) -> Problem:
    return Problem(where(f"{kind}.name"), kind, error.message, error.hints)


def _problem(fault: Fault, parts: Mapping[str, Part], where: Where) -> Problem:
    """Turn a fault into a problem of the file, with the parts that would fit in its place."""
    hints = list(fault.error.hints)
    # The two parts that do not meet come first; where changing neither helps, another one may.
    for kinds in (fault.swap, [kind for kind in PARTS if fault.swap and kind not in fault.swap]):
        fits = {kind: fitting(parts, kind) for kind in kinds}
        hints += [f"{plural(kind)} that fit here: {', '.join(names)}" for kind, names in fits.items() if names]
        if len(hints) > len(fault.error.hints):
            break
    if fault.swap and len(hints) == len(fault.error.hints):
        hints.append("no single other part makes it fit; see: toolkit compat")
    return Problem(where(f"{fault.kind}.{fault.option}"), fault.kind, fault.error.message, tuple(hints))


def _with_stored_options(
    parts: Mapping[str, Part], weights: Mapping[str, WeightFile | None], where: Where, problems: list[Problem]
) -> dict[str, Part]:
    """Lay the options that weights were trained with under those that the user gave."""
    result = dict(parts)
    for kind, file in weights.items():
        if file is not None and file.header.config:
            try:
                result[kind] = with_defaults(parts[kind], file.header.config)
            except RegionkitError as error:
                message = f"the weights {file.path} do not fit this version of it: {error.message}"
                problems.append(Problem(where(f"{kind}.weights"), kind, message, error.hints))
    return result
