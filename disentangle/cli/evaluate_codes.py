"""What ``disentangle evaluate`` does with an encoder, or with codes and factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from disentangle.cli.destinations import check_default
from disentangle.cli.options import json_or_text, note
from disentangle.cli.progress import stages_progress
from disentangle.cli.results import deliver, print_json
from disentangle.cli.tables import print_scores
from disentangle.signatures import described
from disentangle.text import quoted, shown

__all__ = ["Measurement", "evaluate_codes", "evaluate_encoder", "factor_data", "metric_options"]


_DEPENDENT = 0.3  # what Cramér's V is called moderate from
_MOST_COMPARED = 100  # factors


@dataclass(frozen=True)
class Measurement:
    """How to measure, and where the scores go: the options of the command."""

    metrics: str
    protocol: str | None
    changes: tuple[str, ...]
    factor_kinds: str | None
    baselines: bool
    bootstrap: int
    seed: int
    jobs: int
    out: Path | None
    figure: Path | None
    page: Path | None
    as_json: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """Of :func:`disentangle.evaluations.evaluate`."""
        kinds: Any = self.factor_kinds
        if kinds is not None and "," in kinds:
            kinds = [kind.strip() for kind in kinds.split(",")]
        return {
            "protocol": self.protocol,
            "options": metric_options(self.changes),
            "factor_kinds": kinds,
            "baselines": self.baselines,
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "n_jobs": self.jobs,
        }

    @property
    def names(self) -> list[str]:
        return [name.strip() for name in self.metrics.split(",") if name.strip()]


def metric_options(changes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """``metric.option=value`` as metric to options; a value is read as JSON where it is some, else as a word."""
    from disentangle.errors import ArgumentError

    options: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    for change in changes:
        path, equals, text = change.partition("=")
        metric, dot, name = path.rpartition(".")
        if not (equals and dot and metric and name):
            raise ArgumentError(f"--set is {quoted(change)}; expected METRIC.OPTION=VALUE, as mig.bins=10.")
        if path in seen:
            raise ArgumentError(f"--set gives {quoted(path)} twice; give it once.")
        seen.add(path)
        value = json_or_text(text)
        options.setdefault(metric, {})[name] = tuple(value) if isinstance(value, list) else value
    return options


def evaluate_codes(
    ctx: click.Context, codes: Path, factors: Path, how: Measurement, id_column: str | None = None
) -> None:
    """Score codes and factors of files; what was found in these is said."""
    from disentangle.data import matched, read_codes, read_factors
    from disentangle.evaluations import evaluate

    by_id = id_column != "none"
    named = id_column if by_id else None
    points, known, joined = matched(
        read_codes(codes, id_column=named), read_factors(factors, id_column=named), by_id=by_id
    )
    kinds = known.kinds(how.factor_kinds)
    labels = known.values(kinds)
    columns = list(known.names)
    if known.matrix is None or set(kinds) != {"discrete"} or any(column.missing for column in known.columns):
        note(ctx, known.description(kinds))
    for text in (joined, _dependent(columns, labels, kinds)):
        if text:
            note(ctx, text)
    arguments = {**how.arguments, "factor_kinds": kinds, "missing": "by-factor"}
    with stages_progress(ctx) as progress:
        scores = evaluate(points, labels, how.names, progress=progress, **arguments)
    subject = {
        "codes": codes.name, "factors_file": factors.name, "seed": how.seed, "factors": columns,
        **({"joined": joined} if joined else {}),
        **_categories(known),
    }  # fmt: skip
    _deliver(ctx, scores, subject, columns, f"{codes} on {factors}", how, target=how.out)


def _categories(factors: Any) -> dict[str, Any]:
    """The names of the texts by factor, for the record; of factors that have at most a hundred."""
    named = {column.name: list(column.categories) for column in factors.columns if 0 < len(column.categories) <= 100}
    return {"categories": named} if named else {}


def _dependent(names: list[str], factors: Any, kinds: list[str]) -> str:
    """Which factors depend on each other, in a sentence; "" where none do, or they are too many to compare."""
    from disentangle.evaluations.disentanglement import factor_dependence

    if not 1 < len(names) <= _MOST_COMPARED:
        return ""
    found = factor_dependence(factors, factor_kinds=kinds)
    pairs = sorted(((found[i, j], i, j) for i in range(len(names)) for j in range(i)), reverse=True)
    told = [
        f"{shown(names[j], most=40)} and {shown(names[i], most=40)} ({strength:.2f})"
        for strength, i, j in pairs[:5]
        if strength >= _DEPENDENT
    ]
    if not told:
        return ""
    pairs_told = ", ".join(told)
    return f"Factors that depend on each other, so that a code of one tells of both (Cramér's V): {pairs_told}."


def evaluate_encoder(
    ctx: click.Context, model: str | None, encoder: str | None, data: str, data_dir: Path | None,
    factors_file: Path | None, resolution: int | None, num: int, device: str, how: Measurement,
) -> None:  # fmt: skip
    """Score a model that encodes, or a function of the user's, on a data set with known factors."""
    from disentangle import evaluations
    from disentangle.data import ListedFactors
    from disentangle.data.factor_table import read_kinds
    from disentangle.devices import resolve_device

    target = how.out
    if target is None and model is not None and (Path(model) / "config.json").is_file():
        target = Path(model) / "scores.json"
        check_default(target)
    where = resolve_device(device)
    if model is not None:
        encode, dataset = _model(ctx, model, data, data_dir, factors_file, where)
    else:
        assert encoder is not None
        encode = _function(encoder, where)
        dataset = factor_data(ctx, data, resolution, None, data_dir, factors_file)
    columns = list(dataset.factor_names)
    arguments = how.arguments
    if how.factor_kinds is not None and "=" in how.factor_kinds:
        own = dataset.factor_kinds if isinstance(dataset, ListedFactors) else ["discrete"] * len(columns)
        arguments["factor_kinds"] = read_kinds(how.factor_kinds, columns, own)
    with stages_progress(ctx) as progress:
        scores = evaluations.evaluate_encoder(
            encode, dataset, how.names, n=num, device=where, progress=progress, **arguments
        )
    subject = {"model": model or encoder, "data": data, "num": num, "seed": how.seed, "factors": columns}
    _deliver(ctx, scores, subject, columns, f"{model or encoder} on {data}", how, target=target)


