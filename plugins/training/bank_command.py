"""``toolkit bank``: banks of text embeddings."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.weights import WeightHeader
from regionkit.registry.schema import fill
from regionkit.registry.weights.conversion import save
from regionkit.registry.weights.folders import default_folder, found_text

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
@click.option("--size", type=click.IntRange(1), help="Take so many sentences, drawn without replacement.  [all]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of that draw.")
@click.option("--name", help="Name of the bank, as in bridge.bank.  [the corpus, or the file's stem]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file.  [bank-NAME-BACKBONE.safetensors beside others]"
)
@click.option("--set", "overrides", multiple=True, metavar="backbone.b=c", help="Change an option of the backbone.")
@click.option("--half", is_flag=True, help="Store float16, which halves the file.")
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def build(backbone: str, out: Path | None, name: str | None, as_json: bool, **options: Any) -> None:
    """Encode sentences into a weight file that the memory bridge finds by its name.

    Files are looked for in the working folder, then in $REGIONKIT_DATA. With --h5 the backbone only names the space of
    the embeddings, and its weights are not needed.
    """
    from regionkit.core.texts import bank_tensors

    given = _given(options)
    source = options[given]
    if given == "h5":
        source = options["h5"] = _data_file(source)
    name = name or _name(given, source, options["dataset"])
    if "/" in name:
        raise RegionkitError(f"--name {name}: the name of a bank holds no /", "the file's place is given with --out")
    part = fill("backbone", _backbone_options(backbone, options["overrides"]))
    assert part is not None  # without a list to take them, mistakes are raised
    path = _free_path(out or default_folder() / f"bank-{name}-{backbone}.safetensors")
    embeddings, texts, space = _released(part, options) if given == "h5" else _encoded(part, given, options)
    header = WeightHeader(
        "bridge",
        "memory",
        space,
        corpus=name,
        recipe=shlex.join(["toolkit", *sys.argv[1:]]),
        extra={"texts": len(texts)},
    )
    save(path, bank_tensors(embeddings, texts), header, half=options["half"])
    made = {"weights": str(path), "bank": name, "space": space, "texts": len(texts)}
    click.echo(json.dumps(made, indent=2) if as_json else f"wrote {path}: {len(texts)} sentences in {space}")
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
    for option, source in (("split", "coco"), ("dataset", "h5")):
        if options[option] is not None and source != given[0]:
            raise RegionkitError(
                f"--{option} belongs to --{source}, and the sentences come from --{given[0]}", f"leave --{option} out"
            )
    return given[0]


def _name(given: str, source: Any, dataset: str | None) -> str:
    """Return the name that a bank has where none was given."""
    if given == "corpus":
        return str(source)
    if given == "h5":
        from regionkit.core.released_banks import released_bank_name

        return released_bank_name(source, dataset or "").replace("/", "-")
    return Path(source.name.removesuffix(".gz")).stem


def _free_path(path: Path) -> Path:
    """Check, before sentences are encoded, that a bank can have this path."""
    if path.suffix != ".safetensors":
        raise RegionkitError(f"{path}: a bank's file ends in .safetensors", f"for example --out {path}.safetensors")
    if path.is_dir():
        raise RegionkitError(f"{path}: there is a folder of that name", "choose another --out")
    return path


def _backbone_options(name: str, overrides: tuple[str, ...]) -> Any:
    from regionkit.registry.merging import apply_override

    data: dict[str, Any] = {"backbone": {"name": name}}
    for text in overrides:
        if not text.startswith("backbone."):
            raise RegionkitError(f"--set {text}: only options of the backbone matter here", "write --set backbone.b=c")
        data = apply_override(data, {}, text)
    return data["backbone"]


def _released(part: Any, options: dict[str, Any]) -> tuple[Any, list[str], str]:
    """Return the embeddings and texts of a released bank and the space that its backbone has for sentences."""
    from regionkit.core.released_banks import read_released_bank
    from regionkit.core.spec import Space
    from regionkit.core.texts import draw_rows

    space = _text_space(part)
    bank = read_released_bank(options["h5"], options["dataset"] or "")
    width, own = bank.embeddings.shape[1], Space.parse(space).dim
    if width != own:
        raise DataError(
            f"{options['h5']}: the embeddings of '{bank.name}' are {width} wide, and {space} of backbone "
            f"'{part.name}' is {own} wide",
            "name the backbone whose text tower made them with --backbone",
        )
    if bank.empty:
        rows = "1 row" if bank.empty == 1 else f"{bank.empty} rows"
        click.echo(f"note: {rows} of zeros, never filled, left out", err=True)
    if options["size"] is None:
        return bank.embeddings, list(bank.texts), space
    rows_taken = draw_rows(len(bank.texts), options["size"], options["seed"], str(options["h5"]))
    return bank.embeddings[rows_taken], [bank.texts[row] for row in rows_taken], space


def _encoded(part: Any, given: str, options: dict[str, Any]) -> tuple[Any, list[str], str]:
    """Return what the backbone makes of the sentences, the sentences, and the space."""
    from regionkit.core.texts import draw_texts

    _text_space(part)  # told before a long file is read
    texts = draw_texts(_sentences(given, options), options["size"], options["seed"], str(options[given]))
    embeddings, space = _embed(part, texts, options["device"])
    return embeddings, texts, space


def _sentences(given: str, options: dict[str, Any]) -> list[str]:
    from regionkit.registry.assembly import build as build_component

    value: Any = options[given]
    if given in _READERS:
        value = {"name": _READERS[given], "file": str(value)}
        if options["split"] is not None:
            value["split"] = options["split"]
    corpus: Any = build_component("corpus", value)
    return [" ".join(text.split()) for text in corpus.texts()]


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


def _embed(part: Any, texts: list[str], device: str) -> tuple[Any, str]:
    from regionkit.core.contracts import Backbone, BuildContext
    from regionkit.core.texts import embed_texts
    from regionkit.registry.assembly import build_part, pick_device, place
    from regionkit.registry.ports import spaces_of
    from regionkit.registry.weights.choice import settle_backbone

    part, weights = settle_backbone(part)
    writes = spaces_of(part).image
    backbone = place(build_part(part, BuildContext(writes=writes, weights=weights)), pick_device(device))
    assert isinstance(backbone, Backbone)
    with _display(len(texts)) as seen:
        return embed_texts(backbone, texts, seen), _text_space(part)


@contextmanager
def _display(total: int) -> Iterator[Callable[[int], object]]:
    """Show how many sentences are done, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("encoding", total=total)
        yield lambda done: progress.update(task, completed=done)
