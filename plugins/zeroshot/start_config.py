"""The option ``start`` of decoders that train from a pretrained language model, free of torch."""

from __future__ import annotations

from regionkit.core.language.options import LanguageOptions, names_file


def check_start(config: LanguageOptions, start: str) -> None:
    """Check the folder to start from, which brings its own tokenizer and dropout rates; empty is none.

    Raises:
        ValueError: It is no ``file:FOLDER``, or an option asks for what the folder brings.
    """
    if not start:
        return
    if not names_file(start):
        raise ValueError(f"start: '{start}' must be file:FOLDER, a language model to start from")
    for name in ("tokenizer", "dropout"):
        if getattr(config, name) != getattr(type(config), name):
            raise ValueError(f"{name}: {getattr(config, name)} was asked for, the model in start brings its own")
