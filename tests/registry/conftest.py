"""A throwaway project: plugins as installed distributions, YAML files, and the command line run on them."""

from __future__ import annotations

import shutil
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regionkit.registry import registry, schema
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

TOY_INIT = """
from pathlib import Path
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec, ComponentSpec, PaperSpec, Port, STILL_REGIONS


def spec(kind, name, target, config="", **more):
    target = f"toy_plugin.parts:{target}"
    return ComponentSpec(kind=kind, name=name, target=target, config=config and f"toy_plugin.configs:{config}", **more)


def backbone(name, text=True):
    return spec("backbone", name, "ToyBackbone", "BackboneConfig", weights="index", paper="toys",
                writes=Port(f"{name}/image[4]"), text=f"{name}/text[4]" if text else "")


@hookimpl
def regionkit_components():
    image, text = Port("image"), Port("text")
    return [
        backbone("toy-a"), backbone("toy-b"), backbone("toy-mute", text=False),
        spec("region_encoder", "toy-pool", "ToyEncoder", "EncoderConfig", writes=image, accepts=STILL_REGIONS,
             summary="Mean of everything"),
        spec("region_encoder", "toy-many", "ToyEncoder", writes=Port("image", many=True), accepts=("box",)),
        spec("region_encoder", "toy-views", "ToyEncoder", writes=Port(form="views"), accepts=("box",)),
        spec("bridge", "toy-none", "ToyBridge", reads=image, writes=text),
        spec("bridge", "toy-relabel", "ToyBridge", reads=image, writes=text, relabels=True),
        spec("bridge", "toy-noise", "ToyBridge", "NoiseConfig", reads=image, writes=text),
        spec("bridge", "toy-bank", "ToyBank", "BankConfig", reads=image, writes=text, needs=("corpus",),
             weights="index"),
        spec("bridge", "toy-any", "ToyBridge", reads=Port("any", many=True), writes=Port("same")),
        spec("bridge", "toy-fixed", "ToyBridge", reads=Port("elsewhere[7]"), writes=text),
        spec("bridge", "toy-projector", "ToyBridge", "WeightsConfig", reads=Port("weights"), writes=Port("weights"),
             weights="index"),
        spec("decoder", "toy-words", "ToyDecoder", "DecoderConfig", reads=Port("weights"), weights="index"),
        spec("decoder", "toy-recall", "ToyRecall", "BankConfig", reads=Port("weights"), weights="index",
             memory="bridge/toy-bank"),
        spec("decoder", "toy-fixed", "ToyDecoder", "WeightsConfig", reads=Port("toy-a/text[4]")),
        spec("decoder", "toy-pictures", "ToyDecoder", "WeightsConfig", reads=Port(form="views")),
        spec("decoder", "toy-extra", "ToyDecoder", reads=Port("any"), requires=("not_there_at_all",), extra="toys"),
        spec("decoder", "toy-ports", "ToyDecoder", "DecoderConfig", ports="toy_plugin.configs:decoder_ports"),
        spec("corpus", "toy-texts", "ToyCorpus"),
        spec("dataset", "toy-data", "ToyData", accepts=("box", "point")),
        spec("metric", "toy-metric", "ToyMetric", "MetricConfig"),
        spec("recipe", "toy-recipe", "ToyRecipe", needs=("backbone", "decoder"), trains=("decoder",)),
    ]


@hookimpl
def regionkit_papers():
    return [PaperSpec("toys", "Toys", "@misc{toys, title = {Toys}}")]


@hookimpl
def regionkit_presets():
    return [str(Path(__file__).parent / "presets")]


@hookimpl
def regionkit_weights():
    return [str(Path(__file__).parent / "weights")]


@hookimpl
def regionkit_commands():
    return [CommandSpec("toy-hello", "toy_plugin.commands:hello", "Say hello"),
            CommandSpec("toy-mix", "toy_plugin.commands:hello", "Reads files of its own", files=("left", "right"),
                        check="toy_plugin.commands:check_mix", pipelines=("left", "right")),
            CommandSpec("toy-broken", "toy_plugin.nowhere:hello", "Cannot be imported", files=("broken",),
                        check="toy_plugin.nowhere:check")]
"""

