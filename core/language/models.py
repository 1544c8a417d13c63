"""Language models of transformers: their configs from options, their tensors in files, their released folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from regionkit.core.checkpoints import as_floats, read_checkpoint
from regionkit.core.errors import RegionkitError, WeightsError, did_you_mean
from regionkit.core.files import is_file, is_folder
from regionkit.core.language.adapters import is_adapter, plain_name
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.weights import check_fit

Task = Literal["causal", "seq2seq"]

#: Fields of a config that say nothing of the model itself.
_VOLATILE = ("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "torch_dtype", "use_cache")
#: Names under which families keep what one option says; the first that a family has is meant.
_DROPOUTS = (
    "dropout",
    "dropout_rate",
    "attention_dropout",
    "activation_dropout",
    "hidden_dropout",
    "resid_pdrop",
    "embd_pdrop",
    "attn_pdrop",
)
#: Endings of tensors that older versions of transformers stored and that follow from the config.
_COMPUTED = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias")
#: Endings of tensors that releases hold and that no model reads: T5 once stored distances between text and input.
_UNREAD = (".EncDecAttention.relative_attention_bias.weight",)


@dataclass(frozen=True, slots=True)
class Naming:
    """How the options of a decoder are called in transformers.

    Attributes:
        task: What its models are.
        fields: Option -> the names of its field, of which a family has one or none. ``hidden_size`` and the like are
            known to every family by its attribute map.
    """

    task: Task
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReleasedModel:
    """A language model as a folder of the Hugging Face hub has it.

    Attributes:
        tensors: By their names there, float32.
        config: Its config, an object of transformers.
        stored: The same as the header of a weight file keeps it.
        tokenizer: Its tokenizer.
    """

    tensors: Mapping[str, Tensor]
    config: Any
    stored: Mapping[str, Any]
    tokenizer: LanguageTokenizer


def make_config(naming: Naming, model: str, options: Mapping[str, Any], tokenizer: LanguageTokenizer, who: str) -> Any:
    """Make the config of a new model.

    Args:
        naming: How the options are called.
        model: Family, a ``model_type`` of transformers.
        options: Options of ``naming``, then ``dropout`` and ``architecture``.
        tokenizer: Says the number of ids and the special ones.
        who: Whose model it is, for messages: ``decoder 'NAME'``.

    Raises:
        RegionkitError: There is no such family, or it has no such field.
    """
    family = _family(naming.task, model, who)
    plain = family()
    given: dict[str, Any] = {
        "vocab_size": tokenizer.size,
        "bos_token_id": tokenizer.start[0] if tokenizer.start else None,
        "eos_token_id": tokenizer.end,
        "pad_token_id": tokenizer.pad,
    }
    if naming.task == "seq2seq":
        given["decoder_start_token_id"] = tokenizer.pad  # as T5 does
    for option, names in naming.fields.items():
        given |= {name: options[option] for name in [one for one in names if hasattr(plain, one)][:1]}
    given |= {name: options["dropout"] for name in _DROPOUTS if hasattr(plain, name)}
    for name, value in options["architecture"].items():
        if not hasattr(plain, name):
            raise RegionkitError(
                f"{who}: architecture: models of family '{model}' have no '{name}'",
                did_you_mean(name, plain.to_dict()) or f"see the fields of {family.__name__} in transformers",
            )
        given[name] = value
    return _configured(family, given, who)


def stored_config(model: Any) -> dict[str, Any]:
    """Return what the header of a weight file keeps of a model's config."""
    whole = json.loads(model.config.to_json_string(use_diff=False))
    return {name: value for name, value in whole.items() if name not in _VOLATILE}


def restore_config(naming: Naming, stored: Mapping[str, Any], source: str | Path) -> Any:
    """Read what :func:`stored_config` or a ``config.json`` says.

    Raises:
        WeightsError: It is of no family that does this task, or does not make sense.
    """
    given = {name: value for name, value in stored.items() if name not in _VOLATILE}
    model = str(given.pop("model_type", ""))
    if not model:
        raise WeightsError(f"{source}: its config does not say which model it is: model_type is missing")
    try:
        return _configured(_family(naming.task, model, str(source)), given, str(source))
    except WeightsError:
        raise
    except RegionkitError as error:
        raise WeightsError(error.message, *error.hints) from None


