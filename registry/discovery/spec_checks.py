"""Checks of what a plugin says of itself, made when it is registered and not when a user first needs it."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from regionkit.core.spec import (
    KINDS,
    PARTS,
    REGION_KINDS,
    Checkpoint,
    CommandSpec,
    ComponentSpec,
    DataCount,
    DataFile,
    DataRelease,
    PaperSpec,
    Port,
    Space,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONDITION = re.compile(r"[A-Za-z_]\w*=\S+")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

#: What a kind must say of its ends when no function computes them from the options.
_PORTS = {
    "backbone": ("writes",),
    "region_encoder": ("writes",),
    "bridge": ("reads", "writes"),
    "decoder": ("reads",),
}
#: Symbols that a port may use instead of a space, by kind and end.
_SYMBOLS = {
    ("region_encoder", "reads"): ("image", "blocks", "masked", "any"),
    ("region_encoder", "writes"): ("image", "blocks", "same", "weights", "own"),
    ("bridge", "reads"): ("image", "text", "blocks", "any", "weights"),
    ("bridge", "writes"): ("image", "text", "same", "weights", "own", "next"),
    ("decoder", "reads"): ("image", "text", "any", "weights", "own"),
}
#: Top-level keys that mean the same in every file, or make it a pipeline.
_COMMON_KEYS = ("version", "extends", "base", "summary", "plugins", *PARTS)
_REFERENCES = ("file:", "pkg:", "hub:")


def check_component(spec: Any) -> ComponentSpec:
    """Return the spec if it is sound.

    Raises:
        ValueError: It is not; the message names the component and the field.
    """
    if not isinstance(spec, ComponentSpec):
        raise TypeError(f"regionkit_components must return ComponentSpec objects, it returned {spec!r}")
    what = f"{spec.kind} '{spec.name}'"
    _check_types(spec, f"component '{spec.name}'")
    if spec.kind not in KINDS:
        raise ValueError(f"component '{spec.name}' is of the unknown kind '{spec.kind}'; kinds are: {', '.join(KINDS)}")
    if not _NAME.fullmatch(spec.name):
        raise ValueError(f"{what}: a name is made of a-z, 0-9 and . _ - and starts with a letter or digit")
    named = (("target", spec.target), ("config", spec.config), ("ports", spec.ports), ("reader", spec.reader))
    for field, text in named:
        if (text or field == "target") and not _TARGET.fullmatch(text):
            raise ValueError(f"{what}: {field} '{text}' is not of the form package.module:Name")
    if spec.weights not in ("", "index") and not spec.weights.startswith(_REFERENCES):
        raise ValueError(f"{what}: weights '{spec.weights}' is neither 'index' nor a file:, pkg: or hub: reference")
    _check_ports(spec, what)
    _check_words(spec, what)
    _check_fitting(spec, what)
    _check_checkpoints(spec, what)
    _check_release(spec, what)
    # YAML is not read here: a listing must not import it. What the options are is checked when they are used.
    if spec.tiny and not re.fullmatch(r"\{.*\}", spec.tiny.strip(), re.DOTALL):
        raise ValueError(f"{what}: tiny '{spec.tiny}' is no mapping in braces, such as {{depth: 2}}")
    return spec


def _check_types(spec: Any, what: str) -> None:
    """Check that texts are texts and tuples are tuples: a listing or a cache would trip over anything else."""
    for field in fields(spec):
        value = getattr(spec, field.name)
        if field.type == "str" and not isinstance(value, str):
            raise TypeError(f"{what}: {field.name} must be a string, it is {value!r}")
        if field.type == "bool" and not isinstance(value, bool):
            raise TypeError(f"{what}: {field.name} must be True or False, it is {value!r}")
        if str(field.type).startswith("tuple") and not isinstance(value, tuple):
            raise TypeError(f"{what}: {field.name} must be a tuple, it is {value!r}")
        if field.type == "tuple[str, ...]" and not all(isinstance(word, str) for word in value):
            raise TypeError(f"{what}: {field.name} must hold strings, it is {value!r}")


def _check_checkpoints(spec: ComponentSpec, what: str) -> None:
    """Check the files of a component's release: each has a role of its own and says how it is called."""
    if bool(spec.checkpoints) != bool(spec.reader):
        raise ValueError(f"{what}: name both its official files in checkpoints and a function in reader")
    _check_files("checkpoints", spec.checkpoints, what)
    _check_files("option_files", spec.option_files, what)
    for entry in spec.option_files:
        if entry.when or not spec.config:
            raise ValueError(f"{what}: '{entry.role}' of its option_files must be an option, and have no when")
        if set("*?[") & set("".join(entry.files)):
            raise ValueError(f"{what}: option_files name their files in full, without patterns: '{entry.files[0]}'")