TOY_CONFIGS = '''
from __future__ import annotations
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Optional
from regionkit.core.errors import RegionkitError
from regionkit.core.spec import Port, Ports


@dataclass(frozen=True)
class BackboneConfig:
    """Options.

    Attributes:
        weights: Which weights.
        resolution: Pixels along
            each side.
    """

    weights: str = "none"
    resolution: int = 8


@dataclass(frozen=True)
class EncoderConfig:
    weighting: Literal["uniform", "gaussian", "off"] = "uniform"
    scale: float = 1.0
    size: tuple[int, int] = (1, 1)
    layers: list[int] = field(default_factory=list)
    words: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    maybe: Optional[float] = None
    flag: bool = False
    label: str = ""

    def __post_init__(self):
        if self.scale < 0:
            raise ValueError(f"scale {self.scale:g} must be 0 or more")
        if self.label == "bad":
            raise RegionkitError("'bad' is no label", "write label: good")


@dataclass(frozen=True)
class NoiseConfig:
    std: float

    @property
    def corruption(self):
        return f"noise(std={self.std:g})"


@dataclass(frozen=True)
class BankConfig:
    weights: str = "auto"
    bank: str = "auto"


@dataclass(frozen=True)
class WeightsConfig:
    weights: str = "auto"


@dataclass(frozen=True)
class DecoderConfig:
    hidden: int = 16
    sizes: tuple[int, ...] = (1,)
    weights: str = "auto"


@dataclass(frozen=True)
class MetricConfig:
    order: int = 4


def decoder_ports(config):
    return Ports(Port(f"wide[{config.hidden}]"))
'''

TOY_PARTS = '''
import torch
from regionkit.core.contracts import (
    Backbone, Corpus, Dataset, Decoder, GapBridge, Metric, RegionEncoder)
from regionkit.core.features import Caption, Features, RegionTokens
from regionkit.core.frames import Frame

BUILT = []


class Remembers:
    def __init__(self, config, context):
        super().__init__()
        self.config, self.context = config, context
        BUILT.append(type(self).__name__)

    @classmethod
    def build(cls, config, context):
        return cls(config, context)


class ToyBackbone(Remembers, Backbone):
    text_calls = 0

    def __init__(self, config, context):
        super().__init__(config, context)
        self.space = context.writes

    def frame(self, image_size):
        return Frame.squash(image_size, (8, 8), (2, 2))

    def encode(self, images):
        return Features(torch.ones(len(images), 2, 2, 4), tuple(self.frame(image.size) for image in images))

    def encode_text(self, texts):
        type(self).text_calls += 1
        return torch.tensor([[len(text), 1.0, 0.0, 0.0] for text in texts])


class ToyEncoder(Remembers, RegionEncoder):
    def encode(self, scene, regions):
        return RegionTokens.single(scene.features.patches.mean((1, 2))[list(regions.image)], self.context.writes)


class ToyBridge(Remembers, GapBridge):
    def bridge(self, tokens):
        return RegionTokens(tokens.tokens, tokens.mask, self.context.writes)


class ToyBank(ToyBridge):
    fitted = None

    def fit(self, embeddings, texts):
        self.fitted = embeddings, tuple(texts)


class ToyDecoder(Remembers, torch.nn.Module, Decoder):
    def generate(self, inputs, prompt=None, options=None):
        return [Caption(f"{float(vector.sum()):g}", 0.0) for vector in inputs.vectors()]

    def score(self, inputs, texts, prompt=None):
        return torch.zeros(len(texts))

    def loss(self, inputs, texts, prompt=None):
        return torch.zeros(())


class ToyRecall(ToyDecoder):
    fitted = None

    def fit(self, embeddings, texts):
        self.fitted = embeddings, tuple(texts)


class ToyCorpus(Remembers, Corpus):
    def texts(self):
        return ["a", "bb", "ccc"]


class ToyData(Remembers, Dataset):
    def samples(self, task, split, seed=0, limit=None):
        return []

    def image(self, image_id):
        raise KeyError(image_id)

    def fingerprint(self, task, split, seed=0, limit=None):
        return "0"

    def make(self, folder, split, seed, limit):
        (folder / "picture.txt").write_text(f"{split} {seed} {limit}")
        return {"pictures": limit}

    def verify(self, folder):
        return [] if (folder / "picture.txt").is_file() else ["picture.txt is missing"]


class ToyMetric(Remembers, Metric):
    def update(self, samples, captions):
        pass

    def compute(self):
        raise NotImplementedError


class ToyRecipe:
    """Implements no contract."""
'''

