"""Options of pooling and of the two bridges, with the paper's defaults; torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


def _require(condition: bool, option: str, value: object, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{option}: {value!r} {wanted}")


@dataclass(frozen=True)
class PatchPoolConfig:
    """How the patches of a region become one vector.

    Attributes:
        weighting: ``uniform``, ``gaussian`` (falls off from the centre of each box), ``attention`` (the class token's
            attention inside the region), ``central`` (the patch nearest to the centre), or ``cls`` (the class token of
            the whole picture, whatever the region).
        variance: Of ``gaussian``, on a grid of -1..1 over the box. 0 is ``central``, 100 and more is ``uniform``.
        box_rule: Which patches a box holds; see ``regionkit.core.geometry.Rules``. ``auto`` is ``intersect`` in compat
            ``paper`` and ``reference`` in compat ``reference``.
        set_weighting: How boxes of a set share the weight. ``auto`` is ``per_patch`` (eq. 1) in compat ``paper`` and
            ``per_box`` in compat ``reference``.
        mask_rule: ``any`` patch that the mask touches, or the share of its ``area``.
        attention_map: Of weighting ``attention``, what each box of a picture is weighed by: its ``own`` map, or one
            ``shared`` with the boxes before it, each of which leaves the map normalised within itself. The released
            code shares it, by a mistake: a region then depends on the others of its picture and on their order, which
            is why no ``compat`` does it.
        compat: ``reference`` also keeps two scales of the released code, which matter where nothing normalises later: a
            trace, and attention over the whole image, are divided by the number of all patches. With ``attention``,
            each box of a set leaves the map normalised within itself for the boxes after it, as the released code does.
    """

    weighting: Literal["uniform", "gaussian", "attention", "cls", "central"] = "uniform"  # main tables of the paper
    variance: float = 1.0  # the paper's sigma^2, and what the released evaluation passes (its functions default to 0.5)
    box_rule: Literal["auto", "intersect", "coverage", "reference"] = "auto"
    set_weighting: Literal["auto", "per_patch", "per_box"] = "auto"
    attention_map: Literal["own", "shared"] = "own"
    mask_rule: Literal["any", "area"] = "any"  # neither the paper nor its code has masks; any overlap is what boxes do
    compat: Literal["paper", "reference"] = "paper"

    def __post_init__(self) -> None:
        valid = math.isfinite(self.variance) and self.variance >= 0
        _require(valid, "variance", self.variance, "must be 0 (the central patch) or more; the paper takes 1.0")
        fits = self.attention_map == "own" or self.weighting == "attention"
        _require(fits, "attention_map", self.attention_map, "needs weighting: attention")

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads a result has to know of these options."""
        if self.attention_map == "own":
            return ()
        return ("attention_map: shared: a box depends on the boxes of its picture that come before it",)


#: What half precision changes on the CPU, on banks made for it: tests/benchmarks/half_bank.py 20000 64 512 768 1024.
HALF_ERRORS = {
    "bfloat16": "coordinates of its unit vectors change by up to 2e-3 from width 512 on, 2e-2 at width 64, "
    "cosine at least 0.999",
    "float16": "coordinates of its unit vectors change by up to 3e-4 from width 512 on, 2e-3 at width 64, "
    "cosine at least 0.9999",
}


def precision_notes(precision: str) -> tuple[str, ...]:
    """Return what a bank of a precision changes; the figures are measured, see docs/patchioner.md, Memory."""
    if precision not in HALF_ERRORS:
        return ()
    return (f"the bank is kept in {precision}: {HALF_ERRORS[precision]} (made banks; docs/patchioner.md, Memory)",)


