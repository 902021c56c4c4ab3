"""What a treatment is asked to do, and what happened to each weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal

from disentangle.errors import ArgumentError, InputError, unknown_name
from disentangle.optim.learning_rate import (
    FORMS,
    Form,
    accepted_learning_rate,
    cosine_from_numbers,
    rate_from_numbers,
)
from disentangle.text import shown

__all__ = [
    "ON_MANIFOLD",
    "Method",
    "Mode",
    "RankDeficient",
    "Retraction",
    "Scale",
    "TreatmentOptions",
    "TreatmentRecord",
]

Mode = Literal["gradient", "update", "landing", "pogo", "spel", "scion"]
MODES = ("gradient", "update", "landing", "pogo", "spel", "scion")
# Treatments in their own right, without NOG: those that hold the weight on the manifold, and Scion.
ON_MANIFOLD = ("landing", "pogo", "spel")
NEWER = (*ON_MANIFOLD, "scion")
Scale = Literal["none", "grad_norm", "nuclear"]
Retraction = Literal["none", "polar"]
Method = Literal["gram_eigh", "svd", "newton_schulz"]
RankDeficient = Literal["partial", "complete"]


@dataclass(frozen=True)
class TreatmentOptions:
    """What :func:`orthogonalize` was asked to do."""

    nog: bool
    olr: bool
    mode: Mode
    olr_form: Form
    ol: float
    scale: Scale
    retraction: Retraction
    method: Method
    rank_deficient: RankDeficient
    attraction: float | Literal["quartic"] | None = None
    radius: float = 1.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("mode", self.mode, MODES),
            ("scale", self.scale, ("none", "grad_norm", "nuclear")),
            ("retraction", self.retraction, ("none", "polar")),
            ("olr_form", self.olr_form, FORMS),
            ("method", self.method, ("gram_eigh", "svd", "newton_schulz")),
            ("rank_deficient", self.rank_deficient, ("partial", "complete")),
        ):
            if value not in known:
                raise unknown_name(f"value of {name}", str(value), known)
        if not (self.ol >= 0 and math.isfinite(self.ol)):
            raise ArgumentError(f"ol is {self.ol}; expected a weight of 0 or more.")
        if self.mode in NEWER:
            self._check_newer()
        elif not (self.nog or self.olr or self.ol or self.retraction != "none"):
            raise ArgumentError(
                "Nothing to do: pass nog=True, olr=True, ol=WEIGHT, retraction='polar' or another mode."
            )
        elif self.mode == "update" and not self.nog:
            raise ArgumentError("mode='update' makes the step orthogonal, which is NOG; pass nog=True with it.")
        elif self.scale != "none" and not self.nog:
            raise ArgumentError(f"scale={self.scale!r} is the length of NOG's step; pass nog=True with it.")
        self._check_numbers()

    def _check_newer(self) -> None:
        """What does not go with a newer treatment, because the treatment would undo it or does it already."""
        for given, modes, why in (
            (self.olr, NEWER, "olr=True does not go with it: its step has a length of its own; leave olr out"),
            (self.nog, ("spel", "scion"), "it takes the polar factor of the direction itself; leave nog out"),
            (self.ol > 0, ON_MANIFOLD, "it pulls the weight to orthogonality itself; leave ol out"),
            (self.retraction != "none", ("spel",), "it ends with that retraction already; leave retraction out"),
            (self.retraction != "none", ("scion",), "its weights lie inside a ball, not on it; leave retraction out"),
            (self.scale != "none", ("scion",), "the length of its step is radius times the rate; leave scale out"),
            (
                self.scale != "none" and not self.nog,
                ("landing", "pogo"),
                "it has no polar factor to scale; leave scale out or pass nog=True",
            ),
        ):
            if given and self.mode in modes:
                raise ArgumentError(f"mode is {self.mode!r}: {why}.")

    def _check_numbers(self) -> None:
        if self.attraction is not None:
            if self.mode not in ("landing", "pogo"):
                raise ArgumentError(f"attraction belongs to mode='landing' and mode='pogo'; mode is {self.mode!r}.")
            if self.attraction == "quartic":
                if self.mode == "landing":
                    raise ArgumentError("attraction='quartic' belongs to mode='pogo'; give mode='landing' a number.")
            elif isinstance(self.attraction, str) or not (self.attraction > 0 and math.isfinite(self.attraction)):
                raise ArgumentError(
                    f"attraction is {self.attraction!r}; expected a number above 0, or 'quartic' for POGO."
                )
        if not (self.radius > 0 and math.isfinite(self.radius)):
            raise ArgumentError(f"radius is {self.radius}; expected a number above 0.")
        if self.radius != 1 and self.mode != "scion":
            raise ArgumentError(f"radius belongs to mode='scion'; mode is {self.mode!r}.")

    def check_saved(self, saved: dict[str, Any]) -> None:
        """Raise an InputError unless a saved treatment had these options."""
        own = asdict(self)
        # a state saved before an option existed had its default
        saved = {**{f.name: f.default for f in fields(self) if f.default is not MISSING}, **saved}
        if saved != own:
            differing = [f"{k}: saved {saved.get(k)!r}, here {own[k]!r}" for k in own if saved.get(k) != own[k]]
            raise InputError(
                f"The saved treatment has other options ({'; '.join(differing)}); attach with the same ones."
            )


@dataclass
class TreatmentRecord:
    """What happened to one treated weight so far. Rates are per step; NaN before the first."""

    shape: tuple[int, ...]
    steps: int = 0
    without_gradient: int = 0
    zero_gradients: int = 0
    nonfinite_gradients: int = 0
    olr_computed: int = 0
    olr_accepted: int = 0
    olr_proposed: float = math.nan
    cosine: float = math.nan
    last_lr: float = math.nan

    @property
    def olr_acceptance(self) -> float:
        """Share of the computed rates that were used, in [0, 1]; NaN before the first."""
        return self.olr_accepted / self.olr_computed if self.olr_computed else math.nan

    def decide(self, numbers: Sequence[float], form: Form, base: float) -> float:
        """The rate of this step: the optimal one from :func:`rate_numbers` if accepted, else ``base``; noted here."""
        proposed = rate_from_numbers(numbers, form, base)
        self.olr_computed += 1
        self.olr_proposed = proposed
        self.cosine = cosine_from_numbers(numbers)
        self.olr_accepted += 0 < proposed < base
        return accepted_learning_rate(proposed, base)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TreatmentRecord:
        """The record from its plain form; entries this version does not know are dropped.

        Raises:
            InputError: if an entry is no number.
        """
        known = {f.name for f in fields(cls)}
        found = {**{k: v for k, v in state.items() if k in known}, "shape": tuple(state["shape"])}
        for name, value in found.items():
            kinds = (int,) if name in _COUNTS else (int, float)
            if name != "shape" and (isinstance(value, bool) or not isinstance(value, kinds)):
                raise InputError(f"{name} of a saved treatment is {shown(value)}; expected a number.")
        return cls(**found)


_COUNTS = ("steps", "without_gradient", "zero_gradients", "nonfinite_gradients", "olr_computed", "olr_accepted")