TOY_COMMANDS = """
import click
from regionkit.core.errors import RegionkitError, RunFailed


@click.command()
@click.argument("how", default="good")
def hello(how):
    if how == "wrong":
        raise RegionkitError("wrong use", "type something else")
    if how == "failed":
        raise RunFailed("the work failed")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "bug":
        raise AssertionError("a bug")
    if how == "offline":
        import os
        click.echo(f"{os.environ.get('REGIONKIT_OFFLINE')} {os.environ.get('HF_HUB_OFFLINE')}")
        return
    click.echo("hello")


def check_mix(document):
    from regionkit.core.errors import ConfigError, Problem
    if "bug" in document.data:
        raise RegionkitError("the files of this mix are gone", "make them again")
    known = ("left", "right", "base", "summary")
    problems = [Problem(document.line(key), key, "not in a mix") for key in document.data if key not in known]
    if problems:
        raise ConfigError([*problems[::-1], *problems])
    return f"mix: {' + '.join(document.data[key]['bridge'] for key in ('left', 'right') if key in document.data)}"
"""

PRESET = """
version: 1
summary: A toy
backbone: {name: toy-a}
region_encoder: toy-pool
bridge: toy-none
decoder: toy-fixed
"""


class Project:
    """Files below a folder that Python imports from, and the toolkit run with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, files: dict[str, str | bytes]) -> Project:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(textwrap.dedent(content).lstrip("\n"), encoding="utf-8")
        forget()
        return self

    def plugin(
        self, name: str, source: str, *, module: str = "", version: str = "0.3", distribution: str = "", meta: str = ""
    ) -> Project:
        """Install a one-file plugin as a distribution of its own; ``meta`` is more lines of its metadata."""
        module, distribution = module or name, distribution or name
        info = f"{distribution.replace('-', '_')}-{version}.dist-info"
        return self(
            {
                f"{module}.py": source,
                f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{meta}",
                f"{info}/entry_points.txt": f"[regionkit]\n{name} = {module}\n",
            }
        )

    def install(self, source: Path) -> str:
        """Install a plugin's source tree as pip would, its package and the metadata of its pyproject.toml.

        Returns:
            The name of its distribution.
        """
        meta = tomllib.loads((source / "pyproject.toml").read_text())["project"]
        for package in {target.partition(".")[0] for target in meta["entry-points"]["regionkit"].values()}:
            shutil.copytree(source / package, self.folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        lines = ["Metadata-Version: 2.1", f"Name: {meta['name']}", f"Version: {meta['version']}"]
        lines += [f"Requires-Dist: {line}" for line in meta["dependencies"]]
        points = [f"{name} = {target}" for name, target in meta["entry-points"]["regionkit"].items()]
        info = f"{meta['name'].replace('-', '_')}-{meta['version']}.dist-info"
        self({f"{info}/METADATA": "\n".join(lines), f"{info}/entry_points.txt": "\n".join(["[regionkit]", *points])})
        return str(meta["name"])

    def toy(self) -> Project:
        """Install the toy plugin, whose parts cover every kind of port."""
        return self(
            {
                "toy_plugin/__init__.py": TOY_INIT,
                "toy_plugin/configs.py": TOY_CONFIGS,
                "toy_plugin/parts.py": TOY_PARTS,
                "toy_plugin/commands.py": TOY_COMMANDS,
                "toy_plugin/presets/toy.yaml": PRESET,
                "toys-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: toys\nVersion: 1.2\n",
                "toys-1.2.dist-info/entry_points.txt": "[regionkit]\ntoy = toy_plugin\n",
            }
        )

    def weights(self, file: str, **header) -> Path:
        """Write a weight file with one small tensor."""
        import torch

        from regionkit.core.weights import WeightHeader, write_weights

        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_weights(path, {"w": torch.zeros(64)}, WeightHeader(**header))
        forget()
        return path

    def run(self, *args: str) -> Result:
        """Run ``toolkit`` in this process, from the project's folder."""
        return CliRunner().invoke(root, list(args))


def forget() -> None:
    """Make the toolkit look again at what is installed."""
    registry.get_registry.cache_clear()
    weight_index.get_index.cache_clear()
    schema.config_class.cache_clear()
    schema.option_types.cache_clear()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a fresh project; modules imported from it are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for variable in (
        "REGIONKIT_DISABLE",
        "REGIONKIT_PLUGIN_TIMEOUT",
        "REGIONKIT_WEIGHTS",
        "REGIONKIT_OFFLINE",
        "HF_HUB_OFFLINE",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    forget()
    yield Project(tmp_path)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    forget()


@pytest.fixture
def toy(project):
    """Return a project with the toy plugin."""
    return project.toy()


@pytest.fixture
def problems_of(project):
    """Return a function that gives the mistakes of a file as text."""

    def find(text: str, name: str = "x.yaml") -> str:
        from regionkit.registry import validate

        project({name: text})
        return "\n".join(str(problem) for problem in validate(name))

    return find
