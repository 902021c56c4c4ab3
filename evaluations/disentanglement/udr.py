"""Unsupervised disentanglement ranking (UDR): do several trainings agree?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_finite, read_array
from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.extremes import exponents, scaled
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["udr"]

_INFORMATIVE = 0.01  # nats of divergence from the prior; codes below tell nothing


@checks_arguments
def udr(
    codes: Sequence[ArrayLike],
    *,
    divergences: Sequence[ArrayLike] | None = None,
    similarity: Literal["lasso", "spearman"] = "spearman",
) -> Score:
    """How similar each model's codes are to those of the other models, up to permutation and sign.

    For two models, R_ab is the absolute similarity of code a of one and code b of the other on the same points; each
    informative code's max_a R_ab^2 / sum_a R_ab is averaged over the codes of both, and a model's score is the median
    over the other models: Duan et al., "Unsupervised Model Selection for Variational Disentangled Representation
    Learning", ICLR 2020, section 4. A lasso of one model's codes on another's is not that of the other's on its own;
    as in the published code, a model's score is of the regressions in which the others explain it. Models that agree
    may all be wrong: copies of one model score near 1.

    Args:
        codes: one (n, d) array for each of M models, M at least 2, rows of all for the same points.
        divergences: for each model (d,) the mean divergence from the prior of each code, in nats, as
            :func:`~disentangle.evaluations.disentanglement.active_units.divergence_from_prior` gives; codes with 0.01
            or less are left out. Without it, constant codes are.
        similarity: ``"spearman"`` rank correlation, or ``"lasso"``: coefficients (alpha 0.1) of one model's
            standardised codes in a regression of the other's.

    Returns:
        Score named ``"udr/<similarity>"``; value: mean over models. Parts: ``"per_model"`` (M,), ``"pairwise"`` (M, M),
        the row's model explaining the column's, 0 on the diagonal, ``"informative"`` number of codes kept for each.

    Raises:
        InputError: if there are fewer than two models, or arrays do not fit each other.
    """
    start = time.perf_counter()
    if similarity not in ("lasso", "spearman"):
        raise InputError(f"similarity is {similarity!r}; expected 'spearman' or 'lasso'.")
    if not isinstance(codes, Iterable) or (hasattr(codes, "ndim") and codes.ndim != 3):
        raise InputError(f"codes are {type(codes).__name__}; expected a list of arrays (n, d), one for each model.")
    models = [
        read_array(array, f"codes of model {i}", ndim=2, expected="(n, d)", finite=False).astype(np.float64)
        for i, array in enumerate(codes)
    ]
    if len(models) < 2:
        raise InputError(f"UDR compares models, so it needs the codes of two or more; got {len(models)}.")
    for i, array in enumerate(models):
        if array.shape[0] != models[0].shape[0] or not array.shape[1]:
            raise InputError(
                f"codes of model {i} have shape {array.shape}; expected ({len(models[0])}, d), the points of model 0."
            )
        check_finite(array, f"codes of model {i}", advice="leave the model or those points out")
    models = [scaled(array, exponents(array)) for array in models]  # both similarities are of standardised codes
    kept = _informative(models, divergences)
    prepared = [_prepared(array, mask, similarity) for array, mask in zip(models, kept, strict=True)]
    pairwise = np.zeros((len(models), len(models)))
    for i, first in enumerate(prepared):
        for j, second in enumerate(prepared):
            if i != j:
                pairwise[i, j] = _agreement(_similarity(first, second, similarity)[np.ix_(kept[i], kept[j])])
    off = ~np.eye(len(models), dtype=bool)
    per_model = np.array([np.median(row[mask]) for row, mask in zip(pairwise.T, off, strict=True)])
    return Score(
        name=f"udr/{similarity}",
        value=float(per_model.mean()),
        parts={
            "per_model": per_model,
            "pairwise": pairwise,
            "informative": np.array([int(mask.sum()) for mask in kept]),
        },
        settings={
            "protocol": "dlib-2018",
            "similarity": similarity,
            **({"median_over": "models that explain it"} if similarity == "lasso" else {}),
            "n_train": len(models[0]),
            "models": len(models),
            "informative_above": _INFORMATIVE if divergences is not None else None,
            "packages": package_versions("numpy", "scipy", "scikit-learn"),
        },
        seconds=time.perf_counter() - start,
    )


def _informative(models: list[np.ndarray], divergences: Sequence[ArrayLike] | None) -> list[np.ndarray]:
    if divergences is None:
        return [~np.all(array == array[:1], axis=0) for array in models]
    if len(divergences) != len(models):
        raise InputError(f"divergences has {len(divergences)} entries for {len(models)} models; give one a model.")
    masks = []
    for i, (array, given) in enumerate(zip(models, divergences, strict=True)):
        values = read_array(given, f"divergences of model {i}", advice="leave the model out")
        if values.shape != array.shape[1:]:
            raise InputError(f"divergences of model {i} have shape {values.shape}; expected ({array.shape[1]},).")
        masks.append(values > _INFORMATIVE)
    return masks


def _prepared(array: np.ndarray, mask: np.ndarray, similarity: str) -> np.ndarray:
    """Standardised codes, or standardised ranks; codes that tell nothing are 0."""
    from scipy.stats import rankdata

    values = rankdata(array, axis=0) if similarity == "spearman" else array
    centred, spread = values - values.mean(axis=0), values.std(axis=0)
    scale: np.ndarray = np.where(mask & (spread > 0), 1 / np.where(spread > 0, spread, 1), 0)
    return np.asarray(centred * scale)


def _similarity(first: np.ndarray, second: np.ndarray, similarity: str) -> np.ndarray:
    """(d, e) absolute."""
    if similarity == "spearman":
        return np.asarray(np.abs(first.T @ second) / len(first))
    from sklearn.linear_model import Lasso

    coefficients = np.reshape(Lasso(alpha=0.1).fit(first, second).coef_, (second.shape[1], first.shape[1]))
    return np.asarray(np.abs(coefficients.T))


def _agreement(matrix: np.ndarray) -> float:
    """Mean over rows and over columns of the largest entry squared over the sum; 0 where there is nothing."""
    if not matrix.size:
        return 0.0
    shares = []
    for axis in (0, 1):
        total = matrix.sum(axis=axis)
        largest = matrix.max(axis=axis) ** 2
        shares.append(np.divide(largest, total, out=np.zeros_like(total), where=total > 0).mean())
    return float(np.mean(shares))
