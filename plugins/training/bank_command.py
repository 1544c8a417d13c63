"""``toolkit bank``: banks of text embeddings."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from regionkit.core.errors import RegionkitError, RunFailed
from regionkit.core.weights import WeightHeader, write_weights
from regionkit.plugins.training.folders import default_folder, found_text
from regionkit.plugins.training.sentences import read_coco, read_lines, sample
from regionkit.registry.schema import fill

#: Sources of sentences; exactly one is given.
_SOURCES = ("corpus", "texts", "coco")


@click.group()
def bank() -> None:
    """Make banks of text embeddings for the memory bridge."""


@bank.command()
@click.option("--backbone", required=True, metavar="NAME", help="Whose text tower encodes the sentences.")
@click.option("--corpus", metavar="NAME", help="Sentences of a corpus component.")
@click.option("--texts", type=click.Path(path_type=Path), help="A text file, one sentence a line.")
@click.option("--coco", type=click.Path(path_type=Path), help="A COCO caption file: annotations[].caption.")
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
    """Encode sentences into a weight file that the memory bridge finds by its name."""
    given = [source for source in _SOURCES if options[source] is not None]
    if len(given) != 1:
        raise RegionkitError(
            f"bank build takes one source of sentences, it got {' and '.join(f'--{word}' for word in given) or 'none'}",
            "give --corpus NAME, --texts FILE or --coco FILE",
        )
    source = options[given[0]]
    name = name or (source if given[0] == "corpus" else source.stem)
    if "/" in name:
        raise RegionkitError(f"--name {name}: the name of a bank holds no /", "the file's place is given with --out")
    part = fill("backbone", _backbone_options(backbone, options["overrides"]))
    path = _free_path(out or default_folder() / f"bank-{name}-{backbone}.safetensors")
    texts = sample(_sentences(given[0], source), options["size"], options["seed"], str(source))
    embeddings, space = _embed(part, texts, options["device"])
    header = WeightHeader(
        "bridge",
        "memory",
        space,
        corpus=name,
        recipe=shlex.join(["toolkit", *sys.argv[1:]]),
        extra={"texts": len(texts)},
    )
    _write(path, embeddings, texts, header, half=options["half"])
    made = {"weights": str(path), "bank": name, "space": space, "texts": len(texts)}
    click.echo(json.dumps(made, indent=2) if as_json else f"wrote {path}: {len(texts)} sentences in {space}")
    if not as_json:
        click.echo(f"use it with --set bridge.bank={name}; {found_text(path)}")


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


def _sentences(kind: str, source: Any) -> list[str]:
    if kind == "texts":
        return read_lines(source)
    if kind == "coco":
        return read_coco(source)
    from regionkit.registry.assembly import build as build_component

    corpus: Any = build_component("corpus", source)
    return [" ".join(text.split()) for text in corpus.texts()]


def _embed(part: Any, texts: list[str], device: str) -> tuple[Any, str]:
    from regionkit.core.contracts import Backbone, BuildContext
    from regionkit.core.texts import embed_texts
    from regionkit.registry.assembly import build_part, pick_device, place
    from regionkit.registry.ports import spaces_of
    from regionkit.registry.weight_choice import Wanted, choose_weights

    spaces = spaces_of(part)
    if not spaces.text:
        raise RegionkitError(
            f"backbone '{part.name}' has no text tower, so it encodes no sentences",
            "backbones with one say so in: toolkit list-components --kind backbone",
        )
    weights = choose_weights(part, Wanted(spaces.image))
    backbone = place(build_part(part, BuildContext(writes=spaces.image, weights=weights)), pick_device(device))
    assert isinstance(backbone, Backbone)
    with _display(len(texts)) as seen:
        return embed_texts(backbone, texts, seen), spaces.text


def _write(path: Path, embeddings: Any, texts: list[str], header: WeightHeader, *, half: bool) -> None:
    from safetensors import SafetensorError

    from regionkit.core.texts import bank_tensors
    from regionkit.registry.weight_index import get_index

    try:
        write_weights(path, bank_tensors(embeddings, texts), header, half=half)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the system says in a type of its own
        raise RunFailed(
            f"{path}: the bank could not be written: {error}", "make room, or choose another --out"
        ) from None
    get_index.cache_clear()


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
