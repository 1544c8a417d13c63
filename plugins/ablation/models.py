"""The models of a run: built when a stage needs them, shared by trials, and let go as soon as no trial needs them."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Iterable
from contextlib import nullcontext

import torch

from regionkit.core.compute import Precision, in_precision
from regionkit.core.contracts import Backbone, Component, Decoder, GapBridge, RegionEncoder
from regionkit.core.out_of_memory import free_memory
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.clock import StageClock
from regionkit.plugins.ablation.costs import weight_bytes
from regionkit.registry.assembly import build_planned, pick_device
from regionkit.registry.packages import require_packages
from regionkit.registry.plan import PipelinePlan

#: Share of the memory that models may take by default; the rest is for what they compute.
_SHARE = 0.6
#: Bytes from which on it is worth looking for models that still hang in reference cycles.
_LARGE = 100_000_000


class Models:
    """Built parts by the key of their plan.

    Parts that have run are kept for the trials ahead, least recently used ones dropped where they would take more than
    ``limit`` bytes together; a pipeline whose parts do not fit beside each other has one of them at a time.

    Args:
        device: ``auto`` or a torch device.
        limit: Bytes of parameters and buffers; None for most of the device's memory.
        computed: In what backbones and decoders compute.
    """

    def __init__(self, device: str = "auto", limit: int | None = None, computed: Precision = "float32") -> None:
        self.device = pick_device(device)
        self.computed: Precision = computed
        self._limit = limit
        self._held: OrderedDict[str, Component] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._wanted: Counter[str] = Counter()
        #: Counts the seconds of building; None for nobody.
        self.clock: StageClock | None = None

    @property
    def limit(self) -> int:
        """Bytes that parts may take together; asking a GPU for its size opens it, so only who builds asks."""
        if self._limit is None:
            self._limit = _memory(self.device)
        return self._limit

    def expect(self, plans: Iterable[PipelinePlan]) -> None:
        """Say which pipelines come, one for each trial; what none of them needs is let go."""
        self._wanted = Counter(plan.key(kind) for plan in plans for kind in PARTS)
        self._drop([key for key in self._held if not self._wanted[key]])

    def done(self, plan: PipelinePlan) -> None:
        """Say that a trial of a pipeline is over; models whose last trial it was are let go."""
        keys = [plan.key(kind) for kind in PARTS]
        self._wanted.subtract(keys)
        self._drop([key for key in keys if self._wanted[key] <= 0])

    def clear(self) -> None:
        """Let go of everything."""
        self._drop(list(self._held))

    def backbone(self, plan: PipelinePlan) -> Backbone:
        """Return the backbone of a pipeline."""
        found = self._get(plan, "backbone")
        assert isinstance(found, Backbone)
        return found

    def region_encoder(self, plan: PipelinePlan) -> RegionEncoder:
        """Return the region encoder of a pipeline."""
        found = self._get(plan, "region_encoder")
        assert isinstance(found, RegionEncoder)
        return found

    def bridge(self, plan: PipelinePlan) -> GapBridge:
        """Return the bridge of a pipeline."""
        found = self._get(plan, "bridge")
        assert isinstance(found, GapBridge)
        return found

    def decoder(self, plan: PipelinePlan) -> Decoder:
        """Return the decoder of a pipeline."""
        found = self._get(plan, "decoder")
        assert isinstance(found, Decoder)
        return found

    @property
    def held(self) -> list[str]:
        """Keys of the parts in memory."""
        return list(self._held)

    def nbytes(self, key: str) -> int:
        """Return the bytes of a part in memory."""
        return self._sizes[key]

    def _get(self, plan: PipelinePlan, kind: str) -> Component:
        key = plan.key(kind)
        if key not in self._held:
            require_packages(plan.parts[kind].spec)
            # Parts are built around their backbone: an encoder between its blocks, a decoder with its tokenizer.
            built = {} if kind == "backbone" else {"backbone": self.backbone(plan)}
            # A part takes about as much memory as its weights take on disk.
            self._make_room(weight_bytes(plan, kind), keep=plan.key("backbone"))
            with self.clock.stage("build") if self.clock is not None else nullcontext():
                component = build_planned(plan, kind, built, self.device)
                in_precision(component, self.computed)
            self._held[key], self._sizes[key] = component, _nbytes(component)
            self._make_room(0, keep=key)
        self._held.move_to_end(key)
        return self._held[key]

    def _make_room(self, size: int, keep: str) -> None:
        """Drop the least recently used parts until ``size`` more bytes fit; small ones and the one to keep stay."""
        for key in list(self._held):
            if sum(self._sizes.values()) + size <= self.limit:
                return
            if key != keep and self._sizes[key]:
                self._drop([key])

    def _drop(self, keys: Iterable[str]) -> None:
        freed = 0
        for key in keys:
            if self._held.pop(key, None) is not None:
                freed += self._sizes.pop(key)
        if freed > _LARGE:
            free_memory()


def _nbytes(component: Component) -> int:
    if not isinstance(component, torch.nn.Module):
        return 0
    tensors = {id(one): one for one in [*component.parameters(), *component.buffers()]}.values()
    return sum(one.numel() * one.element_size() for one in tensors)


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(_SHARE * torch.cuda.mem_get_info(device)[1])
    return int(_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
