"""Every YAML file of the examples is good; one that needs released weights may lack those, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from regionkit.registry import validate
from regionkit.registry.document import read_document
from regionkit.registry.schema import fill

FOLDER = Path(__file__).resolve().parents[1] / "examples"
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if "external_plugin" not in path.parts)
#: What a machine without the downloads may say, and nothing but that.
MISSING = re.compile(r"no weights of \w+ '[\w-]+' for ")


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in FILES])
def test_an_example_has_no_mistake(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    problems = [problem for problem in validate(path) if not MISSING.match(problem.message)]
    assert problems == []


def test_what_is_shipped_needs_no_download() -> None:
    clean = [path for path in FILES if not validate(path)]
    assert {path.stem for path in clean} >= {"quickstart", "patchioner-claims", "mini-dense", "mini-decap-clean"}


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
