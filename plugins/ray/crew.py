"""The workers of a run on a cluster: who does what, who died, who takes the place."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Item, Work, beating
from regionkit.plugins.ray.actors import Actor, Opened, Refused
from regionkit.plugins.ray.cluster import Cluster
from regionkit.plugins.ray.configs import RayConfig

#: Seconds between two looks at work that others have, and may lose.
_LOOK = 0.5
#: Seconds without any worker after which the user is told of it, and those until it is told again.
_SILENT, _AGAIN = 15.0, 60.0
_GO_ON = "run the same command again to go on: what is done is kept"
#: Environment variables with these beginnings hold for the workers as they do here.
_OURS = ("REGIONKIT_", "HF_")


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker is given: a device, CPUs and GPUs."""

    device: str
    cpus: int
    gpus: float


@dataclass(slots=True)
class Seat:
    """A worker's place in the crew.

    Attributes:
        owner: Name under which it has its item; a worker that takes the place of another has a name of its own.
        actor: Ray's handle of it.
        call: What it is asked to do now; None for nothing.
        state: ``opening`` until its worker is made.
        item: What it does now.
        group: Group of the last item: its models are loaded.
        host: Name of its machine, where it is known.
        process: Number of its process there.
        since: When it got it, in seconds of a clock that never goes back.
        deaths: How many workers died here one after the other with nothing done.
    """

    owner: str
    actor: Any
    call: Any
    state: Literal["opening", "ready"] = "opening"
    item: Item | None = None
    group: str = ""
    host: str = ""
    process: int = 0
    since: float = 0.0
    deaths: int = 0


