"""``toolkit idf``: document frequencies of references, for scores that are comparable over selections of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from regionkit.plugins.caption_metrics.overlap.configs import Tokeniser

if TYPE_CHECKING:
    from regionkit.core.json_files import Loaded

_FORMS = 'write {"ID": ["reference", ...], ...}, or give a COCO file with "annotations": [{"image_id", "caption"}]'


@click.command()
@click.argument("references", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to make, .safetensors.")
@click.option("--tokeniser", type=click.Choice(get_args(Tokeniser)), default="ptb", show_default=True)
def idf(references: Path, out: Path, tokeniser: str) -> None:
    """Count in how many documents of REFERENCES each n-gram occurs, for the option documents of cider-d.

    All references of an image are one document. REFERENCES is {id: [caption, ...]}, or a COCO file with annotations.
    """
    from regionkit.core.json_files import load
    from regionkit.plugins.caption_metrics.overlap.documents import save_document_frequencies

    documents = list(documents_of(load(references)).values())
    found = save_document_frequencies(out, documents, tokeniser)
    captions = sum(map(len, documents))
    click.echo(
        f"{out}: {found.documents:,} documents of {captions:,} references; signatures will say idf={found.source}"
    )
    click.echo(f"use it with: toolkit score ... --metrics cider-d --set cider-d.documents={out}")


def documents_of(loaded: Loaded) -> dict[str, list[str]]:
    """Return the references of each image.

    Raises:
        DataError: The file holds something else; the record is named.
    """
    from regionkit.core.errors import DataError

    documents: dict[str, list[str]] = {}
    for name, text, where in _pairs(loaded):
        if not isinstance(text, str):
            raise DataError(f"{where}: a reference must be text", _FORMS)
        documents.setdefault(name, []).append(text)
    return documents


def _pairs(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """Return (image, reference, where it stands) for every reference."""
    from regionkit.core.errors import DataError

    value = loaded.value
    if isinstance(value, Mapping) and isinstance(value.get("annotations"), list):
        rows = value["annotations"]
        if not all(isinstance(row, Mapping) and {"image_id", "caption"} <= row.keys() for row in rows):
            raise DataError(f"{loaded.name}: an annotation has no image_id or no caption", _FORMS)
        return [
            (str(row["image_id"]), row["caption"], f"{loaded.name}: annotation {at}") for at, row in enumerate(rows)
        ]
    if not isinstance(value, Mapping):
        raise DataError(f"{loaded.name}: these are no references", _FORMS)
    found = []
    for name, entry in value.items():
        texts = entry.get("references") if isinstance(entry, Mapping) else entry
        several = list(texts) if isinstance(texts, Sequence) and not isinstance(texts, str) else [texts]
        found += [(name, text, f"{loaded.name}: '{name}'") for text in several]
    return found
