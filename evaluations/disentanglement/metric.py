"""What all metrics have in common: read the arrays, measure, and put chance, ceiling and an interval beside the value.

A metric is a function ``measure(points, **options) -> Score``, pure and without defaults, described by a
:class:`Metric`. Its public function (``mig``, ``sap`` ...) has the arguments and their documentation and calls
:func:`measured`; :func:`disentangle.evaluations.disentanglement.evaluate` measures several on the same points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer, check_jobs
from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.inputs import read_points
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.protocols import Protocols, protocol_options
from disentangle.evaluations.score import Score

__all__ = ["LEVEL", "Metric", "measured", "score_all"]

LEVEL = 0.95  # of the interval
_TRIES = 200  # draws of one resample


@dataclass(frozen=True)
class Metric:
    """A metric of codes and factors.

    Attributes:
        name: as in ``evaluate(metrics=[...])`` and on the command line.
        label: as in messages.
        measure: ``(points, **options) -> Score``; the options are those of its protocol, ``protocol`` (a name to be
            recorded), and ``seed`` and ``n_jobs`` where asked for.
        protocols: those that define it, the default first, with their options.
        seeded, parallel: whether it takes ``seed`` and ``n_jobs``.
        hold_out: whether it predicts, so that points are held out.
        min_codes, min_factors: fewest columns it is defined for (factors: that vary).
        by_factor: whether it finds something of each factor alone and then looks at what it has found, so that a factor
            is measured on the points that have it (:meth:`Points.by_factor`); else, where labels are missing, it is
            given the points that have them all.
        extremes: what is done about codes beyond 2^100, or within 2^-100, which squares and ranges cannot hold:
            ``"scaled"``, each code is brought into range first, since its scale does not matter; ``"large"``, those
            beyond alone, since to trees values closer than 1e-7 are equal; ``"own"``, the metric sees to it itself.
        baselines: whether chance and ceiling mean anything, which they do not where factors play no part.
    """

    name: str
    label: str
    measure: Callable[..., Score]
    protocols: Protocols
    seeded: bool = False
    parallel: bool = False
    hold_out: bool = False
    min_codes: int = 1
    min_factors: int = 1
    baselines: bool = True
    by_factor: bool = False
    extremes: Literal["scaled", "large", "own"] = "scaled"

    def __call__(
        self, codes: ArrayLike, factors: ArrayLike, *, protocol: str | None = None,
        test: tuple[ArrayLike, ArrayLike] | None = None, factor_kinds: FactorKinds = None, baselines: bool = True,
        bootstrap: int = 0, seed: int = 0, n_jobs: int = 1, **options: Any,
    ) -> Score:  # fmt: skip
        """The score of codes (n, d) and factors (n, k); ``options`` replace those of the protocol.

        The other arguments are those of :func:`~disentangle.evaluations.disentanglement.inputs.read_points` and
        :func:`score_all`.
        """
        return measured(
            self, codes, factors, protocol=protocol, given=options, test=test, factor_kinds=factor_kinds,
            baselines=baselines, bootstrap=bootstrap, seed=seed, n_jobs=n_jobs,
        )  # fmt: skip

    def measured_on(self, points: Points, **options: Any) -> Score:
        """``measure`` of points whose codes it can hold, and whose factors it needs."""
        points = points if self.extremes == "own" else points.in_range(small=self.extremes == "scaled")
        return self.measure(points if self.by_factor else points.complete(self.label), **options)

    def options(self, protocol: str | None, given: Mapping[str, Any], *, seed: int, n_jobs: int) -> dict[str, Any]:
        """Arguments of ``measure`` under a protocol; None for the metric's first one."""
        options = protocol_options(self.name, self.protocols, protocol, given)
        if "bins" in options:
            options["bins"] = check_integer("bins", options["bins"], least=2)
        if self.seeded:
            options["seed"] = check_integer("seed", seed, least=0, most=2**32 - 1)
        if self.parallel:
            options["n_jobs"] = check_jobs(n_jobs)
        return options


