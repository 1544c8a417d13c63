"""``toolkit data``: data sets as components, as files of their authors, and as folders on disk."""

from __future__ import annotations

import click

from regionkit.registry.commands.data_import import import_data
from regionkit.registry.commands.data_list import list_data
from regionkit.registry.commands.data_made import make
from regionkit.registry.commands.data_verify import verify


@click.group()
def data() -> None:
    """Data sets: list them, import what was downloaded, verify it, write them to a folder."""


for command in (list_data, import_data, verify, make):
    data.add_command(command)