def _deliver(
    ctx: click.Context, scores: Any, subject: dict[str, Any], columns: list[str], title: str, how: Measurement,
    *, target: Path | None,
) -> None:  # fmt: skip
    """Scores to where they were asked for: a file, a figure, a page, and the terminal."""
    from disentangle.evaluations import save_scores
    from disentangle.viz.matrices import save_score_matrices

    def keep() -> None:
        if target is not None:
            save_scores(target, scores, subject=subject)
            note(ctx, f"scores: {target}")

    def draw() -> None:
        if how.figure is not None:
            save_score_matrices(scores, columns, how.figure)
            note(ctx, f"figure: {how.figure}")

    def explain() -> None:
        if how.page is not None:
            _save_page(how.page, scores, columns, title)
            note(ctx, f"report: {how.page}")

    def show() -> None:
        if how.as_json:
            print_json({name: score.to_dict() for name, score in scores.items()})
        else:
            print_scores(scores, columns, title)

    deliver(keep, draw, explain, show)


def _save_page(page: Path, scores: Any, columns: list[str], title: str) -> None:
    """The scores with what each means, as one HTML page."""
    import tempfile

    from disentangle.viz.report import save_report
    from disentangle.viz.score_page import score_section

    with tempfile.TemporaryDirectory() as folder:
        save_report(page, "Disentanglement", [score_section(scores, columns, title, folder=folder)])


def _model(
    ctx: click.Context, model: str, data: str, data_dir: Path | None, factors_file: Path | None, device: Any
) -> tuple[Callable[[Any], Any], Any]:
    from disentangle.errors import ArgumentError
    from disentangle.io import load
    from disentangle.models import Encoder

    encoder = load(model, device=device)
    if not isinstance(encoder, Encoder):
        raise ArgumentError(
            f"{model} is {described(encoder)}, which has no encoder; disentanglement metrics need one, e.g. a "
            "VAE's, or codes of your own by --codes and --factors."
        )
    config: Any = encoder.config
    channels = getattr(config, "image_channels", None)
    return encoder.encode, factor_data(ctx, data, config.resolution, channels, data_dir, factors_file)


def factor_data(
    ctx: click.Context, data: str, resolution: int | None, channels: int | None, data_dir: Path | None,
    factors_file: Path | None,
) -> Any:  # fmt: skip
    """A data set with known factors; of the user's own, what was found in it is said."""
    from disentangle.data import ListedFactors, open_factors

    dataset = open_factors(data, resolution=resolution, channels=channels, data_dir=data_dir, factors_file=factors_file)
    if isinstance(dataset, ListedFactors):
        note(ctx, dataset.description)
    return dataset


def _function(text: str, device: Any) -> Callable[[Any], Any]:
    """The user's own encoder: a function, or an object that encodes, where it has a method of that name by this."""
    from torch import nn

    from disentangle.errors import ArgumentError
    from disentangle.own_code import guarded, own_object

    found = own_object(text, what="--encoder")
    if isinstance(found, type):
        raise ArgumentError(
            f"--encoder {shown(text)} is a class; expected a function of images, or an object made of that class."
        )
    if isinstance(found, nn.Module):
        found.to(device)
    encode = getattr(found, "encode", found)
    if not callable(encode):
        raise ArgumentError(
            f"--encoder {shown(text)}: there is no function {shown(text.rpartition(':')[2])!r} to call."
        )
    return guarded(encode, f"--encoder {shown(text)}", "the function failed on a batch of images")
