"""A data set from its name and the options of a command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from regionkit.core.errors import ConfigError, Problem
from regionkit.registry.registry import get_registry

if TYPE_CHECKING:
    from regionkit.core.contracts import Dataset
    from regionkit.registry.schema import Part

Command = TypeVar("Command", bound=Callable[..., Any])


def set_option(command: Command) -> Command:
    """Add ``--set`` to a command."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="OPTION=VALUE", help="An option of the data set; judge.name=http."
    )(command)


def data_part(name: str, overrides: Sequence[str]) -> Part:
    """Return a data set with its options filled; torch is not imported.

    Args:
        name: Its name.
        overrides: ``option=value``, below an option that holds a component ``judge.name=value``.

    Raises:
        UnknownName: There is no such data set.
        ConfigError: An option is wrong; all that is wrong is told.
    """
    get_registry().find("dataset", name)
    from regionkit.registry.merging import apply_override
    from regionkit.registry.schema import fill

    data: dict[str, Any] = {"name": name}
    lines: dict[str, str] = {}
    for text in overrides:
        if text.partition("=")[0].strip() == "name":
            raise ConfigError([Problem(f"--set {text}", "", f"the data set is '{name}', as the command line says")])
        data = apply_override(data, lines, text)

    def where(path: str) -> str:
        own = path.removeprefix(f"{name}.")
        return next((lines[key] for key in lines if key == own or key.startswith(f"{own}.")), "")

    part = fill("dataset", data, where, name)
    assert part is not None  # without a list to take them, mistakes are raised
    return part


def built(part: Part) -> Dataset:
    """Build a data set, with the components that its options name."""
    from regionkit.core.contracts import BuildContext, Dataset
    from regionkit.registry.assembly import build_part

    dataset = build_part(part, BuildContext())
    assert isinstance(dataset, Dataset)
    return dataset


def given_options(part: Part) -> dict[str, Any]:
    """Return the options that the user wrote, in plain values, so that the data set can be built again."""
    held = part.to_dict()
    return {name: held[name] for name in sorted(part.given)}


def root_of(part: Part) -> str:
    """Return the folder that its option ``root`` names; empty for its own, or where there is no such option."""
    root = getattr(part.config, "root", "")
    return root if isinstance(root, str) else ""
