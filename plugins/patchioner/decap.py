"""DeCap's decoder: a GPT-2 type transformer that reads one vector as its first position.

Li et al., DeCap: Decoding CLIP Latents for Zero-Shot Captioning via Text-Only Training, arXiv 2303.03032; the sizes and
the procedure are those that Patch-ioner (arXiv 2510.02898) releases. Names of the tensors are the official ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from transformers import GPT2Config, GPT2LMHeadModel

from regionkit.core.batch_sizes import batches_that_fit, named
from regionkit.core.contracts import BuildContext, Decoder, WeightArtifact, iter_batches
from regionkit.core.errors import FeatureError, RegionkitError, WeightsError
from regionkit.core.explaining import END_SHOWN, TokenScore, scored_tokens
from regionkit.core.features import Caption, GenerateOptions, RegionTokens, RegionViews
from regionkit.core.spec import Space
from regionkit.core.stored import drawn_from, with_stored
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.patchioner.decap_config import ARCHITECTURE, DecapConfig
from regionkit.plugins.patchioner.greedy import CachedBlocks, Generated, greedy
from regionkit.plugins.patchioner.vocabulary import MERGES, ClipTokenizer, Tokenizer, WordTokenizer, tokenizer_from

#: Sequences scored together: their logits over the whole vocabulary are held at once.
_SCORE_BATCH = 64
#: Rows that pass through training together on a CPU; fewer would make the products too small.
_GROUP = 32
_TIED = "decoder.lm_head.weight"
_PROJECTION = "clip_project.model.0.weight"
_EMBEDDING = "decoder.transformer.wte.weight"


class _Projection(nn.Module):
    """One linear layer under the name that official checkpoints give it."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(dim, hidden))

    def forward(self, vectors: Tensor) -> Tensor:
        projected: Tensor = self.model(vectors)
        return projected


