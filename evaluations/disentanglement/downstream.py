"""Downstream accuracy: what a classifier makes of the codes, by the number of points it learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_finite
from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.extremes import tree_warning
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.parallel import in_processes
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.predictors import make_predictor
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["LOGISTIC", "METRIC", "downstream"]


@checks_arguments
def downstream(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    predictor: str | None = None,
    sizes: tuple[int, ...] | None = None,
    protocol: str = "dlib-2018",
    factor_kinds: FactorKinds = None,
    test_fraction: float = 1 / 3,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
    n_jobs: int = 1,
) -> Score:
    """Held-out accuracy of a classifier on all codes, learnt from 10, 100, 1,000 and 10,000 points.

    Locatello et al., ICML 2019, section 5.4 (protocol ``"dlib-2018"``). Sizes beyond the training part are left out.
    The ratio of the accuracies at 100 and 10,000 points is their *sample efficiency*.

    Args:
        codes: (n, d) finite numbers.
        factors: (n, k) integer labels.
        test: held-out ``(codes, factors)``; without it a part is split off by ``seed``.
        predictor: ``"gradient-boosting"`` (default; the trees of :func:`dci`) or ``"logistic"`` (a logistic regression,
            its penalty by five folds).
        sizes: numbers of points, rising; the first points of the training part are taken. By default the protocol's.
        protocol: ``"dlib-2018"``.
        factor_kinds: all must be discrete.
        test_fraction: share of the points to hold out when ``test`` is None, in (0, 1).
        baselines: also measure chance and ceiling; three times the work.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the split, the classifiers, the baselines and the resamples.
        n_jobs: processes, as in joblib.

    Returns:
        Score named ``"downstream/<predictor>"``; value: mean accuracy over factors at the largest size. Parts, for the
        K factors listed in ``"factors"`` and the S sizes in ``"sizes"``: ``"accuracy"`` and ``"accuracy_train"``
        (S, K), ``"per_factor"`` (K,) at the largest size, ``"mean_accuracy"`` (S,), ``"efficiency"`` where 100 and a
        larger size were measured.

    Raises:
        InputError: when the arrays do not fit, or no size is within the training part.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"predictor": predictor, "sizes": sizes}, test=test,
        factor_kinds=factor_kinds, test_fraction=test_fraction, baselines=baselines, bootstrap=bootstrap, seed=seed,
        n_jobs=n_jobs,
    )  # fmt: skip


def _measure(points: Points, *, predictor: str, sizes: tuple[int, ...], protocol: str, seed: int, n_jobs: int) -> Score:
    from joblib import delayed

    points.require_discrete("downstream accuracy")
    n, (test_codes, test_factors) = len(points.codes), points.held_out
    within = [int(size) for size in sizes if 1 < size <= n]
    if not within:
        raise InputError(f"sizes are {tuple(sizes)}, but there are {n} points to learn from; give one from 2 to {n}.")
    codes, test_codes = _single(points.codes), _single(test_codes)
    told: list[tuple[float, float]] = in_processes(
        n_jobs,
        [
            delayed(_accuracy)(predictor, seed, codes[:size], labels[:size], test_codes, test_labels)
            for size in within
            for labels, test_labels in zip(points.factors.T, test_factors.T, strict=True)
        ],
    )
    accuracy = np.array(told).reshape(len(within), -1, 2)
    mean = accuracy[..., 1].mean(axis=1)
    parts: dict[str, Any] = {
        "sizes": np.array(within),
        "accuracy": accuracy[..., 1],
        "accuracy_train": accuracy[..., 0],
        "mean_accuracy": mean,
        "per_factor": accuracy[-1, :, 1],
        "factors": points.kept,
    }
    if 100 in within and within[-1] > 100:
        parts["efficiency"] = float(mean[within.index(100)] / mean[-1]) if mean[-1] > 0 else 0.0
    return Score(
        name=f"downstream/{predictor}",
        value=float(mean[-1]),
        parts=parts,
        settings={
            "protocol": protocol,
            "predictor": predictor,
            "learnt_from": within[-1],
            "seed": seed,
            **points.settings,
            **(tree_warning(points.codes) if predictor == "gradient-boosting" else _scale_warning(points.codes)),
            "packages": package_versions("numpy", "scikit-learn"),
        },
    )


def _single(codes: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = codes.astype(np.float32)
    check_finite(rounded, "codes in single precision, which is learnt from,", advice="give them in a larger unit")
    return rounded


def _scale_warning(codes: np.ndarray) -> dict[str, str]:
    """The penalty, and the iterations that scikit-learn allows, are made for codes of about 1."""
    largest = float(np.abs(codes).max())
    if largest <= _LARGEST:
        return {}
    return {"warning": f"codes reach {largest:.2g}, where the regression stops before its optimum: standardise them"}


def _accuracy(
    predictor: str, seed: int, codes: np.ndarray, labels: np.ndarray, test_codes: np.ndarray, test_labels: np.ndarray
) -> tuple[float, float]:
    """On the points learnt from, and on the held-out ones; with a single label among the former, that is the guess."""
    if np.all(labels == labels[0]):
        return 1.0, float(np.mean(test_labels == labels[0]))
    model = make_predictor(predictor, seed).fit(codes, labels)
    return float(np.mean(model.predict(codes) == labels)), float(np.mean(model.predict(test_codes) == test_labels))


_LARGEST = 1e4  # of codes that a logistic regression is done with in its 100 iterations
_SIZES = (10, 100, 1_000, 10_000)


def _metric(name: str, predictor: str) -> Metric:
    options = {"predictor": predictor, "sizes": _SIZES}
    return Metric(
        name,
        "downstream accuracy",
        _measure,
        {"dlib-2018": options},
        seeded=True,
        parallel=True,
        hold_out=True,
        extremes="large" if predictor == "gradient-boosting" else "own",
    )


METRIC, LOGISTIC = _metric("downstream", "gradient-boosting"), _metric("downstream/logistic", "logistic")
