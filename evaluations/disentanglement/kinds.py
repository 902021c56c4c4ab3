"""What a factor's values mean: classes, real numbers, or positions on a circle. Declared once, used by every metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from disentangle.errors import InputError, unknown_name

__all__ = ["FactorKind", "FactorKinds", "read_kinds"]

FactorKinds: TypeAlias = str | Sequence[str] | None
_NAMES = ("discrete", "continuous", "periodic")


@dataclass(frozen=True)
class FactorKind:
    """One factor's kind; ``period`` is in the factor's own unit, and only of a periodic one."""

    name: str
    period: float = math.nan

    def __str__(self) -> str:
        return f"periodic:{self.period:g}" if self.name == "periodic" else self.name

    def targets(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) as what a regression aims at: (n, 1), or (n, 2) with the sine and cosine of a periodic factor.

        >>> FactorKind("periodic", 4.0).targets(np.array([0, 1])).round(3).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
        """
        if self.name != "periodic":
            return values[:, None].astype(np.float64)
        angle = 2 * np.pi * values / self.period
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def read_kinds(kinds: FactorKinds, factors: np.ndarray) -> tuple[FactorKind, ...]:
    """Kinds of the columns of ``factors`` (n, k).

    Args:
        kinds: None for all discrete; one name for all; or a name for each column: ``"discrete"``, ``"continuous"``,
            ``"periodic"`` (whole numbers: the period is the number of steps from the smallest to the largest value and
            back; other numbers: 2 pi) or ``"periodic:360"`` (the period).
        factors: their values, finite.

    Raises:
        InputError: on an unknown name, a wrong number of names or a period that the values exceed.
    """
    k = factors.shape[1]
    names = [kinds] * k if isinstance(kinds, str) else ["discrete"] * k if kinds is None else list(kinds)
    if len(names) != k:
        raise InputError(f"factor_kinds has {len(names)} entries but factors have {k} columns; expected one a column.")
    return tuple(_read_kind(name, column, factors[:, column]) for column, name in enumerate(names))


def _read_kind(text: str, column: int, values: np.ndarray) -> FactorKind:
    name, _, period = str(text).partition(":")
    if name not in _NAMES:
        raise unknown_name("kind of factor", name, _NAMES)
    if name != "periodic":
        if period:
            raise InputError(f"factor_kinds has {text!r} for column {column}; only a periodic factor has a period.")
        return FactorKind(name)
    span = float(values.max() - values.min()) if len(values) else 0.0
    whole = bool(np.all(values == np.rint(values)))
    try:
        length = float(period) if period else span + 1 if whole else 2 * math.pi
    except ValueError:
        length = math.nan
    if not (length > 0 and math.isfinite(length)):
        raise InputError(f"factor_kinds has {text!r} for column {column}; expected a period above 0, as periodic:360.")
    if span > length:
        raise InputError(
            f"factor column {column} spans {span:g}, more than its period {length:g}; give that as periodic:NUMBER."
        )
    return FactorKind(name, length)
