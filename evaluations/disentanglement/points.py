"""The checked arrays of one evaluation, what metrics share of them, and the arrays of chance and ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.extremes import exponents, scaled, spread_of
from disentangle.evaluations.disentanglement.kinds import FactorKind

__all__ = ["DEAD_CODE_STD", "Points"]

DEAD_CODE_STD = 0.05  # the pruning threshold of the FactorVAE score in the 2018 protocol; only counted here

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Points:
    """Checked arrays of one evaluation.

    Attributes:
        codes: (n, d) of the training part (all points where nothing is held out), in the dtype given.
        factors: (n, k') of the factors that vary: int64 labels where all are discrete, else float64 values.
        kept: (k',) columns of the given factors that ``factors`` holds.
        kinds: (k',) what the values of each mean.
        test_codes: (m, d) of the held-out part, or None.
        test_factors: (m, k') of the held-out part, or None.
        device: where the codes lay if that was a GPU, else None.
        settings: counts and conventions to be copied into a score's settings.
        known: (n, k') whether a point has the factor's value; where not, ``factors`` holds another point's. None where
            all have all.
        test_known: (m, k') of the held-out part.
    """

    codes: np.ndarray
    factors: np.ndarray
    kept: np.ndarray
    kinds: tuple[FactorKind, ...]
    test_codes: np.ndarray | None = None
    test_factors: np.ndarray | None = None
    device: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    known: np.ndarray | None = None
    test_known: np.ndarray | None = None
    _shared: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes and factors of the held-out part, which must have been asked for."""
        assert self.test_codes is not None
        assert self.test_factors is not None
        return self.test_codes, self.test_factors

    def shared(self, key: Any, make: Callable[[], _T]) -> _T:
        """What ``make`` returns, made once for all metrics that ask under the same ``key``."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def in_range(self, *, small: bool = True) -> Points:
        """The same points with extreme codes and continuous factors brought into range, each column for itself.

        For metrics that do not know the scale of a code. The settings stay those of the given codes.

        Args:
            small: whether columns of nothing but tiny numbers are brought up too.
        """

        def make() -> Points:
            of_codes = exponents(self.codes, self.test_codes, small=small)
            free = np.array([kind.name == "continuous" for kind in self.kinds])
            of_factors = np.where(free, exponents(self.factors, self.test_factors), 0)
            if not (of_codes.any() or of_factors.any()):
                return self
            test = self.test_codes is not None and self.test_factors is not None
            return replace(
                self,
                codes=scaled(self.codes, of_codes),
                factors=scaled(self.factors, of_factors),
                test_codes=scaled(self.held_out[0], of_codes) if test else None,
                test_factors=scaled(self.held_out[1], of_factors) if test else None,
                _shared={},
            )

        return self.shared(("in range", small), make)

    def by_factor(self, measure: Callable[[Points], Any]) -> Any:
        """What ``measure`` finds of each factor, on the points that have the factor's value.

        Args:
            measure: to an array with the factors on its last axis, or a list of one entry a factor; called once for
                factors that the same points have.

        Returns:
            The same for all factors.
        """
        if self.known is None:
            return measure(self)
        test_known = self.test_known if self.test_known is not None else self.known[:0]
        patterns: dict[bytes, list[int]] = {}
        for k in range(self.known.shape[1]):
            key = np.ascontiguousarray(self.known[:, k]).tobytes() + np.ascontiguousarray(test_known[:, k]).tobytes()
            patterns.setdefault(key, []).append(k)
        found: Any = None
        for columns in patterns.values():
            part = measure(self._restricted(columns, self.known[:, columns[0]], test_known[:, columns[0]]))
            if isinstance(part, list):
                found = [None] * self.known.shape[1] if found is None else found
                for k, one in zip(columns, part, strict=True):
                    found[k] = one
            else:
                found = np.empty((*part.shape[:-1], self.known.shape[1]), part.dtype) if found is None else found
                found[..., columns] = part
        return found

    def complete(self, metric: str) -> Points:
        """The points that have the values of all factors, for metrics that look at all factors of a point.

        Raises:
            InputError: they are too few.
        """

        def make() -> Points:
            assert self.known is not None
            rows = np.all(self.known, axis=1)
            test_rows = np.all(self.known[:0] if self.test_known is None else self.test_known, axis=1)
            here = self._restricted(list(range(self.known.shape[1])), rows, test_rows)
            held = self.test_codes is None or len(here.held_out[0]) > 0
            if len(here.codes) < 2 or not held or np.any(np.all(here.factors == here.factors[:1], axis=0)):
                raise InputError(
                    f"{metric} looks at all factors of a point, and of {len(rows):,} points {int(rows.sum()):,} have "
                    f"them all (missing labels of each factor: {self.settings['missing_labels']}), too few or of one "
                    "value; leave out the factors that most points lack, or this metric."
                )
            counted = {"n_train": len(here.codes), "n_test": 0 if here.test_codes is None else len(here.test_codes)}
            settings = {**self.settings, **counted, "missing_policy": "points that have every factor"}
            return replace(here, settings=settings)

        return self if self.known is None else self.shared("complete", make)

    def _restricted(self, columns: list[int], rows: np.ndarray, test_rows: np.ndarray) -> Points:
        """Some factors of some points, which have them."""
        held_out = self.test_codes is not None
        kinds = tuple(self.kinds[k] for k in columns)
        return replace(
            self,
            codes=self.codes[rows],
            factors=_typed(self.factors[rows][:, columns], kinds),
            kept=self.kept[columns],
            kinds=kinds,
            test_codes=self.held_out[0][test_rows] if held_out else None,
            test_factors=_typed(self.held_out[1][test_rows][:, columns], kinds) if held_out else None,
            known=None,
            test_known=None,
            _shared={},
        )

    def require_discrete(self, metric: str) -> None:
        """Refuse factors that are not labels.

        Raises:
            InputError: with the columns that are not.
        """
        others = [f"{column} ({kind.name})" for column, kind in zip(self.kept, self.kinds, strict=True)
                  if kind.name != "discrete"]  # fmt: skip
        if others:
            raise InputError(
                f"{metric} classifies, so it needs discrete factors, but column{'s' if len(others) > 1 else ''} "
                f"{', '.join(others)} {'are' if len(others) > 1 else 'is'} not; cut them into labels or leave them out."
            )

    def take(self, rows: np.ndarray, test_rows: np.ndarray | None = None) -> Points:
        """Some points; a factor left with one value is dropped, as :func:`read_points` does."""
        factors = self.factors[rows]
        known = None if self.known is None else self.known[rows]
        varying = np.flatnonzero(
            np.any(factors != factors[:1], axis=0)
            if known is None
            else [len(np.unique(column[has])) > 1 for column, has in zip(factors.T, known.T, strict=True)]
        )
        held_out = self.test_codes is not None and test_rows is not None
        return replace(
            self,
            codes=self.codes[rows],
            factors=_typed(factors[:, varying], kinds := tuple(self.kinds[k] for k in varying)),
            kept=self.kept[varying],
            kinds=kinds,
            test_codes=self.held_out[0][test_rows] if held_out else None,
            test_factors=_typed(self.held_out[1][test_rows][:, varying], kinds) if held_out else None,
            known=None if known is None else known[:, varying],
            test_known=self.test_known[test_rows][:, varying] if held_out and self.test_known is not None else None,
            _shared={},
        )

    def shuffled(self, seed: int) -> Points:
        """Codes dealt anew to the points: the same codes and factors, but independent. A score of it is chance."""

        def make() -> Points:
            rng = np.random.default_rng([seed, 1])
            test_codes = self.test_codes
            return replace(
                self,
                codes=self.codes[rng.permutation(len(self.codes))],
                test_codes=None if test_codes is None else test_codes[rng.permutation(len(test_codes))],
                _shared={},
            )

        return self.shared(("shuffled", seed), make)

    def ideal(self, seed: int) -> Points:
        """A perfect representation of the same factors. A score of it is the ceiling.

        Code k is the position of factor k among its values, mean 0 and variance 1. As many codes as the given ones
        have are live or constant (but no fewer live ones than factors); live ones to spare are standard normal noise.
        """

        def make() -> Points:
            rng = np.random.default_rng([seed, 2])
            columns = [np.unique(column, return_inverse=True) for column in self.factors.T]
            scales = [(index.mean(), index.std()) for _, index in columns]
            d, k = self.codes.shape[1], len(columns)
            live = int(np.sum(spread_of(self.codes) >= DEAD_CODE_STD))
            live, width = max(live, k), max(d, k)

            def codes(factors: np.ndarray) -> np.ndarray:
                made = np.zeros((len(factors), width), dtype=np.float32)
                for j, ((values, _), (mean, std)) in enumerate(zip(columns, scales, strict=True)):
                    made[:, j] = (np.searchsorted(values, factors[:, j]) - mean) / std
                made[:, k:live] = rng.standard_normal((len(factors), live - k))
                return made

            test = self.test_factors
            return replace(
                self, codes=codes(self.factors), test_codes=None if test is None else codes(test), _shared={}
            )

        return self.shared(("ideal", seed), make)


def _typed(factors: np.ndarray, kinds: tuple[FactorKind, ...]) -> np.ndarray:
    """Some factors of others: int64 where all are discrete."""
    discrete = all(kind.name == "discrete" for kind in kinds)
    return np.ascontiguousarray(factors.astype(np.int64) if discrete else factors)