class Crew:
    """Hands work to actors and takes results back, all in this process.

    Args:
        work: The work.
        cluster: Where they work.
        place: What each worker is given.
        config: The launcher's options.
    """

    def __init__(self, work: Work, cluster: Cluster, place: Place, config: RayConfig) -> None:
        self._work, self._cluster, self._place, self._config = work, cluster, place, config
        self._ray = cluster.ray
        self._seats: list[Seat] = []
        self._name = f"ray-{socket.gethostname()}-{os.getpid()}"
        self._hired = 0
        self._last_death = ""
        self._progress = time.monotonic()
        self._silent_until = _SILENT

    def run(self, workers: int) -> None:
        """Work until no item remains.

        Raises:
            RunFailed: The work is to stop, a worker cannot be made, or all have died, or the cluster has.
        """
        self._seats = [self._hire() for _ in range(workers)]
        with beating(self._work, lambda: [seat.owner for seat in list(self._seats)], self._config.lease):
            while self._work.remaining():
                self._check_cluster()
                for seat in self._seats:
                    if seat.state == "ready" and seat.call is None:
                        self._hand_out(seat)
                for seat in self._heard():
                    self._hear(seat)
                self._end_late()
                self._check_progress()

    def dismiss(self) -> None:
        """End all workers, whatever they are doing."""
        owners = [seat.owner for seat in self._seats]
        for seat in list(self._seats):
            self._dismiss(seat)
        for owner in owners:
            self._work.leave(owner)

    def _hire(self, deaths: int = 0) -> Seat:
        """Ask the cluster for a worker; it comes when there is room for it."""
        self._hired += 1
        place, ray = self._place, self._ray
        variables = {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
        made = ray.remote(Actor).options(num_cpus=place.cpus, num_gpus=place.gpus, max_restarts=0)
        actor = made.remote(os.getcwd(), variables)
        plan = self._work.plan
        call = actor.open.remote(plan.target, {**plan.options, "device": place.device})
        return Seat(f"{self._name}-{self._hired}", actor, call, deaths=deaths)

    def _hand_out(self, seat: Seat) -> None:
        item = self._work.take(seat.owner, seat.group)
        if item is None:
            return
        seat.item, seat.group, seat.since = item, item.group, time.monotonic()
        seat.call = seat.actor.run.remote(item.id, item.parts)

    def _heard(self) -> list[Seat]:
        """Wait a moment for answers, and return the seats that have one."""
        calls = {seat.call: seat for seat in self._seats if seat.call is not None}
        if not calls:
            time.sleep(_LOOK)
            return []
        ready, _ = self._ray.wait(list(calls), num_returns=1, timeout=_LOOK)
        if ready:  # others may have answered as well
            ready, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        return [calls[call] for call in ready]

    def _hear(self, seat: Seat) -> None:
        """Take what a worker answers.

        Raises:
            RunFailed: The work is to stop here, or the worker cannot be made.
        """
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(seat.call)
        except errors.RayTaskError as error:
            if seat.state == "opening" and isinstance(error.cause, ImportError):
                raise RunFailed(
                    f"launcher 'ray': a worker could not be made: {error.cause}",
                    "install the same versions of regionkit and of its plugins on every machine of the cluster",
                ) from error
            raise  # a fault of the code, with the traceback of the worker
        except errors.RayError as error:
            self._replace(seat, error)
            return
        self._progress = time.monotonic()
        seat.call = None
        if seat.state == "opening":
            self._opened(seat, answer)
            return
        item, seat.item = seat.item, None
        assert item is not None
        seat.deaths = 0
        self._work.finish(seat.owner, item, answer)

    def _opened(self, seat: Seat, answer: Opened | Refused) -> None:
        if isinstance(answer, Refused):
            raise RunFailed(
                f"launcher 'ray': the worker on {answer.host} cannot do this run: {answer.message}",
                *answer.hints,
                "code, weights, data and the run's folder are the same on all machines, at the same paths",
            )
        seat.state, seat.host, seat.process = "ready", answer.host, answer.process

    def _replace(self, seat: Seat, error: Exception) -> None:
        """Give the item of a dead worker back, and ask for another worker.

        Raises:
            RunFailed: The work is to stop here, or this was the last worker, or its cluster has died.
        """
        self._check_cluster()
        self._last_death = reason = f"the worker on {seat.host or 'the cluster'} died: {_cause(error)}"
        deaths = seat.deaths + 1
        again = deaths <= self._config.max_restarts
        self._work.tell(f"ray: {reason}" + ("; another takes its place" if again else ""))
        self._dismiss(seat)
        if again:
            self._seats.append(self._hire(deaths))
        if seat.item is not None:
            self._work.lose(seat.owner, seat.item, reason)
        self._work.leave(seat.owner)
        if not self._seats and self._work.remaining():
            raise RunFailed(
                f"launcher 'ray' has no worker left: {reason}",
                _GO_ON,
            )

    def _end_late(self) -> None:
        """End workers whose item takes too long.

        Raises:
            RunFailed: The work is to stop at such an item.
        """
        limit = self._config.time_limit
        if limit is None:
            return
        busy = [seat for seat in self._seats if seat.item is not None]
        for seat in busy:
            if time.monotonic() - seat.since <= limit:
                continue
            self._dismiss(seat)
            self._seats.append(self._hire())
            assert seat.item is not None
            self._work.fail(seat.owner, seat.item, f"took longer than {limit:g} s; raise launcher.time_limit")
            self._work.leave(seat.owner)

    def _dismiss(self, seat: Seat) -> None:
        """End a worker. One that cannot be reached may come back, and is not waited for."""
        self._seats.remove(seat)
        with suppress(Exception):  # a cluster that is gone has no workers, and that is not what a run ends with
            self._ray.kill(seat.actor)

    def _check_cluster(self) -> None:
        """Give up with a cluster that was started here: nobody brings it back.

        Raises:
            RunFailed: It has died.
        """
        if death := self._cluster.death():
            raise RunFailed(f"launcher 'ray': the cluster that this run started has died: {death}", _GO_ON)

    def _check_progress(self) -> None:
        """Give up where no worker gets a place, and tell of it before.

        Raises:
            RunFailed: None has for a long time.
        """
        now, limit = time.monotonic(), self._config.start_timeout
        if any(seat.state == "ready" for seat in self._seats):
            self._progress, self._silent_until = now, _SILENT
        elif (waited := now - self._progress) > limit:
            place = self._place
            each = f"{place.cpus} CPU" + (f" and {place.gpus:g} GPU" if place.gpus else "")
            raise RunFailed(
                f"launcher 'ray': no worker could start in {limit:g} seconds; each asks for {each}",
                *([f"before that, {self._last_death}"] if self._last_death else []),
                "look at the cluster with: ray status",
            )
        elif waited > self._silent_until:
            self._silent_until = waited + _AGAIN
            self._work.tell(f"ray: no worker has a place in the cluster; waiting for one, {limit - waited:.0f} s more")


def _cause(error: Exception) -> str:
    """Return in a few words what Ray says of a worker's death, which is a page."""
    text = " ".join(str(error).split())
    detail = text.partition("Worker exit detail: ")[2] or text
    return detail.partition(". ")[0].rstrip(".")
