"""Following the vectors through a pipeline: the space that enters and leaves each part, and the weights it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from regionkit.core.errors import PortError, RegionkitError, WeightsError
from regionkit.core.spec import Port
from regionkit.core.weights import WeightFile
from regionkit.registry.ports import Spaces, ends, mismatch, of_weights, resolve, settled, spaces_of, spelled
from regionkit.registry.schema import Part
from regionkit.registry.weights.bank_choice import choose_bank, memory_of
from regionkit.registry.weights.choice import Wanted
from regionkit.registry.weights.option_files import OptionFile, asked_for
from regionkit.registry.weights.shared_choices import Choices


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not fit.

    Attributes:
        kind: The part that it is reported at.
        error: What is wrong.
        swap: Kinds of which another part might fit.
        option: The option that it is about.
    """

    kind: str
    error: RegionkitError
    swap: tuple[str, ...] = ()
    option: str = "name"


@dataclass(slots=True)
class Trace:
    """What following the vectors found out; the fields are those of ``PipelinePlan``."""

    ports: dict[str, tuple[str, str]] = field(default_factory=dict)
    weights: dict[str, WeightFile | None] = field(default_factory=dict)
    banks: dict[str, WeightFile] = field(default_factory=dict)
    files: dict[str, dict[str, OptionFile]] = field(default_factory=dict)
    fit_corpus: dict[str, str] = field(default_factory=dict)
    corruption: str = "none"
    unbridged: bool = False
    text: str = ""
    on_trust: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def trace_parts(parts: Mapping[str, Part], choices: Choices | None = None) -> Trace:
    """Follow the vectors through the parts that are there, as far as they can be followed.

    Args:
        parts: The parts by kind.
        choices: Choices of weights that were made for other pipelines of the same plan.
    """
    return _Tracer(parts, choices or Choices()).run()


