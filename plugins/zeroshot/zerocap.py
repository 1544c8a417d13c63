"""ZeroCap: gradients of a text tower's opinion shift the cache of a language model at every token.

Tewel et al., ZeroCap: Zero-Shot Image-to-Text Generation for Visual-Semantic Arithmetic, arXiv 2111.14447, section 3;
constants, the normalisation of gradients, the fusion and the rules for single tokens are those of its released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import RegionkitError
from regionkit.core.language.generation import Request
from regionkit.core.language.options import FILE
from regionkit.plugins.zeroshot.caption_lm import CaptionLm, Finished
from regionkit.plugins.zeroshot.guidance import Pairs, TextVectors, check_numbers, inputs_of, pairs_of, picked
from regionkit.plugins.zeroshot.zerocap_beams import Beams
from regionkit.plugins.zeroshot.zerocap_config import ZeroCapConfig
from regionkit.plugins.zeroshot.zerocap_formulas import (
    damped,
    descended,
    divergence,
    fused,
    guide_loss,
    guide_target,
    raised,
)

#: Tokens whose repetition is damped.
_RECENT = 4


class ZeroCap(CaptionLm):
    """Writes captions with a cache shifted by gradients; see ``ZeroCapConfig`` for its options."""

    name = "zerocap"

    def __init__(self, config: Any, space: str, model: Any, tokenizer: Any) -> None:
        super().__init__(config, space, model, tokenizer)
        self.forbidden = read_forbidden(config, tokenizer.size)

    @classmethod
    def build(cls, config: ZeroCapConfig, context: BuildContext) -> Self:
        """Build as every decoder of this kind; read the forbidden tokens.

        Raises:
            RegionkitError: Their file is missing, holds no ids, or ids of another tokenizer.
            FeatureError, WeightsError: As :meth:`CaptionLm.build`.
        """
        return super().build(config, context)

    def _search(self, vectors: Tensor, before: Sequence[int], request: Request) -> list[Finished]:
        """Search with beams, for all regions that have not ended."""
        options = request.options
        if options.temperature > 0:
            raise RegionkitError(
                f"{self._who()} searches with beams: it has no samples",
                "leave temperature out, or choose another decoder: toolkit list-components --kind decoder",
            )
        wanted = options.beams if options.beams > 1 else self.config.beams
        width = min(wanted, self.tokenizer.size - 1)
        beams = Beams(len(vectors), before, width, request.end, options.length_penalty, self._weight.device)
        cache = self._read(beams.ids[:, :-1])
        done: list[Finished] = [([], False)] * len(vectors)
        for step in range(options.max_tokens):
            likely, grown = self._next(step, beams, cache, vectors)
            if step < options.min_tokens:
                likely[:, request.end] = -torch.inf
            cache = picked(grown, beams.take(likely, self.config.compat == "reference"))
            for region in beams.ended() if step + 1 < options.max_tokens else beams.regions:
                done[region] = self._chosen(beams, region, vectors[region])
            kept = beams.drop_ended()
            if not beams.regions or step + 1 == options.max_tokens:
                break
            cache = picked(cache, kept)
        return done

    def _read(self, ids: Tensor) -> Pairs:
        """Return the keys and values of ids (rows, t); none of no tokens."""
        if not ids.shape[1]:
            return []
        return pairs_of(self.model.base_model(**inputs_of(ids, [])).past_key_values)

    def _next(self, step: int, beams: Beams, cache: Pairs, vectors: Tensor) -> tuple[Tensor, Pairs]:
        """Return log-probabilities (rows, known ids) of the next token, and the cache with the last token in it."""
        last = beams.ids[:, -1:]
        made = self.model(**inputs_of(last, cache))
        plain = self._known(made.logits)
        check_numbers(plain, self._who())
        old = plain.log_softmax(dim=-1)
        grown = pairs_of(made.past_key_values)
        logits = plain
        if cache and self.config.iterations:
            shifted = self._shifted(beams, cache, vectors, old)
            logits = self._known(self.model(**inputs_of(last, shifted)).logits)
            check_numbers(logits, self._who())
        new = self._ruled(step, beams.ids, logits.clone()).log_softmax(dim=-1)
        return fused(new, old, self.config.fusion), grown

    def _shifted(self, beams: Beams, cache: Pairs, vectors: Tensor, old: Tensor) -> Pairs:
        """Descend on what is added to keys and values; each row's gradient is its own."""
        config, last = self.config, beams.ids[:, -1:]
        guide = TextVectors(self._guide(), self._who(), vectors.device)
        wanted = vectors[beams.region_of_rows]
        words = self._words(beams.ids)
        flat = [tensor for pair in cache for tensor in pair]
        deltas = [torch.zeros_like(tensor) for tensor in flat]
        for _ in range(config.iterations):
            with torch.enable_grad():
                leaves = [delta.detach().requires_grad_() for delta in deltas]
                moved = [tensor + leaf for tensor, leaf in zip(flat, leaves, strict=True)]
                pairs = list(zip(moved[::2], moved[1::2], strict=True))
                likely = self._known(self.model(**inputs_of(last, pairs)).logits)
                likely = likely.log_softmax(dim=-1)
                best = likely.detach().topk(min(config.candidates, likely.shape[1]), dim=-1).indices
                cosines = guide.cosines(wanted, self._texts(words, beams.ids, best))
                target = guide_target(cosines, config.temperature)
                losses = config.clip_scale * guide_loss(likely, best, target)
                losses = losses + config.ce_scale * divergence(likely, old)
                gradients = torch.autograd.grad(losses.sum(), leaves)
            deltas = [
                descended(delta, gradient, config.step, config.norm_power)
                for delta, gradient in zip(deltas, gradients, strict=True)
            ]
        moved = [tensor + delta for tensor, delta in zip(flat, deltas, strict=True)]
        return list(zip(moved[::2], moved[1::2], strict=True))

    def _known(self, logits: Tensor) -> Tensor:
        """Return the logits (rows, known ids) at the last place, float32."""
        return logits[:, -1, : self.tokenizer.size].float()

    def _ruled(self, step: int, ids: Tensor, logits: Tensor) -> Tensor:
        """Apply the rules for single tokens to logits (rows, ids), in the order of the released code."""
        config, end = self.config, self._end
        if config.repetition != 1:
            recent = ids[:, -_RECENT:]
            logits.scatter_(1, recent, damped(logits.gather(1, recent), config.repetition))
        if step >= config.end_from:
            logits[:, end] = raised(logits[:, end], config.end_factor)
        if step == 0:
            logits[:, end] = damped(logits[:, end], config.start_penalty)
        if self.forbidden:
            logits[:, self.forbidden] = damped(logits[:, self.forbidden], config.forbidden_factor)
        return logits

    def _words(self, ids: Tensor) -> list[str]:
        """Return the text of each row, as the released code spells it: without the token that begins it."""
        if self.config.compat != "reference":
            return []
        begins = self.tokenizer.decode_all([int(ids[0, 0])])
        return [self.tokenizer.decode_all(row).replace(begins, "") for row in ids.tolist()]

    def _texts(self, words: Sequence[str], ids: Tensor, best: Tensor) -> list[list[str]]:
        """Return what the guide compares: the text of each row with each candidate behind it."""
        if self.config.compat == "reference":
            spelled = self.tokenizer.decode_all
            return [[text + spelled([one]) for one in row] for text, row in zip(words, best.tolist(), strict=True)]
        rows = zip(ids.tolist(), best.tolist(), strict=True)
        return [[self.tokenizer.decode([*row, one]) for one in tokens] for row, tokens in rows]

    def _chosen(self, beams: Beams, region: int, vector: Tensor) -> Finished:
        """Return the beam of a region that becomes its caption; among equals the likelier."""
        found = beams.texts(region)
        if self.config.choose == "likeliest" or len(found) == 1:
            return found[0]
        guide = TextVectors(self._guide(), self._who(), vector.device)
        spelled = [self.tokenizer.decode([*ids, *([self._end] if ended else [])]) for ids, ended in found]
        cosines = guide.cosines(vector.unsqueeze(0), [spelled])
        return found[int(cosines.argmax())]


def read_forbidden(config: ZeroCapConfig, known: int) -> list[int]:
    """Return the ids of forbidden tokens, each once.

    Raises:
        RegionkitError: The file is missing, holds no ids, or ids of another tokenizer.
    """
    if not config.forbidden:
        return []
    path = Path(config.forbidden.removeprefix(FILE)).expanduser()
    hint = "name a text file of ids, or the release's forbidden_tokens.npy; or leave decoder.forbidden out"
    try:
        if path.suffix == ".npy":
            import numpy as np

            held = np.load(path, allow_pickle=False).ravel().tolist()
            ids = [int(one) for one in held]
            if ids != held:
                raise ValueError("not all are whole numbers")
        else:
            ids = [int(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError, EOFError) as error:
        raise RegionkitError(f"{path}: no forbidden tokens can be read: {type(error).__name__}", hint) from None
    strange = [one for one in ids if not 0 <= one < known]
    if strange:
        raise RegionkitError(
            f"{path}: forbidden token {strange[0]} is none of the {known} ids of the tokenizer",
            "the file belongs to another language model",
            hint,
        )
    return sorted(set(ids))
