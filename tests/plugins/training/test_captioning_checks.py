"""What ``captioning`` finds out before it trains, and what becomes of a run whose end fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn

from regionkit.core.contracts import BuildContext, Component, RegionEncoder, Sample
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.features import RegionTokens
from regionkit.core.regions import Box, Mask, WholeImage
from regionkit.core.testing import GridBackbone, Pooled, Relabel, SampleData, WordDecoder
from regionkit.core.weights import read_header
from regionkit.plugins.training.captioning import Captioning, _exchanged
from regionkit.plugins.training.captioning_config import CaptioningConfig
from regionkit.registry.assembly import build
from regionkit.registry.cli import root
from regionkit.registry.weights.index import get_index

RECIPE = """\
version: 1
recipe: {name: captioning, tasks: [mask, image], steps: 3, batch_size: 2, images: 4, warmup: 1, evaluated: 2}
backbone: {name: mini-dense, weights: none}
region_encoder: {name: patch-pool}
bridge: {name: language-projection}
decoder: {name: lm-tokens, hidden: 16, layers: 1, heads: 2, intermediate: 16, positions: 64}
corpus: {name: mini-captions, size: 60}
dataset: {name: mini}
seed: 1
out: run.safetensors
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    yield tmp_path
    get_index.cache_clear()


def toolkit(*args: str) -> Result:
    return CliRunner().invoke(root, list(args))


def train(*args: str) -> Result:
    return toolkit("train", "tiny.yaml", "--device", "cpu", *args)


