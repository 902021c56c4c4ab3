"""What the metrics that intervene have in common: draws that share a factor, votes of codes, and the score of votes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from disentangle.checks import check_integer
from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.code_table import CodeTable
from disentangle.evaluations.disentanglement.metric import LEVEL
from disentangle.evaluations.disentanglement.protocols import Protocols, protocol_options
from disentangle.evaluations.score import Score

__all__ = [
    "InterventionalMetric",
    "Votes",
    "batches",
    "global_variance",
    "measured_on",
    "rescaled",
    "sample_factors",
    "votes_score",
]

_ROWS = 2**17  # codes looked up in one call


@dataclass(frozen=True)
class InterventionalMetric:
    """A metric of a representation that it may ask for codes of pictures of its own choice.

    Attributes:
        name: as on the command line.
        label: as in messages.
        measure: ``(table, *, stream, seed, protocol, **options) -> (Score, resample)``; ``resample(rng)`` is the value
            on a resample of the evaluation draws, or None where there is none.
        protocols: those that define it, the default first, with their options.
    """

    name: str
    label: str
    measure: Callable[..., tuple[Score, Callable[[np.random.Generator], float] | None]]
    protocols: Protocols


def measured_on(
    metric: InterventionalMetric,
    table: CodeTable,
    *,
    protocol: str | None = None,
    given: Mapping[str, Any] | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    stream: np.random.RandomState | None = None,
) -> Score:
    """Score ``metric`` on a table; with ``bootstrap``, a 95 % interval over resamples of the evaluation draws.

    All draws come from ``stream``, by default ``numpy.random.RandomState(seed)``.

    Raises:
        InputError: on an unknown protocol, or a table with fewer than two factors that vary.
    """
    start = time.perf_counter()
    bootstrap = check_integer("bootstrap", bootstrap, least=0)
    if len(table.varying) < 2:
        raise InputError(
            f"{metric.label} tells factors apart, so it needs two with two values or more; the sizes are {table.sizes}."
        )
    options = protocol_options(metric.name, metric.protocols, protocol, given or {})
    for name in ("batch", "train", "evaluate", "variance"):
        if name in options:
            check_integer(name, options[name], least=2)
    seed = check_integer("seed", seed, least=0, most=2**32 - 1)
    stream = np.random.RandomState(seed) if stream is None else stream
    score, resample = metric.measure(table, stream=stream, seed=seed, **options)
    if bootstrap and resample is not None:
        rng = np.random.default_rng([seed, 3])
        values = np.array([resample(rng) for _ in range(bootstrap)])
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        settings = {**score.settings, "interval": f"{LEVEL:.0%}, {bootstrap} resamples of the evaluation draws"}
        score = replace(score, interval=(float(low), float(high)), settings=settings)
    settings = {**score.settings, "pictures_encoded": table.encoded, "seed": seed}
    return replace(score, settings=settings, seconds=time.perf_counter() - start)


def sample_factors(table: CodeTable, n: int, stream: np.random.RandomState) -> np.ndarray:
    """(n, k) int64 factors, uniform and independent: one ``randint`` a factor, in order."""
    return np.stack([stream.randint(size, size=n) for size in table.sizes], axis=1)


def batches(
    table: CodeTable, count: int, batch: int, stream: np.random.RandomState, *, kind: Literal["fixed", "free", "pairs"]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of codes whose pictures share one factor, drawn at random.

    The draws and their order are those of the 2018 library, so that the same seed gives the same pictures. An encoder
    that is not deterministic is asked for one batch at a time, and may draw from ``stream`` in between.

    Args:
        table: the representation.
        count: how many batches.
        batch: pictures in each.
        stream: of all draws.
        kind: ``"fixed"``, all pictures share the factor; ``"free"``, they share all others; ``"pairs"``, each shares it
            with one picture of a second batch, and the codes are the absolute differences of the two.

    Yields:
        (c,) positions among ``table.varying``, and (c, batch, d) codes, a few batches at a time.
    """
    step = max(1, _ROWS // batch) if table.cache else 1
    for start in range(0, count, step):
        chosen, asked, others = [], [], []
        for _ in range(min(step, count - start)):
            place = int(stream.randint(len(table.varying)))
            column = table.varying[place]
            factors = sample_factors(table, batch, stream)
            if kind == "pairs":
                other = sample_factors(table, batch, stream)
                other[:, column] = factors[:, column]
                others.append(other)
            elif kind == "fixed":
                factors[:, column] = factors[0, column]
            else:
                moving = factors[:, column].copy()
                factors[:] = factors[0]
                factors[:, column] = moving
            chosen.append(place)
            asked.append(factors)
        codes = _lookup(table, asked)
        if kind == "pairs":
            codes = _differences(codes, _lookup(table, others))
        yield np.array(chosen), codes


def _differences(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = np.abs(codes - others)
    return found if np.all(np.isfinite(found)) else np.abs(codes.astype(np.float64) - others)


def _lookup(table: CodeTable, factors: list[np.ndarray]) -> np.ndarray:
    codes = table.codes(np.concatenate(factors))
    return codes.reshape(len(factors), len(factors[0]), -1)


def global_variance(table: CodeTable, n: int, stream: np.random.RandomState) -> np.ndarray:
    """(d,) variance of each code over ``n`` random pictures."""
    return table.codes(sample_factors(table, n, stream)).astype(np.float64).var(axis=0, ddof=1)


@dataclass(frozen=True)
class Votes:
    """One vote a batch: which code stood out, and which factor (position among the varying ones) it was about."""

    code: np.ndarray
    factor: np.ndarray

    def table(self, shape: tuple[int, int]) -> np.ndarray:
        """(d, K) counts."""
        counts = np.bincount(self.code * shape[1] + self.factor, minlength=shape[0] * shape[1])
        return counts.reshape(shape)


def votes_score(
    name: str,
    table: CodeTable,
    train: Votes,
    test: Votes,
    active: np.ndarray,
    *,
    scaled: bool,
    settings: dict[str, Any],
) -> tuple[Score, Callable[[np.random.Generator], float] | None]:
    """Each code stands for the factor it was voted for most in training; the share of evaluation votes it names right.

    Args:
        name: of the score.
        table: what it was measured on.
        train, test: votes.
        active: (d,) codes that may be voted for; with none, the score is 0.
        scaled: bring chance (one over the number of factors) to 0.
        settings: of the score.
    """
    shape = (len(active), len(table.varying))
    counts, seen = train.table(shape), test.table(shape)
    meaning = counts.argmax(axis=1)
    right = meaning[test.code] == test.factor
    value = float(right.mean()) if len(right) else 0.0
    asked = np.bincount(test.factor, minlength=shape[1])
    named = np.bincount(test.factor[right], minlength=shape[1])
    chance = 1 / shape[1]
    score = Score(
        name=name,
        value=rescaled(value, chance) if scaled else value,
        parts={
            "train": float(counts[np.arange(shape[0]), meaning].sum() / max(counts.sum(), 1)),
            "per_factor": named / np.maximum(asked, 1),
            "per_code": seen.sum(axis=1) / max(seen.sum(), 1),
            "votes": seen,
            "training_votes": counts,
            "factors": table.varying,
        },
        settings={**settings, "active_codes": int(active.sum()), "n_codes": shape[0], "factor_sizes": table.sizes},
        chance=0.0 if scaled else chance,
        ceiling=1.0,
    )
    if not len(right):
        return score, None

    def resample(rng: np.random.Generator) -> float:
        share = float(rng.binomial(len(right), value) / len(right))  # what drawing from 0s and 1s comes to
        return rescaled(share, chance) if scaled else share

    return score, resample


def rescaled(value: float, chance: float) -> float:
    """Chance to 0, 1 to 1."""
    return (value - chance) / (1 - chance)
