"""Pipelines whose parts are from different papers: each is trained for two steps by its recipe and captions a scene."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from regionkit.core.contracts import Dataset
from regionkit.core.regions import Box, Mask, Point, Region, Trace
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.training.engine import Engine
from regionkit.plugins.training.recipe_file import TrainingPlan, plan_variants
from regionkit.plugins.training.runs import RunOptions, carry_out
from regionkit.registry import load, validate
from regionkit.registry.assembly import build
from regionkit.registry.document import read_document
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.weights.index import get_index

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PIPELINES = sorted((EXAMPLES / "pipelines" / "cross").glob("*.yaml"))
CAPTIONING = ("recipe.evaluated=0", "recipe.images=6", "recipe.images_a_step=2", "corpus.size=300")
#: In the order in which they need each other's weights, with what makes them short.
RECIPES = {
    "cross": CAPTIONING,
    "cross-points-vit-lm": CAPTIONING,
    "cross-vizer-mapper": ("recipe.images=6",),
    "cross-vizer": ("recipe.images=6", "recipe.max_tokens=6", "recipe.allow_collapsed=true"),
}
SHORT = ("recipe.steps=2", "recipe.batch_size=4", "recipe.warmup=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TrainingPlan]]:
    """Train all recipes for two steps and return their plans by the name of the weights."""
    folder = tmp_path_factory.mktemp("cross")
    plans: dict[str, TrainingPlan] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGIONKIT_WEIGHTS", str(folder))
        get_index.cache_clear()
        for name, more in RECIPES.items():
            for plan in plan_variants(EXAMPLES / "recipes" / f"{name}.yaml", (*SHORT, *more), folder=folder):
                report = carry_out(plan, RunOptions(), Engine(torch.device("cpu")))
                assert report.outcome is not None
                assert math.isfinite(report.outcome.loss)
                plans[plan.out.stem] = plan
        yield plans
    get_index.cache_clear()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    found = build("dataset", "mini")
    assert isinstance(found, Dataset)
    return found


def regions() -> list[Region]:
    disc = np.hypot(*np.mgrid[-40:56, -30:66]) < 14
    return [Box(20, 30, 48, 60), Mask(disc), Point.at(40, 44), Trace(((30, 40), (36, 38), (44, 46), (34, 52)))]


def test_there_are_six_and_each_has_a_recipe(trained: dict[str, TrainingPlan]) -> None:
    assert len(PIPELINES) >= 6
    assert {path.stem for path in PIPELINES} <= set(trained)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in PIPELINES])
def test_a_pipeline_runs_what_its_recipe_trained(
    path: Path, trained: dict[str, TrainingPlan], dataset: Dataset
) -> None:
    assert validate(path) == []
    plan, training = plan_pipeline(read_document(path).data), trained[path.stem]
    assert {kind: part.name for kind, part in plan.parts.items()} == {
        kind: training.parts[kind].name for kind in plan.parts
    }
    files = {kind: file.path for kind, file in plan.weights.items() if file}
    assert {kind: files[kind] for kind in training.trained} == training.files
    captions = load(path, device="cpu").caption(dataset.image("test/0/0"), regions())
    assert len(captions) == 4
    assert all(math.isfinite(caption.score) for caption in captions)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in PIPELINES])
def test_two_papers_meet_in_each(path: Path, trained: dict[str, TrainingPlan]) -> None:
    papers = {part.spec.paper for part in trained[path.stem].parts.values() if part.kind != "recipe"}
    papers |= {trained[path.stem].recipe.spec.paper}
    assert len(papers - {""}) >= 2


def test_what_is_left_as_it_is_keeps_its_weights(trained: dict[str, TrainingPlan]) -> None:
    assert trained["patches-seq2seq"].trained == ("bridge",)
    assert trained["patches-decap"].trained == ("bridge",)
    assert trained["points-lm"].trained == ("bridge", "decoder")
    shipped = trained["points-lm"].weights["region_encoder"]
    assert shipped is not None
    assert shipped.path.stem == "mini-scribble-region_encoder"


def test_without_its_adapter_the_pipeline_of_vizer_is_the_one_below(
    trained: dict[str, TrainingPlan], dataset: Dataset
) -> None:
    folder, image = EXAMPLES / "pipelines" / "cross", dataset.image("test/0/3")
    below = load(folder / "points-lm.yaml", device="cpu").caption(image, regions())
    switched = load(folder / "vizer-points-lm.yaml", overrides=["decoder.adapter=off"], device="cpu")
    assert switched.caption(image, regions()) == below


def test_a_decoder_of_one_vector_refuses_the_tokens_of_a_focal_prompt(trained: dict[str, TrainingPlan]) -> None:
    decoder = ("decoder.name=decap", "decoder.weights=mini-dense-decap-clean", "bridge.weights=none")
    (problem,) = validate(EXAMPLES / "pipelines" / "cross" / "focal-seq2seq.yaml", overrides=decoder)
    assert "writes several tokens a region, but decoder 'decap' reads one" in problem.message


def test_the_ablation_compares_just_these(trained: dict[str, TrainingPlan]) -> None:
    ablation = plan_ablation(EXAMPLES / "ablations" / "cross.yaml", ["limit=2", "seeds=[0]"])
    compared = [trial.combination.plan for trial in ablation.trials]
    weights = {tuple(file.path for file in plan.weights.values() if file) for plan in compared}
    for path in PIPELINES:
        plan = plan_pipeline(read_document(path).data)
        assert tuple(file.path for file in plan.weights.values() if file) in weights
    assert len(weights) == len(PIPELINES) + 2


@pytest.fixture
def compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare", EXAMPLES / "pipelines" / "cross" / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_comparison_has_a_row_for_each_and_draws_them(
    compare: ModuleType, trained: dict[str, TrainingPlan], tmp_path: Path
) -> None:
    result = CliRunner().invoke(compare.main, ["--scenes", "3"], catch_exceptions=False)
    rows = result.output.splitlines()
    assert [row.split("`")[1] for row in rows[2:]] == [path.stem for path in PIPELINES]
    result = CliRunner().invoke(compare.main, ["--picture", str(tmp_path / "cross.png")], catch_exceptions=False)
    assert result.exit_code == 0
    with Image.open(tmp_path / "cross.png") as picture:
        assert picture.width == 1480


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [pytest.param(5, 0, 1 / 32, id="all"), pytest.param(1, 1, 3 / 4, id="even"), pytest.param(0, 0, 1.0, id="none")],
)
def test_the_sign_test_is_exact(compare: ModuleType, wins: int, losses: int, p: float) -> None:
    assert compare.sign_test(wins, losses) == p


def test_exchanged_regions_are_of_other_pictures(compare: ModuleType, dataset: Dataset) -> None:
    pairs = compare.exchanged(dataset.samples("box", "test", 0, 4))
    assert len(pairs) == 4
    assert [other.region for _, other in pairs] == [own.region for own, _ in (*pairs[1:], pairs[0])]
    assert all((own.image_id, own.references) == (other.image_id, other.references) for own, other in pairs)
