"""Workers of an ablation: any process makes one of what ``ablation.json`` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from regionkit.core.results import TrialResult
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.run_folder import Recorded, check_same
from regionkit.plugins.ablation.shards import Share, do_item
from regionkit.plugins.ablation.stages import Shard
from regionkit.plugins.ablation.trial_runner import TrialRunner
from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.registry.discovery.local_plugins import allow_local_plugins, load_local_plugins


class TrialWorker:
    """Does trials of a plan.

    Args:
        plan: The plan.
        trials: How they are done; closed with this worker.
        expected: The trials that may come, in the order in which they are likely to.
    """

    def __init__(self, plan: AblationPlan, trials: TrialRunner, expected: Sequence[Trial]) -> None:
        self._trials, self._expected = trials, expected
        self._by_id = {trial.id: trial for trial in plan.trials}
        self._backbone = ""
        trials.prepare(expected)

    def run(self, item: str, parts: Any = None) -> TrialResult | Shard:
        """Do a trial, or one of its shares, or put a trial's shares together: see ``shards``."""
        trial = self._by_id[Share.parse(item).trial]
        self._enter(trial.combination.plan.key("backbone"))
        return do_item(self._trials, trial, item, parts)

    def _enter(self, backbone: str) -> None:
        """Let go of models of another backbone: others do the trials that are left of it, so none is ever its last."""
        if backbone != self._backbone:
            self._backbone = backbone
            same = [trial for trial in self._expected if trial.combination.plan.key("backbone") == backbone]
            self._trials.expect(same)

    def close(self) -> None:
        """Let go of models."""
        self._trials.close()


def make_worker(
    recorded: Mapping[str, Any],
    threads: int,
    *,
    device: str = "auto",
    tell: Callable[[str], None] = lambda text: None,
) -> TrialWorker:
    """Plan what an ablation says, and make a worker for it, in a process that its own run started.

    Args:
        recorded: What ``ablation.json`` says.
        threads: CPU threads of torch where the ablation leaves them open. Their number changes the last bits of sums,
            so all workers have the same.
        device: A torch device.
        tell: Takes sentences for the user.

    Raises:
        RegionkitError: It cannot be planned here, or its trials would be others.
    """
    content = Recorded.from_dict(recorded)
    torch.set_num_threads(threads)
    with allow_local_plugins():  # whoever started the run has allowed them
        plan = plan_recorded(content)
    check_same(content.facts, plan, "a worker")
    return TrialWorker(plan, TrialRunner(plan, content.run_options(device), tell), plan.trials)


def plan_recorded(recorded: Recorded) -> AblationPlan:
    """Plan a recorded ablation.

    Raises:
        ConfigError: It cannot be planned here; or it brings plugins, and the user has not allowed them.
    """
    if recorded.plugins:
        load_local_plugins(list(recorded.plugins), recorded.document, Path(recorded.place))
    return plan_ablation(recorded.document)
