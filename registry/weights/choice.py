"""Choosing the weights of a part by what they were trained for, or saying which recipe makes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from regionkit.core.errors import PortError, WeightsAbsent, WeightsError
from regionkit.core.spec import PARTS, Space
from regionkit.core.weights import UNNAMED, WeightFile, WeightHeader
from regionkit.registry.ports import spaces_of
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part, with_defaults
from regionkit.registry.values import plain
from regionkit.registry.weights.index import WeightIndex, get_index, open_file, sound
from regionkit.registry.weights.official import (
    describe_missing,
    find_installed,
    find_official,
    is_released,
    missing_installed,
)
from regionkit.registry.weights.reading import spec_for
from regionkit.registry.weights.references import is_reference, locate
from regionkit.registry.weights.relatives import as_own


@dataclass(frozen=True, slots=True)
class Wanted:
    """What weights must have been trained for; empty strings ask for nothing in particular.

    Attributes:
        space: Space, ``name[dim]``.
        corruption: What a decoder saw in training.
        corpus: Name of the corpus.
        any_width: True for a backbone, whose weights decide how wide its space is; only the space's name must agree.
    """

    space: str = ""
    corruption: str = ""
    corpus: str = ""
    any_width: bool = False

    def takes(self, header: WeightHeader, *, trust: bool) -> bool:
        """Say whether weights were trained in the wanted space.

        Args:
            header: Of the weights.
            trust: True for weights that the user named: where they do not say their space, or only its width, they are
                taken to be for this one.
        """
        if not self.space or header.space == self.space:
            return True
        if not header.space:
            return trust
        own, wanted = Space.parse(header.space), Space.parse(self.space)
        if own.name == UNNAMED:
            return trust and (own.dim == wanted.dim or self.any_width)
        return self.any_width and own.name == wanted.name

    def takes_corpus(self, header: WeightHeader) -> bool:
        """Say whether weights hold the wanted corpus; files of a release write its name with other signs."""
        return not self.corpus or _plain_name(header.corpus) == _plain_name(self.corpus)

    def __str__(self) -> str:
        words = [self.space]
        words += [f"corruption {self.corruption}"] if self.corruption else []
        words += [f"corpus {self.corpus}"] if self.corpus else []
        return ", ".join(word for word in words if word)


def _plain_name(corpus: str) -> str:
    return corpus.lower().replace("_", "-")


def owner_of(part: Part) -> tuple[str, str]:
    """Return kind and name of the component whose weight files a part reads: its own, or those of another one."""
    kind, _, name = part.spec.takes.partition("/")
    return (kind, name) if name else (part.kind, part.name)


def reference_of(part: Part) -> str:
    """Return how a part names its weights: ``auto``, ``none``, a reference, or nothing where it has none."""
    if not part.spec.weights:
        return ""
    written = str(getattr(part.config, "weights", "auto"))
    return part.spec.weights if written == "auto" and part.spec.weights != "index" else written


def choose_weights(part: Part, wanted: Wanted) -> WeightFile | None:
    """Return the weights of a part; None where it has none, or is to start untrained.

    Weights that are named outright must be of this component and space; their corruption and the options that they were
    trained with are the user's own decision.

    Raises:
        WeightsError: No file, several files, a damaged file or a file for something else.
    """
    reference = reference_of(part)
    if reference in ("", "none"):
        return None
    matches = find_weights(part, wanted) if reference == "auto" else _named(part, reference, wanted)
    if not matches:
        installed = find_installed(part, lambda file: suits(part, file, wanted))
        if installed is None or not suits(part, installed, wanted):
            raise missing(part, wanted, installed)
        return installed
    if len(matches) > 1:
        names = ", ".join(f"{file.label} ({_described(file.header)})" for file in matches)
        raise WeightsError(
            f"several weight files fit {part.kind} '{part.name}'{f' ({wanted})' if str(wanted) else ''}: {names}",
            f"say which: {part.kind}.weights: {matches[0].label}",
        )
    return matches[0]


def settle_backbone(part: Part) -> tuple[Part, WeightFile | None]:
    """Choose the weights of a backbone and lay the sizes that they say under its options.

    The sizes of a model decide how wide its spaces are, so this comes before anything is said of those.

    Raises:
        WeightsError: As :func:`choose_weights`.
        PortError: With these options it writes another space than its weights were trained in.
    """
    file = choose_weights(part, Wanted(spaces_of(part).image, any_width=True))
    if file is None:
        return part, None
    part = with_defaults(part, file.header.config)
    space = spaces_of(part).image
    if file.says_space and file.header.space != space:
        raise PortError(
            f"backbone '{part.name}' writes {space} with these options, and its weights '{file.label}' were trained in "
            f"{file.header.space}",
            "leave out the options that shape the model: the weights say them",
        )
    return part, file


def find_weights(part: Part, wanted: Wanted) -> list[WeightFile]:
    """Return what fits in the folder that the pipeline names, else in the index.

    What the user installed is trusted where it does not say its space, if nothing that does will do.
    """
    if part.folder:
        found = _in_folder(part, locate(part.folder), wanted, outright=False)
        if found:
            return found
    index = get_index()
    return _indexed(index, part, wanted, trust=False) or _indexed(index, part, wanted, trust=True)


def _indexed(index: WeightIndex, part: Part, wanted: Wanted, *, trust: bool, held: bool = True) -> list[WeightFile]:
    """Return the files of an index that fit; ``held`` says whether they are held to the options that were written."""
    question = (*owner_of(part), None, wanted.corruption or None, wanted.corpus or None)

    def fits(header: WeightHeader | None) -> bool:
        if header is None or not wanted.takes(header, trust=trust):
            return False
        return not (held and contradictions(part, header))

    whole = [file for file in index.find(*question) if fits(file.header)]
    return sound([*whole, *(file for file in index.find_damaged(*question) if fits(file.header))])


def contradictions(part: Part, header: WeightHeader) -> list[str]:
    """Return the options that the user wrote and with which these weights were not trained, as they were trained.

    Only weights that are chosen by the toolkit are held to them: whoever names a file may run it in another mode.
    """
    return [
        f"{name}: {header.config[name]}"
        for name in sorted(part.given & set(header.config))
        if plain(getattr(part.config, name)) != header.config[name]
    ]


def suits(part: Part, file: WeightFile, wanted: Wanted) -> bool:
    """Say whether official weights that the toolkit found may be taken unasked."""
    header = file.header
    return wanted.takes(header, trust=True) and wanted.takes_corpus(header) and not contradictions(part, header)


def _in_folder(part: Part, folder: Path, wanted: Wanted, *, outright: bool) -> list[WeightFile]:
    """Return the weights of a part in a folder that the user named: files of ours that fit, else official ones.

    Args:
        part: The component.
        folder: Where to look.
        wanted: What the weights must have been trained for.
        outright: True where the folder was named for this part alone: what lies in it may then run with other options
            than it was trained with, though of several files those go first that were trained with them. In the folder
            of a whole pipeline the toolkit chooses.

    Raises:
        WeightsError: The folder is a file, or holds weights of the part for something else.
    """
    if not folder.is_dir():
        raise WeightsError(
            f"weights: {folder} is a file, and a pipeline names the folder of all its weights here",
            f"for one part write {part.kind}.weights: file:{folder}",
        )
    index = WeightIndex.scan([folder])
    found = _indexed(index, part, wanted, trust=True)
    if not found and outright:
        found = _indexed(index, part, wanted, trust=True, held=False)
    if found:
        return found

    def fits(file: WeightFile) -> bool:
        taken = wanted.takes(file.header, trust=True) and wanted.takes_corpus(file.header)
        return taken and (outright or not contradictions(part, file.header))

    official = find_official(part, folder, fits)
    if official is not None and not wanted.takes_corpus(official.header):
        official = None  # a bank of something else
    if official is not None:
        _check_named(part, official, wanted)
    if official is not None and (outright or not contradictions(part, official.header)):
        return [official]
    others = index.find(*owner_of(part))
    contradicted = _contradicted(part, wanted, [official] if official is not None else others, trust=True)
    if contradicted:
        raise WeightsError(
            f"the weights of {part.kind} '{part.name}' in {folder} were trained with other options than those written",
            *(_all_the_same(part, file, f"file:{file.path}") for file in contradicted),
        )
    if others:
        held = "; ".join(sorted({_described(file.header) for file in others}))
        raise WeightsError(
            f"the weights of {part.kind} '{part.name}' in {folder} are for {held}, and {wanted} is needed here",
            *_recipes(part),
        )
    return []


def _named(part: Part, reference: str, wanted: Wanted) -> list[WeightFile]:
    """Return the weights that a part names outright."""
    if not is_reference(reference):
        file: WeightFile | None = get_index().named(reference)
    else:
        path = locate(reference)
        if path.is_dir():
            found = _in_folder(part, path, wanted, outright=True)
            if not found:
                entries = spec_for(part).checkpoints
                raise WeightsError(
                    f"{path} holds no weights of {part.kind} '{part.name}'"
                    + (f" for {wanted.corpus}" if wanted.corpus else ""),
                    *describe_missing(entries),
                    "" if entries else "they are made by toolkit train, or converted: toolkit weights convert --help",
                )
            return found
        file = open_file(path) or find_official(part, path)
        if file is None:
            raise WeightsError(
                f"{path} does not say what it was trained for: it has no regionkit header",
                "only weights made by toolkit train, or converted for it, can be used: toolkit weights convert --help",
            )
    assert file is not None
    file = as_own(part, file)
    _check_named(part, file, wanted)
    return [file]


def _check_named(part: Part, file: WeightFile, wanted: Wanted) -> None:
    header = file.header
    if (header.kind, header.name) != owner_of(part):
        raise WeightsError(
            f"{file.path} holds weights of {header.kind} '{header.name}', not of {part.kind} '{part.name}'",
            _exist(part),
        )
    if not wanted.takes(header, trust=True) and "corpus" in part.spec.needs:
        raise WeightsError(
            f"the bank '{file.label}' lies in {header.space}, and {wanted.space} is needed here",
            _exist(part),
            "make one with this backbone: toolkit bank build --backbone NAME --corpus NAME --out FILE.safetensors",
        )
    if not wanted.takes(header, trust=True):
        raise WeightsError(
            f"{part.kind} weights '{file.label}' were trained in {header.space}, and {wanted.space} is needed here",
            _exist(part),
            *_recipes(part),
        )


def missing(part: Part, wanted: Wanted, installed: WeightFile | None = None) -> WeightsError:
    """Return the error of weights that are not there: what there is, and which recipe would make them.

    They are absent unless there are some that would do, were it not for their options, their space or their corruption.

    Args:
        part: The component.
        wanted: What its weights must have been trained for.
        installed: Official ones that are there and were trained for something else.
    """
    index = get_index()
    broken = [str(file.error.message) for file in index.damaged if file.header is None]
    untrained = hasattr(part.config, "weights") and part.kind in PARTS
    others = _other_options(part, wanted)
    near = wanted.space and any(file.header.space == wanted.space for file in index.find(*owner_of(part)))
    error = WeightsError if others or near or broken or installed is not None else WeightsAbsent
    return error(
        f"no weights of {part.kind} '{part.name}'{f' for {wanted}' if str(wanted) else ''}",
        *others,
        _exist(part) or f"there are no weights of {part.kind} '{part.name}' at all",
        *_recipes(part),
        *_official_hints(part, wanted, installed),
        *broken,
        f"in a recipe it may start untrained: {part.kind}.weights: none" if untrained else "",
    )


def _other_options(part: Part, wanted: Wanted) -> list[str]:
    """Say which weights would do, had they not been trained with other options than those that were written."""
    files = get_index().find(*owner_of(part), None, wanted.corruption or None)
    return [_all_the_same(part, file, file.label) for file in _contradicted(part, wanted, files, trust=False)]


def _contradicted(part: Part, wanted: Wanted, files: Iterable[WeightFile], *, trust: bool) -> list[WeightFile]:
    """Return the first few weights that would fit, were it not for options that the user wrote."""
    return [file for file in files if wanted.takes(file.header, trust=trust) and contradictions(part, file.header)][:3]


def _all_the_same(part: Part, file: WeightFile, reference: str) -> str:
    return (
        f"'{file.label}' was trained with {', '.join(contradictions(part, file.header))}; "
        f"to run it so all the same write {part.kind}.weights: {reference}"
    )


def _official_hints(part: Part, wanted: Wanted, installed: WeightFile | None) -> list[str]:
    """Say what of a component's release is here, and how the rest is had."""
    if installed is not None and wanted.takes(installed.header, trust=True):
        return [_all_the_same(part, installed, f"file:{installed.path}")]
    if installed is not None:
        return [f"the released ones that are here ({installed.label}) are for {installed.header.space}"]
    lacking = missing_installed(part) if is_released(part) else []
    if not lacking:
        return []
    where = "--weights file:DIR" if part.kind in PARTS else f"{part.name}.weights=file:DIR"
    # A component's name stands for its default options, whose release may be another one.
    own = [file.when.replace("=", ": ") for file in lacking if file.when.partition("=")[0] in part.given]
    what = f"FILE, a pipeline with {own[0]}" if own else part.name
    how = f"fetch the released ones: toolkit weights pull {what}; or name their folder: {where}"
    return [how, *describe_missing(lacking)]


