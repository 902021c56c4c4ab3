"""Several disentanglement metrics of one representation, on the same points."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import ArrayLike

from disentangle.errors import InputError, unknown_name
from disentangle.evaluations.disentanglement.inputs import check_jobs, read_points
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import score_all
from disentangle.evaluations.disentanglement.protocols import PROTOCOLS
from disentangle.evaluations.disentanglement.registry import METRICS
from disentangle.evaluations.encoding import encode_dataset
from disentangle.evaluations.score import Score

__all__ = ["evaluate", "evaluate_encoder", "select_metrics"]

DEFAULT = ("mig", "sap", "dci")


def evaluate(
    codes: ArrayLike,
    factors: ArrayLike,
    metrics: str | Iterable[str] = DEFAULT,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    protocol: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
    n_jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Score]:
    """Compute ``metrics`` on the same points.

    Without ``test``, a third of the points, drawn by ``seed``, is held out for the metrics that predict, so 15,000
    points give the 10,000 and 5,000 of the 2018 protocol. Every metric, MIG included although it predicts nothing,
    then measures on the same training part: the scores stand on equal points, and one metric's score does not depend
    on which others were asked for. Called alone, :func:`mig` uses all the points it is given. What metrics have in
    common (bins, tables of counts, sorted codes) is computed once.

    Args:
        codes: (n, d) finite numbers, d at least 2.
        factors: (n, k) integer labels, or as ``factor_kinds`` says.
        metrics: names out of :data:`METRICS`, or ``"all"``.
        test: held-out ``(codes, factors)``; then all of ``codes`` is the training part.
        protocol: for every metric that it defines; by default, and for all others, each metric's first one, which is
            ``"dlib-2018"`` wherever that defines it.
        options: metric to options that replace those of its protocol.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`.
        baselines, bootstrap: see :func:`~disentangle.evaluations.disentanglement.metric.score_all`.
        seed: of the split, the classifiers and the resamples.
        n_jobs: as in joblib.
        progress: called as ``progress(name, done, total)`` after each measurement.

    Returns:
        The scores by name, in the order asked for.

    Raises:
        InputError: on an unknown name, or when the arrays do not fit.
    """
    names = select_metrics(metrics)
    check_jobs(n_jobs)
    if protocol is not None and protocol not in PROTOCOLS:
        raise unknown_name("protocol", str(protocol), PROTOCOLS)
    given = dict(options or {})
    for name in given:
        if name not in names:
            raise InputError(f"options name {name!r}, which is not among the metrics {', '.join(names)}.")
    chosen = {}
    for name in names:
        metric = METRICS[name]
        named = protocol if protocol in metric.protocols else None
        chosen[name] = (metric, metric.options(named, given.get(name, {}), seed=seed, n_jobs=n_jobs))
    # ask for what the most demanding metrics need, before any work
    by_codes = max((METRICS[name] for name in names), key=lambda metric: metric.min_codes)
    by_factors = max((METRICS[name] for name in names), key=lambda metric: metric.min_factors)
    points = read_points(
        codes,
        factors,
        hold_out=True,
        test=test,
        factor_kinds=factor_kinds,
        seed=seed,
        min_codes=by_codes.min_codes,
        min_factors=by_factors.min_factors,
        metric=(by_factors if by_factors.min_factors > 1 else by_codes).label,
    )
    return score_all(chosen, points, baselines=baselines, bootstrap=bootstrap, seed=seed, progress=progress)


def evaluate_encoder(
    encode: Callable[[Any], Any],
    dataset: Any,
    metrics: str | Iterable[str] = DEFAULT,
    *,
    n: int = 15_000,
    batch: int = 256,
    device: Any = "cpu",
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    **arguments: Any,
) -> dict[str, Score]:
    """Compute ``metrics`` of an encoder on a data set with known factors.

    Args:
        encode: images (b, C, H, W) float32 in [0, 1] on ``device`` to codes (b, d).
        dataset: a :class:`disentangle.data.FactorDataset`, or what has its methods.
        metrics: names, or ``"all"``.
        n: pictures drawn for the metrics of codes and factors; a third is held out.
        batch: pictures encoded at once.
        device: where images are put.
        seed: of every draw.
        progress: called as ``progress(stage, done, total)``, first with the stage ``"encode"``.
        **arguments: further ones of :func:`evaluate`.
    """
    names = select_metrics(metrics)
    encoding = None if progress is None else functools.partial(progress, "encode")
    codes, factors = encode_dataset(encode, dataset, n=n, seed=seed, batch=batch, device=device, progress=encoding)
    return evaluate(codes, factors, names, seed=seed, progress=progress, **arguments)


def select_metrics(metrics: str | Iterable[str]) -> list[str]:
    """Names as a checked list; ``"all"`` stands for every metric.

    Raises:
        InputError: on an unknown or repeated name, or none.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if names == ["all"]:
        return list(METRICS)
    for name in names:
        if not isinstance(name, str) or name not in METRICS:
            raise unknown_name("metric", str(name), METRICS)
    if not names:
        raise InputError(f"no metrics were named; choose from {', '.join(METRICS)}.")
    if len(set(names)) < len(names):
        raise InputError(f"metrics are named twice in {', '.join(names)}; name each once.")
    return names
