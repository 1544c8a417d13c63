"""From a spec to a component with all that it takes to check it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch

from regionkit.core.contracts import Backbone, BuildContext, Decoder, GapBridge
from regionkit.core.errors import DataError, ImageError, MissingExtra, RegionkitError
from regionkit.core.spec import ComponentSpec, Port, Space
from regionkit.core.testing import (
    BlockBackbone,
    Drawn,
    GridBackbone,
    Likeness,
    MaskedBackbone,
    Pooled,
    Relabel,
    SampleData,
    Sentences,
    Skip,
    Subject,
    WordDecoder,
    crash,
)
from regionkit.core.testing.subject import example_pictures
from regionkit.core.weights import WeightFile, read_header
from regionkit.registry.assembly import build_part
from regionkit.registry.conformance.inputs import tokens_for, views, with_samples
from regionkit.registry.packages import missing_package
from regionkit.registry.ports import Spaces, ends, is_own, resolve, settled
from regionkit.registry.registry import Registry, get_registry, user_weight_folders
from regionkit.registry.schema import Part, fill_options, nowhere, option_types, with_defaults
from regionkit.registry.weights.index import get_index
from regionkit.registry.yaml_text import read_value

#: Subjects, or why there is none, by spec and options: building one may take seconds, and every check needs it.
_BUILT: WeakKeyDictionary[Registry, dict[tuple[ComponentSpec, str], Subject | Exception]] = WeakKeyDictionary()
#: How components that work in a space of some backbone's are told from those that take any.
_SYMBOLS = ("image", "text", "blocks", "masked", "any", "same", "weights", "next")
#: What a stand-in for a decoder with a space of its own would read.
_NEXT = "stand-in/tokens[24]"


Options = Mapping[str, Any] | None


class CannotBuild(RegionkitError):
    """The kit cannot make a component of a spec; the hints say what to declare."""


def subject_of(spec: ComponentSpec, options: Options = None) -> Subject:
    """Build a component, in a moment and on the CPU, with all that it takes to check it; built once a registry.

    Its options are ``options``, else none where the plugin ships weights for it, else those of ``spec.tiny``.

    Raises:
        CannotBuild: It cannot be made like that.
        Skip: A package or its data are not here.
    """
    built = _BUILT.setdefault(get_registry(), {})
    key = spec, json.dumps(options, sort_keys=True, default=str)
    if key not in built:
        try:
            built[key] = _Maker(spec, options).subject()
        except (CannotBuild, Skip) as error:
            built[key] = error
        except RegionkitError as error:  # its options cannot be read; nothing that tiny says would change that
            built[key] = CannotBuild(f"the kit cannot build {spec.kind} '{spec.name}': {error.message}", *error.hints)
    found = built[key]
    if isinstance(found, Exception):
        raise found
    return found


@dataclass(frozen=True)
class _Ports:
    """The resolved ports of a component and the backbone whose spaces they are in."""

    backbone: Backbone
    reads: Port | None
    writes: Port | None


class _Maker:
    """Makes components of one spec.

    Args:
        spec: The spec.
        options: Its options; None leaves the choice to the kit.
        untrained: Take no weights, as a recipe needs it.
    """

    def __init__(self, spec: ComponentSpec, options: Options = None, *, untrained: bool = False) -> None:
        self.spec = spec
        missing = missing_package(spec)
        if missing:
            raise Skip(f"it needs the package '{missing}', which is not installed")
        self.weights = None if untrained or options is not None else _shipped(spec)
        self.part = self._part(options)

    def subject(self) -> Subject:
        """Build the component of seed 0 and what it works with."""
        try:
            return self._subject()
        except DataError as error:
            if self.spec.kind in ("dataset", "corpus", "judge"):
                raise Skip(f"its data are not here: {error.message}") from error
            raise self._cannot(str(error.message)) from error
        except (CannotBuild, Skip):
            raise
        except MissingExtra as error:
            raise Skip(error.message) from error
        except RegionkitError as error:
            raise self._cannot(error.message) from error
        except Exception as error:
            raise self._cannot(crash(error)) from error

    def make(self, seed: int, ports: _Ports | None = None) -> Any:
        """Build the component from a seed, fitted where it has to be, in evaluation mode."""
        ports = ports or self.ports()
        return self._finished(build_part(self.part, self._context(ports, self.weights, seed)), ports)

    def ports(self) -> _Ports:
        """Resolve the ports, in the spaces of the backbone that they name or of a stand-in."""
        own, header = ends(self.part), self.weights.header if self.weights else None
        if self.spec.kind == "backbone":
            return _Ports(GridBackbone(), None, own.writes)
        named = [port.space for port in (own.reads, own.writes) if port and not is_own(port)]
        of_image = self.spec.kind == "bridge" and own.reads is not None and own.reads.space == "image"
        if header and (self.spec.kind == "region_encoder" or of_image):
            named.append(header.space)
        backbone = _backbone_of(named)
        spaces = Spaces(backbone.space, backbone.text_space, backbone.block_space, backbone.masked_space)
        decodes = self.spec.kind == "decoder"
        flow = Port(spaces.text if decodes else spaces.image)
        if header and header.space and self.spec.kind == "bridge":  # one that reads anything was trained on something
            flow = Port(header.space)
        trained = (header.space, header.writes or header.space) if header else ("", "")
        default = (own.reads or Port("any" if decodes else "image"), own.writes or Port("same"))
        untrained = (flow.space, spaces.text)
        reads, writes = (
            replace(port, space=stored or fallback) if port.space == "weights" else port
            for port, stored, fallback in zip(default, trained, untrained, strict=True)
        )
        if writes.space == "next":
            writes = replace(writes, space=trained[1] or _NEXT)
        reads = settled(self.part, resolve(self.part, reads, spaces, flow), header, flow, end="reads")
        writes = resolve(self.part, settled(self.part, writes, header, reads, end="writes"), spaces, reads)
        # As in a pipeline: a bridge that reads any number of tokens and says nothing of its own passes on as many.
        passes = self.spec.kind == "bridge" and reads.many
        return _Ports(backbone, reads, None if decodes else replace(writes, many=writes.many or passes))

    def _part(self, options: Mapping[str, Any] | None) -> Part:
        if options is None:
            options = read_value(self.spec.tiny, self.spec.name) if self.spec.tiny else {}
            if self.weights:  # they bring sizes of their own; what costs time besides stays small
                options = {
                    name: options[name] for name in options if name not in (*self.weights.header.config, "weights")
                }
        chosen = dict(options)
        if self.weights is None and "weights" in option_types(self.spec):
            chosen.setdefault("weights", "none")
        problems: list[Any] = []
        part = fill_options(self.spec, chosen, nowhere, self.spec.kind, problems)
        if part is None:
            reason = "; ".join(problem.message for problem in problems)
            if self.spec.kind in ("dataset", "corpus", "judge") and "no default" in reason:
                raise Skip(f"it reads what only its user has: {reason}; the marker conformance takes options=...")
            raise self._cannot(reason)
        stored = self.weights.header.config if self.weights else None
        return with_defaults(part, stored) if stored else part

    def _subject(self) -> Subject:
        kind = self.spec.kind
        if kind == "recipe":
            return _recipe(self.spec, self.part)
        if kind not in ("backbone", "region_encoder", "bridge", "decoder"):
            component = self.make(0, _Ports(GridBackbone(), None, None))
            plain = _Ports(GridBackbone(), None, None)
            found = Subject(kind, component, lambda seed: self.make(seed, plain), accepts=self.spec.accepts)
            return with_samples(found) if kind == "metric" else found
        ports = self.ports()
        component = self.make(0, ports)
        inputs = None
        if ports.reads is not None and kind in ("bridge", "decoder"):
            inputs = views() if ports.reads.form == "views" else tokens_for(kind, component, ports.reads)
        return Subject(
            kind,
            component,
            make=lambda seed: self.make(seed, ports),
            read=lambda path: self._read(path, ports),
            backbone=ports.backbone,
            images=_pictures(component if kind == "backbone" else ports.backbone),
            inputs=inputs,
            reads=ports.reads,
            writes=ports.writes,
            text=ends(self.part).text if kind == "backbone" else None,
            masked=ends(self.part).masked if kind == "backbone" else None,
            accepts=self.spec.accepts,
            corruption=str(getattr(self.part.config, "corruption", "none")),
        )

    def _read(self, path: Path, ports: _Ports) -> Any:
        header = read_header(path)
        assert header is not None
        return self._finished(build_part(self.part, self._context(ports, WeightFile(path, header), 5)), ports)

    def _context(self, ports: _Ports, weights: WeightFile | None, seed: int) -> BuildContext:
        return BuildContext(
            reads=_space(ports.reads),
            writes=_space(ports.writes),
            weights=weights,
            backbone=None if self.spec.kind == "backbone" else ports.backbone,
            parts={
                "corpus": Sentences(),
                "dataset": SampleData(),
                "backbone": ports.backbone,
                "judge": Likeness(),
            },
            seed=seed,
        )

    def _finished(self, component: Any, ports: _Ports) -> Any:
        if isinstance(component, torch.nn.Module):
            component.eval()
        fitted = bool(self.spec.memory) or ("corpus" in self.spec.needs and self.weights is None)
        if fitted and isinstance(component, (Decoder, GapBridge)):
            texts = Sentences().texts()
            with torch.no_grad():
                vectors = ports.backbone.encode_text(texts)
                width = Space.parse(ports.reads.space).dim if self.spec.memory and ports.reads else vectors.shape[1]
                if vectors.shape[1] != width:  # trained weights read a space of their own, which no stand-in writes
                    vectors = torch.randn(len(texts), width, generator=torch.Generator().manual_seed(0))
                component.fit(vectors, texts)
        return component

    def _cannot(self, reason: str) -> CannotBuild:
        return CannotBuild(
            f"the kit cannot build {self.spec.kind} '{self.spec.name}': {reason}",
            "declare options under which it is built in a moment, on a CPU and without its weights, in its spec: "
            'tiny="{OPTION: VALUE, ...}"',
        )


def _space(port: Port | None) -> str:
    return port.space if port is not None and port.form == "tokens" else ""


def _shipped(spec: ComponentSpec) -> WeightFile | None:
    """Return the first weight file that plugins ship for a component; what a user keeps must not decide a check."""
    if not spec.weights:
        return None
    own = [folder.resolve() for folder in user_weight_folders()]
    for file in get_index().find(spec.kind, spec.name):
        if not any(file.path.resolve().is_relative_to(folder) for folder in own):
            return file
    return None


def _backbone_of(spaces: list[str]) -> Backbone:
    """Return the registered backbone that a concrete space belongs to; a stand-in where none is named."""
    named = [space for space in spaces if space not in _SYMBOLS]
    for spec in get_registry().specs("backbone") if named else ():
        try:
            own = ends(_Maker(spec).part)
            if own.writes is not None and {own.writes.space, own.text, own.blocks, own.masked} & set(named):
                backbone: Backbone = subject_of(spec).component
                return backbone
        except (RegionkitError, Skip):
            continue
    if "masked" in spaces:
        return MaskedBackbone()
    return BlockBackbone() if "blocks" in spaces else GridBackbone()


def _pictures(backbone: Backbone) -> Any:
    """Return pictures that a backbone accepts: drawn ones, else the first of a registered data set."""
    drawn = example_pictures()
    try:
        backbone.check_images(drawn)
        return drawn
    except ImageError:
        pass
    for spec in get_registry().specs("dataset"):
        try:
            data = subject_of(spec).component
            keys = {one.image_id: None for one in data.samples(spec.accepts[0], data.splits[0], 0, 3)}
            found = tuple(data.image(key) for key in keys)
            backbone.check_images(found)
            if len(found) == len(drawn):
                return found
        except (RegionkitError, Skip):
            continue
    return drawn


def _recipe(spec: ComponentSpec, part: Part) -> Subject:
    """Build a recipe with the smallest parts that it takes."""
    reasons: list[str] = []
    for maker in _trained(spec):

        def make(seed: int, maker: _Maker | None = maker) -> Any:
            parts = _parts_of(spec, maker, seed)
            context = BuildContext(reads="grid/image[16]", writes="grid/text[16]", parts=parts, seed=seed)
            return build_part(part, context)

        try:
            kinds = tuple(spec.roles[role] for role in spec.trains)
            return Subject("recipe", make(0), make, accepts=(), trains=kinds)
        except RegionkitError as error:
            reasons.append(error.message)
        except Exception as error:  # a recipe may take the parts of its own plugin alone
            reasons.append(crash(error))
    raise CannotBuild(
        f"the kit cannot build recipe '{spec.name}': {'; '.join(dict.fromkeys(reasons))}",
        "declare options under which it is built in a moment, on a CPU, in its spec, and in those of the "
        f'{spec.roles[spec.trains[0]]}s that it trains: tiny="{{OPTION: VALUE, ...}}"',
    )


def _trained(spec: ComponentSpec) -> Iterator[_Maker | None]:
    """Yield makers of what a recipe may train first: parts of its own plugin, a stand-in (None), then all others."""
    registry = get_registry()
    candidates = registry.specs(spec.roles[spec.trains[0]])
    own = [one for one in candidates if registry.owner(one).plugin == registry.owner(spec).plugin]
    for group in (own, [None], [one for one in candidates if one not in own]):
        for one in group:
            if one is None:
                yield None
                continue
            try:
                yield _Maker(one, untrained=True)
            except (RegionkitError, Skip):
                continue


def _parts_of(spec: ComponentSpec, trained: _Maker | None, seed: int) -> dict[str, Any]:
    """Return the parts of a recipe: the one that it trains, stand-ins for all others."""
    backbone = GridBackbone()
    parts: dict[str, Any] = {
        "corpus": Sentences(),
        "dataset": SampleData(),
        "backbone": backbone,
        "region_encoder": Pooled(),
        "bridge": Relabel(backbone.text_space),
        "decoder": WordDecoder(
            backbone.text_space, sorted({word for text in Sentences().texts() for word in text.split()}), seed
        ),
    }
    chosen = {role: parts[kind] for role, kind in spec.roles.items() if kind in parts}
    for role, kind in spec.roles.items():
        own = _own(spec, kind) if role != kind else []
        if own:  # a part beside those of a pipeline is of the recipe's own making
            chosen[role] = own[0].make(seed)
    if trained is not None:
        chosen[spec.trains[0]] = trained.make(seed)
        reads = trained.ports().reads
        if "region_encoder" in chosen and reads is not None and reads.form == "views":
            chosen["region_encoder"] = Drawn()
    return chosen


def _own(spec: ComponentSpec, kind: str) -> list[_Maker]:
    """Return makers of the components of a kind that a recipe's own plugin brings, untrained."""
    registry = get_registry()
    plugin = registry.owner(spec).plugin
    return [_Maker(one, untrained=True) for one in registry.specs(kind) if registry.owner(one).plugin == plugin]