@dataclass(frozen=True)
class MemoryConfig:
    """Projection onto a bank of text embeddings (DeCap, and Patch-ioner section 3).

    Attributes:
        weights: ``auto`` takes the bank's file from the weight index, ``none`` starts empty (to be fitted), else
            ``file:PATH``, ``pkg:PACKAGE/PATH`` or the name of an indexed file.
        bank: Name of the bank, which is the corpus that it was made from; ``auto`` where there is one choice.
        temperature: Of the softmax over the bank.
        normalise_bank: Whether the rows that are summed are unit vectors. Similarities always use unit rows.
        normalise_output: Whether the sum is normalised. With ``normalise_bank`` these make the released presets:
            Talk2DINO and DINO.txt false/true; CLIP, INViTE, DenseCLIP, AlphaCLIP and RegionCLIP true/false; ProxyCLIP
            false/false; DeCap's own notebook and our default true/true.
        mode: ``project`` takes the softmax-weighted sum, ``argmax`` the nearest row alone. ``top-n`` sums the ``rows``
            nearest rows alone where these hold at least ``mass`` of the weights of the whole bank, and is ``project``
            for all other regions.
        rows: Of ``top-n``, how many rows are summed.
        mass: Of ``top-n``, the share of the weights that they must hold.
        precision: What the bank is kept in. Sums are made in float32 whatever it is; half precision halves the bank's
            memory, and what it changes is told beside results.
        columns: Of a released file, what is taken of each of its vectors. DINO.txt's text tower writes two vectors side
            by side, and the released bank for it holds both: the second is the one that patches are compared with.
    """

    weights: str = "auto"
    bank: str = "auto"
    temperature: float = 0.01  # 1/100, DeCap's and Patch-ioner's
    normalise_bank: bool = True
    normalise_output: bool = True
    mode: Literal["project", "argmax", "top-n"] = "project"
    rows: int = 32
    mass: float = 0.999
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    columns: Literal["all", "first-half", "second-half"] = "all"

    def __post_init__(self) -> None:
        valid = math.isfinite(self.temperature) and self.temperature > 0
        _require(
            valid,
            "temperature",
            self.temperature,
            "must be more than 0; the paper takes 0.01, mode=argmax is the limit 0",
        )
        _require(bool(self.bank.strip()), "bank", self.bank, "names no bank; auto takes the only one there is")
        _require(self.rows >= 1, "rows", self.rows, "must be 1 or more")
        _require(0 < self.mass <= 1, "mass", self.mass, "must be more than 0 and at most 1")

    @property
    def corruption(self) -> str:
        """Decoders behind a memory are trained on clean text embeddings."""
        return "none"

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads a result has to know of these options."""
        return precision_notes(self.precision)


@dataclass(frozen=True)
class NearestTextConfig:
    """Retrieval of sentences of a bank.

    Attributes:
        weights: As for ``memory``: ``auto``, ``none`` or a reference.
        bank: Name of the bank, which is the corpus that it was made from; ``auto`` takes that of the bridge where it
            has one, else the only one there is.
        temperature: Of the softmax over the bank, of which a sentence's share is its likelihood. It changes no caption.
        score: ``share``, the logarithm of that share; ``similarity``, the cosine, which the released code gives out.
        precision: What the bank is kept in; see ``memory``.
        columns: Of a released file, what is taken of each of its vectors; see ``memory``.
    """

    weights: str = "auto"
    bank: str = "auto"
    temperature: float = 0.01
    score: Literal["share", "similarity"] = "share"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    columns: Literal["all", "first-half", "second-half"] = "all"

    def __post_init__(self) -> None:
        valid = math.isfinite(self.temperature) and self.temperature > 0
        _require(valid, "temperature", self.temperature, "must be more than 0; the paper takes 0.01")
        _require(
            bool(self.bank.strip()), "bank", self.bank, "names no bank; auto takes that of the bridge, or the only one"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads a result has to know of these options."""
        return precision_notes(self.precision)


@dataclass(frozen=True)
class NoiseConfig:
    """Gaussian noise on unit text embeddings in training (CapDec); at inference vectors pass through.

    Attributes:
        std: Standard deviation of the noise a coordinate. Give this or ``variance``, not both.
        variance: The same, squared.
        kind: ``gaussian``, or ``ball``: uniform in a ball whose radius is the deviation, an option of CapDec's release.
        normalise: Whether region vectors are made unit vectors at inference, as in training. None is true in compat
            ``paper`` and false in ``reference``: the released code feeds them as they are.
        compat: With neither ``std`` nor ``variance`` given, ``paper`` takes variance 0.08 (Patch-ioner) and
            ``reference`` std 0.08, which is what the released training command passes under that name.
    """

    std: float | None = None
    variance: float | None = None
    kind: Literal["gaussian", "ball"] = "gaussian"
    normalise: bool | None = None
    compat: Literal["paper", "reference"] = "paper"

    def __post_init__(self) -> None:
        if self.std is not None and self.variance is not None:
            raise ValueError(
                f"std: give std or variance, not both: std {self.std:g} is variance {self.std**2:.4g}, "
                f"variance {self.variance:g} is std {math.sqrt(max(self.variance, 0)):.4g}"
            )
        for option, value in (("std", self.std), ("variance", self.variance)):
            if value is not None:
                _require(
                    math.isfinite(value) and value >= 0,
                    option,
                    value,
                    "must be 0 or more; the paper takes variance 0.08",
                )

    @property
    def deviation(self) -> float:
        """The standard deviation that is meant."""
        if self.std is not None:
            return self.std
        if self.variance is not None:
            return math.sqrt(self.variance)
        return math.sqrt(0.08) if self.compat == "paper" else 0.08

    @property
    def normalises(self) -> bool:
        """Whether region vectors are normalised at inference."""
        return self.compat == "paper" if self.normalise is None else self.normalise

    @property
    def corruption(self) -> str:
        """What a decoder behind this bridge was trained with, in its own options, such as ``noise(std=0.08)``."""
        kind = "" if self.kind == "gaussian" else f"kind={self.kind}, "
        return f"noise({kind}std={self.deviation:.4g})"
