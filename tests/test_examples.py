"""Every YAML file of the examples is good; one that needs weights may lack those that were released or that another
example trains, and nothing else. Those of ``cross`` are trained and run in ``test_cross_pipelines.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from regionkit.core.errors import ConfigError
from regionkit.core.weights import WeightHeader, write_weights
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.training.recipe_file import plan_variants
from regionkit.registry import validate
from regionkit.registry.document import read_document
from regionkit.registry.schema import fill
from regionkit.registry.weights.index import get_index

FOLDER = Path(__file__).resolve().parents[1] / "examples"
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if "external_plugin" not in path.parts)
#: What a machine without the downloads may say, and nothing but that.
MISSING = re.compile(r"no weights of \w+ '[\w-]+' for ")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make the headers of all weights that recipes of the examples would train: files are checked by headers alone."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGIONKIT_WEIGHTS", str(folder))
        waiting = [path for path in FILES if path.parent.name == "recipes"]
        while waiting:  # some recipes start from the weights of others
            done = [path for path in waiting if _pretend(path, folder)]
            waiting = [path for path in waiting if path not in done]
            get_index.cache_clear()
            if not done:
                break
        yield folder
    get_index.cache_clear()


def _pretend(recipe: Path, folder: Path) -> bool:
    """Write headers for what a recipe file trains; False where it lacks weights itself."""
    try:
        plans = plan_variants(recipe, folder=folder)
    except ConfigError:
        return False
    shipped = {file.path.stem for file in get_index().files}
    for plan in plans:
        for role, out in plan.files.items():
            if out.stem not in shipped:
                part, (reads, writes) = plan.parts[role], plan.ports[role]
                corruption = getattr(getattr(plan.parts.get("bridge"), "config", None), "corruption", "none")
                header = WeightHeader(part.kind, part.name, reads or writes, writes, corruption, corpus="x")
                write_weights(out, {"pretended": torch.zeros(1)}, header)
    return True


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in FILES])
def test_an_example_has_no_mistake(path: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("REGIONKIT_DATA", str(FOLDER))
    fewer = ("limit=12", "seeds=[0]") if path.parent.name == "ablations" else ()
    problems = [problem for problem in validate(path, overrides=fewer) if not MISSING.match(problem.message)]
    assert problems == []
    if path.parent.name == "ablations":
        assert plan_ablation(path, fewer).refused == []


SHIPPED = (
    "ablations/quickstart",
    "ablations/patchioner-claims",
    "ablations/patchioner-backbones",
    "ablations/patchioner-weighting",
    "ablations/patchioner-bridges",
    "ablations/patchioner-learned",
    "recipes/mini-dense",
    "recipes/mini-scribble",
)


@pytest.mark.parametrize("name", [pytest.param(name, id=Path(name).stem) for name in SHIPPED])
def test_what_is_shipped_needs_neither_download_nor_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    fewer = ("limit=2",) if name.startswith("ablations") else ()
    assert validate(FOLDER / f"{name}.yaml", overrides=fewer) == []


@pytest.mark.parametrize(
    ("name", "corruption"),
    [pytest.param("decap-talk2dino", "none", id="memory"), pytest.param("decap-talk2dino-noise", "noise", id="noise")],
)
def test_the_recipes_of_the_released_decoders_have_their_settings(name: str, corruption: str) -> None:
    """Source: the released training script and the paper's supplementary; 64 captions a step for 10 passes."""
    data = read_document(FOLDER / "recipes" / f"{name}.yaml").data
    recipe, decoder, bridge, corpus = (
        fill(kind, data[kind]).config for kind in ("recipe", "decoder", "bridge", "corpus")
    )
    assert (recipe.learning_rate, recipe.weight_decay, recipe.warmup, recipe.schedule) == (1e-5, 0.01, 1000, "linear")
    assert (recipe.batch_size, recipe.epochs, recipe.steps, recipe.limit, recipe.clip) == (64, 10, 0, 0, 0)
    assert (decoder.hidden, decoder.layers, decoder.heads, decoder.vocabulary) == (768, 4, 4, 50257)
    assert (decoder.tokenizer, decoder.max_length, decoder.label_smoothing, decoder.dropout) == ("clip", 20, 0.1, 0.1)
    assert bridge.corruption == ("none" if corruption == "none" else "noise(std=0.08)")
    assert corpus.split == "train+restval"
    assert data["backbone"] == {"name": "dinov2-talk2dino"}