def _exist(part: Part) -> str:
    """List what the weights of this component that exist were trained for."""
    headers = [file.header for file in get_index().find(*owner_of(part))]
    listed = _few(sorted({_described(header) for header in headers}))
    return f"there are weights for: {listed}" if listed else ""


def _few(texts: Sequence[str], count: int = 4) -> str:
    """Join the first few of many."""
    more = [f"and {len(texts) - count} more: toolkit weights list"] if len(texts) > count else []
    return "; ".join([*texts[:count], *more])


def _described(header: WeightHeader) -> str:
    words = [header.space, f"corruption {header.corruption}" if header.kind == "decoder" else ""]
    words.append(f"corpus {header.corpus}" if header.corpus else "")
    return ", ".join(word for word in words if word)


def _recipes(part: Part) -> tuple[str, ...]:
    """Say how weights of this component are made: as the others were, else with a recipe that trains its kind."""
    index = get_index()
    files = index.find(*owner_of(part))
    made = sorted({file.header.recipe for file in files if file.header.recipe})
    if made:
        return (f"the others were made with: {_few(made, 2)}",)
    if part.kind == "backbone" and is_released(part):
        return ()  # a released backbone is fetched: hardly a recipe makes one, and none makes each of them
    registry = get_registry()
    # Weights that were released are not made by whatever recipe trains that kind of part alone.
    home = registry.owner(part.spec) if part.spec.checkpoints else None
    fitting = [
        spec for spec in registry.specs("recipe") if len(spec.trains) > 1 or home in (None, registry.owner(spec))
    ]
    names = [spec.name for spec in fitting if part.kind in (spec.roles[role] for role in spec.trains)]
    return (f"train them: toolkit train FILE, with recipe: {' or '.join(names)}",) if names else ()
