"""Text encoders of the BERT family, read from folders as the Hugging Face hub has them; no code of a folder is run."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.contracts import iter_batches
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.stored import drawn_from
from regionkit.core.weights import WeightFile, check_fit, load_into

#: Families that take a text between two special tokens and whose blocks are followed by no norm, so that leaving the
#: last blocks out leaves the states of those before as they are.
FAMILIES: tuple[str, ...] = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "mpnet",
    "roberta",
    "xlm-roberta",
)
#: Texts that go through an encoder together.
_TOGETHER = 64
#: Encoders that are kept in memory: those of two metrics.
_KEPT = 2
#: Sizes of the encoder that stands in for a trained one in tests.
_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_TINY_SPECIAL = ("[PAD]", "[CLS]", "[SEP]")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a text becomes ids.

    Attributes:
        before: Ids in front of every text.
        after: Ids behind every text.
        pad: Id of padding.
        longest: Most ids of a text, those two included; what is longer loses its end.
        lower: Whether texts are lower-cased first.
        space: Whether a space is put before a text, as byte-level tokenizers want it before a word.
        pooling: ``mean`` or ``cls``: what makes one vector of a sentence of the states of its tokens.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    pad: int
    longest: int
    lower: bool = False
    space: bool = False
    pooling: str = "mean"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as an encoder sees it.

    Attributes:
        ids: Its t ids, special ones included.
        states: (t, d) states of the last block.
        words: (t,) True where an id belongs to the text itself.
    """

    ids: tuple[int, ...]
    states: Tensor
    words: Tensor


