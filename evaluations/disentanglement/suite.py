"""Several disentanglement metrics of one representation, on the same points."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import ArrayLike

from disentangle.checks import check_integer, check_jobs, check_name
from disentangle.errors import ArgumentError, unknown_name
from disentangle.evaluations.disentanglement.code_table import CodeTable
from disentangle.evaluations.disentanglement.inputs import read_points
from disentangle.evaluations.disentanglement.intervention import measured_on
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import score_all
from disentangle.evaluations.disentanglement.protocols import PROTOCOLS
from disentangle.evaluations.disentanglement.registry import INTERVENTIONAL, METRICS
from disentangle.evaluations.score import Score
from disentangle.looking import looks_at
from disentangle.signatures import checks_arguments

__all__ = ["evaluate", "evaluate_encoder", "select_metrics"]

DEFAULT = ("mig", "sap", "dci")


@checks_arguments
def evaluate(
    codes: ArrayLike,
    factors: ArrayLike,
    metrics: str | Iterable[str] = DEFAULT,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    protocol: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    factor_kinds: FactorKinds = None,
    missing: str = "refuse",
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
    on which others were asked for. Called alone, a metric that predicts nothing, as :func:`mig`, uses all the points it
    is given, so the two differ a little. What metrics have in
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
        missing: what NaN among the factors is: ``"refuse"``, a mistake; ``"by-factor"``, a label that is missing, so
            that each factor is measured on the points that have it, and metrics that look at all factors of a point
            (``missing_policy`` in the settings says which) measure on the points that have all.
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
    check_name("value of missing", missing, ("refuse", "by-factor"))
    protocols = {*PROTOCOLS, *(own for name in names for own in METRICS[name].protocols)}
    if protocol is not None and protocol not in protocols:
        raise unknown_name("protocol", str(protocol), protocols)
    given = dict(options or {})
    for name in given:
        if name not in names:
            raise ArgumentError(f"options name {name!r}, which is not among the metrics {', '.join(names)}.")
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
        missing=missing == "by-factor",
    )
    return score_all(chosen, points, baselines=baselines, bootstrap=bootstrap, seed=seed, progress=progress)


@checks_arguments
@looks_at("encode")
def evaluate_encoder(
    encode: Callable[[Any], Any],
    dataset: Any,
    metrics: str | Iterable[str] = DEFAULT,
    *,
    n: int = 15_000,
    batch: int = 256,
    device: Any = "cpu",
    deterministic: bool = True,
    protocol: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    **arguments: Any,
) -> dict[str, Score]:
    """Compute ``metrics`` of an encoder on a data set with known factors.

    Each distinct picture is encoded once for all metrics together, those that intervene (:data:`INTERVENTIONAL`)
    included.

    Args:
        encode: images (b, C, H, W) float32 in [0, 1] on ``device`` to codes (b, d), or to a posterior, whose mean is
            taken (:class:`~disentangle.evaluations.answers.CodeReader`).
        dataset: a :class:`disentangle.data.FactorDataset`, or what has its ``sample``, ``render`` and ``factor_sizes``;
            or pictures of your own as :func:`disentangle.data.open_factors` opens them, of which each counts once.
        metrics: names out of :data:`METRICS` and :data:`INTERVENTIONAL`, or ``"all"``.
        n: pictures drawn for the metrics of codes and factors, of your own at most all; a third is held out.
        batch: pictures encoded at once.
        device: where images are put.
        deterministic: whether the encoder returns the same codes for the same picture; if not, each drawn picture is
            encoded anew, a million of them for the metrics that intervene.
        protocol, options, bootstrap: see :func:`evaluate`.
        seed: of every draw.
        progress: called as ``progress(stage, done, total)``, with the stage ``"encode"`` or a metric's name.
        **arguments: further ones of :func:`evaluate`; ``factor_kinds="dataset"`` stands for those that the data set
            states, else its factors are labels.

    Returns:
        The scores by name, in the order asked for.

    Raises:
        InputError: on an unknown name, or when the encoder or the data do not fit.
    """
    import torch

    names = select_metrics(metrics, {**METRICS, **INTERVENTIONAL})
    given = dict(options or {})
    for name in given:
        if name not in names:
            raise ArgumentError(f"options name {name!r}, which is not among the metrics {', '.join(names)}.")
    n = check_integer("n", n, least=1)
    told = None if progress is None else functools.partial(progress, "encode")

    def table_of(pictures: Any) -> CodeTable:
        return CodeTable.of(encode, pictures, batch=batch, device=device, cache=deterministic, progress=told)

    if arguments.get("factor_kinds") == "dataset":
        arguments["factor_kinds"] = list(getattr(dataset, "factor_kinds", None) or ()) or None
    intervening = [INTERVENTIONAL[name] for name in names if name in INTERVENTIONAL]
    by_list = hasattr(dataset, "draw")  # pictures of which each is there once, with whatever factors it has
    table = table_of(dataset.grid()) if by_list and intervening else None if by_list else table_of(dataset)
    scores: dict[str, Score] = {}
    of_arrays = [name for name in names if name in METRICS]
    if of_arrays:
        if by_list:
            drawn, factors, kinds = dataset.draw(n, seed=seed, factor_kinds=arguments.pop("factor_kinds", None))
            arguments["factor_kinds"] = kinds
            codes = table_of(_Positions(dataset)).codes(drawn.numpy()[:, None])
        else:
            factors = dataset.sample(n, torch.Generator().manual_seed(seed)).numpy()
            codes = table.codes(factors)  # type: ignore[union-attr]
        scores |= evaluate(
            codes, factors, of_arrays, protocol=protocol, bootstrap=bootstrap, seed=seed,
            options={name: given[name] for name in of_arrays if name in given}, progress=progress, **arguments,
        )  # fmt: skip
    for done, metric in enumerate(intervening, start=1):
        assert table is not None
        named = protocol if protocol in metric.protocols else None
        scores[metric.name] = measured_on(
            metric, table, protocol=named, given=given.get(metric.name), bootstrap=bootstrap, seed=seed
        )
        if progress is not None:
            progress(metric.name, done, len(intervening))
    return {name: scores[name] for name in names}


class _Positions:
    """A list of pictures as a data set of one factor, their position."""

    def __init__(self, pictures: Any) -> None:
        self._pictures, self.factor_sizes = pictures, (max(len(pictures), 2),)

    def render(self, factors: Any) -> Any:
        return self._pictures.images(factors[:, 0])


def select_metrics(metrics: str | Iterable[str], known: Mapping[str, Any] = METRICS) -> list[str]:
    """Names as a checked list; ``"all"`` stands for every metric that is ``known``.

    Raises:
        InputError: on an unknown or repeated name, or none.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if names == ["all"]:
        return list(known)
    for name in names:
        if isinstance(name, str) and name in INTERVENTIONAL and name not in known:
            raise ArgumentError(f"{name} draws pictures of its own: give an encoder and a data set instead of codes.")
        if not isinstance(name, str) or name not in known:
            raise unknown_name("metric", str(name), known)
    if not names:
        raise ArgumentError(f"no metrics were named; choose from {', '.join(known)}.")
    if len(set(names)) < len(names):
        raise ArgumentError(f"metrics are named twice in {', '.join(names)}; name each once.")
    return names
