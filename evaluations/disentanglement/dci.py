"""Disentanglement, completeness and informativeness (DCI)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.dci_estimators import Estimator, Fitted, Part, resolve_estimator
from disentangle.evaluations.disentanglement.extremes import tree_warning
from disentangle.evaluations.disentanglement.gap import divided
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.parallel import in_processes
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["LASSO", "METRIC", "RANDOM_FOREST", "completeness_per_factor", "dci", "disentanglement_per_code"]

_SMOOTHING = 1e-11  # added to every importance before its entropy is taken, by the 2018 protocol


@checks_arguments
def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    estimator: str | Any | None = None,
    protocol: str = "dlib-2018",
    factor_kinds: FactorKinds = None,
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
        codes: (n, d) finite numbers, d at least 2; their scale does not matter to trees, but for values closer
            than 1e-7, which count as equal. Rounded to float32.
        factors: (n, k) integer labels; a factor with one class takes no part, two or more must remain.
        test: held-out ``(codes, factors)``; without it a part is split off by ``seed``.
        estimator: ``"gradient-boosting"`` (default), the protocol's trees grown by this toolkit;
            ``"sklearn-gradient-boosting"``, scikit-learn's ``GradientBoostingClassifier``, the same trees up to how
            equal gains are decided, about ten times slower; ``"random-forest"``, 100 trees of depth 10 by entropy;
            ``"lasso"``, a linear regression of each label as a number; or a scikit-learn classifier whose fitted copy
            has ``feature_importances_`` (where its ``random_state`` is None, the copy's is set to ``seed``).
        protocol: ``"dlib-2018"``; ``"tripod-2024"``: the forest, accuracy on a tenth of the training part;
            ``"ubisoft-2023"``: the lasso, its weights not brought to sum 1 for each factor, C a plain mean,
            informativeness 1 - 12 times the mean squared error (that code leaves out every code after the first without
            weight, a slip that is not repeated here).
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`; for continuous and periodic
            factors the model is a regression (of sine and cosine) and accuracy the share of variance explained.
        test_fraction: share of the points to hold out when ``test`` is None, in (0, 1).
        baselines: also measure chance and ceiling; three times the work.
        bootstrap: resamples for a 95 % interval, 0 for none; as many times the work, about half as long each.
        seed: of the split and of the classifiers.
        n_jobs: as in joblib; factors are fitted side by side in processes, classes in threads where jobs are left over.

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
        METRIC, codes, factors, protocol=protocol, given={"estimator": estimator}, test=test, factor_kinds=factor_kinds,
        test_fraction=test_fraction, baselines=baselines, bootstrap=bootstrap, seed=seed, n_jobs=n_jobs,
    )  # fmt: skip


def _measure(
    points: Points, *, estimator: str | Any, normalised: bool, weighted: bool, protocol: str, seed: int, n_jobs: int
) -> Score:
    from joblib import effective_n_jobs

    # processes for the factors; what is left over goes to the classes (or trees) inside each
    jobs = effective_n_jobs(n_jobs)
    processes = 1 if estimator == "random-forest" else min(jobs, len(points.kinds))
    model = resolve_estimator(estimator, seed, max(1, jobs // processes))
    fitted: list[Fitted] = points.by_factor(lambda part: _fit(part, model, processes))
    importance = np.stack([one.importance for one in fitted], axis=1)
    if normalised:
        importance = divided(importance, importance.sum(axis=0))
    per_code, per_factor = disentanglement_per_code(importance), completeness_per_factor(importance)
    code_weight = _shares(importance.sum(axis=1))
    factor_weight = _shares(importance.sum(axis=0) if weighted else np.ones(importance.shape[1]))
    train, test = np.array([one.told_train for one in fitted]), np.array([one.told_test for one in fitted])
    disentanglement = float(per_code @ code_weight)
    return Score(
        name=f"dci/{model.name}",
        value=disentanglement,
        parts={
            "disentanglement": disentanglement,
            "completeness": float(per_factor @ factor_weight),
            "informativeness_train": float(train.mean()),
            "informativeness_test": float(test.mean()),
            "importance": importance,
            "per_code": per_code,
            "code_weight": code_weight,
            "per_factor": per_factor,
            "accuracy_train": train,
            "accuracy_test": test,
            "factors": points.kept,
        },
        settings={
            "protocol": protocol,
            "estimator": model.description,
            "normaliser": "entropies in base K (codes) and d (factors)"
            + (", importances per factor sum to 1" if normalised else ""),
            "completeness": "mean weighted by importance" if weighted else "plain mean",
            "smoothing": _SMOOTHING,
            "seed": seed,
            **points.settings,
            **({} if model.name == "lasso" else tree_warning(points.codes)),
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


def _fit(points: Points, model: Estimator, processes: int) -> list[Fitted]:
    """One model a factor."""
    from joblib import delayed

    test_codes, test_factors = points.held_out
    train, test = _float32(points.codes, "codes"), _float32(test_codes, "test codes")
    fitted: list[Fitted] = in_processes(
        processes,
        [
            delayed(model)(Part(train, values), Part(test, test_values), kind)
            for values, test_values, kind in zip(points.factors.T, test_factors.T, points.kinds, strict=True)
        ],
    )
    return fitted


def _float32(codes: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = codes.astype(np.float32)
    if not np.all(np.isfinite(rounded)):
        raise InputError(f"{name} hold values beyond float32, up to {np.abs(codes).max():g}; scale them down for DCI.")
    return rounded


_DLIB = {"estimator": "gradient-boosting", "normalised": True, "weighted": True}
_TRIPOD = {"estimator": "random-forest", "normalised": True, "weighted": True}
_UBISOFT = {"estimator": "lasso", "normalised": False, "weighted": False}


def _metric(name: str, **protocols: Mapping[str, Any]) -> Metric:
    table = {protocol.replace("_", "-"): options for protocol, options in protocols.items()}
    return Metric(
        name,
        "DCI",
        _measure,
        table,
        seeded=True,
        parallel=True,
        hold_out=True,
        min_codes=2,
        min_factors=2,
        by_factor=True,
        extremes="scaled" if name == "dci/lasso" else "large",
    )


METRIC = _metric("dci", dlib_2018=_DLIB, tripod_2024=_TRIPOD, ubisoft_2023=_UBISOFT)
RANDOM_FOREST = _metric("dci/random-forest", tripod_2024=_TRIPOD)
LASSO = _metric("dci/lasso", ubisoft_2023=_UBISOFT)
