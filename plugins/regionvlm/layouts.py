"""Reading RegionVLM, BLIP-2 and InstructBLIP as they are released: LAVIS' names and transformers', into ours.

Of a release this plugin takes the Q-Former, its queries, the normalisation of picture features and the projection; the
vision tower is a backbone's and the language model a decoder's. Every name is accounted for or the file is refused.
Our names are those of transformers' ``InstructBlipQFormerModel`` under ``qformer.``, then ``query_tokens``,
``ln_vision.`` and ``projection.``.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.files import is_file, is_folder
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.regionvlm.configs import (
    ARCHITECTURE,
    HEAD_WIDTH,
    NORM_EPS,
    LanguageProjectionConfig,
    PointQFormerConfig,
)
from regionkit.plugins.regionvlm.point_text import WordPieceTokenizer, read_tokenizer
from regionkit.plugins.regionvlm.qformer import PointQFormer

_AGAIN = "fetch it again, or name another file"
_WB = r"(weight|bias)"
_LAYER = r"encoder\.layer\.(\d+)\."
_OURS = r"qformer.encoder.layer.\1."


def _blocks(prefix: str, inner: str) -> dict[str, str]:
    """Return the rules of the Q-Former's layers; ``inner`` is what a layout calls the inside of an attention."""
    layer = prefix + _LAYER
    return {
        rf"{layer}(attention|crossattention)\.{inner}\.(query|key|value)\.{_WB}": _OURS + r"\2.attention.\3.\4",
        rf"{layer}(attention|crossattention)\.output\.(dense|LayerNorm)\.{_WB}": _OURS + r"\2.output.\3.\4",
        rf"{layer}(intermediate|intermediate_query)\.dense\.{_WB}": _OURS + r"\2.dense.\3",
        rf"{layer}(output|output_query)\.(dense|LayerNorm)\.{_WB}": _OURS + r"\2.\3.\4",
    }


_COMMON = {r"query_tokens": "query_tokens"}
LAVIS: dict[str, str] = {
    **_COMMON,
    rf"ln_vision\.{_WB}": r"ln_vision.\1",
    r"Qformer\.bert\.embeddings\.(word|position)_embeddings\.weight": r"qformer.embeddings.\1_embeddings.weight",
    rf"Qformer\.bert\.embeddings\.LayerNorm\.{_WB}": r"qformer.embeddings.layernorm.\1",
    **_blocks(r"Qformer\.bert\.", "self"),
    rf"(?:t5|opt|llm)_proj\.{_WB}": r"projection.\1",
}
#: Parts of LAVIS' models that are not ours, and what only its first stage trains.
LAVIS_ASIDE = (
    r"(?:visual_encoder|t5_model|opt_model|llm_model|vision_proj|text_proj|itm_head)\..*",
    r"temp",
    r"Qformer\.cls\..*",
    r"Qformer\.bert\.embeddings\.position_ids",
)
HF: dict[str, str] = {
    **_COMMON,
    rf"vision_model\.post_layernorm\.{_WB}": r"ln_vision.\1",
    r"qformer\.embeddings\.(word|position)_embeddings\.weight": r"qformer.embeddings.\1_embeddings.weight",
    rf"qformer\.(?:embeddings\.)?layernorm\.{_WB}": r"qformer.embeddings.layernorm.\1",  # InstructBLIP, BLIP-2
    **_blocks(r"qformer\.", "attention"),
    rf"language_projection\.{_WB}": r"projection.\1",
}
HF_ASIDE = (r"vision_model\.(?!post_layernorm\.).*", r"language_model\..*", r"qformer\.embeddings\.position_ids")
BERT: dict[str, str] = {
    r"(?:bert\.)?embeddings\.(word|position)_embeddings\.weight": r"qformer.embeddings.\1_embeddings.weight",
    rf"(?:bert\.)?{_LAYER}(intermediate|output)\.dense\.{_WB}": _OURS + r"\2.dense.\3",
    rf"(?:bert\.)?{_LAYER}output\.LayerNorm\.{_WB}": _OURS + r"output.LayerNorm.\2",
    rf"(?:bert\.)?{_LAYER}output\.LayerNorm\.gamma": _OURS + "output.LayerNorm.weight",
    rf"(?:bert\.)?{_LAYER}output\.LayerNorm\.beta": _OURS + "output.LayerNorm.bias",
}
#: What the Q-Former does not take from BERT: it has its own, trained, or has no such thing.
BERT_ASIDE = (
    r"(?:bert\.)?embeddings\.(?:token_type_embeddings\.weight|position_ids|LayerNorm\..*)",
    r"(?:bert\.)?encoder\.layer\.\d+\.attention\..*",
    r"(?:bert\.)?pooler\..*",
    r"cls\..*",
)
#: The text path, which BLIP-2 deletes from its checkpoints: it never reads text.
_TEXT = re.compile(
    r"qformer\.(?:embeddings\.(?:word|position)_embeddings|encoder\.layer\.\d+\.(?:intermediate|output)\.).*"
)