class Decap(nn.Module, Decoder):
    """Writes a caption from one vector a region.

    Args:
        config: Sizes and options.
        space: The space that it reads, ``name[dim]``.
        tokenizer: The ids that it writes.

    Raises:
        RegionkitError: ``vocabulary`` has fewer rows than the tokenizer has ids.
    """

    def __init__(self, config: DecapConfig, space: str, tokenizer: Tokenizer) -> None:
        super().__init__()
        _check_rows(config, tokenizer)
        self.config = config
        self.space = space
        self.tokenizer = tokenizer
        self.clip_project = _Projection(Space.parse(space).dim, config.hidden)
        self.decoder = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=config.vocabulary or tokenizer.size,
                n_positions=config.positions,
                n_embd=config.hidden,
                n_layer=config.layers,
                n_head=config.heads,
                activation_function="gelu_pytorch_tanh",  # the same function as the release's gelu_new, in one kernel
                resid_pdrop=config.dropout,
                embd_pdrop=config.dropout,
                attn_pdrop=config.dropout,
                bos_token_id=tokenizer.end,
                eos_token_id=tokenizer.end,
                use_cache=False,
            )
        )

    @classmethod
    def build(cls, config: DecapConfig, context: BuildContext) -> Self:
        """Build with the weights of the context, or untrained where it has none.

        An untrained decoder takes its words from ``context.parts["corpus"]``, byte pairs from the option ``merges`` or
        else from the backbone's text tower, and its initial weights from ``context.seed``.

        Raises:
            WeightsError: The weights are damaged or of another shape, or there are none and no corpus either.
        """
        file = context.weights
        with drawn_from(context.seed):
            if file is None:
                return cls(config, context.reads, _fresh_tokenizer(config, context))
            header, tensors = file.header, file.tensors()
            config = with_stored(config, header.config, ARCHITECTURE, kind="decoder", source=str(file.path))
            # Official decoders do not say their space: it is that of the pipeline, on trust, if the width is right.
            space = header.space if file.says_space else context.reads
            _check_width(tensors, space, str(file.path))
            decoder = cls(config, space, tokenizer_from(header.extra, file.path, tensors))
        load_into(decoder, _official(tensors), file.path)
        return decoder.eval()

    @torch.inference_mode()
    def generate(
        self, inputs: RegionTokens | RegionViews, prompt: str | None = None, options: GenerateOptions | None = None
    ) -> list[Caption]:
        """Write one caption a region, greedily.

        Args:
            inputs: Exactly one token a region, (r, 1, d).
            prompt: Not read by this decoder; anything but None is an error.
            options: Length limit and batch size. Captions end at ``config.positions`` tokens at the latest.

        Raises:
            FeatureError: Inputs are pictures, hold several tokens a region, have another width, or are not finite.
            RegionkitError: A prompt is given, or the options ask for anything but greedy captions.
        """
        _refuse_prompt(prompt)
        options = options or GenerateOptions()
        _refuse_searches(options)
        vectors = self._vectors(inputs)
        captions: list[Caption] = []
        size, length = named(options, "batch_size"), min(options.max_tokens, self.config.positions)
        for part in batches_that_fit(
            self, len(vectors), size, default=options.batch_size, device=vectors.device, key=length
        ):
            captions += self._captions(self.decode(vectors[part], options.max_tokens))
        return captions

    def decode(self, vectors: Tensor, max_tokens: int) -> Generated:
        """Return greedy ids and log-likelihoods of vectors (r, dim)."""
        reference = self.config.compat == "reference"
        return greedy(
            self.decoder.transformer,
            self.clip_project(vectors),
            min(max_tokens, self.config.positions),
            known=self.tokenizer.size,
            end=self.tokenizer.end,
            stop=not reference,
            all_rows=reference,
        )

    @torch.inference_mode()
    def score(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return (r,) log-likelihoods of one text a region, the end token included.

        Of a finished caption that this decoder wrote it is the caption's score (``compat: paper``).

        Raises:
            FeatureError: As for :meth:`generate`.
            DataError: A text has a word that the decoder does not know.
            RegionkitError: A text is longer than the decoder's positions, or a prompt is given.
        """
        scores = [torch.zeros(0, dtype=torch.float32, device=self._weight.device)]
        for ids, lengths, logits in self._scored(inputs, texts, prompt):
            chosen = logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)
            scores.append(chosen.masked_fill(~_inside(ids, lengths), 0.0).sum(dim=-1))
        return torch.cat(scores)

    @torch.inference_mode()
    def token_scores(
        self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None, alternatives: int = 3
    ) -> list[list[TokenScore]]:
        """Return the tokens of texts, the end token included, and how likely each was; raises as :meth:`score`."""
        found: list[list[TokenScore]] = []
        for ids, lengths, logits in self._scored(inputs, texts, prompt):
            found += scored_tokens(ids, lengths, logits.log_softmax(-1), alternatives, self._shown)
        return found

    def _shown(self, token: int) -> str:
        """Return a token as readers are shown it; with ``compat: reference`` a row may stand for no token at all."""
        if token == self.tokenizer.end:
            return END_SHOWN
        return self.tokenizer.decode([token]) if token < self.tokenizer.size else f"<{token}>"

    def _scored(
        self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield ids (r, s), their number (r,) and logits (r, s, known ids) of a batch after the other."""
        _refuse_prompt(prompt)
        _check_pairs(inputs, texts)
        vectors = self._vectors(inputs)
        for part in iter_batches(len(vectors), _SCORE_BATCH):
            ids, lengths = self._targets(texts[part], None)
            yield ids, lengths, self._logits(vectors[part], ids)

    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the mean cross-entropy of the texts' tokens, with label smoothing.

        Source: released training script; captions are cut to ``max_length`` tokens and lose their end token then.
        """
        _refuse_prompt(prompt)
        _check_pairs(inputs, texts)
        ids, lengths = self._targets(texts, self.config.max_length)
        return self.token_loss(self._vectors(inputs), ids, lengths)

    def loss_terms(self, texts: Sequence[str]) -> int:
        """Return the number of tokens that the loss is a mean of."""
        ids, lengths = self._targets(texts, self.config.max_length)
        counted = _inside(ids, lengths)
        return int((counted & (ids != 0) if self._drops_padding else counted).sum())

    def token_loss(self, vectors: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the loss for target ids (r, s) of which the first ``lengths`` (r,) of each row count."""
        wanted, logits = [], []
        for rows in self._groups(lengths):
            longest = int(lengths[rows].max()) if ids.device.type == "cpu" else ids.shape[1]
            targets, counted = ids[rows, :longest], _inside(ids[rows, :longest], lengths[rows])
            if self._drops_padding:
                counted &= targets != 0
            prefix = self.clip_project(vectors[rows]).unsqueeze(1)
            embeddings = torch.cat([prefix, self.decoder.transformer.wte(targets[:, :-1])], dim=1)
            hidden = self.decoder.transformer(inputs_embeds=embeddings).last_hidden_state
            wanted.append(targets[counted])
            # Only positions that count pass through the output layer.
            logits.append(self.decoder.lm_head(hidden[counted]))
        return cross_entropy(torch.cat(logits), torch.cat(wanted), label_smoothing=self.config.label_smoothing)

    @property
    def _drops_padding(self) -> bool:
        """Whether id 0 counts for nothing, as in the released code, which pads with it; as an end token it counts."""
        return self.config.compat == "reference" and self.tokenizer.end != 0

    def _groups(self, lengths: Tensor) -> Sequence[Tensor | slice]:
        """Return rows of similar length together; on a CPU that halves the padding that is computed."""
        if lengths.device.type != "cpu":
            return [slice(None)]
        return torch.split(lengths.argsort(stable=True), _GROUP)

    def artifact(self) -> WeightArtifact:
        """Return the weights and what the decoder knows of them; what it was trained on is the recipe's to add."""
        tensors = {name: tensor for name, tensor in self.state_dict().items() if name != _TIED}
        tensors |= self.tokenizer.to_tensors()
        config = {name: getattr(self.config, name) for name in ARCHITECTURE}
        extra = {"tokenizer": self.tokenizer.to_extra()}
        return WeightArtifact(tensors, WeightHeader("decoder", "decap", self.space, config=config, extra=extra))

    def _vectors(self, inputs: RegionTokens | RegionViews) -> Tensor:
        if isinstance(inputs, RegionViews):
            raise FeatureError(
                "decoder 'decap' reads vectors and got pictures",
                "choose a region encoder that writes tokens, such as patch-pool or crop",
            )
        vectors = inputs.vectors()
        dim = Space.parse(self.space).dim
        if vectors.shape[1] != dim:
            raise FeatureError(
                f"decoder 'decap' reads {self.space} and got vectors of width {vectors.shape[1]} in {inputs.space}"
            )
        if not self.training:
            inputs.check_finite("what decoder 'decap' reads: the bridge or region encoder before it")
        return vectors.to(device=self._weight.device, dtype=self._weight.dtype)

    @property
    def _weight(self) -> Tensor:
        """The word embedding, for the device and type that inputs go to."""
        weight: Tensor = self.decoder.transformer.wte.weight
        return weight

    def _targets(self, texts: Sequence[str], limit: int | None) -> tuple[Tensor, Tensor]:
        """Return ids (r, s), padded with the end token, and the length of each row (r,)."""
        rows = [self.tokenizer.encode(text)[:limit] for text in texts]
        longest = max(map(len, rows), default=0)
        if longest > self.config.positions:
            raise RegionkitError(
                f"a text has {longest} tokens, decoder 'decap' has {self.config.positions} positions",
                "shorten the text, or train a decoder with more: --set decoder.positions=N",
            )
        end = self.tokenizer.end
        padded = [row + [end] * (longest - len(row)) for row in rows]
        device = self._weight.device
        return torch.tensor(padded, device=device), torch.tensor([len(row) for row in rows], device=device)

    def _logits(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """Return (r, s, known ids) logits of the tokens that follow the prefix and each id but the last."""
        transformer = self.decoder.transformer
        prefix = self.clip_project(vectors).unsqueeze(1)
        hidden = CachedBlocks(transformer, *ids.shape).append(torch.cat([prefix, transformer.wte(ids[:, :-1])], dim=1))
        words = transformer.wte.weight
        known = words if self.config.compat == "reference" else words[: self.tokenizer.size]
        return linear(hidden, known).float()

    def _captions(self, generated: Generated) -> Iterable[Caption]:
        scores = generated.log_likelihood
        if self.config.compat == "reference":
            scores = scores.exp()
        end = self.tokenizer.end
        for ids, score in zip(generated.ids.tolist(), scores.tolist(), strict=True):
            finished = end in ids
            kept = tuple(ids[: ids.index(end)] if finished else ids)
            yield Caption(self.tokenizer.decode(kept), score, kept, finished)


def _inside(ids: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)


def _refuse_prompt(prompt: str | None) -> None:
    if prompt is not None:
        raise RegionkitError(
            f"decoder 'decap' takes no prompt, it got \"{prompt}\"",
            "leave the prompt out, or choose a decoder that reads one: toolkit list-components --kind decoder",
        )


def _refuse_searches(options: GenerateOptions) -> None:
    if options.greedy:
        return
    plain = GenerateOptions()
    asked = [
        f"{name} {getattr(options, name):g}"
        for name in ("beams", "temperature", "min_tokens")
        if getattr(options, name) != getattr(plain, name)
    ]
    raise RegionkitError(
        f"decoder 'decap' writes greedily and cannot follow {', '.join(asked)}",
        "leave that out, or choose a decoder on a language model, such as lm-tokens: "
        "toolkit list-components --kind decoder",
    )


def _check_pairs(inputs: RegionTokens | RegionViews, texts: Sequence[str]) -> None:
    if len(inputs) != len(texts):
        raise ValueError(f"{len(inputs)} regions and {len(texts)} texts: give one text a region")


def _check_rows(config: DecapConfig, tokenizer: Tokenizer) -> None:
    if config.vocabulary and config.vocabulary < tokenizer.size:
        raise RegionkitError(
            f"decoder.vocabulary: {config.vocabulary} rows are fewer than the {tokenizer.size} ids of the tokenizer",
            "leave it out to have as many rows as ids",
        )


def _fresh_tokenizer(config: DecapConfig, context: BuildContext) -> Tokenizer:
    if config.tokenizer == "bytes":
        return ClipTokenizer()
    if config.tokenizer == "clip":
        shared = getattr(context.backbone, "tokenizer", None)
        if not config.merges and isinstance(shared, ClipTokenizer):
            return shared
        if not config.merges:
            raise WeightsError(
                "decoder 'decap' is to be trained with tokenizer clip and has no merges: its backbone has none to lend",
                "write decoder.merges: PATH of merges.txt or bpe_simple_vocab_16e6.txt.gz",
            )
        return ClipTokenizer(config.merges)
    corpus = context.parts.get("corpus")
    if corpus is None:
        raise WeightsError(
            "decoder 'decap' has no weights, and no corpus to take its words from",
            "name weights (toolkit weights list), or train some: toolkit train RECIPE.yaml with a corpus",
        )
    return WordTokenizer.of(corpus.stream())


def _check_width(tensors: Mapping[str, Tensor], space: str, source: str) -> None:
    """Say in one sentence what a wrong decoder would otherwise say of its first layer's shape."""
    weight = tensors.get(_PROJECTION)
    if weight is None or not space or weight.shape[-1] == Space.parse(space).dim:
        return
    raise WeightsError(
        f"{source}: this decoder reads vectors of width {weight.shape[-1]}, and {space} is needed here",
        "name a decoder that was trained for this backbone: decoder.weights: file:PATH",
    )


def _official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop what files carry beside weights (causal masks, merges) and restore the tied output layer."""
    aside = (".attn.bias", ".attn.masked_bias")
    kept = {name: tensor for name, tensor in tensors.items() if name != MERGES and not name.endswith(aside)}
    if _EMBEDDING in kept:
        kept.setdefault(_TIED, kept[_EMBEDDING])
    return kept
