"""What decoders on language models have in common: building, captions, scores, loss, hidden states."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from regionkit.core.batch_sizes import batches_that_fit, named
from regionkit.core.contracts import BuildContext, Decoder, WeightArtifact, iter_batches
from regionkit.core.errors import WeightsError
from regionkit.core.explaining import END_SHOWN, TokenScore, scored_tokens
from regionkit.core.features import Caption, GenerateOptions, RegionTokens, RegionViews
from regionkit.core.language.adapters import AdapterOptions, add_adapters, switch_adapters, without_adapters
from regionkit.core.language.building import LORA, as_stored, checked_width, fresh_tokenizer
from regionkit.core.language.generation import Request, Written
from regionkit.core.language.models import (
    Naming,
    has_adapters,
    load_tensors,
    make_config,
    new_model,
    restore_config,
    stored_config,
    stored_tensors,
)
from regionkit.core.language.readout import check_read_out, evaluating, read_out
from regionkit.core.language.rows import check_pairs, inside, no_loss, readable, rows_of
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.spec import Space
from regionkit.core.stored import drawn_from
from regionkit.core.weights import WeightHeader

#: Texts scored together: their logits over the whole vocabulary are held at once.
_SCORE_BATCH = 32


class LanguageDecoder(nn.Module, Decoder):
    """A decoder on a language model of transformers; what it reads is as wide as its word embeddings, by default.

    Args:
        config: Options.
        space: The space that it reads, ``name[dim]``.
        model: The language model.
        tokenizer: The ids that it writes.

    Attributes:
        name: Its name as a component.
        naming: How its options are called in transformers.
        sizes: Options that a weight file decides.
    """

    name: ClassVar[str]
    naming: ClassVar[Naming]
    sizes: ClassVar[tuple[str, ...]]
    #: Options besides ``sizes`` with which weights were trained; they stand in the header too.
    habits: ClassVar[tuple[str, ...]] = ("prompt",)

    def __init__(self, config: Any, space: str, model: Any, tokenizer: LanguageTokenizer) -> None:
        super().__init__()
        self.config = config
        self.space = space
        self.tokenizer = tokenizer
        self.model = model
        self._reads_out = False  # whether logits() was compared with the model
        if config.lora:
            targets = AdapterOptions(config.lora, config.lora_alpha, config.lora_dropout, config.lora_targets)
            add_adapters(model, targets, self._who())
            switch_adapters(model, config.adapter)

    @classmethod
    def build(cls, config: Any, context: BuildContext) -> Self:
        """Build with the weights of the context, or untrained where it has none.

        An untrained decoder takes its words from ``context.parts["corpus"]``, or its tokenizer from the option, and its
        initial weights, and those of fresh adapters, from ``context.seed``.

        Raises:
            WeightsError: The weights are damaged or of another shape, or there are none and no corpus either.
            RegionkitError: The options describe no model.
        """
        file, who = context.weights, cls._who()
        with drawn_from(context.seed):
            if file is None:
                config, model, tokenizer = cls.untrained(config, context)
                space = context.reads or f"{cls.name}/untrained[{config.hidden}]"
                return cls(config, cls.checked_space(space, model, who), model, tokenizer).eval()
            header, tensors, source = file.header, file.tensors(), str(file.path)
            tokenizer = LanguageTokenizer.of_extra(header.extra.get("tokenizer"), source)
            stored = header.extra.get("model")
            if not isinstance(stored, Mapping):
                raise WeightsError(f"{source}: its header does not say which model these are the weights of")
            config = as_stored(config, header, cls.sizes, has_adapters(tensors), source)
            model = new_model(cls.naming, restore_config(cls.naming, stored, source), who)
            space = header.space if file.says_space else context.reads or f"{cls.name}/untrained[{config.hidden}]"
            decoder = cls(config, cls.checked_space(space, model, source), model, tokenizer)
            decoder.load(tensors, file.path)
        return decoder.eval()

    @classmethod
    def untrained(cls, config: Any, context: BuildContext) -> tuple[Any, Any, LanguageTokenizer]:
        """Return the filled options, a model and a tokenizer to train from.

        Raises:
            WeightsError: There is no corpus to take words from.
            RegionkitError: The options describe no model.
        """
        who = cls._who()
        config, tokenizer = cls.filled(config), fresh_tokenizer(config, context, who)
        model = new_model(cls.naming, make_config(cls.naming, config.model, vars(config), tokenizer, who), who)
        cls.start_fresh(model)
        return config, model, tokenizer

    @classmethod
    def checked_space(cls, space: str, model: Any, source: str) -> str:
        """Return the space ``name[dim]`` that the decoder reads; by default it is as wide as the model's words.

        Raises:
            WeightsError: The decoder cannot read it.
        """
        return checked_width(space, model, source)

    def load(self, tensors: Mapping[str, Tensor], source: str | Path) -> None:
        """Load what :meth:`tensors` gave.

        Raises:
            WeightsError: Names are missing or left over, or shapes differ.
        """
        load_tensors(self.model, tensors, source)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights as a file holds them."""
        return stored_tensors(self.model)

    @classmethod
    def filled(cls, config: Any) -> Any:
        """Return the options with those sizes said that follow from others."""
        return config

    @classmethod
    def start_fresh(cls, model: Any) -> None:
        """Mend the initial weights of a model that is to be trained from nothing; by default those of its family."""
        return

    @torch.inference_mode()
    def generate(
        self, inputs: RegionTokens | RegionViews, prompt: str | None = None, options: GenerateOptions | None = None
    ) -> list[Caption]:
        """Write one caption a region.

        A caption ends at its end token, at ``options.max_tokens``, or where the model's positions end.

        Args:
            inputs: Tokens (r, t, d) as wide as the word embeddings; padded ones change nothing.
            prompt: What is asked of every region; None asks the decoder's own prompt.
            options: Greedy, beams or samples, lengths and batch size. Samples of a region depend on the seed and on its
                number in this call alone.

        Raises:
            FeatureError: Inputs are pictures, have another width, or are not finite.
            RegionkitError: The prompt leaves no room for a caption.
        """
        options = options or GenerateOptions()
        read, length = self._reader(inputs)
        captions: list[Caption] = []
        size, device = named(options, "batch_size"), self._weight.device
        key = (options.max_tokens, options.beams, length)
        for part in batches_that_fit(self, len(inputs), size, default=options.batch_size, device=device, key=key):
            captions += self._captions(read(part), prompt, options, part.start)
        return captions

    @torch.inference_mode()
    def score(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return (r,) log-likelihoods of one text a region, the end token included.

        Of a finished caption that this decoder wrote it is the caption's score. Where a stop string of several tokens
        ended the caption, that takes the text with the stop string behind it: such a text is ended, and gets no end
        token.

        Raises:
            FeatureError: As for :meth:`generate`.
            RegionkitError: A text does not fit behind the prompt.
        """
        check_pairs(inputs, texts)
        read, _ = self._reader(inputs)
        found = [self._weight.new_zeros(0, dtype=torch.float32)]
        for part in iter_batches(len(inputs), _SCORE_BATCH):
            found.append(self._likelihood(read(part), texts[part], prompt))
        return torch.cat(found)

    @torch.inference_mode()
    def token_scores(
        self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None, alternatives: int = 3
    ) -> list[list[TokenScore]]:
        """Return the tokens of texts, the end token included, and how likely each was; raises as :meth:`score`."""
        check_pairs(inputs, texts)
        read, _ = self._reader(inputs)
        found: list[list[TokenScore]] = []
        for part in iter_batches(len(inputs), _SCORE_BATCH):
            ids, lengths = self._targets(texts[part], None)
            if not ids.numel():  # no model of transformers runs on nothing
                found += [[] for _ in range(len(ids))]
                continue
            likely = self._logits(read(part), ids, lengths, prompt).float().log_softmax(-1)
            found += scored_tokens(ids, lengths, likely, alternatives, self._shown)
        return found

    def _shown(self, token: int) -> str:
        return END_SHOWN if token == self._end else self.tokenizer.decode_all([token])

    def log_likelihood(
        self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None
    ) -> Tensor:
        """Return what :meth:`score` does, in one batch and with gradients."""
        check_pairs(inputs, texts)
        return self._likelihood(self._tokens(inputs), texts, prompt)

    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the mean cross-entropy of the texts' tokens, end tokens included; of no tokens it is 0.

        Texts are cut to ``max_length`` tokens and lose their end token then. Prompt and region tokens do not count.
        """
        check_pairs(inputs, texts)
        tokens = self._tokens(inputs)
        ids, lengths = self._targets(texts, self.config.max_length)
        counted = inside(ids, lengths)
        if not bool(counted.any()):
            return no_loss(tokens.tokens, *self.parameters())
        return cross_entropy(self._logits(tokens, ids, lengths, prompt).float()[counted], ids[counted])

    def loss_terms(self, texts: Sequence[str]) -> int:
        """Return the number of tokens that the loss is a mean of."""
        return int(self._targets(texts, self.config.max_length)[1].sum())

    def hidden_states(
        self,
        inputs: RegionTokens | RegionViews,
        texts: Sequence[str],
        prompt: str | None = None,
        positions: Literal["pred", "tok"] = "pred",
    ) -> RegionTokens:
        """Return the last hidden states (r, s, d) at the tokens of texts, end tokens included; see the contract.

        Raises:
            FeatureError: As for :meth:`generate`.
            RegionkitError: A text does not fit behind the prompt.
        """
        check_pairs(inputs, texts)
        tokens = self._tokens(inputs)
        ids, lengths = self._targets(texts, None)
        if ids.numel():
            states = self._states(tokens, ids, lengths, prompt, positions)
        else:  # no model of transformers runs on nothing
            states = self._weight.new_zeros(*ids.shape, self._weight.shape[1])
        return RegionTokens(states, inside(ids, lengths), f"{self.name}/hidden[{states.shape[2]}]")

    def logits(self, states: Tensor) -> Tensor:
        """Return the model's logits (..., ids) of last hidden states (..., d) that predict tokens.

        Raises:
            FeatureError: The family does something with its logits that is not known here.
        """
        if not self._reads_out:
            self._check_reading_out()
            self._reads_out = True
        return read_out(self.model, states)

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Be, for a while, exactly the model that the adapters were put on."""
        with without_adapters(self.model):
            yield

    def artifact(self) -> WeightArtifact:
        """Return the weights, adapters included, and what the decoder knows of them."""
        config = {name: getattr(self.config, name) for name in (*self.sizes, *self.habits)}
        extra: dict[str, Any] = {"tokenizer": self.tokenizer.to_extra(), "model": stored_config(self.model)}
        if self.config.lora:
            extra["adapter"] = {name: getattr(self.config, name) for name in LORA}
        header = WeightHeader("decoder", self.name, self.space, config=config, extra=extra)
        return WeightArtifact(self.tensors(), header)

    @abstractmethod
    def _write(self, tokens: RegionTokens, prompt: str | None, request: Request) -> Written:
        """Write one text a region; the request's limit need not fit the positions yet."""

    @abstractmethod
    def _logits(self, tokens: RegionTokens, ids: Tensor, lengths: Tensor, prompt: str | None) -> Tensor:
        """Return (r, s, known ids or more) logits of each of the ids (r, s)."""

    @abstractmethod
    def _states(self, tokens: RegionTokens, ids: Tensor, lengths: Tensor, prompt: str | None, positions: str) -> Tensor:
        """Return (r, s, d) last hidden states for ids (r, s)."""

    @property
    def width(self) -> int:
        """Width of the vectors that it reads."""
        return Space.parse(self.space).dim

    @property
    def _end(self) -> int:
        """The token that ends a text."""
        return self.tokenizer.end

    @property
    def _stop(self) -> str:
        """A text that ends a caption as well; empty for none."""
        return ""

    @classmethod
    def _who(cls) -> str:
        return f"decoder '{cls.name}'"

    @property
    def _weight(self) -> Tensor:
        """The word embeddings, for the device and type that inputs go to."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight

    def _captions(
        self, tokens: RegionTokens, prompt: str | None, options: GenerateOptions, first: int
    ) -> Iterator[Caption]:
        rows = range(first, first + len(tokens))
        written = self._write(
            tokens, prompt, Request(options, self.tokenizer, self._end, self._stop, rows, self._who())
        )
        scores = written.log_likelihood
        if scores is None:
            scores = self._ids_likelihood(tokens, written, prompt)
        for ids, finished, score in zip(written.ids, written.finished, scores, strict=True):
            yield Caption(self._text(ids), min(score, 0.0), tuple(ids), finished)

    def _text(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(ids)
        return text.removesuffix(self._stop).strip() if self._stop else text

    def _ids_likelihood(self, tokens: RegionTokens, written: Written, prompt: str | None) -> list[float]:
        """Return the log-likelihood of texts that the model wrote, their end tokens included where it wrote one."""
        pairs = zip(written.ids, written.counted, strict=True)
        rows = [[*ids, *([self._end] if counted > len(ids) else [])] for ids, counted in pairs]
        found: list[float] = self._sum(tokens, *self._padded(rows), prompt).tolist()
        return found

    def _likelihood(self, tokens: RegionTokens, texts: Sequence[str], prompt: str | None) -> Tensor:
        return self._sum(tokens, *self._targets(texts, None), prompt)

    def _sum(self, tokens: RegionTokens, ids: Tensor, lengths: Tensor, prompt: str | None) -> Tensor:
        """Return (r,) sums of the log-probabilities of the first ``lengths`` of ids (r, s)."""
        if not ids.numel():
            return self._weight.new_zeros(len(ids), dtype=torch.float32)
        logits = self._logits(tokens, ids, lengths, prompt).float()
        chosen = logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)
        return chosen.masked_fill(~inside(ids, lengths), 0.0).sum(dim=-1)

    def _targets(self, texts: Sequence[str], limit: int | None) -> tuple[Tensor, Tensor]:
        """Return ids (r, s) with end tokens, padded, and the length of each row (r,)."""
        stop = self._stop
        rows = []
        for text in texts:
            ended = bool(stop) and text.endswith(stop)
            rows.append([*self.tokenizer.encode_literally(text), *([] if ended else [self._end])][:limit])
        return self._padded(rows)

    def _check_reading_out(self) -> None:
        """Compare what :meth:`logits` makes of a last hidden state with what the model itself says there."""
        with evaluating(self), torch.no_grad():
            one = self._weight.new_ones(1, 1, self.width)
            tokens = RegionTokens(one, torch.ones(1, 1, dtype=torch.bool, device=one.device), self.space)
            ids, lengths = self._padded([[self._end]])
            states = self._states(tokens, ids, lengths, "", "pred")
            check_read_out(self.model, states, self._logits(tokens, ids, lengths, ""), self._who())

    def _padded(self, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        longest, device = max(map(len, rows), default=0), self._weight.device
        padded = [row + [self.tokenizer.pad] * (longest - len(row)) for row in rows]
        ids = torch.tensor(padded, dtype=torch.long, device=device).view(len(rows), longest)
        return ids, torch.tensor([len(row) for row in rows], dtype=torch.long, device=device)

    def _embed(self, ids: Sequence[int]) -> Tensor:
        """Return (n, d) word embeddings."""
        found: Tensor = self.model.get_input_embeddings()(
            torch.tensor(ids, dtype=torch.long, device=self._weight.device)
        )
        return found

    def _reader(self, inputs: RegionTokens | RegionViews) -> tuple[Callable[[slice], RegionTokens], int]:
        """Return what gives the tokens of some regions, and how much there is to read of each, for batch sizes.

        Vectors are looked at once, all of them. Pictures become tokens batch by batch: those of thousands of regions
        are not all there at once.
        """
        if isinstance(inputs, RegionViews):
            sides = [picture.width * picture.height for picture in inputs.pictures]
            return lambda part: self._tokens(RegionViews(inputs.pictures[part])), max(sides, default=0)
        tokens = self._tokens(inputs)
        return lambda part: rows_of(tokens, part), tokens.tokens.shape[1]

    def _tokens(self, inputs: RegionTokens | RegionViews) -> RegionTokens:
        """Check what is read, blank its padding, and bring it to the model's device and type."""
        clean = readable(inputs, self.space, self._weight, self._who())
        if not self.training:
            clean.check_finite(f"what {self._who()} reads: the bridge or region encoder before it")
        return clean
