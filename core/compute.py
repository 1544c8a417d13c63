"""How products of float32 matrices are computed on a CPU, and in which precision models compute.

torch can hand float32 products to oneDNN and permit it to compute with bfloat16 inside. On some processors that is
twice as fast and as exact as float32, on others slower, and on those with matrix units of bfloat16 far less exact.
Nothing but a measurement tells them apart. It is made once a machine, on products of the shapes that models have and
numbers of very different sizes, and kept in the toolkit's cache.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regionkit.core.cache import cache_folder
from regionkit.core.files import write_text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from regionkit.core.contracts import Backbone, Component
    from regionkit.core.features import Features

#: Set to ``off``, products are computed in torch's own way whatever was measured.
VARIABLE = "REGIONKIT_ONEDNN"
#: From this gain on the route is used: less may be chance.
GAIN = 1.3
#: Errors of float32 products are far below this, those of bfloat16 far above. See :class:`Probe`.
LIKE_FLOAT32 = 2e-6
#: Rows, shared width and columns of the products that are measured: of a vision transformer, and of a decoder's step.
_TIMED = ((256, 768, 1024), (50, 768, 2304))
#: Of these, errors alone count: reading the weights takes longer than multiplying.
_CHECKED = ((8, 1536, 768), (1, 768, 768))
_ROUNDS = 3
#: Columns of a product from which on their layout no longer matters.
_FEW = 16
#: In which a backbone and a decoder compute.
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

#: What transformers calls the frequencies of rotary positions.
_FREQUENCIES = "inv_freq"


@dataclass(frozen=True, slots=True)
class Probe:
    """What the faster route was found to give on this machine.

    Attributes:
        gain: Times faster than torch's own, the geometric mean over shapes and layouts.
        error: Largest error of an element of a product, as a share of the sum of the absolute values of what it adds
            up: of any float32 product it is about 1e-7, whatever the sizes of the numbers.
    """

    gain: float
    error: float

    @property
    def exact(self) -> bool:
        """Whether its errors are those of float32."""
        return self.error <= LIKE_FLOAT32  # False for NaN

    @property
    def helps(self) -> bool:
        """Whether it is faster, and still as exact as float32."""
        return self.gain >= GAIN and self.exact

    def __str__(self) -> str:
        exactness = "as exact as float32" if self.exact else "less exact than float32"
        return f"{self.gain:.2f}x torch's own products, error {self.error:.1e} ({exactness})"


def in_precision(component: Component, precision: Precision) -> None:
    """Let a backbone or a decoder compute in bfloat16, in place; with float32, and for other parts, nothing changes.

    A backbone keeps its weights, computes under autocast when it sees pictures, and hands float32 on: what regions and
    bridges make of that, and sentences of a bank, are computed as before. A decoder's weights become bfloat16, which
    halves what a step has to read; probabilities of words are computed in float32, and so are the angles of rotary
    positions, which grow with the position: three digits of a frequency are none of the angle of token 2,000. float16
    is no choice: processors emulate it, and its range is too small for some models.
    """
    import torch

    from regionkit.core.contracts import Backbone, Decoder

    if precision == "float32" or not isinstance(component, torch.nn.Module):
        return
    if isinstance(component, Backbone):
        _autocast(component)
    elif isinstance(component, Decoder):
        kept = {name: buffer for name, buffer in component.named_buffers() if name.endswith(_FREQUENCIES)}
        component.to(torch.bfloat16)
        for name, buffer in kept.items():
            owner, _, own = name.rpartition(".")
            setattr(component.get_submodule(owner), own, buffer)


def _autocast(backbone: Backbone) -> None:
    import torch

    def lowered(encode: Callable[..., Features]) -> Callable[..., Features]:
        def encode_in_bfloat16(*given: Any, **named: Any) -> Features:
            with torch.autocast(torch.device(device_of(backbone)).type, torch.bfloat16):
                return encode(*given, **named).widened()

        return encode_in_bfloat16

    backbone.encode = lowered(backbone.encode)  # type: ignore[method-assign]
    backbone.encode_masked = lowered(backbone.encode_masked)  # type: ignore[method-assign]


@contextmanager
def fast_products(device: torch.device | str = "cpu") -> Iterator[None]:
    """Compute float32 products inside a ``with`` block by the faster route, where it helps and is not forbidden.

    The setting is one of the whole process. It is made when the first thread enters such a block, and what the user had
    set comes back when the last thread leaves. In other threads it holds meanwhile, too: their float32 products are as
    exact as before. What the user has chosen for themselves stays as it is.

    Args:
        device: Where the products are computed; on a GPU nothing is changed.
    """
    kind = device if isinstance(device, str) else device.type
    if kind != "cpu" or not route_helps():
        yield
        return
    _ROUTE.enter()
    try:
        yield
    finally:
        _ROUTE.leave()


def as_columns(vectors: Tensor) -> Tensor:
    """Return vectors (m, d) as the columns (d, m) of a right factor, laid out as products of many rows with it like it.

    A product with few columns reads its left factor and does little else. Where a CPU finds each column whole it takes
    a half to a third of the time, up to some 16 of them; beyond, and on a GPU, the rows of the transpose are as good.
    docs/benchmarks.md has the times.
    """
    whole = vectors.device.type == "cpu" and len(vectors) < _FEW
    return vectors.contiguous().T if whole else vectors.T.contiguous()


def device_of(component: Any) -> torch.device | str:
    """Return where a part computes: on the device of its weights, on the CPU without any."""
    import torch

    first = next(component.parameters(), None) if isinstance(component, torch.nn.Module) else None
    return "cpu" if first is None else first.device


def route_helps() -> bool:
    """Say whether the faster route is used on this machine; measures it where that was never done."""
    if forbidden():
        return False
    found = probe()
    return found is not None and found.helps


def forbidden() -> bool:
    """Say whether the user forbids the faster route: ``REGIONKIT_ONEDNN=off``."""
    return os.environ.get(VARIABLE, "").strip().lower() in ("off", "0", "no", "false")


def route_known() -> bool:
    """Say whether the faster route is used as far as it was measured before, without measuring and without torch."""
    found = None if forbidden() else _kept()
    return found is not None and found.helps


def probe() -> Probe | None:
    """Return what the faster route gives, measured at most once a machine; None where torch has no such setting.

    It takes about 0.3 seconds of one core. What was measured is kept by processor and version of torch.
    """
    with _PROBING:
        return _probed()


@cache
def _probed() -> Probe | None:
    if _setting() is None:
        return None
    found = _kept()
    if found is None:
        found = measure()
        with suppress(OSError):  # it is measured again next time
            write_text(_path(), json.dumps({"processor": processor(), "torch": _torch_version(), **asdict(found)}))
    return found


def forget() -> None:
    """Forget what this process knows, for tests; what lies in the cache stays."""
    _probed.cache_clear()


def measure() -> Probe:
    """Measure both routes on this machine, on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two routes may share their work out differently: what counts is what a core does
    try:
        with torch.inference_mode():
            gains = [gain for shape in _TIMED for gain in _gains(*_factors(*shape))]
            errors = [_error(*_factors(*shape)) for shape in (*_TIMED, *_CHECKED)]
    finally:
        torch.set_num_threads(threads)
    return Probe(math.prod(gains) ** (1 / len(gains)), max(errors))


