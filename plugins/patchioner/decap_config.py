"""Options of the ``decap`` decoder and of the ``text-only`` recipe, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DecapConfig:
    """Options of :class:`~regionkit.plugins.patchioner.decap.Decap`; the defaults are the released decoder's.

    Source: Li et al., DeCap, arXiv 2303.03032, and the decoder that Patch-ioner releases.

    Attributes:
        hidden: Width of the transformer.
        layers: Transformer blocks.
        heads: Attention heads of a block; they divide ``hidden``.
        positions: Longest sequence, the prefix included; a caption has at most that many tokens.
        vocabulary: Rows of the word embedding; 0 for as many as the tokenizer has ids. The released decoders have
            50257 rows for the 49408 ids of CLIP's tokenizer; ids that no tokenizer knows are never written.
        dropout: Dropout of embeddings, attention and residuals, in training only.
        tokenizer: ``words`` (whole words, listed in the weights), ``clip`` (byte pairs of CLIP) or ``bytes`` (CLIP's
            without any merges). It matters where training starts from nothing; trained weights bring theirs.
        merges: For training with ``clip``, the merges file of CLIP (``merges.txt``, or
            ``bpe_simple_vocab_16e6.txt.gz`` of its own code); empty takes those of the backbone's text tower.
        max_length: Tokens of a training caption, special ones included; what is longer loses its end.
        label_smoothing: Probability mass that the training loss spreads over all ids.
        compat: ``paper`` scores a caption by the log-likelihood of its tokens up to the end token. ``reference`` does
            as the released code: always the full number of steps, the score is the probability of all of them, those
            after the end token too, and the training loss ignores id 0, which in CLIP's tokenizer is "!".
        weights: ``auto`` chooses weights that were trained for the pipeline's text space and bridge, ``none`` starts
            untrained, ``file:PATH`` or a name of ``toolkit weights list`` says which.
    """

    hidden: int = 768  # released decoder_config: n_embd
    layers: int = 4  # n_layer
    heads: int = 4  # n_head
    positions: int = 1024  # n_positions
    vocabulary: int = 0
    dropout: float = 0.1  # GPT-2's default, which the release keeps
    tokenizer: Literal["words", "clip", "bytes"] = "words"
    merges: str = ""
    max_length: int = 20  # released training script; includes the start token of CLIP's tokenizer
    label_smoothing: float = 0.1  # released training script
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "heads", "positions", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be 1 or more")
        if self.hidden % self.heads:
            fitting = ", ".join(str(heads) for heads in range(1, self.hidden + 1) if self.hidden % heads == 0)
            raise ValueError(f"heads: {self.heads} does not divide hidden {self.hidden}; these do: {fitting}")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be at least 0 and less than 1")
        if self.vocabulary < 0:
            raise ValueError(f"vocabulary: {self.vocabulary} must be 0 (as many rows as ids) or more")


#: Options that a weight file decides; they are stored in its header.
ARCHITECTURE: tuple[str, ...] = ("hidden", "layers", "heads", "positions", "vocabulary")


#: How the path of a bank begins, and the other values of ``TextOnlyConfig.embeddings``.
FILE = "file:"
WAYS: tuple[str, ...] = ("auto", "memory", "stream")


@dataclass(frozen=True, slots=True)
class TextOnlyConfig:
    """Options of :class:`~regionkit.plugins.patchioner.text_only.TextOnly`.

    The defaults are those of the released training script of Patch-ioner (learning rate also in the paper).

    Attributes:
        steps: Optimiser steps; 0 takes as many as ``epochs`` need.
        epochs: Passes over the corpus; incomplete batches at the end of a pass are dropped.
        batch_size: Captions a step.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        warmup: Steps of linear warm-up.
        schedule: What follows the warm-up.
        clip: Limit of the gradient norm; 0 for none.
        limit: Train on this many captions, drawn without replacement; 0 for all.
        draws: How many corrupted versions of each embedding are made, all of them before training; passes take them in
            turn. 0 corrupts anew at every step. The release of Diffusion Bridge makes 1. They are held in memory.
        embeddings: Where the embeddings of the captions come from. ``memory`` encodes all of them first and holds them;
            ``stream`` encodes those of a batch when it is made, so that memory does not grow with the corpus;
            ``file:PATH`` reads captions and embeddings, row by row, of a bank made by ``toolkit bank build``, for which
            the corpus only lends its words; ``auto`` is ``memory`` up to a million captions, ``stream`` beyond.
        mix: A caption is to be written from the embedding of any caption of the same picture, drawn anew each time,
            itself among them, as the released script does with ``--mix-captions``. For corpora that say which picture a
            caption is about, held in memory: ``coco-captions``.
        memory: For a decoder that holds a memory of texts, how many captions of the corpus it is given, drawn without
            replacement; 0 for all.
    """

    steps: int = 0
    epochs: int = 10  # released script
    batch_size: int = 64  # released script
    learning_rate: float = 1e-5  # paper, supplementary; released script
    weight_decay: float = 0.01  # AdamW's default in the released script
    warmup: int = 1000  # released script
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # released script
    clip: float = 0.0  # the released script clips nothing
    limit: int = 0
    draws: int = 0
    embeddings: str = "auto"
    mix: bool = False
    memory: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be 1 or more")
        for name in ("steps", "warmup", "clip", "limit", "draws", "memory", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be 0 or more")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate: {self.learning_rate} must be more than 0")
        from_file = self.embeddings.startswith(FILE) and len(self.embeddings) > len(FILE)
        if not from_file and self.embeddings not in WAYS:
            raise ValueError(
                f"embeddings: {self.embeddings!r} is none of {', '.join(WAYS)}, and no {FILE}PATH of a bank"
            )
        if self.mix and self.embeddings not in ("auto", "memory"):
            raise ValueError(f"mix: captions of one picture are known in memory alone, not with {self.embeddings}")
        if self.draws and self.embeddings not in ("auto", "memory"):
            raise ValueError(
                f"draws: {self.draws} versions of every embedding are held in memory, which embeddings: "
                f"{self.embeddings} is to avoid; write draws: 0"
            )
