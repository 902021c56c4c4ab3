"""Explicitness and size of DCI-ES: how large a probe must be to read the factors from the codes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer
from disentangle.errors import InputError, unknown_name
from disentangle.evaluations.disentanglement.kinds import FactorKind, FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.parallel import in_processes
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments
from disentangle.text import shown

__all__ = ["METRIC", "dci_es", "explicitness_of_curves"]

_TREES = 100  # of a forest, as the authors have


@checks_arguments
def dci_es(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    probe: str | None = None,
    trees: int | None = None,
    capacities: Sequence[int] | None = None,
    protocol: str = "dci-es-2023",
    factor_kinds: FactorKinds = None,
    test_fraction: float = 1 / 3,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
    n_jobs: int = 1,
) -> Score:
    """Explicitness: 1 if the smallest probe already predicts as well as any, 0 if loss falls evenly to none.

    Eastwood, Nicolicioiu, von Kügelgen, Kekić, Träuble, Dittadi and Schölkopf, "DCI-ES: An Extended Disentanglement
    Framework with Connections to Identifiability", ICLR 2023, section 4.1: the mean over factors of what
    :func:`explicitness_of_curves` makes of the held-out losses of probes of growing capacity. It says how early the
    loss is as low as it gets, not how low that is: a factor that is hardly predicted at all has a flat curve, so E near
    1, and one of which no probe learns anything has E = 1, as in the authors' code. Read it beside ``"loss"``. Size is
    S = K / d.

    Args:
        codes: (n, d) finite numbers, standardised first.
        factors: (n, k) integer labels, or as ``factor_kinds`` says.
        test: held-out ``(codes, factors)``; without it a part is split off by ``seed``.
        probe: ``"random-forest"`` (default), the area over the depth of its trees; ``"random-features"``: ridge on
            random Fourier features, the area over the logarithm of their number, which is no probe of the authors'.
        trees: of a forest, 100 by default. The time is proportional to them.
        capacities: rising; by default depths 1, 2, 3, 4, 8, 10, ..., 20, 32, or 16 to 4,096 features.
        protocol: ``"dci-es-2023"``: the authors' forests and their script for scores.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`. Loss: share of labels
            wrong, or share of variance not explained.
        test_fraction: share of the points to hold out when ``test`` is None, in (0, 1).
        baselines: also measure chance and ceiling; three times the work.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the split, the probes, the baselines and the resamples.
        n_jobs: processes, as in joblib.

    Returns:
        Score named ``"dci-es/<probe>"``; value E, at most 1. Parts, for the K factors listed in ``"factors"``:
        ``"size"``, ``"capacities"`` (T,), ``"loss"`` (T, K), ``"constant_loss"`` (K,), ``"per_factor"`` (K,).

    Raises:
        InputError: when the arrays do not fit, there is no such probe, or trees or capacities are out of range.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol,
        given={"probe": probe, "trees": trees, "capacities": capacities}, test=test, factor_kinds=factor_kinds,
        test_fraction=test_fraction, baselines=baselines, bootstrap=bootstrap, seed=seed, n_jobs=n_jobs,
    )  # fmt: skip


def explicitness_of_curves(
    capacities: np.ndarray, losses: np.ndarray, constant_losses: np.ndarray, *, logarithmic: bool = True
) -> np.ndarray:
    """E = 1 - 2 A / l_0 of each factor.

    With L_t the lowest loss up to the capacity kappa_t, A is the area between the curve L_t and its lowest value, over
    the capacities scaled to [0, 1], by trapezia; l_0 is the loss of the best constant, and the lowest loss there could
    be is 0, as in the authors' code. A straight fall from l_0 to 0 has E = 0, a fall at the very end -1 or a little
    more, a flat curve 1.

    Args:
        capacities: (T,) positive, rising.
        losses: (T, K) held-out losses.
        constant_losses: (K,), 0 only where the losses are all 0.
        logarithmic: take the logarithms of the capacities, as the authors' script for scores does for networks; it
            leaves the depths of forests as they are.

    Returns:
        (K,) at most 1.
    """
    from scipy.integrate import trapezoid

    place = np.log(capacities) if logarithmic else np.asarray(capacities, dtype=np.float64)
    lowest = np.minimum.accumulate(losses, axis=0)
    area = trapezoid(lowest - lowest[-1], (place - place[0]) / (place[-1] - place[0]), axis=0)
    return np.asarray(1 - 2 * area / np.where(constant_losses > 0, constant_losses, 1))


