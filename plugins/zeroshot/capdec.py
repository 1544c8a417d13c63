"""CapDec's decoder: ClipCap's, trained on the captions' own embeddings with noise in the place of pictures.

Nukrai et al., Text-Only Training for Image Captioning using Noise-Injected CLIP, arXiv 2211.00575; Mokady et al.,
ClipCap, arXiv 2111.09734.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from regionkit.core.features import RegionTokens
from regionkit.core.language.generation import Request, Written
from regionkit.core.language.rows import check_length, inside
from regionkit.plugins.zeroshot.prefix import PrefixDecoder
from regionkit.plugins.zeroshot.sentence_beams import search

#: The id that the released loss leaves out, as padding.
_IGNORED = 0


class CapDec(PrefixDecoder):
    """Writes a caption of one sentence with GPT-2 behind soft tokens; see ``CapDecConfig`` for its options."""

    name = "capdec"
    sizes = (*PrefixDecoder.sizes, "stop")  # its weights learned to write it

    @property
    def _end(self) -> int:
        found = self.tokenizer.id_of(self.config.stop)
        return self.tokenizer.end if found is None else found

    @property
    def _stop(self) -> str:
        # The sign may also come in a token with other letters, such as " ." of GPT-2, where the release stops too.
        return self.config.stop if self.tokenizer.id_of(self.config.stop) is not None else ""

    def learned(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids (r, s) that texts are learned as, their number (r,), and which of them the loss counts (r, s)."""
        if self.config.compat == "paper":
            return super().learned(texts)
        rows = [self.tokenizer.encode_literally(text)[: self.config.max_length] for text in texts]
        ids, lengths = self._padded(rows)
        return ids, lengths, inside(ids, lengths) & (ids != _IGNORED)

    def _write(self, tokens: RegionTokens, prompt: str | None, request: Request) -> Written:
        if self.config.compat == "paper" or request.options.beams == 1:
            return super()._write(tokens, prompt, request)
        embeddings, valid = self.spliced(tokens, prompt)
        longest = int(valid.sum(dim=1).max()) + request.options.max_tokens
        check_length(longest, self.config.positions, "the soft tokens, the prompt and the caption", self._who())
        found = [search(self.model, row[kept], request) for row, kept in zip(embeddings, valid, strict=True)]
        finished = [ended for _, ended in found]
        counted = [len(ids) + int(ended) for ids, ended in found]
        return Written([ids for ids, _ in found], finished, counted, None)
