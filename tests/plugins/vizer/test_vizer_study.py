"""The study of docs/vizer.md end to end, from its own files, with a step or two each: what must hold then holds too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from regionkit.core.weights import read_header
from regionkit.plugins.training.recipe_file import plan_variants
from regionkit.plugins.vizer.mapper import NOTES
from regionkit.registry.cli import root
from regionkit.registry.document import read_document
from regionkit.registry.weights.index import get_index

pytestmark = pytest.mark.slow  # seconds each; tests/test_examples.py reads the same files by default

EXAMPLES = Path(__file__).parents[3] / "examples"
#: Sizes that train in a moment.
TINY = ("recipe.images=8", "recipe.batch_size=4")
TINY_BASE = (*TINY, "recipe.warmup=0", "decoder.hidden=32", "decoder.intermediate=32")
TINY_MAPPER = (*TINY, "recipe.max_tokens=4")
TINY_ZERO = (*TINY_MAPPER, "recipe.learning_rate=0.05", "recipe.allow_collapsed=true")


BUDGET = ("steps", "batch_size", "images", "data_seed", "learning_rate", "max_tokens")


def toolkit(*words):
    get_index.cache_clear()
    with torch.random.fork_rng(devices=[]):
        shown = CliRunner().invoke(root, [str(word) for word in words])
    assert shown.exit_code == 0, shown.output
    return shown.output


def train(name, folder, *overrides, only=None, steps=2):
    chosen = ("--only", only) if only else ()
    sets = [word for one in overrides for word in ("--set", one)]
    return toolkit("train", EXAMPLES / f"recipes/{name}.yaml", "--out", folder, "--steps", steps, *chosen, *sets)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with all weights that the ablation asks for, most of them copies."""
    made = tmp_path_factory.mktemp("study")
    variants = read_document(EXAMPLES / "recipes/vizer-zero.yaml").data["variants"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGIONKIT_WEIGHTS", str(made))
        train("vizer-base", made, *TINY_BASE, steps=1)
        train("vizer-mapper", made, *TINY_MAPPER, only="vizer-mapper-gt-pred", steps=1)
        for name in ("gt-tok", "g-pred", "gt-text"):
            shutil.copy(made / "vizer-mapper-gt-pred.safetensors", made / f"vizer-mapper-{name}.safetensors")
        for name in ("vizer-gt-pred", "vizer-reward"):
            train("vizer-zero", made, *TINY_ZERO, only=name, steps=3)
        for name in variants:
            if not (made / f"{name}.safetensors").exists():
                shutil.copy(made / "vizer-reward.safetensors", made / f"{name}.safetensors")
        get_index.cache_clear()
        yield made
    get_index.cache_clear()


def test_each_variant_says_in_its_header_what_it_was_trained_with(folder):
    names = ("vizer-gt-pred", "vizer-reward")
    vizer, reward = (read_header(folder / f"{name}.safetensors").extra[NOTES] for name in names)
    assert (vizer["estimator"], vizer["control"], vizer["positions"]) == ("teacher-force", "none", "pred")
    assert (vizer["mapper"]["variant"], vizer["mapper"]["positions"]) == ("GT", "pred")
    assert (reward["estimator"], reward["reward"]) == ("reinforce", "references")


def test_all_variants_have_one_budget_and_differ_in_what_their_names_say(folder):
    plans = {plan.out.stem: plan for plan in plan_variants(EXAMPLES / "recipes/vizer-zero.yaml", folder=folder)}
    budgets = {tuple(getattr(plan.recipe.config, key) for key in BUDGET) for plan in plans.values()}
    assert len(budgets) == 1
    assert plans["vizer-random"].weights["mapper"] is None
    assert [name for name, plan in plans.items() if plan.recipe.config.control == "shuffled"] == ["vizer-shuffled"]
    assert [name for name, plan in plans.items() if plan.recipe.config.reward == "references"] == ["vizer-reward"]


def test_the_claims_that_must_hold_do_and_the_others_only_report(folder, tmp_path):
    shown = toolkit(
        "ablate",
        EXAMPLES / "ablations/vizer-claims.yaml",
        "--out",
        tmp_path / "out",
        "--limit",
        2,
        "--set",
        "seeds=[0]",
    )
    assert "image-text-cosine(backbone=mini-clip)" in shown
    report = (tmp_path / "out" / "results.md").read_text()
    assert "adapter=false) ~ decoder=lm-tokens(weights=vizer-base-decoder)" in report
    claims = read_document(EXAMPLES / "ablations/vizer-claims.yaml").data["claims"]
    assert [("adapter=false" in one["say"]) for one in claims] == [one.get("must", True) for one in claims]
