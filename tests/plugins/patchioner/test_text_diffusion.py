"""Training the diffusion bridge: the released loss, batches from seed and step, an average that survives a kill."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from golden import golden_file
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, Corpus, GapBridge, WeightArtifact
from regionkit.core.errors import DataError, FeatureError, RegionkitError
from regionkit.core.features import RegionTokens
from regionkit.core.testing import Drawn, GridBackbone, Pooled, SampleData
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig, TextOnlyConfig
from regionkit.plugins.patchioner.diffusion import Diffusion
from regionkit.plugins.patchioner.diffusion_config import DiffusionConfig, TextDiffusionConfig
from regionkit.plugins.patchioner.text_diffusion import DiffusionBatch, TextDiffusion, region_vectors
from regionkit.plugins.patchioner.text_only import TextOnly
from regionkit.plugins.training.checkpoint import Checkpoint
from regionkit.plugins.training.engine import Engine
from regionkit.plugins.training.loop import LoopOptions, train
from regionkit.registry.document import read_document
from regionkit.registry.schema import fill

param = pytest.param
COLOURS = ("red", "green", "blue", "yellow", "black", "white")
TINY = DiffusionConfig(dim=8, init_dim=4, mults=(1, 2), heads=1, weights="none")
QUICK = TextDiffusionConfig(steps=14, batch_size=8, learning_rate=1e-2, average_every=3, average_after=4)


class Pairs(Corpus):
    def texts(self) -> list[str]:
        return [f"{first} and {second}" for first, second in product(COLOURS, repeat=2)]


def parts_of(seed: int = 0, **more: object) -> dict[str, object]:
    backbone = GridBackbone()
    bridge = Diffusion.build(TINY, BuildContext(backbone.space, backbone.text_space, seed=seed))
    return {"backbone": backbone, "bridge": bridge, "corpus": Pairs(), **more}


def recipe(config: TextDiffusionConfig = QUICK, seed: int = 0, **more: object) -> TextDiffusion:
    return TextDiffusion.build(config, BuildContext(parts=parts_of(seed, **more), seed=seed))


def trained(made: TextDiffusion, folder: Path, **options: object) -> Mapping[str, Tensor]:
    train(made, LoopOptions(Checkpoint(folder / "c.checkpoint", {}), **options))
    return made.export()[0].tensors


class Killed(Exception):
    """Stands for a signal."""


def test_released_loss():
    golden = load_file(golden_file("diffusion_bridge.safetensors"))
    weights = {name[2:]: tensor for name, tensor in golden.items() if name.startswith("w.")}
    init_dim = len(weights["init_conv.weight"])
    levels = [name for name in weights if name.startswith("downs.") and name.endswith(".3.weight")]
    config = DiffusionConfig(
        dim=weights["time_mlp.1.weight"].shape[1],
        init_dim=init_dim,
        mults=tuple(len(weights[f"downs.{level}.3.weight"]) // init_dim for level in range(len(levels))),
        heads=len(weights["mid_attn.fn.fn.to_qkv.weight"]) // 96,
        weights="none",
    )
    bridge = Diffusion(config, f"t[{golden['x'].shape[-1]}]")
    bridge.unet.load_state_dict(weights)
    made = TextDiffusion(TextDiffusionConfig(batch_size=2), bridge, golden["x"][:, 0])
    torch.testing.assert_close(made.clean, golden["x"][:, 0], rtol=0, atol=1e-5)  # the means are zero, the length is 5
    loss, _ = made.loss(DiffusionBatch(golden["x"], golden["loss_t"], golden["loss_noise"], 0))
    torch.testing.assert_close(loss, golden["p_loss"].squeeze(), rtol=1e-6, atol=1e-5)


def test_texts_are_centred_and_of_one_length():
    made = recipe()
    unit = normalize(GridBackbone().encode_text(Pairs().texts()).double(), dim=-1)
    wanted = 5 * normalize(unit - unit.mean(0), dim=-1)
    torch.testing.assert_close(made.clean.double(), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(made.bridge.mean_text.double(), unit.mean(0), rtol=0, atol=1e-6)


def test_a_batch_depends_on_seed_and_step_alone():
    first, second = recipe(), recipe()
    for step in (0, 3, 9):
        first.batch(step)
    for step in (9, 4, 0, 100):
        one, other = first.batch(step), second.batch(step)
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("clean", "step", "noise"))
    assert not torch.equal(recipe(seed=1).batch(0).noise, first.batch(0).noise)
    steps = torch.cat([first.batch(step).step for step in range(200)])
    assert (int(steps.min()) < 10, int(steps.max()) > 989) == (True, True)


def test_every_epoch_sees_each_text_at_most_once():
    made = recipe()
    made.clean = torch.arange(36.0).unsqueeze(1).expand(-1, 16)  # "red and blue" and "blue and red" have one embedding
    first, second = (
        torch.cat([made.batch(step).clean[:, 0, 0] for step in range(4 * epoch, 4 * epoch + 4)]) for epoch in range(2)
    )
    assert len(set(first.tolist())) == len(set(second.tolist())) == 32  # the incomplete batch of 4 is dropped
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("limit", "largest"), [param(0.0, 24_000, id="released"), param(5.0, 5.0, id="limited")])
def test_the_weight_of_a_step_is_its_signal_to_noise_ratio(limit, largest):
    made = recipe(dataclasses.replace(QUICK, snr_limit=limit))
    batch = dataclasses.replace(made.batch(0), step=torch.zeros(8, dtype=torch.long))
    with torch.no_grad():
        loss, _ = made.loss(batch)
        noisy = made.bridge.schedule.noised(batch.clean, batch.step, batch.noise)
        error = (made.module.network(5 * normalize(noisy, dim=-1), batch.step) - batch.clean).square().mean()
    assert float(loss / error) == pytest.approx(largest, rel=0.02)


def test_the_average_by_hand(tmp_path):
    """Every third step enters; during the first four the average is a copy, then its decay rises as 1 - n^(-2/3)."""
    made = recipe()
    seen: list[dict[str, Tensor]] = []
    plain_batch = made.batch

    def watched(step: int) -> DiffusionBatch:
        seen.append({name: weight.detach().double().clone() for name, weight in made.module.network.named_parameters()})
        return plain_batch(step)

    made.batch = watched  # type: ignore[method-assign]
    tensors = trained(made, tmp_path)
    after = [*seen[1:], {name: weight.detach().double() for name, weight in made.module.network.named_parameters()}]
    average = after[0]
    for step in range(0, 14, 3):
        decay = min(0.995, 1 - (1 + step - 4) ** (-2 / 3)) if step > 4 else 0.0
        average = {name: decay * average[name] + (1 - decay) * after[step][name] for name in average}
    for name, wanted in average.items():
        torch.testing.assert_close(tensors[f"unet.{name}"].double(), wanted, rtol=0, atol=1e-6)
    assert any((average[name] - after[-1][name]).abs().max() > 1e-3 for name in average)


def test_without_an_average_the_last_weights_are_exported(tmp_path):
    made = recipe(dataclasses.replace(QUICK, average=0.0))
    tensors = trained(made, tmp_path)
    assert all(torch.equal(tensors[f"unet.{name}"], one) for name, one in made.module.network.state_dict().items())


@pytest.mark.parametrize("stop", [param(10, id="after-the-average"), param(13, id="last")])
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, stop):
    (tmp_path / "whole").mkdir()
    whole = trained(recipe(), tmp_path / "whole")
    broken = recipe()
    plain_batch = broken.batch

    def deadly(step: int) -> DiffusionBatch:
        if step == stop:
            raise Killed
        return plain_batch(step)

    broken.batch = deadly  # type: ignore[method-assign]
    with pytest.raises(Killed):
        trained(broken, tmp_path, checkpoint_steps=1)
    resumed = recipe(seed=0)
    tensors = trained(resumed, tmp_path, checkpoint_steps=1)
    assert tensors.keys() == whole.keys()
    assert all(torch.equal(tensors[name], whole[name]) for name in whole)
    assert list(resumed.evaluate())


@pytest.mark.slow
def test_the_network_learns_to_denoise(tmp_path):
    config = dataclasses.replace(QUICK, steps=150, batch_size=32, average_every=1, snr_limit=5.0)
    before = dict(recipe(config).evaluate())
    made = recipe(config)
    trained(made, tmp_path)
    after = dict(made.evaluate())
    assert set(after) == {"cosine from step 600", "cosine from step 400"}
    assert all(after[name] > before[name] + 0.2 for name in after)


def test_the_bridge_is_exported_for_its_spaces(tmp_path):
    made = recipe()
    artifact: WeightArtifact = made.export()[0]
    header = artifact.header
    assert (header.kind, header.name) == ("bridge", "diffusion")
    assert (header.space, header.writes) == ("grid/image[16]", "grid/text[16]")
    assert "mean_image" not in artifact.tensors
    path = tmp_path / "d.safetensors"
    write_weights(path, artifact.tensors, header, half=True)
    context = BuildContext("grid/image[16]", "grid/text[16]", WeightFile(path, read_header(path)))
    loaded = Diffusion.build(DiffusionConfig(), context)
    assert loaded.config.heads == 1


def test_pictures_give_the_mean_of_their_regions():
    data, encoder = SampleData(), Pooled()
    config = dataclasses.replace(QUICK, pictures=3, split="test", tasks=("box", "image"))
    made = recipe(config, dataset=data, region_encoder=encoder)
    found = region_vectors(config, GridBackbone(), encoder, data)
    assert len(found) == 2 * len(data.samples("box", "test", 0, 3))
    wanted = normalize(found.double(), dim=-1).mean(0)
    torch.testing.assert_close(made.bridge.mean_image.double(), wanted, rtol=0, atol=1e-6)
    assert "mean_image" in made.export()[0].tensors


class Other(GapBridge):
    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        return tokens


class Nothing(Corpus):
    def texts(self) -> Sequence[str]:
        return []


@pytest.mark.parametrize(
    ("config", "parts", "kind", "message"),
    [
        param(
            QUICK, {"bridge": Other()}, RegionkitError, "trains bridge 'diffusion', and was given 'Other'", id="other"
        ),
        param(QUICK, {"corpus": Nothing()}, DataError, "the corpus holds no captions", id="no-texts"),
        param(
            dataclasses.replace(QUICK, batch_size=64),
            {},
            DataError,
            "36 captions are fewer than a batch of 64",
            id="few-texts",
        ),
        param(
            QUICK,
            {"dataset": SampleData(), "region_encoder": Pooled()},
            DataError,
            "the data set has no split 'train'",
            id="split",
        ),
        param(
            dataclasses.replace(QUICK, split="test"),
            {"dataset": SampleData(), "region_encoder": Drawn()},
            FeatureError,
            "needs vectors, region encoder 'Drawn' makes pictures",
            id="pictures",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(config, parts, kind, message):
    with pytest.raises(kind, match=message):
        recipe(config, **parts)


@pytest.mark.parametrize("draws", [1, 2])
def test_a_decoder_may_read_each_text_corrupted_once_and_for_all(draws):
    """As the release of Diffusion Bridge makes its training data: drawn before training, whatever the step."""
    parts = parts_of()
    parts["bridge"].fit(GridBackbone().encode_text(Pairs().texts()), [])
    context = BuildContext(reads="grid/text[16]", parts=parts)
    parts["decoder"] = Decap.build(DecapConfig(hidden=8, layers=1, heads=1, positions=8, weights="none"), context)
    made = TextOnly.build(TextOnlyConfig(steps=9, batch_size=36, draws=draws), BuildContext(parts=parts))
    seen = [dict(zip(texts, tokens.vectors(), strict=True)) for tokens, texts in map(made.batch, range(3))]
    alike = [[torch.equal(one[text], other[text]) for text in one] for one, other in pairwise(seen)]
    assert all(map(all, alike)) if draws == 1 else not any(map(any, alike))
    assert all(torch.equal(seen[0][text], seen[2][text]) for text in seen[0])
    text = next(iter(seen[0]))
    torch.testing.assert_close(seen[0][text].norm(), torch.tensor(1.0))


def test_the_recipe_of_paper_size_has_the_settings_of_the_release():
    data = read_document(Path(__file__).parents[3] / "examples/recipes/diffusion-talk2dino.yaml").data
    recipe, bridge = (fill(kind, data[kind]).config for kind in ("recipe", "bridge"))
    assert recipe == TextDiffusionConfig()
    assert bridge == DiffusionConfig()
    assert (recipe.steps, recipe.batch_size, recipe.learning_rate, recipe.clip) == (3_000_000, 64, 8e-5, 1.0)
    assert (recipe.average, recipe.average_every, recipe.snr_limit) == (0.995, 10, 0)
    assert (bridge.dim, bridge.init_dim, bridge.mults, bridge.heads) == (512, 32, (1, 2, 4, 8), 4)
    assert (bridge.inference_step, bridge.steps, bridge.scale, bridge.timesteps) == (600, 5, 5.0, 1000)


def test_it_is_optimised_as_released():
    settings = recipe().settings
    assert (settings.weight_decay, settings.betas, settings.schedule) == (0.0, (0.9, 0.99), "constant")
    optimizer = Engine.on("cpu").prepare(torch.nn.Linear(2, 2), settings)[1]
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.99)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"average": 1.0}, r"average: 1\.0 must be at least 0", id="average"),
        param({"steps": 0}, "steps: 0 must be 1 or more", id="steps"),
        param({"tasks": ()}, r"tasks: \(\) must name a task", id="tasks"),
        param({"learning_rate": math.nan}, "learning_rate: nan must be more than 0", id="rate"),
        param({"snr_limit": -1.0}, r"snr_limit: -1\.0 must be 0 or more", id="weight"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        TextDiffusionConfig(**options)
