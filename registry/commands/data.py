"""``toolkit data``: data sets as components, and as folders on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import DataError, RunFailed, did_you_mean
from regionkit.core.files import write_text
from regionkit.registry.commands.tables import text_table
from regionkit.registry.registry import get_registry

if TYPE_CHECKING:
    from regionkit.core.contracts import Dataset

#: Says beside the data what made them, so that they can be verified later.
CARD = "dataset.json"


@click.group()
def data() -> None:
    """Data sets: list them, write them to a folder, verify a folder."""


@data.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_data(as_json: bool) -> None:
    """List the data sets with their tasks; TASK@NAME is how YAML files call them."""
    registry = get_registry()
    specs = registry.specs("dataset")
    if as_json:
        rows = [{"name": s.name, "tasks": list(s.accepts), "summary": s.summary, "license": s.license} for s in specs]
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(text_table(("NAME", "TASKS", "LICENSE", "SUMMARY"), [
        (spec.name, ", ".join(spec.accepts), spec.license, spec.summary) for spec in specs
    ]))  # fmt: skip


@data.command()
@click.argument("name")
@click.option("--split", default="test", show_default=True)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Which scenes, where they are drawn."
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Pictures.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="An empty or new folder.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def make(name: str, split: str, seed: int, limit: int, out: Path, as_json: bool) -> None:
    """Write pictures of data set NAME and a JSONL of their regions into a folder."""
    dataset = _dataset(name)
    if split not in dataset.splits:
        raise DataError(
            f"data set '{name}' has no split '{split}'",
            did_you_mean(split, dataset.splits) or f"splits are: {', '.join(dataset.splits)}",
        )
    if out.is_dir() and any(out.iterdir()) and not (out / CARD).is_file():
        raise DataError(f"{out} is not empty and was not made by this command", "choose a new folder with --out")
    card: dict[str, Any] = {"dataset": name, "split": split, "seed": seed, "limit": limit}
    try:
        out.mkdir(parents=True, exist_ok=True)
        card["pictures"] = dataset.make(out, split, seed, limit)
        write_text(out / CARD, json.dumps(card, indent=2) + "\n")
    except NotImplementedError:
        raise DataError(f"data set '{name}' cannot be written to disk") from None
    except OSError as error:
        raise RunFailed(
            f"{out} cannot be written: {error.strerror or error}", "choose another folder with --out"
        ) from None
    click.echo(
        json.dumps(card | {"out": str(out)})
        if as_json
        else f"{out}: {card['pictures']} pictures of {name}, split {split}, seed {seed}"
    )


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
def verify(folder: Path, as_json: bool) -> None:
    """Check a folder that `toolkit data make` wrote. Ends with 1 where something is wrong with it."""
    card = _read_card(folder)
    try:
        faults = _dataset(card["dataset"]).verify(folder)
    except NotImplementedError:
        raise DataError(f"data set '{card['dataset']}' cannot be verified") from None
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "dataset": card["dataset"], "faults": faults}, indent=2))
        if faults:
            raise click.exceptions.Exit(1)
    elif faults:
        count = f"{len(faults)} fault{'s' * (len(faults) > 1)}"
        raise RunFailed(f"{folder}: {count}", *faults[:20], "make it again with: toolkit data make")
    else:
        click.echo(f"{folder}: as it was made")


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card.get("dataset"), str):
            raise ValueError("it names no data set")
    except FileNotFoundError:
        raise DataError(
            f"{folder} is no folder that `toolkit data make` wrote: {CARD} is not there",
            "make one with: toolkit data make NAME --out DIR",
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}", "make the folder again with: toolkit data make") from None
    return card


def _dataset(name: str) -> Dataset:
    get_registry().find("dataset", name)  # before torch is imported
    from regionkit.core.contracts import Dataset
    from regionkit.registry.assembly import build

    dataset = build("dataset", name)
    assert isinstance(dataset, Dataset)
    return dataset
