"""The example of robustness: what it asks for, and, slowly, that its claims hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from regionkit.plugins.ablation.commands import ablate
from regionkit.plugins.ablation.planning import plan_ablation

FILE = Path(__file__).parents[3] / "examples" / "ablations" / "robustness.yaml"


def test_it_asks_for_three_perturbations_of_four_encoders():
    plan = plan_ablation(FILE, ["limit=2"])
    assert len({id(trial.combination) for trial in plan.trials}) == 4
    kinds = {one.kind for trial in plan.trials if (one := trial.selection.ref.perturbation) is not None}
    assert kinds == {"jitter", "dilate", "shift-points"}
    assert (len(plan.trials), len(plan.refused)) == (44, 0)


@pytest.mark.slow
def test_its_claims_hold(tmp_path):
    result = CliRunner().invoke(ablate, [str(FILE), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for kind in ("jitter", "dilate", "shift-points"):
        assert f"Regions perturbed, {kind}:" in result.stdout