def sizes_of(naming: Naming, config: Any) -> dict[str, Any]:
    """Return the options that a config stands for, for the header of a weight file."""
    found: dict[str, Any] = {"model": config.model_type}
    for option, names in naming.fields.items():
        values = [getattr(config, name) for name in names if getattr(config, name, None) is not None]
        if values and isinstance(values[0], bool | int | float | str):
            found[option] = values[0]
    return found


def new_model(naming: Naming, config: Any, who: str) -> Any:
    """Make a model of transformers with fresh weights, drawn from torch's random numbers.

    Raises:
        RegionkitError: The config describes no model.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

    maker = AutoModelForCausalLM if naming.task == "causal" else AutoModelForSeq2SeqLM
    try:
        model = maker.from_config(config)
    except Exception as error:  # each family complains in its own way
        reason = " ".join(str(error).split())[:200]
        raise RegionkitError(f"{who}: no model can be made of these sizes: {type(error).__name__}: {reason}") from None
    # What a release suggests for generation must not silently join what is asked of each call.
    model.generation_config = GenerationConfig(
        bos_token_id=getattr(config, "bos_token_id", None),
        eos_token_id=getattr(config, "eos_token_id", None),
        pad_token_id=getattr(config, "pad_token_id", None),
        decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
    )
    return model.eval()


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model as files have them: without doubles of tied weights, adapters by plain names."""
    doubles = {name for names in _tied_names(model) for name in names[1:]}
    named = {plain_name(name): tensor for name, tensor in model.state_dict().items()}
    return {name: tensor for name, tensor in named.items() if name not in doubles}


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Load what :func:`stored_tensors` gave, or the tensors of a release; every name must be accounted for.

    Adapters that the model has and the file lacks stay as they are.

    Raises:
        WeightsError: Names are missing or left over, or shapes differ.
    """
    for names in _tied_names(model):
        there = [tensors[name] for name in names if name in tensors]
        if any(not torch.equal(there[0], other) for other in there[1:]):
            # FlanT5 has an output layer of its own, although transformers ties it for all of its family.
            untie_output(model)
    complete = check_tensors(model, tensors, source)
    model.load_state_dict({name: complete[plain_name(name)] for name in model.state_dict()})


def check_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Check that the tensors of a file are those of a model, which may be of device ``meta``, and nothing else.

    Returns:
        The same with what a file need not hold: doubles of tied weights, and adapters where it has none at all.

    Raises:
        WeightsError: Names are missing or left over, or shapes differ.
    """
    complete = _completed(model, tensors)
    check_fit(_Names(model), complete, source)
    return complete


def untie_output(model: Any) -> None:
    """Give the output layer weights of its own, equal to the word embeddings that it shared."""
    output = model.get_output_embeddings()
    output.weight = nn.Parameter(output.weight.detach().clone(), requires_grad=output.weight.requires_grad)