def read_point_qformer(files: Mapping[str, Path], config: PointQFormerConfig) -> WeightArtifact:
    """Read a Q-Former that takes text from a release.

    Args:
        files: ``model``, ``tokenizer``, and for a checkpoint of BLIP-2 ``bert``: a plain BERT, of which it lacks the
            feed-forward layers and embeddings. A ``config.json`` beside the model is read too.
        config: Options; ``heads`` may say what neither the tensors nor ``config.json`` do.

    Raises:
        WeightsError: The layout is unknown, a tensor is not accounted for or missing, or the tokenizer is not there.
    """
    path = files["model"]
    tensors, lavis = _read(path)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("projection.")}
    tokenizer = _tokenizer(files)
    if not any(_TEXT.fullmatch(name) for name in tensors):
        tensors |= _text_path(files, tensors, tokenizer.size)
    said = _said(path)
    whole = _with_sizes(config, tensors, said, path, lavis=lavis)
    width = _shape(tensors, "ln_vision.weight", path, 1)[0]
    reads, writes = f"{UNNAMED}[{width}]", f"point-qformer/{_name(path)}[{whole.hidden}]"
    with torch.device("meta"):
        skeleton = PointQFormer(whole, reads, writes, tokenizer)
    check_fit(skeleton, tensors, path)
    header = skeleton.artifact().header
    shapes = {name: header.config[name] for name in ARCHITECTURE}  # what regions meant to it is the user's to say
    shapes["norm_eps"] = whole.norm_eps
    return WeightArtifact(tensors, dataclasses.replace(header, config=shapes, license="see its repository"))


def read_language_projection(files: Mapping[str, Path], config: LanguageProjectionConfig) -> WeightArtifact:
    """Read the projection of a release.

    Raises:
        WeightsError: The layout is unknown, a tensor is not accounted for, or there is no projection.
    """
    path = files["model"]
    tensors, _ = _read(path)
    _, reads = _shape(tensors, "projection.weight", path)
    chosen = {name: tensor for name, tensor in tensors.items() if name.startswith("projection.")}
    # What it writes is left open: a release does not name its language model's space, so it is the decoder's.
    header = WeightHeader("bridge", "language-projection", f"{UNNAMED}[{reads}]", license="see its repository")
    return WeightArtifact(chosen, header)