def _measure(
    points: Points,
    *,
    probe: str,
    trees: int | None,
    capacities: Sequence[int] | None,
    protocol: str,
    seed: int,
    n_jobs: int,
) -> Score:
    from joblib import delayed

    if probe not in _PROBES:
        raise unknown_name("probe", probe, _PROBES)
    fit, usual = _PROBES[probe]
    capacities = usual if capacities is None else _checked(capacities)
    forest = probe == "random-forest"
    if forest:
        trees = check_integer("trees", _TREES if trees is None else trees, least=1)
        fit = partial(fit, trees)
    elif trees is not None:
        raise InputError(f"trees is {trees}, but probe='random-features' has none; leave trees out.")
    codes, (test_codes, test_factors) = points.codes.astype(np.float64), points.held_out
    mean, spread = codes.mean(axis=0), codes.std(axis=0)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    z, z_test = (codes - mean) * scale, (test_codes - mean) * scale
    k = len(points.kinds)
    losses: list[float] = in_processes(
        n_jobs,
        [
            delayed(_loss)(fit, capacity, z, points.factors[:, j], z_test, test_factors[:, j], points.kinds[j], seed)
            for capacity in capacities
            for j in range(k)
        ],
    )
    loss = np.array(losses).reshape(len(capacities), k)
    constant = np.array([_constant_loss(points.factors[:, j], test_factors[:, j], points.kinds[j]) for j in range(k)])
    per_factor = explicitness_of_curves(np.array(capacities), loss, constant, logarithmic=not forest)
    return Score(
        name=f"dci-es/{probe}",
        value=float(per_factor.mean()),
        parts={
            "size": k / codes.shape[1],
            "per_factor": per_factor,
            "capacities": np.array(capacities),
            "loss": loss,
            "constant_loss": constant,
            "factors": points.kept,
        },
        settings={
            "protocol": protocol,
            "probe": probe,
            **({"trees": trees} if forest else {}),
            "capacities": list(capacities),
            "area_along": "capacities" if forest else "logarithms of capacities",
            "area_over": "the loss of a constant",
            "seed": seed,
            **points.settings,
            "packages": package_versions("numpy", "scikit-learn"),
        },
    )


def _loss(
    fit: Any, capacity: int, z: np.ndarray, y: np.ndarray, z_test: np.ndarray, y_test: np.ndarray, kind: FactorKind,
    seed: int,
) -> float:  # fmt: skip
    """Held-out: share of labels wrong, or share of variance not explained."""
    if kind.name == "discrete":
        return float(np.mean(fit(capacity, z, y, z_test, True, seed) != y_test))
    targets, test_targets = kind.targets(y), kind.targets(y_test)
    predicted = np.reshape(fit(capacity, z, targets, z_test, False, seed), test_targets.shape)
    error = float(np.sum((predicted - test_targets) ** 2))
    spread = float(np.sum((test_targets - test_targets.mean(axis=0)) ** 2))
    return error / spread if spread > 0 else float(error > 0)


def _constant_loss(y: np.ndarray, y_test: np.ndarray, kind: FactorKind) -> float:
    if kind.name != "discrete":
        return 1.0
    values, counts = np.unique(y, return_counts=True)
    return float(np.mean(y_test != values[counts.argmax()]))


def _checked(capacities: Any) -> tuple[int, ...]:
    try:
        found = tuple(check_integer("a capacity", capacity, least=1) for capacity in capacities)
    except (InputError, TypeError):
        found = ()
    if len(found) < 2 or any(b <= a for a, b in pairwise(found)):
        raise InputError(
            f"capacities is {shown(capacities)}; expected two or more rising whole numbers from 1, such as [1, 2, 4]."
        )
    return found


def _forest(
    trees: int, depth: int, z: np.ndarray, y: np.ndarray, z_test: np.ndarray, labels: bool, seed: int
) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    make = RandomForestClassifier if labels else RandomForestRegressor
    target = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    return np.asarray(make(trees, max_depth=depth, random_state=seed).fit(z, target).predict(z_test))


def _random_features(
    width: int, z: np.ndarray, y: np.ndarray, z_test: np.ndarray, labels: bool, seed: int
) -> np.ndarray:
    """Ridge (one unit of penalty) on cosines of random projections, the kernel's width by the median distance."""
    from scipy.linalg import solve

    rng = np.random.default_rng([seed, width])
    some = z[rng.permutation(len(z))[:500]]
    squares = np.sum((some[:, None] - some[None]) ** 2, axis=2)
    gamma = 1 / max(float(np.median(squares[squares > 0])) if np.any(squares > 0) else 1.0, 1e-300)
    frequencies = rng.normal(scale=np.sqrt(2 * gamma), size=(z.shape[1], width))
    phases = rng.uniform(0, 2 * np.pi, width)
    features, test_features = (np.sqrt(2 / width) * np.cos(x @ frequencies + phases) for x in (z, z_test))
    classes = np.unique(y) if labels else None
    targets = (y[:, None] == classes).astype(np.float64) if classes is not None else y
    centre, middle = features.mean(axis=0), targets.mean(axis=0)
    gram = (features - centre).T @ (features - centre) + np.eye(width)
    weights = solve(gram, (features - centre).T @ (targets - middle), assume_a="pos")
    predicted = (test_features - centre) @ weights + middle
    return np.asarray(classes[predicted.argmax(axis=1)] if classes is not None else predicted)


_PROBES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "random-forest": (_forest, (1, 2, 3, 4, 8, 10, 12, 14, 16, 18, 20, 32)),
    "random-features": (_random_features, (16, 64, 256, 1024, 4096)),
}
METRIC = Metric(
    "dci-es", "DCI-ES", _measure, {"dci-es-2023": {"probe": "random-forest", "trees": None, "capacities": None}},
    seeded=True, parallel=True, hold_out=True,
)  # fmt: skip
