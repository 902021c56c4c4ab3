"""What a treatment is asked to do, and what happened to each weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from disentangle.errors import InputError, unknown_name
from disentangle.optim.learning_rate import FORMS, Form

__all__ = ["Method", "Mode", "RankDeficient", "Retraction", "Scale", "TreatmentOptions", "TreatmentRecord"]

Mode = Literal["gradient", "update"]
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

    def __post_init__(self) -> None:
        for name, value, known in (
            ("mode", self.mode, ("gradient", "update")),
            ("scale", self.scale, ("none", "grad_norm", "nuclear")),
            ("retraction", self.retraction, ("none", "polar")),
            ("olr_form", self.olr_form, FORMS),
            ("method", self.method, ("gram_eigh", "svd", "newton_schulz")),
            ("rank_deficient", self.rank_deficient, ("partial", "complete")),
        ):
            if value not in known:
                raise unknown_name(f"value of {name}", str(value), known)
        if not (self.ol >= 0 and math.isfinite(self.ol)):
            raise InputError(f"ol is {self.ol}; expected a weight of 0 or more.")
        if not (self.nog or self.olr or self.ol or self.retraction != "none"):
            raise InputError("Nothing to do: pass nog=True, olr=True, ol=WEIGHT or retraction='polar'.")
        if self.mode == "update" and not self.nog:
            raise InputError("mode='update' makes the step orthogonal, which is NOG; pass nog=True with it.")


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