def measured(
    metric: Metric,
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    protocol: str | None,
    given: Mapping[str, Any] | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    factor_kinds: FactorKinds = None,
    test_fraction: float = 1 / 3,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
    n_jobs: int = 1,
) -> Score:
    """Read the arrays and score ``metric`` under a protocol, with those options replaced that are given (not None).

    The other arguments are those of :func:`~disentangle.evaluations.disentanglement.inputs.read_points` and
    :func:`score_all`.
    """
    start = time.perf_counter()
    options = metric.options(protocol, given or {}, seed=seed, n_jobs=n_jobs)
    points = read_points(
        codes, factors, hold_out=metric.hold_out, test=test, factor_kinds=factor_kinds, seed=seed,
        test_fraction=test_fraction, min_codes=metric.min_codes, min_factors=metric.min_factors, metric=metric.label,
    )  # fmt: skip
    scores = score_all({metric.name: (metric, options)}, points, baselines=baselines, bootstrap=bootstrap, seed=seed)
    return replace(scores[metric.name], seconds=time.perf_counter() - start)


def score_all(
    metrics: Mapping[str, tuple[Metric, Mapping[str, Any]]],
    points: Points,
    *,
    baselines: bool,
    bootstrap: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Score]:
    """Scores of several metrics, with options, on the same points.

    Args:
        metrics: key of the result to (metric, options of its ``measure``).
        points: what to measure on; tables that metrics share are kept in it.
        baselines: add chance (the same codes dealt to other points) and the ceiling (a perfect representation of these
            factors with as many live codes); three times the work.
        bootstrap: resamples for a 95 % interval, 0 for none. Each is a random half of the points without replacement,
            whose spread equals that of all of them (the delete-half jackknife: Shao and Wu, "A General Theory for
            Jackknife Variance Estimation", Annals of Statistics 17, 1989). Drawing with replacement would repeat
            points, which biases every estimate of information.
        seed: of chance, ceiling and resamples.
        progress: called as ``progress(key, done, total)`` after each measurement.
    """
    bootstrap = check_integer("bootstrap", bootstrap, least=0)
    if 0 < bootstrap < 20:
        raise InputError(f"bootstrap is {bootstrap}; expected 0 for no interval, or 20 resamples and more.")
    total, done = 0, 0
    for metric, _ in metrics.values():
        total += 1 + bootstrap + (2 if baselines and metric.baselines else 0)

    def measure(key: str, on: Points) -> Score:
        nonlocal done
        metric, options = metrics[key]
        start = time.perf_counter()
        score = metric.measured_on(on, **options)
        done += 1
        if progress is not None:
            progress(key, done, total)
        return replace(score, seconds=time.perf_counter() - start)

    scores: dict[str, Score] = {}
    for key, (metric, _) in metrics.items():
        score = measure(key, points)
        if baselines and metric.baselines:
            chance, ceiling = measure(key, points.shuffled(seed)), measure(key, points.ideal(seed))
            score = replace(
                score,
                chance=chance.value,
                ceiling=ceiling.value,
                seconds=score.seconds + chance.seconds + ceiling.seconds,
            )
        scores[key] = replace(score, settings={**score.settings, "seed": seed})
    if not bootstrap:
        return scores
    values: dict[str, list[float]] = {key: [] for key in metrics}
    rng = np.random.default_rng([seed, 3])
    for _ in range(bootstrap):
        resample = _resample(points, rng)
        for key in metrics:
            values[key].append(measure(key, resample).value)
    return {key: _with_interval(score, values[key]) for key, score in scores.items()}


def _resample(points: Points, rng: np.random.Generator) -> Points:
    """A random half in which every factor still varies: drawn again where a rare value was missed."""
    for _ in range(_TRIES):
        resample = points.take(_half(len(points.codes), rng), _half(_count(points.test_codes), rng))
        tested = resample.test_known is None or bool(resample.test_known.any(axis=0).all())
        if len(resample.kept) == len(points.kept) and tested:
            return resample
    lost = sorted(set(points.kept.tolist()) - set(resample.kept.tolist()))
    raise InputError(
        f"a factor (column {lost[0]}) has all but one of its values too rarely for halves of the "
        "points to hold them; give more points, leave it out, or do without an interval (bootstrap=0)."
    )


def _half(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.permutation(n)[: (n + 1) // 2])


def _count(array: np.ndarray | None) -> int:
    return 0 if array is None else len(array)


def _with_interval(score: Score, values: list[float]) -> Score:
    """The spread of the resamples around their mean, put around the value: fewer points only shift the mean."""
    low, high = np.quantile(np.array(values) - np.mean(values), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    settings = {**score.settings, "interval": f"{LEVEL:.0%}, {len(values)} random halves of the points"}
    return replace(score, interval=(score.value + float(low), score.value + float(high)), settings=settings)
