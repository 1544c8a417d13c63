"""What a component says of itself before any of its code is imported.

Everything here is plain data: a listing of all components needs Python and these dataclasses, never torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Kind -> the contract its components implement. The five interfaces come first, then the supporting kinds.
KINDS: dict[str, str] = {
    "backbone": "regionkit.core.contracts:Backbone",
    "region_encoder": "regionkit.core.contracts:RegionEncoder",
    "bridge": "regionkit.core.contracts:GapBridge",
    "decoder": "regionkit.core.contracts:Decoder",
    "metric": "regionkit.core.contracts:Metric",
    "dataset": "regionkit.core.contracts:Dataset",
    "corpus": "regionkit.core.contracts:Corpus",
    "recipe": "regionkit.core.contracts:Recipe",
    "task": "regionkit.core.tasks:Task",
    "judge": "regionkit.core.judging:Judge",
    "launcher": "regionkit.core.launching:Launcher",
}

#: The parts of a pipeline in the order in which data flows through them.
PARTS: tuple[str, ...] = ("backbone", "region_encoder", "bridge", "decoder")

#: Region kinds, the words used in ``accepts`` and in messages.
REGION_KINDS: tuple[str, ...] = ("point", "box", "box-set", "mask", "trace", "patch", "image", "mask-track")

#: Region kinds that live in a single image.
STILL_REGIONS: tuple[str, ...] = REGION_KINDS[:-1]

#: The word by which an option asks for the released file among ``ComponentSpec.option_files``.
RELEASED = "released"

_SPACE = re.compile(r"(?P<name>[^\[\]]+)\[(?P<dim>\d+)\]")


@dataclass(frozen=True, slots=True)
class Space:
    """A named vector space, written ``name[dim]``.

    Ports compare names: ``clip-vit-b16/text[512]`` and ``clip-vit-b16/image[512]`` have one width and are two spaces,
    and the gap between them is what bridges are for.
    """

    name: str
    dim: int

    def __str__(self) -> str:
        return f"{self.name}[{self.dim}]"

    @classmethod
    def parse(cls, text: str) -> Space:
        """Read ``name[dim]``.

        Raises:
            ValueError: The text is not of that form.
        """
        match = _SPACE.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not a space: write it as name[dim], for example clip-vit-b16/text[512]")
        return cls(match["name"], int(match["dim"]))


@dataclass(frozen=True, slots=True)
class Port:
    """What flows into or out of a component.

    Attributes:
        space: A concrete space ``name[dim]``, or a symbol that the pipeline resolves: ``image`` and ``text`` are the
            two spaces of the pipeline's backbone, ``blocks`` what the backbone's transformer blocks hand on, ``masked``
            what it makes of a picture that comes with a mask, ``any`` takes whatever comes, ``same`` passes on what
            came in, ``weights`` is the space that the component's weights were trained in, ``next`` (for a bridge) is
            what the decoder reads, and ``own[dim]`` a space that the component makes up when it is trained: its weights
            say the name, which is that of the training run.
        form: ``tokens`` (vectors) or ``views`` (pictures, for decoders that read pictures).
        many: True where a region may be more than one token.
    """

    space: str = "any"
    form: str = "tokens"
    many: bool = False

    def __str__(self) -> str:
        if self.form == "views":
            return "views"
        return f"{self.space} tokens" if self.many else self.space


@dataclass(frozen=True, slots=True)
class Ports:
    """What flows into and out of a component with certain options.

    Attributes:
        reads: What it takes; None for a backbone.
        writes: What it gives; None for a decoder.
        text: Space of a backbone's sentences, ``name[dim]``; empty without a text tower.
        blocks: Space of what a backbone's transformer blocks hand on, ``name[dim]``; empty for one that is no ViT.
        masked: Space of what a backbone makes of pictures with masks, ``name[dim]``; empty for one that takes no masks.
    """

    reads: Port | None = None
    writes: Port | None = None
    text: str = ""
    blocks: str = ""
    masked: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One file, or folder, of a component's released weights, under the names that its authors gave it.

    Attributes:
        role: What it is to the component: ``vision``, ``text``, ``merges``.
        files: File names as they are released, shell patterns allowed, the surest first.
        source: Where it can be had: a ``hub://`` reference, or an address to download it from by hand.
        license: Licence of the file.
        sha256: Its hash where the release is one fixed file, which another one is then refused for; empty otherwise.
        optional: True where the component does without it.
        shared: True for a file that many models come with, such as a tokenizer's: alone it does not show that the
            component is there, unless the component needs no other.
        when: ``option=value`` for a file that belongs to one choice of the component's options alone; empty for any.
        size: How large it is, in words: ``346 MB``, ``about 1.8 GB for 591,753 sentences``; empty where nobody knows.
    """

    role: str
    files: tuple[str, ...]
    source: str = ""
    license: str = ""
    sha256: str = ""
    optional: bool = False
    shared: bool = False
    when: str = ""
    size: str = ""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a data set, as its authors release it.

    Attributes:
        path: Where the reader looks for it, below the data set's folder; shell patterns allowed.
        source: Where it can be had.
        license: Licence of the file, where it is another one than the data set's.
        sha256: Its hash where the release is one fixed file; empty where it is not known.
        splits: Splits that need it; empty for all.
        what: What it holds, in a few words: ``pictures``, ``captions``.
        optional: True where the reader does without it.
        archive: Name of the archive that it is released in, where it is; ``toolkit data import`` unpacks it.
    """

    path: str
    source: str = ""
    license: str = ""
    sha256: str = ""
    splits: tuple[str, ...] = ()
    what: str = ""
    optional: bool = False
    archive: str = ""


@dataclass(frozen=True, slots=True)
class DataCount:
    """How many samples a task of a data set has, as its authors say; ``toolkit data verify`` compares.

    Attributes:
        task: The task.
        split: The split.
        samples: Number of samples, those that are left out included; 0 where it is not known.
        images: Number of pictures with a sample; 0 where it is not known.
        options: ``option=value`` of the data set for which this holds; empty for its defaults.
    """

    task: str
    split: str
    samples: int = 0
    images: int = 0
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataRelease:
    """Where a data set comes from, and what it should come to.

    Attributes:
        folder: Its folder below ``$REGIONKIT_DATA``.
        homepage: Where its authors describe it.
        files: Its files.
        counts: How many samples there should be.
        splits: Its splits.
    """

    folder: str
    homepage: str = ""
    files: tuple[DataFile, ...] = ()
    counts: tuple[DataCount, ...] = ()
    splits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """A component as the registry knows it: names and strings, no code.

    Attributes:
        kind: One of :data:`KINDS`.
        name: The word that YAML files use.
        target: ``module:Class`` of the implementation, imported when it is built.
        config: ``module:Dataclass`` of its options; the module must import neither torch nor numpy.
        summary: One line for listings.
        paper: Key of the paper that it comes from, resolved by ``toolkit cite``; empty for our own parts.
        papers: For choices of its options that come from other papers, pairs of ``option=value`` and a paper's key.
        reads: What it takes. A backbone takes pictures and leaves this empty.
        writes: What it gives. A decoder gives captions and leaves this empty.
        text: For a backbone with a text tower, the space of its sentences, ``name[dim]``.
        blocks: For a backbone whose transformer blocks are exposed, the space of what they hand on, ``name[dim]``.
        masked: For a backbone that takes a mask beside each picture, the space of what it makes of both, ``name[dim]``.
        ports: ``module:function`` for ports that depend on the options. The function takes the filled config and
            returns :class:`Ports`; its module must import neither torch nor numpy.
        accepts: Region kinds of a region encoder, which must name them; tasks of a dataset.
        needs: Parts that a recipe trains with (``backbone``, ``dataset``, ...); ``mapper:bridge`` is a bridge in the
            role of ``mapper``, beside the one of the pipeline. For a bridge or a decoder ``("corpus",)`` says that its
            ``fit`` is called with a corpus of texts where no file of its bank is chosen. It goes with the weights
            ``index``, by which a bank is chosen at all, and is refused without; and with the options
            ``bank: str = "auto"``, the name of the corpus, and ``weights: str = "auto"``. For a metric, the kinds of
            components that it judges with: which ones its options of these names say, and it is handed them built,
            beside the data set. For a data set or a corpus likewise, such as the judge that it is made with, or the
            data that it takes sentences from.
        takes: ``KIND/NAME`` of the component whose weight files it reads where these are not its own: a decoder that
            retrieves reads the banks of a bridge.
        memory: For a decoder, ``KIND/NAME`` of the component whose banks of texts it holds beside its own weights. Its
            option ``bank`` says which one: the name of a corpus, a reference, ``auto`` or ``none``. Weights whose
            header says ``memory`` in its ``extra`` bring one, and no other is asked for.
        also: For a backbone, ``KIND/NAME`` of one whose network it has too and reads in another way: weight files of it
            that are named outright are taken as its own.
        trains: The parts of a recipe whose weights it makes. Where it trains several, its option ``freeze`` may name
            some that are left as they are.
        relabels: True for a bridge that hands vectors on unchanged under the name of another space. Reports mark its
            pipelines "unbridged", and pictures pass it as they are.
        requires: Import names of packages beyond the core dependencies.
        extra: The regionkit extra that brings them.
        programs: Programs that it runs, by the names of their executables, such as ``java``; ``toolkit doctor`` looks
            for them.
        license: Licence of the component's code, or of the weights it points to where that is stricter.
        weights: Empty for a component without weights; ``index`` where they are chosen by what they were trained for;
            otherwise the default reference (``file:``, ``pkg:`` or ``hub:``).
        checkpoints: The files of its official release, for components that read those as they are.
        reader: ``module:function`` that turns them into the component's own tensors. It takes the path of each role
            that is there and the filled config, and returns a ``WeightArtifact`` whose header says the space and the
            options that shape the architecture. It accounts for every key of a checkpoint, or refuses it.
        option_files: Released files and folders that its options name beside the weights, such as a parser that it
            runs; the role of each is the option. Where that says :data:`RELEASED`, the file is found, fetched and
            listed as weights are, and the component is built with ``file:PATH`` in its place.
        release: For a data set of files, where they come from and how many samples they hold.
        tiny: Options, as a YAML mapping in braces, under which the conformance kit builds the component in a moment on
            a CPU and without its weights.
    """

    kind: str
    name: str
    target: str
    config: str = ""
    summary: str = ""
    paper: str = ""
    papers: tuple[tuple[str, str], ...] = ()
    reads: Port | None = None
    writes: Port | None = None
    text: str = ""
    blocks: str = ""
    masked: str = ""
    ports: str = ""
    accepts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    takes: str = ""
    memory: str = ""
    also: str = ""
    trains: tuple[str, ...] = ()
    relabels: bool = False
    requires: tuple[str, ...] = ()
    extra: str = ""
    programs: tuple[str, ...] = ()
    license: str = "Apache-2.0"
    weights: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()
    reader: str = ""
    option_files: tuple[Checkpoint, ...] = ()
    release: DataRelease | None = None
    tiny: str = ""

    @property
    def roles(self) -> dict[str, str]:
        """The kind of every part that a recipe trains with, by role; the role is the part's key in a recipe file."""
        pairs = [word.partition(":") for word in self.needs]
        named = {role: kind or role for role, _, kind in pairs}
        return {**named, **{role: named.get(role, role) for role in self.trains}}


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command that a plugin adds to ``toolkit``.

    A command with YAML files of its own says by which keys they are known and how they are checked, so that
    ``toolkit validate`` finds exactly the mistakes that the command itself would.

    Attributes:
        name: The word after ``toolkit``.
        target: ``module:click_command``, imported on use.
        summary: One line for listings.
        files: Top-level keys that only files for this command have; no two commands may share one.
        check: ``module:function`` for such files, imported on use. It takes the composed ``Document`` (see
            ``regionkit.registry.document``) and says on one line what a good file holds, starting with the word for
            such a file: ``recipe: trains ...``. For mistakes it raises ConfigError with all of them.
        pipelines: Keys of such files that hold a pipeline: a preset's name, a path or the parts themselves. It is
            composed where it stands.
    """

    name: str
    target: str
    summary: str
    files: tuple[str, ...] = ()
    check: str = ""
    pipelines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PaperSpec:
    """A paper as ``toolkit cite`` prints it.

    Attributes:
        key: The word used in ``ComponentSpec.paper``.
        title: Full title.
        bibtex: A complete BibTeX entry.
    """

    key: str
    title: str
    bibtex: str
