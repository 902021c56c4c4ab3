"""FactorVAE score, and its counterpart with one free factor (z-max variance)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from disentangle.evaluations.disentanglement.code_table import CodeTable
from disentangle.evaluations.disentanglement.intervention import (
    InterventionalMetric,
    Votes,
    batches,
    global_variance,
    measured_on,
    votes_score,
)
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "Z_MAX", "factor_vae", "z_max_variance"]

Resample = Callable[[np.random.Generator], float]


@checks_arguments
def factor_vae(
    table: CodeTable,
    *,
    protocol: str = "dlib-2018",
    prune: float | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    stream: np.random.RandomState | None = None,
) -> Score:
    """Whether the code that varies least tells which factor was held fixed.

    A vote: fix a factor, draw a batch, and take the code with the smallest variance over the batch relative to its
    variance over the data; each code stands for the factor it was voted for most in training, and the score is the
    share of evaluation votes that this names right. Kim and Mnih, "Disentangling by Factorising", ICML 2018, section 4.
    It is 1 for many representations whose codes mix factors.

    Args:
        table: the representation.
        protocol: ``"dlib-2018"``: batches of 64, 10,000 training and 5,000 evaluation votes, variances from 10,000
            pictures, codes of standard deviation below 0.05 left out; ``"disent"``: none left out but constant ones;
            ``"ubisoft-2023"``: batches of 200, 800 and 800 votes, rescaled so that chance is 0.
        prune: standard deviation below which a code is left out; constant codes always are. By default the protocol's.
        bootstrap: resamples of the evaluation votes for a 95 % interval, 0 for none.
        seed: of all draws.
        stream: to draw from instead of ``numpy.random.RandomState(seed)``.

    Returns:
        Score named ``"factor-vae"``; chance is 1/K. Parts, for the K varying factors listed in ``"factors"``:
        ``"votes"`` (d, K), ``"per_factor"`` (K,) share named right, ``"per_code"`` (d,) share of votes, ``"train"``.
    """
    return measured_on(
        METRIC, table, protocol=protocol, given={"prune": prune}, bootstrap=bootstrap, seed=seed, stream=stream
    )


@checks_arguments
def z_max_variance(
    table: CodeTable,
    *,
    protocol: str = "ubisoft-2023",
    prune: float | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    stream: np.random.RandomState | None = None,
) -> Score:
    """Whether the code that varies most tells which factor alone was free.

    As :func:`factor_vae`, but all factors are fixed except one, and the vote is for the largest relative variance: Kim
    et al., "Relevance Factor VAE", 2019, section 4.1. Each batch holds pictures drawn with one factor free.

    Args:
        table: the representation.
        protocol: ``"ubisoft-2023"``: batches of 200, 800 training and 800 evaluation votes, codes of standard deviation
            below 0.05 left out, rescaled so that chance is 0.
        prune, bootstrap, seed, stream: see :func:`factor_vae`.

    Returns:
        Score named ``"z-max-variance"`` with the parts of :func:`factor_vae`.
    """
    return measured_on(
        Z_MAX, table, protocol=protocol, given={"prune": prune}, bootstrap=bootstrap, seed=seed, stream=stream
    )


def _measure(
    table: CodeTable, *, name: str, free: bool, batch: int, train: int, evaluate: int, variance: int, prune: float,
    scaled: bool, protocol: str, seed: int, stream: np.random.RandomState,
) -> tuple[Score, Resample | None]:  # fmt: skip
    spread = global_variance(table, variance, stream)
    # a variance of 0 in float32 may be rounding in float64
    active = (np.sqrt(spread) >= prune) & (spread > np.finfo(np.float64).tiny)
    settings: dict[str, Any] = {
        "protocol": protocol,
        "batch": batch,
        "train_votes": train,
        "evaluation_votes": evaluate,
        "variance_points": variance,
        "prune": prune,
        "rescaled": scaled,
        "packages": package_versions("numpy"),
    }
    seen = _vote(table, train, batch, spread, active, free, stream)
    asked = _vote(table, evaluate, batch, spread, active, free, stream)
    return votes_score(name, table, seen, asked, active, scaled=scaled, settings=settings)


def _vote(
    table: CodeTable, count: int, batch: int, spread: np.ndarray, active: np.ndarray, free: bool,
    stream: np.random.RandomState,
) -> Votes:  # fmt: skip
    if not active.any():
        return Votes(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    alive, votes, factors = np.flatnonzero(active), [], []
    for chosen, codes in batches(table, count, batch, stream, kind="free" if free else "fixed"):
        relative = codes[..., alive].astype(np.float64).var(axis=1, ddof=1) / spread[alive]
        votes.append(alive[relative.argmax(axis=1) if free else relative.argmin(axis=1)])
        factors.append(chosen)
    return Votes(np.concatenate(votes), np.concatenate(factors))


def _fixed(table: CodeTable, **options: Any) -> tuple[Score, Resample | None]:
    return _measure(table, name="factor-vae", free=False, **options)


def _free(table: CodeTable, **options: Any) -> tuple[Score, Resample | None]:
    return _measure(table, name="z-max-variance", free=True, **options)


_DLIB = {"batch": 64, "train": 10_000, "evaluate": 5_000, "variance": 10_000, "prune": 0.05, "scaled": False}
_UBISOFT = {"batch": 200, "train": 800, "evaluate": 800, "variance": 10_000, "prune": 0.05, "scaled": True}
METRIC = InterventionalMetric(
    "factor-vae",
    "the FactorVAE score",
    _fixed,
    {"dlib-2018": _DLIB, "disent": {**_DLIB, "prune": 0.0}, "ubisoft-2023": _UBISOFT},
)
Z_MAX = InterventionalMetric("z-max-variance", "z-max variance", _free, {"ubisoft-2023": _UBISOFT})