def has_adapters(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether the tensors of a file include adapters."""
    return any(is_adapter(name) for name in tensors)


def read_folder(folder: Path, naming: Naming, who: str) -> ReleasedModel:
    """Read a language model and its tokenizer from a folder as the Hugging Face hub has it; no code of it is run.

    Raises:
        WeightsError: Something is missing, damaged, of another kind of model, or not accounted for.
    """
    config, tokenizer = read_family(folder, naming, who)
    tensors = as_floats(read_checkpoint(folder), str(folder))
    return released_model(tensors, config, tokenizer, naming, folder)


def read_family(folder: Path, naming: Naming, who: str) -> tuple[Any, LanguageTokenizer]:
    """Read config and tokenizer of such a folder, which need not hold weights.

    Raises:
        WeightsError: One is missing, damaged, or of another kind of model.
    """
    if not is_folder(folder):
        raise WeightsError(
            f"{who} reads a folder with config.json, weights and a tokenizer, and {folder} is no folder",
            "name the folder that the model was fetched into",
        )
    path = folder / "config.json"
    if not is_file(path):
        raise WeightsError(f"{folder}: there is no config.json in this folder", "fetch the whole folder again")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(stored, dict)
    except (OSError, ValueError, AssertionError, RecursionError) as error:
        raise WeightsError(f"{path}: unreadable: {type(error).__name__}", "fetch it again") from None
    return restore_config(naming, stored, path), LanguageTokenizer.of_folder(folder)


def released_model(
    tensors: Mapping[str, Tensor], config: Any, tokenizer: LanguageTokenizer, naming: Naming, source: str | Path
) -> ReleasedModel:
    """Hold the tensors of a release against its config and its tokenizer; every name must be accounted for.

    Raises:
        WeightsError: Names are missing or left over, shapes differ, or the tokenizer has more ids than the model rows.
    """
    with torch.device("meta"):
        model = new_model(naming, config, str(source))
    tensors = _in_layout(tensors, model)
    check_tensors(model, tensors, source)
    rows = model.get_input_embeddings().weight.shape[0]
    tokenizer = tokenizer.within(rows)
    if tokenizer.size > rows:
        raise WeightsError(
            f"{source}: its tokenizer has {tokenizer.size} ids, its model has {rows} word embeddings",
            "the tokenizer is that of another model: fetch the whole folder again",
        )
    return ReleasedModel(tensors, config, stored_config(model), tokenizer)


class _Names:
    """Stands for a module whose tensors have plain names, for the comparison with those of a file."""

    def __init__(self, model: nn.Module) -> None:
        self.fitted = type(model).__name__
        self._own = {plain_name(name): tensor for name, tensor in model.state_dict().items()}

    def state_dict(self) -> Mapping[str, Tensor]:
        return self._own


def _family(task: Task, model: str, who: str) -> Any:
    """Return the config class of a family that does a task."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if task == "causal" else MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    what = "causal language models" if task == "causal" else "language models with encoder and decoder"
    if model not in known:
        raise RegionkitError(
            f"{who}: model: transformers has no {what} of family '{model}'",
            did_you_mean(model, known) or f"some that it has: {', '.join(sorted(known)[:12])}",
        )
    return CONFIG_MAPPING[model]


def _configured(family: Any, given: Mapping[str, Any], who: str) -> Any:
    try:
        return family(**given)
    except Exception as error:  # families check their fields in their own ways
        reason = " ".join(str(error).split())[:200]
        raise RegionkitError(f"{who}: not a config of {family.__name__}: {reason}") from None


def _completed(model: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add what a file need not hold: doubles of tied weights, and adapters where it has none at all."""
    complete = dict(tensors)
    for names in _tied_names(model):
        there = [name for name in names if name in complete]
        complete |= {name: complete[there[0]] for name in names if there and name not in complete}
    if not has_adapters(tensors):
        fresh = {name: tensor for name, tensor in model.state_dict().items() if is_adapter(name)}
        complete |= {plain_name(name): tensor for name, tensor in fresh.items()}
    return complete


def _tied_names(model: Any) -> list[list[str]]:
    """Return groups of names that stand for one weight."""
    groups: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(weight), []).append(plain_name(name))
    return [names for names in groups.values() if len(names) > 1]


def _in_layout(tensors: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Drop what no model reads, and put the inner model's prefix before names that were saved without it."""
    own = model.state_dict()
    spare = (*_COMPUTED, *_UNREAD)
    kept = {name: tensor for name, tensor in tensors.items() if name in own or not name.endswith(spare)}
    prefix = f"{model.base_model_prefix}."
    if any(name.startswith(prefix) for name in own) and not any(name.startswith(prefix) for name in kept):
        kept = {name if name in own else prefix + name: tensor for name, tensor in kept.items()}
    return kept
