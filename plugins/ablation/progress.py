"""What watches a run."""

from __future__ import annotations

from collections.abc import Sequence

from regionkit.core.results import TrialResult
from regionkit.plugins.ablation.trials import AblationPlan, Trial


class Progress:
    """Watches a run, and by itself shows nothing of it."""

    def start(self, plan: AblationPlan, todo: Sequence[Trial]) -> None:
        """The trials in ``todo`` are about to run; the others are done already."""

    def trial_started(self, trial: Trial) -> None:
        """A trial begins here."""

    def trial_finished(self, trial: Trial, result: TrialResult) -> None:
        """A trial has ended and is stored, here or by the hands of another worker."""

    def busy(self, trials: Sequence[tuple[Trial, str]]) -> None:
        """All trials that somebody is at, and who; told several times a second where that can be."""

    def tell(self, text: str) -> None:
        """Something that the user should know at once."""

    def note(self, text: str) -> None:
        """Something that is good to know, and nothing went wrong."""

    def stop(self) -> None:
        """Nothing more will run."""