def _read(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Return what is ours of a release under our names, and whether it is in LAVIS' layout."""
    tensors = read_checkpoint(path)
    lavis = any(name.startswith("Qformer.") for name in tensors)
    if not lavis and not any(name.startswith("qformer.") for name in tensors):
        raise WeightsError(
            f"{path}: this is no checkpoint with a Q-Former; it holds {', '.join(list(tensors)[:3])}",
            "LAVIS' names start with Qformer., transformers' with qformer.",
        )
    rules, aside = (LAVIS, LAVIS_ASIDE) if lavis else (HF, HF_ASIDE)
    return as_floats(rename(tensors, rules, path, aside), path), lavis


def _tokenizer(files: Mapping[str, Path]) -> WordPieceTokenizer:
    """Read the tokenizer that was named, or that lies in the folder of BERT."""
    for role in ("tokenizer", "bert"):
        path = files.get(role)
        if path is not None and (role == "tokenizer" or _has_tokenizer(path)):
            return read_tokenizer(path)
    raise WeightsError(
        f"{files['model']}: the Q-Former reads points through BERT's tokenizer, and it is not there",
        "put vocab.txt of bert-base-uncased, or the folder qformer_tokenizer of the release, beside it",
    )


def _has_tokenizer(path: Path) -> bool:
    return is_folder(path) and any(is_file(path / name) for name in ("tokenizer.json", "vocab.txt"))


def _text_path(files: Mapping[str, Path], tensors: Mapping[str, Tensor], ids: int) -> dict[str, Tensor]:
    """Return the tensors of the text path from BERT, where RegionVLM's training starts too.

    BERT has no [DEC] and other special tokens that a tokenizer may have more; their rows are the mean of all others.
    """
    if "bert" not in files:
        raise WeightsError(
            f"{files['model']}: this Q-Former has no text path (BLIP-2 deletes it), so it cannot read points",
            "put bert-base-uncased beside it (a folder of that name with its weights and vocab.txt), "
            "from which the missing layers are taken",
            "or take a release that reads text, such as RegionVLM's or InstructBLIP's",
        )
    source = files["bert"]
    found = as_floats(rename(read_checkpoint(source), BERT, source, BERT_ASIDE), source)
    layers = _count(tensors)
    kept = {name: tensor for name, tensor in found.items() if not (at := _layer_of(name)) or int(at) < layers}
    name = "qformer.embeddings.word_embeddings.weight"
    words = kept.get(name)
    if words is not None and len(words) < ids:
        kept[name] = torch.cat([words, words.mean(0, keepdim=True).expand(ids - len(words), -1)])
    return kept


def _with_sizes(
    config: PointQFormerConfig, tensors: Mapping[str, Tensor], said: Mapping[str, Any], path: Path, *, lavis: bool
) -> PointQFormerConfig:
    """Return the options with the sizes that shapes and ``config.json`` say.

    Raises:
        WeightsError: A tensor that says them is missing, or heads cannot be told.
    """
    _, queries, hidden = _shape(tensors, "query_tokens", path, 3)
    looking = [int(_layer_of(name) or 0) for name in tensors if name.endswith("crossattention.attention.key.weight")]
    looking.sort()
    layers, every = _count(tensors), looking[1] - looking[0] if len(looking) > 1 else max(_count(tensors), 1)
    if looking != list(range(0, layers, every)):
        raise WeightsError(f"{path}: its layers {looking} look at the picture, which is no regular distance", _AGAIN)
    qformer, vision = said.get("qformer_config") or {}, said.get("vision_config") or {}
    heads = config.heads or int(qformer.get("num_attention_heads", 0))
    if not heads and hidden % HEAD_WIDTH:
        raise WeightsError(
            f"{path}: a Q-Former of width {hidden} has no heads of {HEAD_WIDTH}, and nothing says how many it has",
            "write region_encoder.heads: N, or put its config.json beside it",
        )
    vocabulary, positions = (
        _shape(tensors, f"qformer.embeddings.{which}_embeddings.weight", path)[0] for which in ("word", "position")
    )
    sizes = {
        "queries": queries,
        "hidden": hidden,
        "layers": layers,
        "heads": heads or hidden // HEAD_WIDTH,
        "intermediate": _shape(tensors, "qformer.encoder.layer.0.intermediate_query.dense.weight", path)[0],
        "cross_every": every,
        "positions": positions,
        "vocabulary": vocabulary,
        # 0 leaves it to compat: released code and transformers run the same LAVIS weights with another one.
        "norm_eps": 0.0 if lavis else float(vision.get("layer_norm_eps", NORM_EPS["paper"])),
    }
    try:
        return dataclasses.replace(config, **sizes)  # type: ignore[arg-type]
    except ValueError as error:
        raise WeightsError(f"{path}: the checkpoint does not fit the options: {error}", _AGAIN) from None


def _said(path: Path) -> dict[str, Any]:
    """Return what the config.json of a model says; nothing where there is none.

    Raises:
        WeightsError: It is unreadable.
    """
    place = (path if is_folder(path) else path.parent) / "config.json"
    if not is_file(place):
        return {}
    try:
        said = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{place}: the model's description is unreadable: {error}", "fetch it again") from None
    return said if isinstance(said, dict) else {}


def _name(path: Path) -> str:
    """Name the space of a release's query outputs after its file, or its folder where all files are called alike."""
    plain = not is_folder(path) and path.stem in ("model", "pytorch_model")
    stem = path.parent.name if plain else path.name if is_folder(path) else path.stem
    return re.sub(r"[^\w.-]+", "-", stem) or "release"


def _count(tensors: Mapping[str, Tensor]) -> int:
    return len({at for name in tensors if (at := _layer_of(name))})


def _layer_of(name: str) -> str | None:
    match = re.match(r"qformer\.encoder\.layer\.(\d+)\.", name)
    return match[1] if match else None


def _shape(tensors: Mapping[str, Tensor], name: str, path: Path, dims: int = 2) -> tuple[int, ...]:
    """Return the shape of a tensor.

    Raises:
        WeightsError: There is no such tensor, or it has another number of dimensions.
    """
    if name not in tensors:
        raise WeightsError(f"{path}: the checkpoint has no {name}", _AGAIN)
    shape = tuple(tensors[name].shape)
    if len(shape) != dims:
        raise WeightsError(f"{path}: {name} is {shape}, and should have {dims} dimensions", _AGAIN)
    return shape