class _Tracer:
    def __init__(self, parts: Mapping[str, Part], choices: Choices) -> None:
        self.parts, self.choices = parts, choices
        self.trace = Trace()
        self.spaces = Spaces("", "")
        #: What flows at the moment, and the kind that gave it.
        self.flow = Port()
        self.giver = "backbone"

    def run(self) -> Trace:
        for step, kind in (
            (self._backbone, "backbone"),
            (self._region_encoder, "region_encoder"),
            (self._bridge, "bridge"),
            (self._decoder, "decoder"),
        ):
            if kind not in self.parts:
                if kind in ("backbone", "bridge"):  # nothing can be said of what comes after
                    break
                continue
            if kind == "bridge" and (fault := self._no_pictures()):
                self.trace.faults.append(fault)
                break
            try:
                step(self.parts[kind])
            except PortError as error:
                swap = tuple(dict.fromkeys((self.giver, kind))) if kind != "backbone" else ()
                self.trace.faults.append(Fault(kind, error, swap))
                break
            except WeightsError as error:
                self.trace.faults.append(Fault(kind, error, option="weights"))
                break
            except RegionkitError as error:
                self.trace.faults.append(Fault(kind, error))
                break
        for kind, other in (("bridge", "decoder"), ("decoder", "bridge")):
            if not self.trace.faults and kind in self.parts and kind in self.trace.ports:
                self._bank(self.parts[kind], other)
        if not self.trace.faults and "decoder" in self.parts and "decoder" in self.trace.ports:
            self._memory(self.parts["decoder"])
        for kind, part in self.parts.items():
            self._option_files(kind, part)
        return self.trace

    def _backbone(self, part: Part) -> None:
        part, self.trace.weights["backbone"] = self.choices.backbone(part)
        self.spaces = spaces_of(part)
        self.trace.text = self.spaces.text
        self._pass(part, None, Port(self.spaces.image))

    def _region_encoder(self, part: Part) -> None:
        own = ends(part)
        reads = resolve(part, own.reads or Port("image"), self.spaces, self.flow)
        if own.reads is None or own.reads.space not in ("blocks", "masked"):  # a backbone hands on more than one thing
            self._check(part, reads)
        file = self.trace.weights[part.kind] = self.choices.weights(part, Wanted(reads.space))
        writes = settled(part, own.writes or Port("same"), file.header if file else None, reads, end="writes")
        self._pass(part, reads, resolve(part, writes, self.spaces, reads))

    def _no_pictures(self) -> Fault | None:
        """Say that a decoder of pictures gets none: no bridge makes any, whatever else is wrong with it."""
        decoder = self.parts.get("decoder")
        reads = ends(decoder).reads if decoder else None
        if decoder is None or reads is None or reads.form != "views" or self.flow.form == "views":
            return None
        giver = f"{self.giver} '{self.parts[self.giver].name}'"
        message = mismatch(giver, self.flow, f"decoder '{decoder.name}'", reads)
        return Fault("decoder", PortError(message), (self.giver, "decoder"))

    def _bridge(self, part: Part) -> None:
        own = ends(part)
        self.trace.corruption = str(getattr(part.config, "corruption", "none"))
        if self.flow.form == "views":
            # Pictures need no bridge; only one that does nothing, or takes anything and learns nothing, may stand here.
            passes = own.reads is None or (own.reads.space == "any" and not part.spec.weights)
            if not part.spec.relabels and own.reads is not None and not passes:
                self._check(part, resolve(part, own.reads, self.spaces, self.flow))
            self.trace.weights[part.kind] = None
            self.trace.ports[part.kind] = ("views", "views")
            return
        reads, writes = own.reads or Port("any"), own.writes or Port("same")
        if of_weights(reads) or of_weights(writes) or writes.space == "next":
            reads, writes = self._ports_of_weights(part, reads, writes)
        reads = resolve(part, reads, self.spaces, self.flow)
        self._check(part, reads)
        writes = resolve(part, writes, self.spaces, reads)
        if part.kind not in self.trace.weights:
            is_bank = "corpus" in part.spec.needs
            self.trace.weights[part.kind] = None if is_bank else self.choices.weights(part, Wanted(reads.space))
        self.trace.unbridged = part.spec.relabels and reads.space != writes.space
        # A bridge that reads any number of tokens and says nothing of its own passes on as many.
        self._pass(part, reads, replace(writes, many=writes.many or (self.flow.many and reads.many)))

    def _decoder(self, part: Part) -> None:
        own = ends(part)
        reads = own.reads or Port("any")
        if reads.form == "tokens" and self.flow.form == "views":
            self._check(part, reads)
        elif reads.space == "weights" and reads.form == "tokens":
            file = self.choices.weights(part, Wanted(self.flow.space, self.trace.corruption))
            self.trace.weights[part.kind] = file
            reads = replace(reads, space=self._trained_space(part, file))
        elif of_weights(reads):
            reads = self._own_space(part, reads, self.flow.space)
        else:
            reads = resolve(part, reads, self.spaces, self.flow)
        self._check(part, reads)
        self.trace.ports[part.kind] = (spelled(reads), "")  # before its weights: without them it fits all the same
        if part.kind not in self.trace.weights:
            wanted = Wanted("" if reads.form == "views" else reads.space)
            is_bank = "corpus" in part.spec.needs
            self.trace.weights[part.kind] = None if is_bank else self.choices.weights(part, wanted)

    def _trained_space(self, part: Part, file: WeightFile | None) -> str:
        """Return the space of weights; where they do not say it, the one that reaches them is taken on trust."""
        if file is not None and file.says_space:
            return file.header.space
        if file is not None:
            self.trace.on_trust.append(part.kind)
        return self.flow.space

    def _own_space(self, part: Part, reads: Port, wanted: str) -> Port:
        """Return what a decoder with a space of its own reads: its weights say it, and name it for themselves."""
        if "decoder" not in self.trace.weights:
            self.trace.weights[part.kind] = self.choices.weights(part, Wanted(wanted, self.trace.corruption))
        file = self.trace.weights[part.kind]
        if file is not None and not file.says_space:
            return replace(reads, space=self._trained_space(part, file))
        return settled(part, reads, file.header if file else None, self.flow, end="reads")

    def _ports_of_weights(self, part: Part, reads: Port, writes: Port) -> tuple[Port, Port]:
        """Return the ports of a bridge that were decided when it was trained, or are decided by its decoder."""
        file = self.choices.weights(part, Wanted(self.flow.space))
        self.trace.weights[part.kind] = file
        trained = file.header if file else None
        if trained is None and writes.space == "weights":
            raise PortError(f"{part.kind} '{part.name}' is untrained, so it does not say which space it writes")
        if trained is None and reads.space == "weights":
            raise PortError(f"{part.kind} '{part.name}' is untrained, so it does not say which space it reads")
        if reads.space == "weights":
            reads = replace(reads, space=self._trained_space(part, file))
        if writes.space == "next":
            said = trained.writes if trained else ""
            writes = replace(writes, space=said or self._next_space(part))
        return settled(part, reads, trained, self.flow, end="reads"), settled(
            part, writes, trained, self.flow, end="writes"
        )

    def _next_space(self, part: Part) -> str:
        """Return the space for which an untrained projector is made: the one that the decoder reads."""
        decoder = self.parts.get("decoder")
        if decoder is None:
            return self.flow.space
        own = ends(decoder).reads or Port("any")
        if not of_weights(own):
            raise PortError(
                f"{part.kind} '{part.name}' is made for decoders that read a space of their own, and decoder "
                f"'{decoder.name}' reads {own}",
                "choose a decoder of tokens in its own embedding space: toolkit compat shows which parts fit",
            )
        space = self._own_space(decoder, own, "").space
        if space == "weights":
            raise PortError(
                f"decoder '{decoder.name}' is untrained and does not say which space it reads, so "
                f"{part.kind} '{part.name}' cannot be made for it",
                "name its weights, or choose a decoder that has a space of its own",
            )
        return space

    def _bank(self, part: Part, other: str) -> None:
        """Choose the bank of a bridge, or of a decoder that retrieves; it may follow from the other one's weights."""
        if "corpus" not in part.spec.needs or self.trace.ports[part.kind] == ("views", "views"):
            return
        try:
            space = self.trace.ports[part.kind][0 if part.kind == "decoder" else 1]
            choice = choose_bank(part, space, self.trace.weights.get(other), self.trace.fit_corpus.get(other, ""))
        except WeightsError as error:
            self.trace.faults.append(Fault(part.kind, error, option="bank"))
            return
        self.trace.weights[part.kind] = choice.file
        if choice.file is not None and not choice.file.says_space:
            self.trace.on_trust.append(part.kind)
        self._fit(part, choice.corpus)

    def _memory(self, part: Part) -> None:
        """Choose the bank that a decoder holds beside its weights: by itself that of its corpus, or the bridge's."""
        own = self.trace.weights.get(part.kind)
        # A release may come with its memory; its header says so.
        brings = own is not None and bool(own.header.extra.get("memory")) and "bank" not in part.given
        if not part.spec.memory or brings:
            return
        bank = memory_of(part)
        trained = own if own is not None and own.header.corpus else self.trace.weights.get("bridge")
        try:
            space = self.trace.ports[part.kind][0]
            choice = choose_bank(bank, space, trained, self.trace.fit_corpus.get("bridge", ""), part)
        except WeightsError as error:
            self.trace.faults.append(Fault(part.kind, error, option="bank"))
            return
        if choice.file is not None:
            self.trace.banks[part.kind] = choice.file
        self._fit(part, choice.corpus)

    def _option_files(self, kind: str, part: Part) -> None:
        """Find the released files that options name beside the weights."""
        for entry in asked_for(part):
            try:
                self.trace.files.setdefault(kind, {})[entry.role] = self.choices.option_file(part, entry)
            except WeightsError as error:
                self.trace.faults.append(Fault(kind, error, option=entry.role))

    def _fit(self, part: Part, corpus: str) -> None:
        """Note that a part is to be fitted to a corpus, which takes a text tower."""
        if corpus and not self.spaces.text:
            message = f"{part.kind} '{part.name}' is to be fitted to '{corpus}', but the backbone has no text tower"
            self.trace.faults.append(Fault(part.kind, PortError(message), ("backbone",)))
        elif corpus:
            self.trace.fit_corpus[part.kind] = corpus

    def _check(self, part: Part, reads: Port) -> None:
        giver = f"{self.giver} '{self.parts[self.giver].name}'"
        fault = mismatch(giver, self.flow, f"{part.kind} '{part.name}'", reads)
        if fault:
            raise PortError(fault)

    def _pass(self, part: Part, reads: Port | None, writes: Port) -> None:
        self.trace.ports[part.kind] = (spelled(reads), spelled(writes))
        self.flow, self.giver = writes, part.kind
