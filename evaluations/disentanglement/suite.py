"""Several disentanglement metrics of one representation, on the same points."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from numpy.typing import ArrayLike

from disentangle.errors import InputError, unknown_name
from disentangle.evaluations.disentanglement.dci import dci
from disentangle.evaluations.disentanglement.inputs import check_jobs, read_points
from disentangle.evaluations.disentanglement.mig import score_points
from disentangle.evaluations.disentanglement.sap import sap
from disentangle.evaluations.score import Score

__all__ = ["METRICS", "evaluate"]

METRICS = ("mig", "sap", "dci")


def evaluate(
    codes: ArrayLike,
    factors: ArrayLike,
    metrics: Iterable[str] = METRICS,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
    n_jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Score]:
    """Compute ``metrics`` with their default protocols.

    Without ``test``, a third of the points, drawn by ``seed``, is held out for the metrics that predict, so 15,000
    points give the 10,000 and 5,000 of the 2018 protocol. Every metric, MIG included although it predicts nothing,
    then measures on the same training part: the scores stand on equal points, and one metric's score does not depend
    on which others were asked for. Called alone, :func:`mig` uses all the points it is given.

    Args:
        codes: (n, d) finite numbers, d at least 2.
        factors: (n, k) integer labels.
        metrics: names out of ``"mig"``, ``"sap"``, ``"dci"``.
        test: held-out ``(codes, factors)``; then all of ``codes`` is the training part.
        seed: of the split and of the classifiers.
        n_jobs: as in joblib.
        progress: called as ``progress(name, done, total)`` after each metric.

    Returns:
        The scores by name, in the order asked for.

    Raises:
        InputError: on an unknown name, or when the arrays do not fit.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if not isinstance(name, str) or name not in METRICS:
            raise unknown_name("metric", str(name), METRICS)
    if not names:
        raise InputError(f"no metrics were named; choose from {', '.join(METRICS)}.")
    if len(set(names)) < len(names):
        raise InputError(f"metrics are named twice in {', '.join(names)}; name each once.")
    check_jobs(n_jobs)

    start = time.perf_counter()
    demanding = "dci" in names  # ask for what the most demanding metric needs, before any work
    points = read_points(
        codes,
        factors,
        hold_out=True,
        test=test,
        seed=seed,
        min_codes=2,
        min_factors=2 if demanding else 1,
        metric="DCI" if demanding else names[0].upper(),
    )
    reading = time.perf_counter() - start

    scores: dict[str, Score] = {}
    for done, name in enumerate(names, start=1):
        if name == "mig":
            score = score_points(points)
            settings = {**score.settings, "points": "training part", "seed": seed}
            scores[name] = replace(score, settings=settings, seconds=score.seconds + reading)
        elif name == "sap":
            scores[name] = sap(codes, factors, test=test, seed=seed, n_jobs=n_jobs)
        else:
            scores[name] = dci(codes, factors, test=test, seed=seed, n_jobs=n_jobs)
        if progress is not None:
            progress(name, done, len(names))
    return scores
