"""``toolkit data make``: a data set written into a folder, with a card that says what made it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from regionkit.core.errors import DataError, RunFailed, did_you_mean
from regionkit.core.files import write_text
from regionkit.registry.commands.data_options import built, data_part, given_options, set_option

#: Says beside the data what made them, so that they can be verified later.
CARD = "dataset.json"
#: Most counts that stand on one line.
_ON_ONE_LINE = 3


@click.command()
@click.argument("name")
@click.option("--split", default="test", show_default=True)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Which scenes, where they are drawn."
)
@click.option("--limit", type=click.IntRange(1), help="Pictures; the data set decides where it is left out.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="An empty or new folder.")
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def make(
    name: str, split: str, seed: int, limit: int | None, out: Path, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Write pictures of data set NAME and a JSONL of their regions into a folder, or whatever the data set makes."""
    from regionkit.core.contracts import Dataset

    part = data_part(name, overrides)
    dataset = built(part)
    if split not in dataset.splits:
        raise DataError(
            f"data set '{name}' has no split '{split}'",
            did_you_mean(split, dataset.splits) or f"splits are: {', '.join(dataset.splits)}",
        )
    if type(dataset).make is Dataset.make:
        raise _unmade(name)
    if out.is_dir() and any(out.iterdir()) and not (out / CARD).is_file():
        raise DataError(f"{out} is not empty and was not made by this command", "choose a new folder with --out")
    card: dict[str, Any] = {"dataset": name, "split": split, "seed": seed, "limit": limit}
    card["options"] = given_options(part)
    with _unless_empty(out):
        # A card without counts says that the rest is not finished, whatever ends this command.
        write_text(out / CARD, json.dumps(card, indent=2) + "\n")
        for half in out.glob(".*.part"):  # of a command that was killed
            half.unlink(missing_ok=True)
        try:
            card["counts"] = dict(dataset.make(out, split, seed, limit))
        except NotImplementedError:
            raise _unmade(name) from None
        write_text(out / CARD, json.dumps(card, indent=2) + "\n")
    if as_json:
        click.echo(json.dumps(card | {"out": str(out)}))
        return
    _show(f"{name}, split {split}, seed {seed}", out, card["counts"])


def _show(what: str, out: Path, counts: Mapping[str, int]) -> None:
    """Say how many there are of what: on one line, or on one each where a builder has more to report."""
    if len(counts) <= _ON_ONE_LINE:
        held = ", ".join(f"{number:,} {word}" for word, number in counts.items()) or "nothing"
        click.echo(f"{out}: {held} of {what}")
        return
    click.echo(f"{out}: {what}")
    for word, number in counts.items():
        if number:
            click.echo(f"{number:>12,} {word}")
    none = [word for word, number in counts.items() if not number]
    if none:
        click.echo(f"{'none':>12} {', '.join(none)}")


@contextmanager
def _unless_empty(out: Path) -> Iterator[None]:
    """Take the card away where writing failed before anything else was written, and the folder where it was new.

    Raises:
        RunFailed: The disk refuses.
    """
    is_new = not out.exists()
    try:
        yield
    except OSError as error:
        _clear(out, is_new=is_new)
        raise RunFailed(
            f"{out} cannot be written: {error.strerror or error}",
            "make room there, or choose another folder with --out",
        ) from None
    except BaseException:
        _clear(out, is_new=is_new)
        raise


def _clear(out: Path, *, is_new: bool) -> None:
    with suppress(OSError):
        if [path.name for path in out.iterdir()] in ([], [CARD]):
            (out / CARD).unlink(missing_ok=True)
            if is_new:
                out.rmdir()


def _unmade(name: str) -> DataError:
    return DataError(
        f"data set '{name}' is not made here, and cannot be written to disk",
        f"where to get it: toolkit data list {name}",
    )


def verify_folder(folder: Path, *, as_json: bool) -> None:
    """Check a folder that :func:`make` wrote.

    Raises:
        DataError: It is no such folder.
        RunFailed: Something is wrong with it.
        click.exceptions.Exit: The same, where the faults were printed as JSON.
    """
    card = _read_card(folder)
    if "counts" not in card:
        raise RunFailed(
            f"{folder}: it is not finished: `toolkit data make {card['dataset']}` was interrupted",
            f"make it again with: toolkit data make {card['dataset']} --out {folder}",
        )
    overrides = [f"{name}={json.dumps(value)}" for name, value in card.get("options", {}).items()]
    try:
        faults = built(data_part(card["dataset"], overrides)).verify(folder)
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
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card.get("dataset"), str):
            raise ValueError("it names no data set")
        if not isinstance(card.get("options", {}), dict):
            raise ValueError("its options are none")
    except FileNotFoundError:
        raise DataError(
            f"{folder} is no folder that `toolkit data make` wrote: {CARD} is not there",
            "make one with: toolkit data make NAME --out DIR",
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}", "make the folder again with: toolkit data make") from None
    return card
