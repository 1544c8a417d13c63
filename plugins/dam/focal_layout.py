"""Reading the mask embedding and the adapters of a release into ``focal-prompt``'s names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.checkpoints import as_floats, config_beside, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.vision.siglip_layout import TOWER, TOWER_RULES, tower_sizes
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.dam.configs import FocalPromptConfig
from regionkit.plugins.dam.focal_prompt import FocalPrompt, blocks_run
from regionkit.plugins.dam.released import AGAIN, fingerprint
from regionkit.plugins.dam.siglip_layout import MASK_EMBEDDING

_ADAPTER = r"(attn_factor|mlp_factor|(?:layer_norm[12]|cross_attn\.(?:q|k|v|out)_proj|mlp\.fc[12])\.(?:weight|bias))"
_CONTEXT_RULES = {r"(?:context_provider\.)?context_provider_module\.layers\.(\d+)\." + _ADAPTER: r"adapters.\1.\2"}
#: Of the tower everything but the mask embedding is the backbone's; a whole captioner has more parts.
_TOWER_ASIDE = (r"(?:llm|mm_projector|context_provider)\..*", TOWER + r"head\..*")
_CONTEXT_ASIDE = (r"(?:llm|mm_projector|vision_tower)\..*",)
#: What a release's config.json may say, and what we can do with it.
_CONTEXT_TYPE, _ACTIVATION = "cross_attn_end_to_all", "gelu_pytorch_tanh"


def read_focal_prompt(files: Mapping[str, Path], config: FocalPromptConfig) -> WeightArtifact:
    """Turn the folders of a release into the tensors of ``focal-prompt``.

    Args:
        files: ``vision``: the tower that holds the mask embedding; ``context``: the adapters, which only
            ``context: cross-attention`` needs. A file of the whole captioner serves as either.
        config: Options; those that a release decides are set in the header.

    Raises:
        WeightsError: A file is damaged, a tensor is unknown, missing or of another shape, or the release asks for what
            its own code cannot do.
    """
    path = files["vision"]
    rules = {MASK_EMBEDDING: r"mask_embedding.\1", **TOWER_RULES}
    found = as_floats(rename(read_checkpoint(path), rules, path, _TOWER_ASIDE), path)
    tower = {name: tensor for name, tensor in found.items() if name.startswith("vision.")}
    tensors = {name: tensor for name, tensor in found.items() if name not in tower}
    sizes = tower_sizes(tower, path)
    if not tensors:
        raise WeightsError(
            f"{path}: this tower has no embedding of masks: it is a plain SigLIP",
            "take the folder vision_tower of a release",
        )
    try:
        depth = blocks_run(config.select_layer, sizes["layers"])
    except FeatureError as error:
        raise WeightsError(f"{path}: {error.message}", *error.hints) from None
    options: dict[str, Any] = {"compat": "reference", "heads": sizes["heads"], "intermediate": 0}
    options |= {"context": config.context, "select_layer": config.select_layer}  # they say which tensors are taken
    if config.context == "cross-attention":
        adapters, more = _read_adapters(files, depth, sizes["layers"])
        tensors |= adapters
        options |= more
    source = " and ".join(str(file) for file in files.values())
    made = _skeleton(config, options, sizes, depth)
    check_fit(made, tensors, source)
    width = sizes["width"]
    # The mask embedding and the gates: what is small, and differs from release to release.
    telling = sorted(name for name in tensors if name.startswith("mask_embedding.") or name.endswith("_factor"))
    header = WeightHeader(
        "region_encoder",
        "focal-prompt",
        f"{UNNAMED}[{width}]",
        writes=f"focal-prompt/{fingerprint(tensors[name] for name in telling)}[{width}]",
        config=options,
        license="see its repository",
    )
    return WeightArtifact(tensors, header)


def _read_adapters(files: Mapping[str, Path], depth: int, layers: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the adapters of the blocks that are run, and the options that their config.json decides."""
    if "context" not in files:
        raise WeightsError(
            "focal-prompt with context: cross-attention needs the adapters of the release",
            "put its folder context_provider beside vision_tower",
        )
    path = files["context"]
    said = config_beside(path, "context_provider_cfg") or {}
    _check_said(said, path)
    tensors = as_floats(rename(read_checkpoint(path), _CONTEXT_RULES, path, _CONTEXT_ASIDE), path)
    numbers = {int(match[1]) for name in tensors if (match := re.match(r"adapters\.(\d+)\.", name))}
    if not numbers or max(numbers) >= layers:
        raise WeightsError(f"{path}: adapters of {len(numbers)} blocks do not belong to a tower of {layers}", AGAIN)
    if said.get("zero_init_output") is False:  # then the gates are no weights but constantly open
        for number in numbers:
            tensors |= {f"adapters.{number}.{gate}": torch.ones(1) for gate in ("attn_factor", "mlp_factor")}
    # Those behind the last block that is run never see a token: they are dead weight of the release.
    used = {name: tensor for name, tensor in tensors.items() if int(name.split(".")[1]) < depth}
    hidden = next((len(tensor) for name, tensor in tensors.items() if name.endswith("mlp.fc1.bias")), 0)
    options: dict[str, Any] = {
        "intermediate": hidden,
        "masked_attention": bool(said.get("masked_cross_attn", False)),
        "identical_views": "regional" if said.get("treat_image_as_cimage", False) else "global",
    }
    if isinstance(said.get("num_attention_heads"), int):
        options["heads"] = said["num_attention_heads"]
    return used, options


def _check_said(said: Mapping[str, Any], path: Path) -> None:
    """Refuse a release that asks for something else than the one form that exists."""
    wanted = {
        "context_provider_type": _CONTEXT_TYPE,
        "hidden_act": _ACTIVATION,
        "layer_norm_eps": 1e-6,
        "num_mask_channels": 1,
        "context_image_as_queries": False,
    }
    for name, value in wanted.items():
        if said.get(name, value) not in (value, None):
            raise WeightsError(f"{path}: its config.json says {name} {said[name]!r}, and only {value!r} is supported")


def _skeleton(
    config: FocalPromptConfig, options: Mapping[str, Any], sizes: Mapping[str, int], depth: int
) -> FocalPrompt:
    """Return the encoder of these sizes without memory, to hold names and shapes against."""
    width, patch = sizes["width"], sizes["patch"]
    whole = FocalPromptConfig(
        context=config.context,
        heads=options["heads"],
        intermediate=options["intermediate"] or 4 * width,
        compat="reference",
    )
    space = f"{UNNAMED}[{width}]"
    if width % whole.heads:
        raise WeightsError(f"{whole.heads} heads do not share a width of {width} evenly", "its config.json is wrong")
    with torch.device("meta"):
        return FocalPrompt(whole, space, space, depth, (patch, patch))
