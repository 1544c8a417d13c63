"""A plugin whose parts have released layouts, for tests of what turns such files into ours."""

from __future__ import annotations

INIT = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import Checkpoint, ComponentSpec, Port

HERE = "released_plugin"


def spec(kind, name, target, **more):
    return ComponentSpec(kind=kind, name=name, target=f"toy_plugin.parts:{target}", weights="index", **more)


@hookimpl
def regionkit_components():
    return [
        spec("backbone", "tower", "ToyBackbone", config=f"{HERE}.configs:TowerConfig", writes=Port("tower/image[4]"),
             text="tower/text[4]", reader=f"{HERE}.readers:read_tower", checkpoints=(
                 Checkpoint("vision", ("Tower-*.pt", "tower*"), source="hub://toys/tower", license="MIT"),
                 Checkpoint("merges", ("merges.txt",), source="hub://toys/tower/merges.txt", license="MIT",
                            shared=True),
             )),
        spec("decoder", "words", "ToyDecoder", config=f"{HERE}.configs:WordsConfig", reads=Port("weights"),
             reader=f"{HERE}.readers:read_words", checkpoints=(
                 Checkpoint("model", ("words-*.pt",), source="https://toys.example/words", license="CC-BY-4.0"),
                 Checkpoint("config", ("words_config.json",), source="https://toys.example/words", optional=True),
             )),
        spec("bridge", "words", "ToyBridge", config=f"{HERE}.configs:WordsConfig", reads=Port("image"),
             writes=Port("text"), reader=f"{HERE}.readers:read_words", checkpoints=(
                 Checkpoint("model", ("bridge.pt",), source="hub://toys/bridge/bridge.pt"),
             )),
    ]


@hookimpl
def regionkit_presets():
    from pathlib import Path
    return [str(Path(__file__).parent / "presets")]
"""

CONFIGS = """
from dataclasses import dataclass


@dataclass(frozen=True)
class TowerConfig:
    weights: str = "auto"
    depth: int = 0
    style: str = "plain"


@dataclass(frozen=True)
class WordsConfig:
    weights: str = "auto"
    heads: int = 0
"""

READERS = """
import json
import torch
from regionkit.core.checkpoints import read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.weights import WeightHeader


def read_tower(files, config):
    tensors = rename(read_checkpoint(files["vision"]), {r"conv\\.weight": "stem.weight", r"norm\\.(.*)": r"norm.\\1"},
                     files["vision"])
    merges = torch.frombuffer(bytearray(files["merges"].read_bytes()), dtype=torch.uint8)
    header = WeightHeader("backbone", "tower", "tower/image[4]", config={"depth": len(tensors)},
                          extra={"style": config.style})
    return WeightArtifact({**tensors, "merges": merges}, header)


def read_words(files, config):
    tensors = rename(read_checkpoint(files["model"]), {r"(head\\.weight)": r"\\1"}, files["model"])
    heads = json.loads(files["config"].read_text())["n_head"] if "config" in files else config.heads
    if not heads:
        raise WeightsError(f"{files['model']}: how many heads?", "--set heads=4")
    kind = "bridge" if "bridge" in files["model"].name else "decoder"
    header = WeightHeader(kind, "words", f"?[{tensors['head.weight'].shape[1]}]", config={"heads": heads})
    return WeightArtifact(tensors, header)
"""

PRESET = """
version: 1
summary: A pipeline of released parts
backbone: {name: tower}
region_encoder: toy-pool
bridge: toy-none
decoder: {name: words}
"""


def install(toy):
    """Add the plugin to a project that has the toy plugin."""
    return toy(
        {
            "released_plugin/__init__.py": INIT,
            "released_plugin/configs.py": CONFIGS,
            "released_plugin/readers.py": READERS,
            "released_plugin/presets/released.yaml": PRESET,
            "released-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: released\nVersion: 1.0\n",
            "released-1.0.dist-info/entry_points.txt": "[regionkit]\nreleased = released_plugin\n",
        }
    )
