"""``toolkit bank``: banks of text embeddings."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import DataError, RegionkitError, RunFailed
from regionkit.core.spec import Space
from regionkit.core.weights import WeightHeader
from regionkit.registry.plan import part_notes
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part, fill
from regionkit.registry.weights.folders import default_folder, found_text
from regionkit.registry.weights.index import get_index

if TYPE_CHECKING:
    from torch import Tensor

    from regionkit.core.bank_files import BankWriter
    from regionkit.core.contracts import Backbone

#: Sources of sentences; exactly one is given.
_SOURCES = ("corpus", "texts", "coco", "h5")
#: Corpus components that read the files of ``--texts`` and ``--coco``.
_READERS = {"texts": "text-lines", "coco": "coco-captions"}


@click.group()
def bank() -> None:
    """Make banks of text embeddings for the memory bridge."""


@bank.command()
@click.option("--backbone", required=True, metavar="NAME", help="Whose text tower encodes the sentences.")
@click.option("--corpus", metavar="NAME", help="Sentences of a corpus component.")
@click.option("--texts", type=click.Path(path_type=Path), help="A text file, one sentence a line; .txt or .txt.gz.")
@click.option("--coco", type=click.Path(path_type=Path), help="A COCO caption file, or Karpathy's dataset_coco.json.")
@click.option("--h5", type=click.Path(path_type=Path), help="A released bank, taken over without encoding anything.")
@click.option("--split", help="Splits of Karpathy's file joined by +, or all.  [train+restval]")
@click.option("--dataset", metavar="NAME", help="Which bank of an --h5 file that holds several.")
@click.option(
    "--columns",
    type=click.Choice(["all", "first-half", "second-half"]),
    help="Of an --h5 file, what to take of each vector.  [all]",
)
@click.option("--size", type=click.IntRange(1), help="Take so many sentences, drawn without replacement.  [all]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of that draw.")
@click.option("--name", help="Name of the bank, as in bridge.bank.  [the corpus, or the file's stem]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file.  [bank-NAME-BACKBONE.safetensors beside others]"
)
@click.option(
    "--set", "overrides", multiple=True, metavar="a.b=c", help="Change an option of the backbone, or of the corpus."
)
@click.option("--half", is_flag=True, help="Store float16, which halves the file.")
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def build(backbone: str, out: Path | None, name: str | None, as_json: bool, **options: Any) -> None:
    """Encode sentences into a weight file that the memory bridge finds by its name.

    Files are looked for in the working folder, then in $REGIONKIT_DATA. With --h5 the backbone only names the space of
    the embeddings, and its weights are not needed. Sentences and embeddings stream to the disk; a build that was
    stopped goes on where it was when it is started again.
    """
    given = _given(options)
    source = options[given]
    if given == "h5":
        source = options["h5"] = _data_file(source)
    corpus = None if given == "h5" else _corpus(given, options)
    name = name or _name(given, source, options["dataset"], corpus)
    if "/" in name:
        raise RegionkitError(f"--name {name}: the name of a bank holds no /", "the file's place is given with --out")
    if name == "auto":
        raise RegionkitError("--name auto: 'auto' in bridge.bank means that no bank is named", "choose another --name")
    part = fill("backbone", _chosen("backbone", backbone, options["overrides"]))
    assert part is not None  # without a list to take them, mistakes are raised
    path = _free_path(out or default_folder() / f"bank-{name}-{backbone}.safetensors")
    space = _text_space(part)  # told before a long file is read
    rows = _released(part, options, space) if corpus is None else _Encoding(part, corpus, options)
    space = rows.space or space
    notes = part_notes(corpus)
    count = _write(rows, path, space, name, notes, half=options["half"])
    for note in notes:
        click.echo(f"note: {note}", err=True)
    made = {"weights": str(path), "bank": name, "space": space, "texts": count}
    click.echo(json.dumps(made, indent=2) if as_json else f"wrote {path}: {count} sentences in {space}")
    if not as_json:
        click.echo(f"use it with --set bridge.bank={name}; {found_text(path)}")


def _given(options: dict[str, Any]) -> str:
    """Return which source of sentences was given; options of another source are refused."""
    given = [source for source in _SOURCES if options[source] is not None]
    if len(given) != 1:
        raise RegionkitError(
            f"bank build takes one source of sentences, it got {' and '.join(f'--{word}' for word in given) or 'none'}",
            "give --corpus NAME, --texts FILE, --coco FILE or --h5 FILE",
        )
    for option, source in (("split", "coco"), ("dataset", "h5"), ("columns", "h5")):
        if options[option] is not None and source != given[0]:
            raise RegionkitError(
                f"--{option} belongs to --{source}, and the sentences come from --{given[0]}", f"leave --{option} out"
            )
    return given[0]


def _name(given: str, source: Any, dataset: str | None, corpus: Part | None) -> str:
    """Return the name that a bank has where none was given."""
    if given == "corpus":
        assert corpus is not None
        return str(getattr(corpus.config, "corpus", source))
    if given == "h5":
        from regionkit.core.released_banks import released_bank_name

        return released_bank_name(source, dataset or "").replace("/", "-")
    return Path(source.name.removesuffix(".gz")).stem


def _free_path(path: Path) -> Path:
    """Check, before sentences are encoded, that a bank can have this path."""
    if path.suffix != ".safetensors":
        raise RegionkitError(f"{path}: a bank's file ends in .safetensors", f"for example --out {path}.safetensors")
    try:
        folder = path.is_dir()
    except OSError as error:  # too long a name, or a folder that may not be looked into
        raise RegionkitError(
            f"{path}: no file can be there: {error.strerror}", "choose another --out or --name"
        ) from None
    if folder:
        raise RegionkitError(f"{path}: there is a folder of that name", "choose another --out")
    return path


def _chosen(kind: str, name: str, overrides: tuple[str, ...], options: dict[str, Any] | None = None) -> Any:
    """Return what is chosen of a kind: its name, and the options that --set gives it."""
    from regionkit.registry.merging import apply_override

    data: dict[str, Any] = {kind: {"name": name, **(options or {})}}
    for text in overrides:
        if not text.startswith(("backbone.", "corpus.")):
            raise RegionkitError(
                f"--set {text}: only options of the backbone and of the corpus matter here",
                "write --set backbone.b=c or --set corpus.b=c",
            )
        if text.startswith(f"{kind}."):
            data = apply_override(data, {}, text)
    return data[kind]


def _corpus(given: str, options: dict[str, Any]) -> Part:
    """Return the corpus that the sentences come from, with its options filled."""
    value = options[given]
    more: dict[str, Any] = {}
    if given in _READERS:
        more = {"file": str(value), **({"split": options["split"]} if options["split"] is not None else {})}
    part = fill("corpus", _chosen("corpus", _READERS.get(given, str(value)), options["overrides"], more))
    assert part is not None  # without a list to take them, mistakes are raised
    return part


class _Rows:
    """Sentences of a bank with their embeddings, in batches.

    Attributes:
        key: All that decides them, in plain values.
        space: The space of the embeddings where it is known only now; empty where it was known before.
    """

    key: dict[str, Any]
    space: str = ""

    def batches(self, writer: BankWriter) -> Iterator[tuple[Sequence[str], Tensor]]:
        """Yield batches of what the writer does not have yet."""
        raise NotImplementedError


class _Stored(_Rows):
    """Rows of a released bank."""

    def __init__(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        self.embeddings, self.texts = embeddings, texts
        self.key = {}

    def batches(self, writer: BankWriter) -> Iterator[tuple[Sequence[str], Tensor]]:
        """Yield all of them: reading them again takes no longer than comparing them."""
        from regionkit.core.contracts import iter_batches
        from regionkit.core.texts import BATCH

        writer.restart()
        for some in iter_batches(len(self.texts), BATCH):
            yield self.texts[some], self.embeddings[some]


class _Encoding(_Rows):
    """Sentences of a corpus as a backbone encodes them."""

    def __init__(self, part: Part, corpus: Part, options: dict[str, Any]) -> None:
        from regionkit.registry.assembly import build_part
        from regionkit.registry.weights.choice import settle_backbone
        from regionkit.registry.weights.index import content_hash

        self.options = options
        self.part, self.weights = settle_backbone(part)
        self.space = _text_space(self.part)
        self.corpus: Any = build_part(corpus, BuildContext())
        code = get_registry().code_version([part.spec])
        self.key = {
            "backbone": self.part.to_dict(),
            "weights": content_hash(self.weights) if self.weights else "",
            "code": code,
        }

    def batches(self, writer: BankWriter) -> Iterator[tuple[Sequence[str], Tensor]]:
        """Yield batches of the sentences that the writer does not have; other ones make it begin anew."""
        from regionkit.core.texts import embed_stream

        backbone = self._backbone()
        again = self._sentences()
        if any(next(again, None) != kept for kept in writer.kept()):
            writer.restart()
        if writer.rows:
            click.echo(f"note: {writer.rows} sentences were encoded before, the build goes on after them", err=True)
        texts = islice(self._sentences(), writer.rows, None)
        done = writer.rows
        with _display() as seen:
            for some, embeddings in embed_stream(backbone, texts):
                yield some, embeddings
                done += len(some)
                seen(done)
        self._tell_faults()

    def _sentences(self) -> Iterator[str]:
        """Yield the sentences, or as many as --size asks for, drawn without replacement."""
        from regionkit.core.texts import draw_rows

        source, size = str(self.options[_given(self.options)]), self.options["size"]
        texts = (" ".join(text.split()) for text in self.corpus.stream())
        if size is None:
            yield from texts
            return
        rows = draw_rows(sum(1 for _ in self.corpus.stream()), size, self.options["seed"], source)
        wanted = iter(rows)
        next_one = next(wanted, None)
        for row, text in enumerate(texts):
            if row == next_one:
                yield text
                next_one = next(wanted, None)

    def _tell_faults(self) -> None:
        faults = self.corpus.faults()
        for line in faults[:3]:
            click.echo(f"note: left out: {line}", err=True)
        if len(faults) > 3:
            click.echo(f"note: left out: {len(faults) - 3} more", err=True)

    def _backbone(self) -> Backbone:
        from regionkit.core.contracts import Backbone
        from regionkit.registry.assembly import build_part, pick_device, place
        from regionkit.registry.ports import spaces_of

        context = BuildContext(writes=spaces_of(self.part).image, weights=self.weights)
        backbone = place(build_part(self.part, context), pick_device(self.options["device"]))
        assert isinstance(backbone, Backbone)
        return backbone


def _write(rows: _Rows, path: Path, space: str, name: str, notes: list[str], *, half: bool) -> int:
    """Write the bank, and return how many sentences it has.

    Raises:
        RunFailed: The disk refuses it.
    """
    from regionkit.core.bank_files import BankWriter

    writer = BankWriter(path, Space.parse(space).dim, rows.key, half=half)
    try:
        with writer.opened():
            for texts, embeddings in rows.batches(writer):
                writer.append(texts, embeddings)
            extra = {"texts": writer.rows, **({"notes": notes} if notes else {})}
            recipe = shlex.join(["toolkit", *sys.argv[1:]])
            writer.finish(WeightHeader("bridge", "memory", space, corpus=name, recipe=recipe, extra=extra))
    except OSError as error:
        raise RunFailed(
            f"{path}: the weights could not be written: {error}", "make room, or choose another --out"
        ) from None
    get_index.cache_clear()
    return writer.rows


def _released(part: Part, options: dict[str, Any], space: str) -> _Rows:
    """Return the embeddings and texts of a released bank, for the space that its backbone has for sentences."""
    from regionkit.core.released_banks import read_released_bank
    from regionkit.core.texts import draw_rows

    bank = read_released_bank(options["h5"], options["dataset"] or "", options["columns"] or "all")
    width, own = bank.embeddings.shape[1], Space.parse(space).dim
    if width != own:
        raise DataError(
            f"{options['h5']}: the embeddings of '{bank.name}' are {width} wide, and {space} of backbone "
            f"'{part.name}' is {own} wide",
            "name the backbone whose text tower made them with --backbone",
            "its vectors are two side by side: add --columns second-half or first-half" if width == 2 * own else "",
        )
    if bank.empty:
        rows = "1 row" if bank.empty == 1 else f"{bank.empty} rows"
        click.echo(f"note: {rows} of zeros, never filled, left out", err=True)
    if options["size"] is None:
        return _Stored(bank.embeddings, bank.texts)
    taken = draw_rows(len(bank.texts), options["size"], options["seed"], str(options["h5"]))
    return _Stored(bank.embeddings[taken], [bank.texts[row] for row in taken])


def _data_file(path: Path) -> Path:
    """Return a file relative to the working folder, else to $REGIONKIT_DATA, as corpora find theirs."""
    root = os.environ.get("REGIONKIT_DATA")
    below = Path(root) / path if root else path
    return below if not path.exists() and below.exists() else path


def _text_space(part: Any) -> str:
    from regionkit.registry.ports import spaces_of

    space = spaces_of(part).text
    if not space:
        raise RegionkitError(
            f"backbone '{part.name}' has no text tower, so it encodes no sentences",
            "backbones with one say so in: toolkit list-components --kind backbone",
        )
    return space


@contextmanager
def _display() -> Iterator[Callable[[int], object]]:
    """Show how many sentences are done, on a terminal; how many there are in all, a stream does not say."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("encoding", total=None)
        yield lambda done: progress.update(task, completed=done)
