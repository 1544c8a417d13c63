"""The pretrained language model that a decoder's training starts from."""

from __future__ import annotations

from typing import Any

from regionkit.core.contracts import BuildContext
from regionkit.core.language.decoder import LanguageDecoder
from regionkit.core.language.models import Naming, ReleasedModel, load_tensors, new_model, read_folder, sizes_of
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.stored import with_stored
from regionkit.plugins.zeroshot.model_folders import model_folder


def start_model(folder: str, option: str, released: str, naming: Naming, who: str) -> tuple[ReleasedModel, Any]:
    """Read a language model.

    Args:
        folder: ``file:FOLDER``, a folder as the Hugging Face hub has it; see
            :func:`~regionkit.plugins.zeroshot.model_folders.model_folder`.
        option: Its option, for messages.
        released: A repository of the hub that has one, for messages.
        naming: Which kind of model it has to be.
        who: Whose it is to be, for messages: ``decoder 'NAME'``.

    Returns:
        What the folder says, and the model with its weights.

    Raises:
        WeightsError: The folder is missing, damaged, or of another kind of model.
    """
    path = model_folder(folder, option, released, who)
    found = read_folder(path, naming, who)
    model = new_model(naming, found.config, str(path))
    load_tensors(model, found.tensors, path)
    return found, model


class StartedDecoder(LanguageDecoder):
    """A decoder whose training may start from the language model in its option ``start``."""

    @classmethod
    def untrained(cls, config: Any, context: BuildContext) -> tuple[Any, Any, LanguageTokenizer]:
        """Return options, model and tokenizer to train from: of the folder in ``start``, or fresh; raises as there.

        Raises:
            WeightsError: The folder is missing, damaged, of another kind of model, or of other sizes than asked for.
        """
        if not config.start:
            return super().untrained(config, context)
        found, model = start_model(config.start, "start", "ORG/NAME", cls.naming, cls._who())
        names = ("model", *cls.naming.fields)
        sizes = sizes_of(cls.naming, found.config)
        config = with_stored(config, sizes, names, kind="decoder", source=config.start, words_ask=False)
        return cls.filled(config), model, found.tokenizer
