"""InfoMEC: modularity (InfoM), compactness (InfoC) and explicitness (InfoE) by information."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.extremes import common_exponent, scaled
from disentangle.evaluations.disentanglement.gap import divided
from disentangle.evaluations.disentanglement.information import class_indices, entropy, mutual_information
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.knn_information import (
    information_with_labels,
    information_with_values,
    jittered,
)
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.tables import Counting, factor_entropy, factor_labels
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["INFOC", "INFOE", "INFOM", "infoc", "infoe", "infom"]

Pruning = Literal["range", "quartiles"]


@checks_arguments
def infom(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    protocol: str = "infomec-2023",
    neighbors: int | None = None,
    discrete_codes: bool | None = None,
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """Modularity: how much of each code's information is about one factor.

    With NMI_jk = I(z_j; y_k) / H(y_k) over the codes that are live,

        InfoM = (mean_j max_k NMI_jk / sum_k NMI_jk - 1/K) / (1 - 1/K).

    Hsu, Dorrell, Whittington, Wu, Finn, "Disentanglement via Latent Quantization", NeurIPS 2023, section 4. The
    information is estimated by 10 nearest neighbours, see
    :mod:`~disentangle.evaluations.disentanglement.knn_information`, or from counts where codes are discrete. A live
    code that tells nothing about any factor is as undecided as can be: its share is 1/K (the source gives NaN).

    Args:
        codes: (n, d) finite numbers, standardised first.
        factors: (n, k) integer labels, or as ``factor_kinds`` says; two that vary at least.
        protocol: ``"infomec-2023"``: a code is live if its range exceeds a twentieth of the largest;
            ``"tripod-2024"``: if its interquartile range exceeds a tenth of the largest. For discrete codes: if its
            range (or interquartile range: 0.1) is above 0.
        neighbors: k of the estimate, at least 1; by default the protocol's 10.
        discrete_codes: codes are labels, such as those of a quantised representation.
        factor_kinds: continuous and periodic factors are taken as values; H is then the entropy of 20 equal-width bins.
        baselines: also measure chance and ceiling (noise has an InfoM above one half).
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the jitter of 1e-10 that parts equal codes (it moves codes with exact ties by 0.01), of baselines and
            resamples.

    Returns:
        Score named ``"infom"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``:
        ``"normalised_information"`` (d, K), ``"live"`` (d,), ``"per_code"`` (d,) each code's share, 0 where it is not
        live, ``"per_factor"`` (K,) the mean share of the live codes that tell most about the factor, 0 if there are
        none.

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    return measured(
        INFOM, codes, factors, protocol=protocol, given={"neighbors": neighbors, "discrete_codes": discrete_codes},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


@checks_arguments
def infoc(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    protocol: str = "infomec-2023",
    neighbors: int | None = None,
    discrete_codes: bool | None = None,
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """Compactness: how much of the information about each factor is in one code.

    InfoC = (mean_k max_j NMI_jk / sum_j NMI_jk - 1/d) / (1 - 1/d) over the d live codes; arguments and source are those
    of :func:`infom`. A factor that no code tells about has the share 1/d; with a single live code nothing can be spread
    out and InfoC is 1 if it tells anything.

    Returns:
        Score named ``"infoc"``; value in [0, 1]. Parts as those of :func:`infom`: ``"per_factor"`` (K,) each factor's
        share, ``"per_code"`` (d,) the largest share of a factor's information that the code has.
    """
    return measured(
        INFOC, codes, factors, protocol=protocol, given={"neighbors": neighbors, "discrete_codes": discrete_codes},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


@checks_arguments
def infoe(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    protocol: str = "infomec-2023",
    discrete_codes: bool | None = None,
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """Explicitness: how much of each factor a linear model reads from all codes.

    InfoE = mean_k 1 - CE_k / log(values of k), with CE_k the mean cross-entropy, on the points it was fitted to, of a
    logistic regression without penalty on standardised codes (classes balanced, at most 100 iterations); the
    denominator is that of the same regression without codes. For a continuous or periodic factor, the share of variance
    that a linear regression explains. Arguments and source are those of :func:`infom`.

    Returns:
        Score named ``"infoe"``; value at most 1. Parts, for the K factors listed in ``"factors"``: ``"per_factor"``
        (K,), ``"weight"`` (d, K) mean absolute coefficients, ``"per_code"`` (d,) their largest.
    """
    return measured(
        INFOE, codes, factors, protocol=protocol, given={"discrete_codes": discrete_codes},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _information(points: Points, neighbors: int, discrete_codes: bool, seed: int) -> np.ndarray:
    """NMI_jk, (d, k)."""
    return points.shared(
        ("neighbour information", neighbors, discrete_codes, seed),
        lambda: _compute_information(points, neighbors, discrete_codes, seed),
    )


def _compute_information(points: Points, neighbors: int, discrete_codes: bool, seed: int) -> np.ndarray:
    counted = Counting(20)
    if discrete_codes:
        cells = np.stack([class_indices(np.unique(code, return_inverse=True)[1])[0] for code in points.codes.T], axis=1)
        labels = factor_labels(points, counted)
        return mutual_information(cells, labels) / entropy(labels)
    stream = np.random.RandomState(seed)  # the draws of scikit-learn's functions, called factor by factor
    n, d = points.codes.shape
    columns = [_standardised(column) for column in points.codes.T]
    orders = [np.argsort(column, kind="stable") for column in columns]
    information = np.empty((d, len(points.kinds)))
    for k, kind in enumerate(points.kinds):
        values = points.in_range().factors[:, k]
        classes = class_indices(values.astype(np.int64))[0] if kind.name == "discrete" else None
        for j in range(d):
            code = jittered(columns[j], stream.standard_normal((n,)))
            if classes is not None:
                information[j, k] = information_with_labels(code, classes, neighbors=neighbors, order=orders[j])
            else:
                axes = [jittered(axis, stream.standard_normal((n,))) for axis in kind.targets(values).T]
                information[j, k] = information_with_values(code, np.stack(axes, axis=1), neighbors=neighbors)
    return information / factor_entropy(points, counted)


def _standardised(column: np.ndarray) -> np.ndarray:
    """To mean 0 and variance 1, each step rounded in the column's own dtype, as scikit-learn's ``StandardScaler``."""
    values = column if column.dtype in (np.float32, np.float64) else column.astype(np.float64)
    values = scaled(values, common_exponent(values))
    wide = values.astype(np.float64)
    spread = wide.std()
    centred = values - values.dtype.type(wide.mean())
    return centred if np.all(column == column[0]) or spread == 0 else centred / values.dtype.type(spread)


def _live(points: Points, pruning: Pruning, discrete_codes: bool) -> np.ndarray:
    """(d,) codes that vary enough to count."""
    codes = points.codes.astype(np.float64) / 4  # the range of the largest numbers would overflow
    if pruning == "range":
        spread = np.ptp(codes, axis=0)
        least = 0.0 if discrete_codes else spread.max() / 20
    else:
        low, high = np.quantile(codes, [0.25, 0.75], axis=0)
        spread = high - low
        least = 0.1 / 4 if discrete_codes else spread.max() / 10
    return spread > least


def _settings(points: Points, protocol: str, **options: Any) -> dict[str, Any]:
    versions = package_versions("numpy", "scipy", "scikit-learn")
    return {"protocol": protocol, **options, **points.settings, "packages": versions}


def _measure_m(
    points: Points, *, neighbors: int, discrete_codes: bool, pruning: Pruning, protocol: str, seed: int
) -> Score:
    information, live = _information(points, neighbors, discrete_codes, seed), _live(points, pruning, discrete_codes)
    k = information.shape[1]
    total = information.sum(axis=1)
    share = np.where(live, np.where(total > 0, divided(information.max(axis=1), total), 1 / k), 0.0)
    best = information.argmax(axis=1)
    serving = [share[live & (total > 0) & (best == factor)] for factor in range(k)]
    return Score(
        name="infom",
        value=float((share[live].mean() - 1 / k) / (1 - 1 / k)) if live.any() else 0.0,
        parts={
            "per_code": share,
            "per_factor": np.array([shares.mean() if len(shares) else 0.0 for shares in serving]),
            "normalised_information": information,
            "live": live,
            "factors": points.kept,
        },
        settings=_settings(
            points, protocol, neighbors=neighbors, discrete_codes=discrete_codes, pruning=pruning,
            live_codes=int(live.sum()), normaliser="factor entropy", seed=seed,
        ),
    )  # fmt: skip


def _measure_c(
    points: Points, *, neighbors: int, discrete_codes: bool, pruning: Pruning, protocol: str, seed: int
) -> Score:
    information, live = _information(points, neighbors, discrete_codes, seed), _live(points, pruning, discrete_codes)
    d = max(int(live.sum()), 1)
    pruned = information * live[:, None]
    total = pruned.sum(axis=0)
    share = np.where(total > 0, divided(pruned.max(axis=0), total), 1 / d if d > 1 else 0.0)
    value = (share.mean() - 1 / d) / (1 - 1 / d) if d > 1 else share.mean()
    return Score(
        name="infoc",
        value=float(value),
        parts={
            "per_factor": share,
            "per_code": divided(pruned, total).max(axis=1),
            "normalised_information": information,
            "live": live,
            "factors": points.kept,
        },
        settings=_settings(
            points, protocol, neighbors=neighbors, discrete_codes=discrete_codes, pruning=pruning,
            live_codes=int(live.sum()), normaliser="factor entropy", seed=seed,
        ),
    )  # fmt: skip


def _measure_e(points: Points, *, discrete_codes: bool, protocol: str) -> Score:
    if discrete_codes:
        columns = [np.unique(code, return_inverse=True)[1][:, None] == np.arange(len(np.unique(code)))
                   for code in points.codes.T]  # fmt: skip
        owner = np.repeat(np.arange(len(columns)), [column.shape[1] for column in columns])
        inputs = np.concatenate(columns, axis=1).astype(np.float64)
    else:
        inputs = np.stack([_standardised(column) for column in points.codes.T], axis=1)
        owner = np.arange(inputs.shape[1])
    per_factor, weights = [], np.zeros((points.codes.shape[1], len(points.kinds)))
    for k, kind in enumerate(points.kinds):
        if kind.name == "discrete":
            told, coefficients = _cross_entropy(inputs, points.factors[:, k])
        else:
            told, coefficients = _explained(inputs, kind.targets(points.factors[:, k]))
        per_factor.append(told)
        np.add.at(weights[:, k], owner, coefficients)
    return Score(
        name="infoe",
        value=float(np.mean(per_factor)),
        parts={
            "per_factor": np.array(per_factor),
            "per_code": weights.max(axis=1),
            "weight": weights,
            "factors": points.kept,
        },
        settings=_settings(
            points,
            protocol,
            estimator="LogisticRegression(C=inf, class_weight='balanced')",
            discrete_codes=discrete_codes,
        ),
    )


def _cross_entropy(inputs: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """1 - cross-entropy over log of the number of labels, and the mean absolute coefficient of each input."""
    import warnings

    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the source stops at 100 iterations too
        model = LogisticRegression(C=np.inf, class_weight="balanced").fit(inputs, labels)
    probabilities = model.predict_proba(inputs).astype(np.float64)
    column = np.searchsorted(model.classes_, labels)
    told = probabilities[np.arange(len(labels)), column]
    smallest = np.finfo(probabilities.dtype).eps
    loss = -np.mean(np.log(np.clip(told, smallest, 1)))
    return float(1 - loss / np.log(len(model.classes_))), np.abs(model.coef_).mean(axis=0)


def _explained(inputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of variance that least squares explains, and the mean absolute coefficient of each input."""
    wide = inputs.astype(np.float64)
    z, y = wide - wide.mean(axis=0), targets - targets.mean(axis=0)
    coefficients = np.linalg.lstsq(z, y, rcond=None)[0]
    residual = np.sum((y - z @ coefficients) ** 2)
    return float(1 - residual / np.sum(y**2)), np.abs(coefficients).mean(axis=1)


_RANGE = {"neighbors": 10, "discrete_codes": False, "pruning": "range"}
_QUARTILES = {**_RANGE, "pruning": "quartiles"}
_PROTOCOLS = {"infomec-2023": _RANGE, "tripod-2024": _QUARTILES}
INFOM = Metric("infom", "InfoM", _measure_m, _PROTOCOLS, seeded=True, min_factors=2, extremes="own")
INFOC = Metric("infoc", "InfoC", _measure_c, _PROTOCOLS, seeded=True, extremes="own")
INFOE = Metric(
    "infoe", "InfoE", _measure_e, {name: {"discrete_codes": False} for name in ("infomec-2023", "tripod-2024")}
)