def _factors(rows: int, width: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return factors (rows, width) and (columns, width) whose numbers are of very different sizes.

    Sizes go from 2^-12 to 2^12 along the sums and from row to row: what a route drops of a number shows at all sizes.
    """
    import torch

    draw = torch.Generator().manual_seed(rows)

    def sizes(most: int, *shape: int) -> Tensor:
        return torch.exp2(torch.randint(-most, most + 1, shape, generator=draw).float())

    left = torch.randn(rows, width, generator=draw) * sizes(6, width) * sizes(6, rows, 1)
    return left, torch.randn(columns, width, generator=draw) * sizes(6, width) * sizes(6, columns, 1)


def _gains(left: Tensor, weight: Tensor) -> list[float]:
    """Return how many times faster a product is by the faster route, for weights in either layout."""
    import torch
    from torch.nn.functional import linear

    found = []
    for product, right in ((linear, weight), (torch.mm, weight.T.contiguous())):
        slow, quick = _fastest(lambda: product(left, right), lambda: _by_route(product, left, right))  # noqa: B023
        found.append(slow / quick)
    return found


def _error(left: Tensor, weight: Tensor) -> float:
    """Return the largest error by the faster route, of a product and of its transpose."""
    import torch
    from torch.nn.functional import linear

    some = slice(0, 64)  # enough to see errors by; the whole in double precision would take longest
    wide, wide_weight = left[some].double(), weight.double().T
    exact, size = wide @ wide_weight, wide.abs() @ wide_weight.abs()
    found = (_by_route(linear, left, weight), _by_route(torch.mm, weight, left.T.contiguous()).T)
    return max(float(((one[some].double() - exact).abs() / size).max()) for one in found)


def _by_route(product: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    _ROUTE.enter()
    try:
        return product(left, right)
    finally:
        _ROUTE.leave()


def _fastest(*alternatives: Callable[[], Any]) -> list[float]:
    """Return the CPU seconds of the fastest round of each, in turn: other work on the machine only ever adds time."""
    best = [float("inf")] * len(alternatives)
    for work in alternatives:
        work()
    for _ in range(_ROUNDS):
        for at, work in enumerate(alternatives):
            start = time.thread_time()
            work()
            best[at] = min(best[at], time.thread_time() - start)
    return best


class _Route:
    """The setting of torch, with a count of who needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ""

    def enter(self) -> None:
        """Permit the route; a choice of the user's own stays."""
        with self._lock:
            setting = _setting()
            if self._inside == 0 and setting is not None:
                self._before = setting.fp32_precision
                if self._before in _UNSET:
                    setting.fp32_precision = "bf16"
            self._inside += 1

    def leave(self) -> None:
        """Put back what was there, once nobody needs the route any more."""
        with self._lock:
            self._inside -= 1
            setting = _setting()
            if self._inside or setting is None or self._before not in _UNSET:
                return
            if setting.fp32_precision == "bf16":  # what the user chose meanwhile stays, too
                setting.fp32_precision = self._before


#: What torch's setting says where the user has chosen nothing.
_UNSET = ("none", "")
_ROUTE = _Route()
_PROBING = threading.Lock()


def _setting() -> Any:
    """Return torch's setting of the route, None where it has none."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    found = getattr(torch.backends.mkldnn, "matmul", None)
    return found if hasattr(found, "fp32_precision") else None


def _kept() -> Probe | None:
    """Return what was measured before on such a processor with this torch."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(_path().read_text("utf-8"))
        return Probe(float(stored["gain"]), float(stored["error"]))
    return None


def _path() -> Path:
    digest = hashlib.sha256(f"{processor()}\n{_torch_version()}".encode()).hexdigest()[:16]
    return cache_folder() / "compute" / f"onednn-{digest}.json"


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


@cache
def processor() -> str:
    """Name the processor and what it can compute with, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    special = [flag for flag in _SPECIAL if flag in flags]
    return f"{facts.get('model name', platform.machine())} ({', '.join(special)})"


#: Instructions by which processors of one name differ in what their products cost.
_SPECIAL = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16")
