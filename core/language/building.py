"""Building decoders on language models: tokenizers for new ones, options that weights decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.language.options import FILE, LanguageOptions
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.spec import Space
from regionkit.core.stored import with_stored
from regionkit.core.weights import WeightHeader

#: Options of adapters that a weight file decides; they are stored in its header where it holds adapters.
LORA = ("lora", "lora_alpha", "lora_targets")
Options = TypeVar("Options", bound=LanguageOptions)


def fresh_tokenizer(config: LanguageOptions, context: BuildContext, who: str) -> LanguageTokenizer:
    """Make the tokenizer of a decoder that starts untrained: of its option, or of the words of ``parts["corpus"]``.

    Raises:
        WeightsError: There is neither.
    """
    if config.tokenizer.startswith(FILE):
        return LanguageTokenizer.of_folder(config.tokenizer.removeprefix(FILE))
    corpus = context.parts.get("corpus")
    if corpus is None:
        raise WeightsError(
            f"{who} has no weights, and no corpus to take its words from",
            "name weights (toolkit weights list), or train some: toolkit train RECIPE.yaml with a corpus; "
            "or name a tokenizer: tokenizer: file:FOLDER",
        )
    return LanguageTokenizer.of_words(corpus.stream())


def checked_width(space: str, model: Any, source: str) -> str:
    """Return the space ``name[dim]`` that a decoder reads, which is as wide as the words of its model.

    Raises:
        WeightsError: It is not.
    """
    width = model.get_input_embeddings().weight.shape[1]
    if Space.parse(space).dim != width:
        raise WeightsError(
            f"{source}: this decoder reads vectors of width {width}, and {space} is needed here",
            "write decoder.hidden: N with the width of what reaches it, or put a bridge before it",
        )
    return space


def as_stored(config: Options, header: WeightHeader, sizes: Sequence[str], adapted: bool, source: str) -> Options:
    """Lay sizes and adapters of weights under the given options; what is at its default asks for nothing.

    Args:
        config: The options.
        header: Of the weights; it says their adapters in ``extra``.
        sizes: The options that weights decide.
        adapted: Whether the weights hold adapters.
        source: The weights, for messages.

    Raises:
        WeightsError: An option asks for another size than the weights have, or the header hides that of adapters.
    """
    adapter = header.extra.get("adapter") if adapted else {}
    if not isinstance(adapter, Mapping):
        raise WeightsError(f"{source}: it holds adapters, and its header does not say of which rank")
    stored = {**{name: header.config[name] for name in sizes if name in header.config}, **adapter}
    return with_stored(config, stored, (*sizes, *LORA), kind="decoder", source=source, words_ask=False)
