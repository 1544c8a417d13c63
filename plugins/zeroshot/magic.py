"""MAGIC: contrastive search in which a text tower has a say at every token.

Su et al., Language Models Can See: Plugging Visual Controls in Text Generation, arXiv 2205.02655, section 3; the search
without the guide is SimCTG's (arXiv 2202.06417).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.errors import RegionkitError
from regionkit.core.features import GenerateOptions
from regionkit.core.language.generation import Request
from regionkit.plugins.zeroshot.caption_lm import CaptionLm, Finished
from regionkit.plugins.zeroshot.guidance import Pairs, TextVectors, check_numbers, inputs_of, pairs_of, picked


def magic_scores(
    confidence: Tensor, hidden: Tensor, context: Tensor, cosines: Tensor | None, alpha: float, beta: float, scale: float
) -> Tensor:
    """Return the scores (r, k) by which MAGIC ranks candidates.

    Args:
        confidence: (r, k) probabilities of the candidates under the language model.
        hidden: (r, k, d) last hidden states at the candidates.
        context: (r, t, d) last hidden states at all tokens before, the start token and the prompt included.
        cosines: (r, k) of the region and the text with each candidate at its end; None where the guide has no say.
        alpha: Weight of the degeneration penalty.
        beta: Weight of the guide.
        scale: What the cosines are multiplied with before their softmax.

    Source: MAGIC, equations 3 to 5: ``(1 - alpha) p(v) - alpha max_j cos(h_v, h_j) + beta softmax_k(scale cos)``.
    """
    likeness = normalize(hidden.float(), dim=-1) @ normalize(context.float(), dim=-1).transpose(1, 2)
    scores = (1 - alpha) * confidence - alpha * likeness.amax(dim=-1)
    return scores if cosines is None else scores + beta * (scale * cosines).softmax(dim=-1)


class Magic(CaptionLm):
    """Writes captions with contrastive search and a guide; see ``MagicConfig`` for its options."""

    name = "magic"

    def _longest(self, before: Sequence[int]) -> int:
        """Return how many tokens fit behind ``before``, which counts too.

        Raises:
            RegionkitError: None does.
        """
        room: int = self.config.length - len(before)
        if room < 1:
            raise RegionkitError(
                f"{self._who()}: start token and prompt are {len(before)} tokens, and length {self.config.length} "
                "counts them: no caption fits behind",
                f"shorten the prompt, or write decoder.length: {len(before) + 15}",
            )
        return room

    def _search(self, vectors: Tensor, before: Sequence[int], request: Request) -> list[Finished]:
        """Take the best of the likeliest candidates at each place, for all rows that have not ended."""
        refuse(request.options, self._who())
        device, options = self._weight.device, request.options
        ids = torch.tensor(before, dtype=torch.long, device=device).expand(len(vectors), -1)
        context, cache = self._states_of(ids, [])
        logits = self.logits(context[:, -1])
        written: list[list[int]] = [[] for _ in range(len(vectors))]
        ended, alive = [False] * len(vectors), list(range(len(vectors)))
        for step in range(options.max_tokens):
            best, confidence = self._candidates(logits, step < options.min_tokens)
            count = best.shape[1]
            rows = torch.arange(len(alive), device=device)
            states, grown = self._states_of(best.reshape(-1, 1), picked(cache, rows.repeat_interleave(count)))
            hidden = states[:, -1].view(len(alive), count, -1)
            cosines = self._cosines(vectors[alive], [written[row] for row in alive], best)
            scores = magic_scores(
                confidence, hidden, context, cosines, self.config.alpha, self.config.beta, self.config.scale
            )
            chosen = scores.argmax(dim=1)
            token = best.gather(1, chosen.unsqueeze(1)).squeeze(1)
            going = token != request.end
            for row, one in zip(alive, token.tolist(), strict=True):
                if one == request.end:
                    ended[row] = True
                else:
                    written[row].append(one)
            alive = [row for row, on in zip(alive, going.tolist(), strict=True) if on]
            if not alive:
                break
            places = (rows * count + chosen)[going]
            context = torch.cat([context, hidden[rows, chosen].unsqueeze(1)], dim=1)[going]
            cache, logits = picked(grown, places), self.logits(states[places, -1])
        return list(zip(written, ended, strict=True))

    def _states_of(self, ids: Tensor, cache: Pairs) -> tuple[Tensor, Pairs]:
        """Return last hidden states (rows, t, d) at ids (rows, t) behind a cache, and the cache with them in it."""
        made = self.model.base_model(**inputs_of(ids, cache))
        return made.last_hidden_state, pairs_of(made.past_key_values)

    def _candidates(self, logits: Tensor, unended: bool) -> tuple[Tensor, Tensor]:
        """Return the likeliest tokens (r, k) and their probabilities; without the end token where that is too early."""
        check_numbers(logits, self._who())
        known = logits[:, : self.tokenizer.size].float().clone()
        if unended:
            known[:, self._end] = -torch.inf
        count = min(self.config.k, known.shape[1] - int(unended))
        best = known.topk(count, dim=-1).indices
        return best, known.softmax(dim=-1).gather(1, best)

    def _cosines(self, vectors: Tensor, written: Sequence[Sequence[int]], best: Tensor) -> Tensor | None:
        """Return (r, k) cosines of regions and what is written with each candidate behind it; None without a guide."""
        if not self.config.beta:
            return None
        spelled = self.tokenizer.decode_all if self.config.compat == "reference" else self.tokenizer.decode
        last = self.config.guide_tokens
        texts = [
            [spelled([*row, token][-last:]) for token in tokens]
            for row, tokens in zip(written, best.tolist(), strict=True)
        ]
        guide = TextVectors(self._guide(), self._who(), vectors.device)
        return guide.cosines(vectors, texts)


def refuse(options: GenerateOptions, who: str) -> None:
    """Refuse beams and samples.

    Raises:
        RegionkitError: They are asked for.
    """
    if options.beams > 1 or options.temperature > 0:
        raise RegionkitError(
            f"{who} takes the best candidate of its own search: it has no beams and no samples",
            "leave beams and temperature out, or choose another decoder: toolkit list-components --kind decoder",
        )