def _check_files(field: str, entries: tuple[Checkpoint, ...], what: str) -> None:
    roles: set[tuple[str, str]] = set()
    for checkpoint in entries:
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(f"{what}: {field} must hold Checkpoint objects, it holds {checkpoint!r}")
        if not _NAME.fullmatch(checkpoint.role):
            raise ValueError(f"{what}: the role '{checkpoint.role}' of a checkpoint is not made of a-z, 0-9 and . _ -")
        if (checkpoint.role, checkpoint.when) in roles:
            raise ValueError(f"{what}: two checkpoints have the role '{checkpoint.role}'")
        roles.add((checkpoint.role, checkpoint.when))
        if checkpoint.when and not _CONDITION.fullmatch(checkpoint.when):
            raise ValueError(f"{what}: checkpoint '{checkpoint.role}': when '{checkpoint.when}' is not option=value")
        # A lone string would be taken for a tuple of its letters.
        if isinstance(checkpoint.files, str) or not checkpoint.files or not all(checkpoint.files):
            raise ValueError(f"{what}: checkpoint '{checkpoint.role}' must name its files with files=('NAME', ...)")
        if checkpoint.sha256 and not _SHA256.fullmatch(checkpoint.sha256):
            raise ValueError(f"{what}: checkpoint '{checkpoint.role}': sha256 is not 64 hexadecimal digits")


def _check_release(spec: ComponentSpec, what: str) -> None:
    """Check what a data set says of its files: where they belong, and what they come to."""
    release = spec.release
    if release is None:
        return
    if not isinstance(release, DataRelease):
        raise TypeError(f"{what}: release must be a DataRelease, it is {release!r}")
    if spec.kind != "dataset":
        raise ValueError(f"{what}: only a data set has a release; released weights are checkpoints")
    what = f"{what}: release"
    _check_types(release, what)
    if not release.folder or not _is_below(release.folder):
        raise ValueError(f"{what}: folder '{release.folder}' is no path below the folder of data sets")
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for file in release.files:
        _check_data_file(file, release.splits, what)
        if (file.path, file.splits) in seen:
            raise ValueError(f"{what}: the file '{file.path}' is named twice")
        seen.add((file.path, file.splits))
    for count in release.counts:
        _check_count(count, spec, release.splits, what)


def _check_data_file(file: Any, splits: tuple[str, ...], what: str) -> None:
    if not isinstance(file, DataFile):
        raise TypeError(f"{what}: files must hold DataFile objects, it holds {file!r}")
    what = f"{what}: file '{file.path}'"
    _check_types(file, what)
    if not _is_below(file.path.removeprefix("../")):
        raise ValueError(
            f"{what}: a path is relative to the data set's folder, with / between names; "
            "only ../FOLDER/..., in the folder of another data set, leads out of it"
        )
    if file.path.startswith("../") and "/" not in file.path.removeprefix("../"):
        raise ValueError(f"{what}: ../ leads to the folder of another data set: name a file in it")
    if "{" in file.path or "}" in file.path:
        raise ValueError(f"{what}: a path is a name or a shell pattern with * ? [ ]; name the file of each split")
    if file.sha256 and not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"{what}: sha256 is not 64 hexadecimal digits")
    if "/" in file.archive or "\\" in file.archive:
        raise ValueError(f"{what}: archive '{file.archive}' is no name of a file")
    for split in file.splits:
        if split not in splits:
            raise ValueError(
                f"{what}: it is for the unknown split '{split}'; splits are: {', '.join(splits) or 'none'}"
            )


def _check_count(count: Any, spec: ComponentSpec, splits: tuple[str, ...], what: str) -> None:
    if not isinstance(count, DataCount):
        raise TypeError(f"{what}: counts must hold DataCount objects, it holds {count!r}")
    what = f"{what}: count of {count.task}/{count.split}"
    _check_types(count, what)
    for word, name, known in (("task", count.task, spec.accepts), ("split", count.split, splits)):
        if name not in known:
            raise ValueError(f"{what}: the {word} is unknown; {word}s are: {', '.join(known) or 'none'}")
    for number in (count.samples, count.images):
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(f"{what}: {number!r} is no number of samples or pictures")
    for text in count.options:
        if not _CONDITION.fullmatch(text):
            raise ValueError(f"{what}: the option '{text}' is not option=value")


def _is_below(path: str) -> bool:
    """Say whether a path, with / between names, stays in the folder that it starts in."""
    parts = path.split("/")
    return "\\" not in path and ":" not in parts[0] and not any(part in ("", ".", "..") for part in parts)


def _check_ports(spec: ComponentSpec, what: str) -> None:
    for end in ("reads", "writes"):
        port = getattr(spec, end)
        if port is None:
            if end in _PORTS.get(spec.kind, ()) and not spec.ports:
                raise ValueError(f"{what}: it must say what it {end} with {end}=Port(...), or name a function in ports")
            continue
        if not isinstance(port, Port) or port.form not in ("tokens", "views"):
            raise ValueError(f"{what}: {end} must be a Port of the form tokens or views, it is {port!r}")
        if port.form == "tokens" and port.space not in _SYMBOLS.get((spec.kind, end), ()):
            _check_space(port.space, f"{what}: {end}", _SYMBOLS.get((spec.kind, end), ()))
    for field in ("text", "blocks", "masked"):
        if getattr(spec, field):
            _check_space(getattr(spec, field), f"{what}: {field}", ())


