"""What a treatment is asked to do, and what happened to each weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from disentangle.errors import ArgumentError, InputError, unknown_name
from disentangle.optim.learning_rate import (
    FORMS,
    Form,
    accepted_learning_rate,
    cosine_from_numbers,
    rate_from_numbers,
)
from disentangle.optim.mode import NAMED, OFF, Mode
from disentangle.optim.registry import MODES
from disentangle.text import quoted, shown

__all__ = [
    "Method",
    "RankDeficient",
    "Retraction",
    "Scale",
    "TreatmentOptions",
    "TreatmentRecord",
]

Scale = Literal["none", "grad_norm", "nuclear"]
Retraction = Literal["none", "polar"]
Method = Literal["gram_eigh", "svd", "newton_schulz"]
RankDeficient = Literal["partial", "complete"]

_TREATMENTS = ("nog", "olr", "ol", "retraction")  # each of which is something to do


@dataclass(frozen=True)
class TreatmentOptions:
    """What :func:`orthogonalize` was asked to do."""

    nog: bool
    olr: bool
    mode: str
    olr_form: Form
    ol: float
    scale: Scale
    retraction: Retraction
    method: Method
    rank_deficient: RankDeficient
    attraction: float | Literal["quartic"] | None = None
    radius: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("mode", self.mode, tuple(MODES)),
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
        self._check_company()
        self._check_own()

    @cached_property
    def chosen_mode(self) -> Mode:
        """What ``mode`` stands for."""
        return MODES.find(self.mode)

    def own(self, name: str) -> Any:
        """The value of an option that the mode has for itself; its default where none was given."""
        given = getattr(self, name) if name in NAMED else self.options.get(name)
        return self.chosen_mode.options[name].default if given is None else given

    def _check_company(self) -> None:
        """What does not go with the mode, because it would undo it or does it already; and what it lacks."""
        mode = self.chosen_mode
        asked = {name: getattr(self, name) != off for name, off in OFF.items()}
        if not (mode.alone or any(asked[name] for name in _TREATMENTS)):
            raise ArgumentError(
                "Nothing to do: pass nog=True, olr=True, ol=WEIGHT, retraction='polar' or another mode."
            )
        for name, sentence in mode.needs.items():
            if not asked[name]:
                raise ArgumentError(sentence)
        if not mode.alone and asked["scale"] and not asked["nog"]:
            raise ArgumentError(f"scale={self.scale!r} is the length of NOG's step; pass nog=True with it.")
        refused = dict(mode.refuses) if self.nog else {**mode.refuses_without_nog, **mode.refuses}
        for name in OFF:
            if asked[name] and name in refused:
                raise ArgumentError(f"mode is {self.mode!r}: {refused[name]}.")

    def _check_own(self) -> None:
        """The options that only some modes have."""
        known = self.chosen_mode.options
        defaults = {f.name: f.default for f in fields(self)}
        for name in NAMED:
            given = getattr(self, name)
            if given == defaults[name]:
                continue
            if name not in known:
                modes = " and ".join(f"mode={mode.name!r}" for mode in MODES.values() if name in mode.options)
                raise ArgumentError(f"{name} belongs to {modes}; mode is {self.mode!r}.")
            known[name].check(given)
        if not isinstance(self.options, Mapping):
            raise ArgumentError(f"options is {quoted(self.options)}; expected options of the mode by name.")
        object.__setattr__(self, "options", dict(self.options))  # which the caller may go on to change
        further = [name for name in known if name not in NAMED]
        for name, given in self.options.items():
            if name in NAMED:
                raise ArgumentError(f"options has {name}, which is an argument of its own; give {name}= instead.")
            if name not in further:
                raise unknown_name(f"option of mode {self.mode!r}", str(name), further)
            if given is not None:
                known[name].check(given)

    def check_saved(self, saved: dict[str, Any]) -> None:
        """Raise an InputError unless a saved treatment had these options."""
        own = asdict(self)
        # a state saved before an option existed had its default
        defaults = {f.name: f.default for f in fields(self) if f.default is not MISSING}
        saved = {**defaults, "options": {}, **saved}
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