class TextEncoder:
    """An encoder with its tokenizer.

    Args:
        name: What it is called in messages.
        model: A model of transformers that gives ``last_hidden_state``.
        tokenizer: A tokenizer of the library ``tokenizers``.
        reading: How a text becomes ids.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, reading: Reading) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # "[SEP]" in a caption is five signs, and no special token
        self.name, self.model, self.tokenizer, self.reading = name, model.eval(), tokenizer, reading
        self.digest = _digest(model.state_dict(), tokenizer.to_str(), reading)
        #: Family and size, for signatures: names of folders differ where the weights do not.
        self.size = f"{model.config.model_type}-{model.config.num_hidden_layers}x{model.config.hidden_size}"

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text without spaces around it, special ones included."""
        reading, text = self.reading, text.strip()
        text = text.lower() if reading.lower else text
        room = reading.longest - len(reading.before) - len(reading.after)
        inner = self.tokenizer.encode(f" {text}" if reading.space else text, add_special_tokens=False).ids
        return (*reading.before, *(inner[:room] if text else ()), *reading.after)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return n texts as the encoder sees them; padding is left out.

        Raises:
            FeatureError: States are NaN or infinite.
        """
        rows = [self.ids(text) for text in texts]
        found: list[Encoded | None] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # equally long texts together: less padding
        for part in iter_batches(len(rows), _TOGETHER):
            chosen = order[part]
            longest = max(len(rows[row]) for row in chosen)
            ids = [[*rows[row], *[self.reading.pad] * (longest - len(rows[row]))] for row in chosen]
            mask = [[1] * len(rows[row]) + [0] * (longest - len(rows[row])) for row in chosen]
            states = self.model(
                input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)
            ).last_hidden_state.float()
            for row, own in zip(chosen, states, strict=True):
                own = own[: len(rows[row])]
                if not bool(torch.isfinite(own).all()):
                    raise FeatureError(f"{self.name} gave NaN or infinite values for the text {texts[row]!r}")
                found[row] = Encoded(rows[row], own, self._words(len(rows[row])))
        return [one for one in found if one is not None]

    def sentences(self, texts: Sequence[str]) -> Tensor:
        """Return one vector a text (n, d), float64, not normalised: the mean of its states, or that of its first id."""
        states = [one.states.double() for one in self.encode(texts)]
        pooled = [one.mean(0) if self.reading.pooling == "mean" else one[0] for one in states]
        return torch.stack(pooled) if pooled else torch.zeros(0, 1)

    def _words(self, length: int) -> Tensor:
        words = torch.zeros(length, dtype=torch.bool)
        words[len(self.reading.before) : length - len(self.reading.after)] = True
        return words


def load_encoder(metric: str, weights: WeightFile | None, *, layers: int = 0, seed: int = 0) -> TextEncoder:
    """Return the encoder of a weight file; the last two are kept, as metrics are built afresh for every run.

    Args:
        metric: Name of the metric, for messages.
        weights: The file; None for a small untrained encoder, which tests judge with.
        layers: How many of its blocks are wanted; 0 for all.
        seed: Of the untrained one.

    Raises:
        WeightsError: The file is damaged, or the encoder has fewer blocks.
    """
    key = (metric, layers, seed, *(_version(weights) if weights else ()))
    if key not in _LOADED:
        _LOADED[key] = _restored(metric, weights, layers) if weights else _untrained(metric, layers, seed)
    _LOADED.move_to_end(key)
    while len(_LOADED) > _KEPT:
        _LOADED.popitem(last=False)
    return _LOADED[key]


_LOADED: OrderedDict[tuple[Any, ...], TextEncoder] = OrderedDict()


def check_layers(metric: str, weights: WeightFile, layers: int) -> None:
    """Refuse to compare states that an encoder does not have, before anything is read.

    Raises:
        WeightsError: It has fewer blocks.
    """
    has = int(_sizes(weights.header.extra, weights.path)["num_hidden_layers"])
    if layers > has:
        raise WeightsError(
            f"{metric}: layer: {layers} was asked for, and the encoder {weights.label} has {has}",
            "the authors' choices: 17 for RoBERTa-large, 10 for RoBERTa-base, 18 for BERT-large, 9 for BERT-base",
        )


def _restored(metric: str, weights: WeightFile, layers: int) -> TextEncoder:
    from tokenizers import Tokenizer

    extra = weights.header.extra
    sizes = _sizes(extra, weights.path)
    if layers:
        check_layers(metric, weights, layers)
    has = int(sizes["num_hidden_layers"])
    model = make_model(extra["model"] | {"num_hidden_layers": layers or has}, weights.path)
    tensors = weights.tensors()
    if layers and sizes["model_type"] != "albert":  # whose blocks share their weights
        later = {f".layer.{number}." for number in range(layers, has)}
        tensors = {name: one for name, one in tensors.items() if not any(part in f".{name}" for part in later)}
    load_into(model, tensors, weights.path)
    try:
        tokenizer = Tokenizer.from_str(json.dumps(extra["tokenizer"]))
        reading = Reading(**{**extra["reading"], **{key: tuple(extra["reading"][key]) for key in ("before", "after")}})
    except Exception as error:  # the library raises plain Exceptions
        raise WeightsError(
            f"{weights.path}: the tokenizer in its header cannot be read: {type(error).__name__}", "fetch it again"
        ) from None
    return TextEncoder(f"{metric}: the encoder {weights.label}", model, tokenizer, reading)


def _sizes(extra: Mapping[str, Any], source: Path) -> Mapping[str, Any]:
    sizes = extra.get("model")
    if not isinstance(sizes, Mapping) or "num_hidden_layers" not in sizes or "model_type" not in sizes:
        raise WeightsError(f"{source}: its header describes no encoder", "fetch it again, or convert it again")
    return sizes


def make_model(stored: Mapping[str, Any], source: Path | str) -> Any:
    """Make an encoder of what its ``config.json`` says, with weights of no meaning and without a pooling layer.

    Raises:
        WeightsError: It is of no family that is known here, or the sizes make no sense.
    """
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    family = stored.get("model_type")
    if family not in FAMILIES:
        raise WeightsError(
            f"{source}: its config.json describes a model of family '{family}'", f"families are: {', '.join(FAMILIES)}"
        )
    given = {name: value for name, value in stored.items() if name not in ("model_type", "architectures", "auto_map")}
    try:
        with drawn_from(0):
            model: Any = AutoModel.from_config(CONFIG_MAPPING[family](**given))
    except Exception as error:  # families check their fields in their own ways
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{source}: no encoder can be made of its config.json: {reason}", "fetch it again") from None
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval()


def _untrained(metric: str, layers: int, seed: int) -> TextEncoder:
    """Make a small encoder of random weights that reads bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel

    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: at for at, sign in enumerate((*_TINY_SPECIAL, *signs))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    sizes = {**_TINY, "num_hidden_layers": layers or _TINY["num_hidden_layers"]}
    with drawn_from(seed):
        model = BertModel(BertConfig(vocab_size=len(signs) + len(_TINY_SPECIAL), **sizes), add_pooling_layer=False)
    return TextEncoder(f"{metric}: the untrained encoder", model, tokenizer, Reading((1,), (2,), 0, 256))


def fits(stored: Mapping[str, Any], tensors: Mapping[str, Tensor], source: Path) -> None:
    """Check that the tensors of a release are those of an encoder, and nothing else.

    Raises:
        WeightsError: Names are missing or left over, or shapes differ.
    """
    with torch.device("meta"):
        model = make_model(stored, source)
    check_fit(model, tensors, source)


def _version(weights: WeightFile) -> tuple[Any, ...]:
    """Return what changes when a weight file, or a file of a release, does."""
    paths = sorted(weights.files.values()) or [weights.path]
    inner = [one for path in paths for one in (sorted(path.rglob("*")) if path.is_dir() else [path]) if one.is_file()]
    return tuple((str(one), one.stat().st_mtime_ns, one.stat().st_size) for one in inner)


def _digest(tensors: Mapping[str, Tensor], tokenizer: str, reading: Reading) -> str:
    """Return 16 hexadecimal digits over all that decides what an encoder says, whatever files it came in."""
    digest = hashlib.sha256(json.dumps([tokenizer, asdict(reading)], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()[:16]