def _check_space(text: str, what: str, symbols: tuple[str, ...]) -> None:
    try:
        Space.parse(text)
    except ValueError as error:
        also = f" or one of: {', '.join(symbols)}" if symbols else ""
        raise ValueError(f"{what}: {error}{also}") from None


def _check_words(spec: ComponentSpec, what: str) -> None:
    if spec.kind == "region_encoder":
        if not spec.accepts:
            raise ValueError(
                f"{what}: it must say which kinds of regions it takes with accepts=(...); "
                f"kinds are: {', '.join(REGION_KINDS)}"
            )
        for word in spec.accepts:
            if word not in REGION_KINDS:
                raise ValueError(
                    f"{what}: it accepts the unknown region kind '{word}'; kinds are: {', '.join(REGION_KINDS)}"
                )
    if spec.kind == "recipe" and not spec.trains:
        raise ValueError(f"{what}: it must say which parts it trains with trains=(KIND, ...)")
    for role in spec.trains:
        if spec.roles[role] not in KINDS:
            raise ValueError(f"{what}: it trains the unknown kind '{role}'; kinds are: {', '.join(KINDS)}")
    _check_trained(spec, what)
    for field, text in (("takes", spec.takes), ("memory", spec.memory), ("also", spec.also)):
        if text and not (text.count("/") == 1 and text.partition("/")[0] in PARTS):
            raise ValueError(f"{what}: {field} '{text}' is not of the form KIND/NAME, such as bridge/memory")
    if spec.memory and spec.kind != "decoder":
        raise ValueError(f"{what}: only a decoder holds a memory beside its weights")
    if spec.also and not spec.also.startswith(f"{spec.kind}/"):
        raise ValueError(f"{what}: also '{spec.also}' is of another kind, and no network of it")
    if spec.relabels and spec.kind != "bridge":
        raise ValueError(f"{what}: only a bridge relabels vectors")
    for kind in spec.roles.values():
        if kind not in KINDS:
            raise ValueError(f"{what}: it needs the unknown kind '{kind}'; kinds are: {', '.join(KINDS)}")


def _check_fitting(spec: ComponentSpec, what: str) -> None:
    """Check that a part of a pipeline that asks for a corpus is one that a pipeline fits to it.

    A bank is chosen as weights are, from a file or else from a corpus: where there are none to choose, ``fit`` would
    never be called, and nobody would be told.
    """
    if spec.kind not in PARTS or "corpus" not in spec.roles.values():
        return
    if spec.kind not in ("bridge", "decoder"):
        raise ValueError(f"{what}: it needs a corpus, and only a bridge or a decoder is fitted to one: leave needs out")
    if spec.weights != "index":
        raise ValueError(
            f'{what}: it needs a corpus and would never be fitted to it: write weights="index" beside '
            'needs=("corpus",), and give its config the option bank: str = "auto", the corpus that its user names'
        )


def _check_trained(spec: ComponentSpec, what: str) -> None:
    """Check that a recipe trains one part of a kind: weights say their kind, and by it whose they are."""
    roles: dict[str, str] = {}
    for role in spec.trains:
        first = roles.setdefault(spec.roles[role], role)
        if first != role or spec.trains.count(role) > 1:
            both = f"'{first}' and '{role}'" if first != role else f"'{role}' twice"
            raise ValueError(f"{what}: it trains {both}; the parts that it trains must be of different kinds")


def check_command(command: Any) -> CommandSpec:
    """Return the command if it is sound, else raise ValueError."""
    if not isinstance(command, CommandSpec):
        raise TypeError(f"regionkit_commands must return CommandSpec objects, it returned {command!r}")
    _check_types(command, f"command '{command.name}'")
    if not _NAME.fullmatch(command.name):
        raise ValueError(f"command '{command.name}': a name is made of a-z, 0-9 and . _ -")
    if not _TARGET.fullmatch(command.target):
        raise ValueError(f"command '{command.name}': target '{command.target}' is not of the form package.module:Name")
    if command.check and not _TARGET.fullmatch(command.check):
        raise ValueError(f"command '{command.name}': check '{command.check}' is not of the form package.module:Name")
    if bool(command.files) != bool(command.check) or (command.pipelines and not command.files):
        raise ValueError(f"command '{command.name}': name both the keys of its files in files and a function in check")
    for key in command.files:
        if key in _COMMON_KEYS:
            raise ValueError(f"command '{command.name}': '{key}' is a key of other files too and tells none apart")
    return command


def check_paper(paper: Any) -> PaperSpec:
    """Return the paper if it is sound, else raise ValueError."""
    if not isinstance(paper, PaperSpec):
        raise TypeError(f"regionkit_papers must return PaperSpec objects, it returned {paper!r}")
    _check_types(paper, f"paper '{paper.key}'")
    if not paper.key or not paper.bibtex.lstrip().startswith("@"):
        raise ValueError(f"paper '{paper.key}': it needs a key and a BibTeX entry")
    return paper
