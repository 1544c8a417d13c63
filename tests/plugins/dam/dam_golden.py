"""Golden vectors of the reference package: small copies that are always there, and all of them where they are."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from regionkit.core.contracts import BuildContext
from regionkit.core.features import Scene
from regionkit.core.images import open_image, open_mask
from regionkit.core.regions import Mask, Regions
from regionkit.core.weights import WeightFile
from regionkit.plugins.dam.configs import FocalPromptConfig, MlpDownsampleConfig, SiglipConfig
from regionkit.plugins.dam.focal_layout import read_focal_prompt
from regionkit.plugins.dam.focal_prompt import FocalPrompt
from regionkit.plugins.dam.projector import MlpDownsample
from regionkit.plugins.dam.projector_layout import read_projector
from regionkit.plugins.dam.siglip import Siglip
from regionkit.plugins.dam.siglip_layout import read_siglip

ROOT = Path(__file__).resolve().parents[3]
SMALL = ROOT / "tests/golden/dam"
#: Rows of the outputs.
ROWS = ("a", "b_small", "d_fullmask", "c_edge")
#: The folders of a release and the names that a whole model has before theirs.
FOLDERS = {
    "vision_tower": "vision_tower.vision_tower.",
    "context_provider": "context_provider.",
    "mm_projector": "mm_projector.",
    "llm": "llm.",
}


def shared(name: str) -> Path:
    """Return a file of all golden vectors; the test is skipped where they are not beside the repository."""
    path = ROOT.parent / "shared/golden/dam" / name
    if not path.exists():
        pytest.skip(f"all golden vectors are not beside the repository: shared/golden/dam/{name}")
    return path


@cache
def weights():
    """Return the tiny model's tensors under the reference's names."""
    return load_file(SMALL / "weights.safetensors")


@cache
def outputs():
    """Return what the reference makes of the rows."""
    return load_file(SMALL / "outputs.safetensors")


@cache
def sizes():
    """Return the tiny model's options."""
    return json.loads((SMALL / "config.json").read_text())


def images():
    """Return the pictures of the rows."""
    return [open_image(SMALL / f"{row}_image.png") for row in ROWS]


def masks():
    """Return the masks of the rows, (H, W) boolean."""
    return [open_mask(SMALL / f"{row}_mask.png") for row in ROWS]


def regions():
    """Return a mask region on each picture."""
    return Regions.of([[Mask(mask)] for mask in masks()])


def release_in(folder: Path, tensors=None, **context_options) -> Path:
    """Write the tiny model as a release has it: a folder for each part, with its config.json."""
    tensors = weights() if tensors is None else tensors
    said = {key: value for key, value in sizes().items() if not isinstance(value, (dict, list))}
    vision = {key: value for key, value in said.items() if not key.startswith("mm_")}
    configs = {
        "vision_tower": {"model_type": "siglip_vision_model", **vision},
        "context_provider": {"context_provider_type": "cross_attn_end_to_all", **vision, **context_options},
        "mm_projector": {"mm_projector_type": "mlp_downsample"},
        "llm": {"model_type": "llama", **sizes()["llm"]},
    }
    for name, prefix in FOLDERS.items():
        place = folder / name
        place.mkdir(parents=True)
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        save_file(own, place / "model.safetensors", metadata={"format": "pt"})
        (place / "config.json").write_text(json.dumps(configs[name]))
    _write_tokenizer(folder / "llm", sizes()["llm"]["vocab_size"])
    return folder


def _write_tokenizer(folder: Path, size: int) -> None:
    """Write a tokenizer of made-up words: the golden model was made without one."""
    words = ["<pad>", "<s>", "</s>", "<unk>", *(f"w{number}" for number in range(size - 4))]
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    said = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))


def _file(artifact, path=SMALL / "weights.safetensors"):
    return WeightFile(path, artifact.header, {}, lambda: artifact.tensors)


def vision_tower(path=SMALL / "weights.safetensors"):
    """Return the backbone of the golden vectors."""
    artifact = read_siglip({"vision": path}, SiglipConfig())
    config = dataclasses.replace(SiglipConfig(), **artifact.header.config)
    return Siglip.build(config, BuildContext(weights=_file(artifact)))


def focal_prompt(backbone, path=SMALL / "weights.safetensors", **options):
    """Return the region encoder of the golden vectors, with options of its own."""
    asked = FocalPromptConfig(**{key: options[key] for key in ("context", "select_layer") if key in options})
    artifact = read_focal_prompt({"vision": path, "context": path}, asked)
    config = dataclasses.replace(asked, **{**artifact.header.config, **options})
    context = BuildContext(
        reads=backbone.block_space, writes=artifact.header.writes, weights=_file(artifact), backbone=backbone
    )
    return FocalPrompt.build(config, context)


def projector(reads: str, path=SMALL / "weights.safetensors"):
    """Return the projector of the golden vectors, into the width of its language model."""
    artifact = read_projector({"projector": path}, MlpDownsampleConfig())
    config = dataclasses.replace(MlpDownsampleConfig(), **artifact.header.config)
    writes = f"golden/tokens[{sizes()['llm']['hidden_size']}]"
    return MlpDownsample.build(config, BuildContext(reads=reads, writes=writes, weights=_file(artifact)))


def scene(backbone):
    """Return the pictures of the rows as a scene."""
    return Scene(images(), backbone)
