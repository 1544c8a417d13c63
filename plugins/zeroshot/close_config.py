"""Options of the ``close`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.core.language.options import SEQ2SEQ_SIZES, Seq2SeqOptions
from regionkit.plugins.zeroshot.start_config import check_start


@dataclass(frozen=True)
class CloseConfig(Seq2SeqOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.close.Close`.

    The defaults are those of the released training script, which builds on T5-base. Its noise is the bridge's:
    ``{name: noise, std: 0.12}``.

    Attributes:
        start: For a decoder that starts untrained: ``file:FOLDER``, a pretrained T5 as the hub has it, here
            or in a folder of $REGIONKIT_WEIGHTS. Training starts from it, and it brings its sizes, dropout rates and
            tokenizer; empty for one of fresh weights.
        tokens: Soft tokens that the linear layer makes of a region's vector.
        constants: Learned tokens before them, the same for every region.
        normalise: Whether a region's vector is made a unit vector before it is mapped.
        lowercase: Whether training texts are written in lower case.
        prompt: Words that the encoder reads behind the soft tokens, with an end token, such as a question; empty for
            soft tokens alone, as captions are written.
    """

    start: str = ""
    tokens: int = 4
    constants: int = 0
    normalise: bool = True
    lowercase: bool = True
    prompt: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("tokens")
        if self.constants < 0:
            raise ValueError(f"constants: {self.constants} must be 0 (none) or more")
        check_start(self, self.start)


#: Options that a weight file decides; they are stored in its header.
CLOSE_SIZES: tuple[str, ...] = (*SEQ2SEQ_SIZES, "tokens", "constants")
