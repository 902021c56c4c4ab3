"""Disentanglement, completeness and informativeness (DCI)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.errors import InputError, unknown_name
from disentangle.evaluations.disentanglement.boosting import fit_boosted_trees
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import Score, package_versions

__all__ = ["METRIC", "completeness_per_factor", "dci", "disentanglement_per_code"]

_SMOOTHING = 1e-11  # added to every importance before its entropy is taken, by the 2018 protocol


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    estimator: str | Any | None = None,
    protocol: str = "dlib-2018",
    test_fraction: float = 1 / 3,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
    n_jobs: int = 1,
) -> Score:
    """Whether each code matters for one factor (D), each factor needs one code (C), and all codes tell it (I).

    A classifier per factor sees all codes; R_jk is the importance of code j in the one for factor k, each column scaled
    to sum to 1. With P_jk = R_jk / sum_k R_jk and H_K the entropy in base K,

        D_j = 1 - H_K(P_j),   D = sum_j rho_j D_j,   rho_j = sum_k R_jk / sum R,

    and the same over columns for completeness: C_k = 1 - H_d(R_.k / sum_j R_jk), C = sum_k rho_k C_k with rho_k the
    column's share of sum R. Informativeness is the mean accuracy over factors. Eastwood and Williams, "A Framework for
    the Quantitative Evaluation of Disentangled Representations", ICLR 2018, section 2 (their C is not weighted; with
    columns that sum to 1 the two agree unless a classifier found nothing at all). The classifier, the accuracy and
    1e-11 added to each importance are those of Locatello et al., ICML 2019 (protocol ``"dlib-2018"``: gradient boosted
    trees, 10,000 training and 5,000 held-out points).

    The number depends strongly on the classifier, so it is part of the score's name; C depends on d through the base
    of its logarithm, so codes of different length do not compare.

    Args:
        codes: (n, d) finite numbers, d at least 2; their scale does not matter to trees. Rounded to float32.
        factors: (n, k) integer labels; a factor with one class takes no part, two or more must remain.
        test: held-out ``(codes, factors)``; without it a part is split off by ``seed``.
        estimator: ``"gradient-boosting"`` (default), the protocol's trees grown by this toolkit;
            ``"sklearn-gradient-boosting"``, scikit-learn's ``GradientBoostingClassifier``, the same trees up to how
            equal gains are decided, about ten times slower; or a scikit-learn classifier whose fitted copy has
            ``feature_importances_`` (where its ``random_state`` is None, the copy's is set to ``seed``).
        protocol: ``"dlib-2018"``.
        test_fraction: share of the points to hold out when ``test`` is None, in (0, 1).
        baselines: also measure chance and ceiling; three times the work.
        bootstrap: resamples for a 95 % interval, 0 for none; as many times the work, about half as long each.
        seed: of the split and of the classifiers.
        n_jobs: processes, as in joblib; factors are fitted side by side.

    Returns:
        Score named ``"dci/<estimator>"``; value D in [0, 1]. Parts, for the K factors listed in ``"factors"``:
        ``"disentanglement"``, ``"completeness"``, ``"informativeness_train"``, ``"informativeness_test"``,
        ``"importance"`` (d, K), ``"per_code"`` (d,) D_j, ``"code_weight"`` (d,) rho_j, ``"per_factor"`` (K,) C_k,
        ``"accuracy_train"`` and ``"accuracy_test"`` (K,). When no code has any importance, D and C are 0.

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`, the
            estimator is unknown, or it gives no importances.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"estimator": estimator}, test=test,
        test_fraction=test_fraction, baselines=baselines, bootstrap=bootstrap, seed=seed, n_jobs=n_jobs,
    )  # fmt: skip


def _measure(points: Points, *, estimator: str | Any, protocol: str, seed: int, n_jobs: int) -> Score:
    name, fit, description = _resolve(estimator, seed)
    importance, accuracy_train, accuracy_test = _fit(points, fit, n_jobs)
    per_code, per_factor = disentanglement_per_code(importance), completeness_per_factor(importance)
    code_weight, factor_weight = _shares(importance.sum(axis=1)), _shares(importance.sum(axis=0))
    disentanglement = float(per_code @ code_weight)
    return Score(
        name=f"dci/{name}",
        value=disentanglement,
        parts={
            "disentanglement": disentanglement,
            "completeness": float(per_factor @ factor_weight),
            "informativeness_train": float(accuracy_train.mean()),
            "informativeness_test": float(accuracy_test.mean()),
            "importance": importance,
            "per_code": per_code,
            "code_weight": code_weight,
            "per_factor": per_factor,
            "accuracy_train": accuracy_train,
            "accuracy_test": accuracy_test,
            "factors": points.kept,
        },
        settings={
            "protocol": protocol,
            "estimator": description,
            "normaliser": "entropies in base K (codes) and d (factors), importances per factor sum to 1",
            "smoothing": _SMOOTHING,
            "seed": seed,
            **points.settings,
            "packages": package_versions("numpy", "scikit-learn"),
        },
    )


def disentanglement_per_code(importance: np.ndarray) -> np.ndarray:
    """D_j = 1 - entropy in base K of row j; (d, K) importances at least 0, K at least 2, to (d,) in [0, 1].

    >>> disentanglement_per_code(np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]])).round(6).tolist()
    [1.0, 0.0, 0.0]
    """
    shares = importance + _SMOOTHING  # so that an unused code has equal shares, not 0/0
    shares = shares / shares.sum(axis=1, keepdims=True)
    scores = 1 + np.sum(shares * np.log(shares), axis=1) / np.log(importance.shape[1])
    return np.where(importance.any(axis=1), np.clip(scores, 0.0, 1.0), 0.0)  # rounding can leave +-1e-16


def completeness_per_factor(importance: np.ndarray) -> np.ndarray:
    """C_k = 1 - entropy in base d of column k; (d, K) importances at least 0, d at least 2, to (K,) in [0, 1]."""
    return disentanglement_per_code(importance.T)


def _shares(weights: np.ndarray) -> np.ndarray:
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))


# A fit turns codes (n, d) and labels (n,) into a model that predicts and has importances. These are classes and no
# closures, so that they travel to other processes.
class _Boosting:
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, codes: np.ndarray, labels: np.ndarray) -> Any:
        return fit_boosted_trees(codes, labels, seed=self.seed)


class _ScikitLearnBoosting(_Boosting):
    def __call__(self, codes: np.ndarray, labels: np.ndarray) -> Any:
        from sklearn.ensemble import GradientBoostingClassifier

        return GradientBoostingClassifier(random_state=self.seed).fit(codes, labels)


class _Copy:
    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __call__(self, codes: np.ndarray, labels: np.ndarray) -> Any:
        from sklearn.base import clone

        return clone(self.estimator).fit(codes, labels)


_NAMED: dict[str, tuple[type[_Boosting], str]] = {
    "gradient-boosting": (_Boosting, "exact-greedy boosted trees: 100 stages, depth 3, learning rate 0.1"),
    "sklearn-gradient-boosting": (_ScikitLearnBoosting, "GradientBoostingClassifier with scikit-learn's defaults"),
}


def _resolve(estimator: Any, seed: int) -> tuple[str, Callable[[np.ndarray, np.ndarray], Any], str]:
    """The estimator's name for the score, its fit, and its description."""
    if isinstance(estimator, str):
        if estimator not in _NAMED:
            raise unknown_name("estimator", estimator, _NAMED)
        fit, description = _NAMED[estimator]
        return estimator, fit(seed), description
    methods = ("fit", "predict", "get_params", "set_params")
    if isinstance(estimator, type) or not all(callable(getattr(estimator, method, None)) for method in methods):
        raise InputError(
            f"estimator is {estimator!r}; expected {', '.join(map(repr, _NAMED))} or a scikit-learn classifier object."
        )
    from sklearn.base import clone, is_regressor

    if is_regressor(estimator):
        raise InputError(f"estimator {type(estimator).__name__} is a regressor; DCI predicts labels with a classifier.")
    copy = clone(estimator)
    if copy.get_params().get("random_state", 0) is None:
        copy.set_params(random_state=seed)
    return type(estimator).__name__, _Copy(copy), " ".join(repr(copy).split())


def _fit(
    points: Points, fit: Callable[[np.ndarray, np.ndarray], Any], n_jobs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Importances (d, K) and the accuracies (K,) on the training and the held-out part."""
    from joblib import Parallel, delayed

    assert points.test_codes is not None
    assert points.test_factors is not None
    codes, test_codes = _float32(points.codes, "codes"), _float32(points.test_codes, "test codes")
    fitted = Parallel(n_jobs=n_jobs)(
        delayed(_fit_factor)(fit, codes, labels, test_codes, test_labels)
        for labels, test_labels in zip(points.factors.T, points.test_factors.T, strict=True)
    )
    importance = np.stack([result[0] for result in fitted], axis=1)
    return importance, np.array([result[1] for result in fitted]), np.array([result[2] for result in fitted])


def _fit_factor(
    fit: Callable[[np.ndarray, np.ndarray], Any],
    codes: np.ndarray,
    labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
) -> tuple[np.ndarray, float, float]:
    model = fit(codes, labels)
    importance = getattr(model, "feature_importances_", None)
    if importance is None:
        raise InputError(f"estimator {type(model).__name__} has no feature_importances_ after fitting; DCI needs them.")
    importance = np.abs(np.asarray(importance, dtype=np.float64))
    if importance.shape != codes.shape[1:] or not np.all(np.isfinite(importance)):
        raise InputError(
            f"estimator {type(model).__name__} gave importances of shape {importance.shape}; expected a finite number "
            f"for each of the {codes.shape[1]} codes."
        )
    total = importance.sum()
    return (
        importance / total if total > 0 else importance,
        float(np.mean(np.ravel(model.predict(codes)) == labels)),
        float(np.mean(np.ravel(model.predict(test_codes)) == test_labels)),
    )


def _float32(codes: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = codes.astype(np.float32)
    if not np.all(np.isfinite(rounded)):
        raise InputError(f"{name} hold values beyond float32, up to {np.abs(codes).max():g}; scale them down for DCI.")
    return rounded


METRIC = Metric(
    "dci",
    "DCI",
    _measure,
    {"dlib-2018": {"estimator": "gradient-boosting"}},
    seeded=True,
    parallel=True,
    hold_out=True,
    min_codes=2,
    min_factors=2,
)
