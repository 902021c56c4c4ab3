"""``disentangle evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from disentangle.cli.options import device_option, json_option, note, seed_option, setting
from disentangle.cli.progress import counting_progress

__all__ = ["command"]


@click.command("evaluate")
@click.argument("model", required=False)
@click.option("--data", help="For MODEL: a data set with known factors, or for a classifier one with classes.")
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "val", "test"]),
    help="Part of --data, for a classifier; default: test where there is one.",
)
@click.option(
    "--overlap/--no-overlap",
    "check_overlap",
    default=True,
    show_default=True,
    help="Look for pictures that a classifier has learnt from.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where files of named data sets lie.")
@click.option("--codes", type=click.Path(path_type=Path), help="Instead of MODEL: codes (n, d) as .npy.")
@click.option("--factors", type=click.Path(path_type=Path), help="With --codes: factors (n, k) as .npy.")
@click.option("--metrics", default="mig,sap,dci", show_default=True, help="Names, separated by commas.")
@click.option("--num", type=click.IntRange(1), default=15_000, show_default=True, help="Pictures drawn from --data.")
@click.option("--jobs", type=int, default=-1, show_default=True, help="Processes; -1 for one a core.")
@click.option("--out", type=click.Path(path_type=Path), help="A .json file; for a run folder, scores.json in it.")
@json_option
@seed_option
@device_option
@click.pass_context
def command(
    ctx: click.Context, model: str | None, data: str | None, split: str | None, check_overlap: bool,
    data_dir: Path | None, codes: Path | None, factors: Path | None, metrics: str, num: int, jobs: int,
    out: Path | None, as_json: bool, seed: int | None, device: str | None,
) -> None:  # fmt: skip
    """Scores of MODEL, by its kind, or of given --codes and --factors.

    An encoder has disentanglement scores on --data. A third of the points is held out for the metrics that predict, so
    15,000 pictures give the usual 10,000 and 5,000. A classifier has accuracies and a confusion matrix on the test part
    of --data (by default the data set of its run), or on all of a folder without parts.

    \b
    Examples:
      disentangle evaluate vae-rooms --data rooms --metrics mig,sap,dci
      disentangle evaluate runs/dbn --data fashion-mnist --split test
      disentangle evaluate --codes z.npy --factors y.npy --metrics mig --json
    """
    if (model is None) == (codes is None):
        raise click.UsageError("Give either MODEL with --data, or --codes with --factors.")
    if model is not None and _kind(model) == "classifier":
        from disentangle.cli.evaluate_classifier import evaluate_classifier

        where = setting(ctx, "device", device, "auto")
        evaluate_classifier(
            ctx, model, data, data_dir,
            split=split, check_overlap=check_overlap, out=out, as_json=as_json, device=where,
        )  # fmt: skip
        return
    if split is not None:
        raise click.UsageError("--split is for classifiers; disentanglement is measured on all factors.")
    if model is not None and data is None:
        raise click.UsageError("Say what to encode: --data NAME (see `disentangle data list`).")
    if codes is not None and factors is None:
        raise click.UsageError("Codes need the factors they are scored against: --factors y.npy.")
    from disentangle.errors import unknown_name
    from disentangle.evaluations import evaluate, save_scores
    from disentangle.evaluations.disentanglement.suite import METRICS

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in names:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    seed = setting(ctx, "seed", seed, 0)
    subject: dict[str, Any]
    if model is not None:
        assert data is not None
        where = setting(ctx, "device", device, "auto")
        points, labels, columns = _encode(ctx, model, data, data_dir, num, seed, where)
        subject = {"model": model, "data": data, "num": num, "seed": seed, "factors": columns}
    else:
        assert codes is not None
        assert factors is not None
        points, labels = _array(codes), _array(factors)
        columns = [f"factor {i}" for i in range(labels.shape[1])] if labels.ndim == 2 else []
        subject = {"codes": codes.name, "factors_file": factors.name, "seed": seed}
    with counting_progress(ctx, "scores") as progress:

        def report(name: str, done: int, total: int) -> None:
            if progress is not None:
                progress(done, total)

        scores = evaluate(points, labels, names, seed=seed, n_jobs=jobs, progress=report)
    target = out
    if target is None and model is not None and (Path(model) / "config.json").is_file():
        target = Path(model) / "scores.json"
    if target is not None:
        save_scores(target, scores, subject=subject)
        note(ctx, f"scores: {target}")
    if as_json:
        click.echo(json.dumps({name: score.to_dict() for name, score in scores.items()}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    from disentangle.viz.scores import score_rows

    table = Table("score", "value", *columns, title=f"{model or codes} on {data or factors}")
    for row in score_rows(scores):
        table.add_row(*row)
    Console().print(table)


def _kind(model: str) -> str:
    from disentangle.io import find_model, model_info

    return str(model_info(find_model(model))["kind"])


def _encode(
    ctx: click.Context, model: str, data: str, data_dir: Path | None, num: int, seed: int, device: str
) -> tuple[Any, Any, list[str]]:
    from disentangle.data import FactorDataset, open_data
    from disentangle.errors import InputError
    from disentangle.evaluations import encode_dataset
    from disentangle.io import load
    from disentangle.models import Encoder
    from disentangle.training import resolve_device

    where = resolve_device(device)
    encoder = load(model, device=where)
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{model} is a {type(encoder).__name__}, which has no encoder; MIG, SAP and DCI need one, e.g. a VAE's."
        )
    config: Any = encoder.config
    dataset = open_data(data, resolution=config.resolution, data_dir=data_dir)
    if not isinstance(dataset, FactorDataset):
        raise InputError(f"{data} has no known factors; expected a data set such as rooms, sprites or dsprites.")
    with counting_progress(ctx, "encode") as progress:
        codes, factors = encode_dataset(encoder.encode, dataset, n=num, seed=seed, device=where, progress=progress)
    return codes, factors, list(dataset.factor_names)


def _array(path: Path) -> Any:
    import numpy as np

    from disentangle.errors import InputError

    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected an array saved by numpy.save.") from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a readable .npy array of numbers ({error}).") from None