class Learned(nn.Module, Component):
    """Half of a part: one weight matrix that starts as the identity."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, dim)
        nn.init.eye_(self.inner.weight)


class LearnedBackbone(Learned, GridBackbone):
    """A backbone with weights that its shared features hand no gradient to, as all of ours do."""

    def __init__(self) -> None:
        GridBackbone.__init__(self)
        state = dict(self.__dict__)
        Learned.__init__(self)
        self.__dict__.update(state)

    @torch.no_grad()
    def encode(self, images):
        features = super().encode(images)
        return replace(features, patches=self.inner(features.patches))

    def artifact(self):
        raise AssertionError("nothing was trained yet")


class LearnedPool(Learned, RegionEncoder):
    """A region encoder with weights; it has no artifact()."""

    def encode(self, scene, regions):
        tokens = Pooled().encode(scene, regions)
        return replace(tokens, tokens=self.inner(tokens.tokens))


class WritesPool(LearnedPool):
    """The same with an artifact()."""

    def artifact(self):
        raise AssertionError("nothing was trained yet")


class Lookup(Relabel):
    """A bridge that hands no gradients on, as a bank does not."""

    @torch.no_grad()
    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        return super().bridge(tokens)


class SizedData(SampleData):
    """Pictures of given sizes."""

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        self.sizes = sizes

    def image(self, image_id: str) -> Image.Image:
        return Image.new("RGB", self.sizes[image_id])


def words() -> WordDecoder:
    """Return a decoder of the first words of the sample captions."""
    firsts = {text.split()[0] for sample in SampleData().samples("mask", "test") for text in sample.references}
    return WordDecoder("words[16]", sorted(firsts))


def made(dataset=None, **parts) -> Captioning:
    options = {"splits": ("test",), "evaluated_splits": ("test",), "batch_size": 3, **parts.pop("options", {})}
    built = {
        "backbone": GridBackbone(),
        "region_encoder": Pooled(),
        "bridge": Relabel("words[16]"),
        "decoder": words(),
        "dataset": dataset or SampleData(),
        **parts,
    }
    return Captioning.build(CaptioningConfig(**options), BuildContext(parts=built))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"evaluated_splits": ("nowhere",)}, "the data set has no split 'nowhere'", id="evaluated"),
        pytest.param({"splits": ("nowhere",)}, "the data set has no split 'nowhere'", id="trained"),
    ],
)
def test_splits_of_the_end_are_checked_at_the_start(options, said):
    with pytest.raises(DataError, match=said):
        made(options=options)


def test_splits_that_are_not_evaluated_need_not_be_there():
    assert dict(made(options={"evaluated": 0, "evaluated_splits": ("nowhere",)}).evaluate()) == {}


def test_a_split_that_is_only_evaluated_is_told_before_any_step(here):
    outcome = train("--set", "recipe.evaluated_splits=[nowhere]")
    assert outcome.exit_code == 2
    assert "the data set has no split 'nowhere'" in outcome.output
    assert "step" not in outcome.output


def test_weights_are_written_although_their_figures_fail(here, monkeypatch):
    def fails(self):
        yield "mask/test: said as a reference", 0.25
        raise DataError("the picture 'x' is gone", "download it again")

    monkeypatch.setattr(Captioning, "evaluate", fails)
    outcome = train()
    assert outcome.exit_code == 1, outcome.output
    files = "weights/run-bridge.safetensors, weights/run-decoder.safetensors"
    wrote, failed = outcome.output.index(f"wrote {files}: 3 steps"), outcome.output.index("the picture 'x' is gone")
    assert wrote < failed
    assert "run: the weights are written, but their figures could not be found out: the picture" in outcome.output
    assert "download it again" in outcome.output
    header = read_header(here / "weights" / "run-bridge.safetensors")
    assert header.extra["training"]["figures"] == {"mask/test: said as a reference": 0.25}
    assert "are finished: this set-up made them before" in train().output


def sample(image: str, region) -> Sample:
    return Sample(f"{image}/{region.kind}", image, region, (image,))


def test_regions_are_exchanged_between_pictures_of_one_size():
    dataset = SizedData({"a": (40, 20), "b": (8, 8), "c": (40, 20), "d": (8, 8), "e": (64, 64)})
    box, small = Box(20, 2, 38, 18), Box(1, 1, 6, 6)
    samples = [sample("a", box), sample("b", small), sample("c", Box(0, 0, 9, 9)), sample("d", Box(2, 2, 8, 8))]
    exchanged = _exchanged(dataset, [*samples, sample("e", Box(0, 0, 60, 60))])
    assert [one.references[0] for one in exchanged] == ["a", "b", "c", "d"]
    assert [one.region for one in exchanged] == [samples[place].region for place in (2, 3, 0, 1)]


def test_masks_of_several_sizes_are_exchanged_within_each():
    dataset = SizedData({"a": (6, 4), "b": (5, 5), "c": (6, 4)})
    masks = {name: Mask(np.ones((height, width), dtype=bool)) for name, (width, height) in dataset.sizes.items()}
    exchanged = _exchanged(dataset, [sample(name, masks[name]) for name in "abc"])
    assert [(one.image_id, one.region is masks[other]) for one, other in zip(exchanged, "ca", strict=True)] == [
        ("a", True),
        ("c", True),
    ]


def test_whole_pictures_and_regions_of_ones_own_picture_are_not_exchanged():
    data = SampleData()
    assert _exchanged(data, data.samples("mask", "test")) == []
    same = SizedData({"a": (9, 9), "b": (9, 9)})
    assert _exchanged(same, [sample("a", Box(0, 0, 3, 3)), sample("a", Box(4, 4, 9, 9))]) == []
    assert _exchanged(same, [sample("a", Box(0, 0, 3, 3)), sample("b", WholeImage())]) == []
    mini = build("dataset", "mini")
    samples = mini.samples("mask", "test", limit=4)
    exchanged = _exchanged(mini, samples)
    assert [one.references for one in exchanged] == [one.references for one in samples]
    assert not any(one.region is other.region for one, other in zip(exchanged, samples, strict=True))


def test_a_part_that_cannot_write_its_weights_down_is_refused_at_the_start():
    with pytest.raises(RegionkitError) as caught:
        made(region_encoder=LearnedPool())
    assert caught.value.message == (
        "recipe 'captioning' cannot train region_encoder 'LearnedPool': no artifact() writes the weights down"
    )
    assert caught.value.hints == ("leave it as it is: recipe.freeze: [backbone, region_encoder]",)
    assert list(made(region_encoder=LearnedPool(), options={"freeze": ("region_encoder",)}).module) == ["decoder"]


def test_a_backbone_that_cannot_write_its_weights_down_is_told_on_the_command_line(here):
    outcome = train("--set", "recipe.freeze=[]")
    assert outcome.exit_code == 2, outcome.output
    assert "recipe 'captioning' cannot train backbone 'MiniDense" in outcome.output
    assert "leave it as it is: recipe.freeze: [backbone]" in outcome.output
    assert not (here / "weights").exists()


@pytest.mark.parametrize(
    ("parts", "idle", "frozen"),
    [
        pytest.param({"backbone": LearnedBackbone}, "backbone 'LearnedBackbone'", "[backbone]", id="shared-features"),
        pytest.param(
            {"region_encoder": WritesPool, "bridge": lambda: Lookup("words[16]")},
            "region_encoder 'WritesPool'",
            "[region_encoder]",
            id="before-a-bank",
        ),
        pytest.param(
            {"backbone": LearnedBackbone, "region_encoder": WritesPool, "bridge": lambda: Lookup("words[16]")},
            "backbone 'LearnedBackbone' and region_encoder 'WritesPool'",
            "[backbone, region_encoder]",
            id="both",
        ),
    ],
)
def test_a_part_without_a_gradient_is_refused_at_the_start(parts, idle, frozen):
    with pytest.raises(RegionkitError) as caught:
        made(**{kind: make() for kind, make in parts.items()}, options={"freeze": ()})
    assert caught.value.message == (f"recipe 'captioning' would train {idle} in vain: the loss has no gradient there")
    assert caught.value.hints[0] == f"leave it as it is: recipe.freeze: {frozen}"


def test_a_region_encoder_behind_a_bridge_that_hands_gradients_on_is_trained():
    assert list(made(region_encoder=WritesPool()).module) == ["region_encoder", "decoder"]


class Drawing(WordDecoder):
    """Draws random numbers for its loss, as dropout does."""

    def loss(self, inputs, texts, prompt=None):
        return super().loss(inputs, texts, prompt) * torch.rand(())


def test_the_look_at_gradients_leaves_no_trace():
    decoder, encoder = Drawing("words[16]", words().words), WritesPool()
    before = torch.get_rng_state()
    recipe = made(region_encoder=encoder, decoder=decoder)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.grad is None for weight in recipe.module.parameters())


def test_a_task_that_the_data_set_does_not_pose_is_a_mistake_of_the_file(here):
    nope = ("--set", "recipe.tasks=[mask, nope]")
    for said in (toolkit("validate", "tiny.yaml", *nope), train(*nope)):
        assert said.exit_code == 2, said.output
        assert "recipe.tasks: 'mini' has no task 'nope'\n  it has: point, box, mask" in said.output


def test_the_decoder_is_asked_with_its_own_prompt(here):
    outcome = train("--set", "recipe.prompt=What is it?")
    assert outcome.exit_code == 2
    assert "recipe.prompt: unknown option" in outcome.output


class Asked(WordDecoder):
    """Remembers its prompts."""

    def loss(self, inputs, texts, prompt=None):
        self.prompts = [*getattr(self, "prompts", []), prompt]
        return super().loss(inputs, texts, prompt)

    def generate(self, inputs, prompt=None, options=None):
        self.prompts = [*getattr(self, "prompts", []), prompt]
        return super().generate(inputs, prompt, options)


def test_no_prompt_takes_the_place_of_the_decoders_own():
    decoder = Asked("words[16]", words().words)
    recipe = made(decoder=decoder, options={"evaluated": 2})
    recipe.loss(recipe.batch(0))
    assert dict(recipe.evaluate())
    assert set(decoder.prompts) == {None}


BANKED = """\
version: 1
recipe: {name: captioning, tasks: [mask], steps: 2, batch_size: 2, images: 4, warmup: 1, evaluated: 0}
backbone: {name: mini-dense, weights: none}
region_encoder: {name: patch-pool}
bridge: {name: memory}
decoder: {name: decap, hidden: 16, layers: 1, heads: 2, positions: 24}
corpus: {name: mini-captions, size: 60}
dataset: {name: mini}
out: banked.safetensors
"""


def test_a_bank_is_filled_and_not_trained(here, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(here / "shelf"))
    (here / "tiny.yaml").write_text(BANKED, encoding="utf-8")
    empty = train("--out", "weights")
    assert empty.exit_code == 2
    assert "bridge 'memory' needs a bank, and which one does not follow from the rest" in empty.output
    (here / "few.txt").write_text("a small red dog\na big blue car\n", encoding="utf-8")
    bank = toolkit(
        "bank", "build", "--backbone", "mini-dense", "--set", "backbone.weights=none", "--texts", "few.txt",
        "--out", "shelf/few.safetensors",
    )  # fmt: skip
    assert bank.exit_code == 0, bank.output
    get_index.cache_clear()
    good = toolkit("validate", "tiny.yaml")
    assert "captioning trains decoder decap with" in good.output
    outcome = train("--out", "weights")
    assert outcome.exit_code == 0, outcome.output
    assert [path.name for path in (here / "weights").iterdir()] == ["banked.safetensors"]
    setup = read_header(here / "weights" / "banked.safetensors").extra["training"]["setup"]
    assert list(setup["weights"]) == ["bridge"]


def test_a_mistake_elsewhere_does_not_make_weights_ambiguous(tmp_path: Path) -> None:
    (tmp_path / "learned.yaml").write_text(
        "version: 1\nrecipe: {name: captioning, tasks: [box], freeze: [backbone, bridge, decoder]}\n"
        "backbone: mini-dense\nregion_encoder: learned-pool\nbridge: {name: noise, std: 0.08}\ndecoder: decap\n"
        "dataset: mini\nsteps: 2\n"
    )
    result = CliRunner().invoke(root, ["validate", str(tmp_path / "learned.yaml")])
    assert result.exit_code == 2
    assert "steps: unknown key" in result.output
    assert "several weight files" not in result.output  # the noise of the bridge says which
    assert "corpus, corpus" not in result.output
