"""``disentangle evaluate``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from disentangle.cli.destinations import output_option
from disentangle.cli.model_source import ModelSource, generator_options
from disentangle.cli.options import (
    bad_image_option,
    device_option,
    json_option,
    refuse_unread,
    seed_option,
    setting,
    was_given,
)
from disentangle.text import shown

__all__ = ["command"]

MOST_JOBS = max(8, 4 * (os.cpu_count() or 1))  # each is a process of some hundred megabytes
IMAGE_METRICS = ("fid", "kid", "is", "prdc", "fd-infinity", "kd-full", "ppl", "pipl", "vp", "activeness",
                 "jacobian-orthogonality", "ima-contrast", "factor-predictor")  # fmt: skip


@click.command("evaluate")
@click.argument("model", required=False)
@generator_options
@click.option(
    "--data",
    help="For MODEL: a data set with known factors, also your own folder or .npz; for a classifier one with classes.",
)
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
@click.option(
    "--factors-file", type=click.Path(path_type=Path),
    help="With --data FOLDER: a .csv or .tsv of the factors of its pictures; default: factors.csv in it.",
)  # fmt: skip
@click.option(
    "--codes",
    type=click.Path(path_type=Path),
    metavar="PATH[:NAMES]",
    help="Instead of MODEL: codes, a row a point, as .npy, .npz, .csv, .tsv, .parquet, .h5, .h5ad or .safetensors.",
)
@click.option(
    "--factors",
    type=click.Path(path_type=Path),
    metavar="PATH[:NAMES]",
    help="With --codes: factors, a row a point, in any of these; NAMES of arrays or columns, as obs/cell_type,batch.",
)
@click.option("--id", "id_column", help="The column that names the points of --codes and --factors; none: by order.")
@click.option("--encoder", help="Instead of MODEL: module:function, images in [0, 1] to codes.")
@click.option("--resolution", type=click.IntRange(1), help="With --encoder: side of the pictures it takes.")
@click.option("--images", help="Instead of MODEL: a folder, .zip or array of images.")
@click.option("--reference", help="Real images: a folder, .zip, array, data set, or .npz of statistics.")
@click.option(
    "--extractor",
    default="inception",
    show_default=True,
    help="Or efficientnet-lite0 (extra offline), vgg16, dinov2-vitl14.",
)
@click.option("--weights", type=click.Path(path_type=Path), help="The extractor's weight file, or its folder.")
@click.option("--download", is_flag=True, help="Fetch the extractor's weights if they are nowhere.")
@click.option("--random-weights", is_flag=True, help="An extractor without training, and named so.")
@click.option("--metrics", default="mig,sap,dci", show_default=True, help="Names separated by commas, or all.")
@click.option("--protocol", help="Named settings, e.g. dlib-2018 (default), ubisoft-2023.")
@click.option(
    "--fit",
    type=click.Choice(["as-is", "center-crop", "squash", "pad"]),
    default="as-is",
    show_default=True,
    help="How files of --images and --reference become squares: by the protocol, or as a training takes them.",
)
@bad_image_option
@click.option("--set", "changes", multiple=True, metavar="METRIC.OPTION=VALUE", help="Another value for one setting.")
@click.option("--factor-kinds", help="discrete, continuous or periodic[:PERIOD], for all, each, or NAME=KIND,...")
@click.option("--baselines/--no-baselines", default=True, show_default=True, help="Chance and ceiling too.")
@click.option(
    "--bootstrap", type=click.IntRange(0, 100_000), default=0, show_default=True, help="Resamples for a 95 % interval."
)
@click.option("--label", type=click.IntRange(0), help="Of a generator with classes: all pictures are of this one.")
@click.option(
    "--classes",
    type=click.Choice(["reference", "uniform"]),
    help="How often each class is drawn; default: as in the reference if it has the classes, else uniformly.",
)
@click.option("--num", type=click.IntRange(1), help="Pictures drawn from --data (15,000), or images made (50,000).")
@click.option(
    "--jobs", type=click.IntRange(max=MOST_JOBS), default=-1, show_default=True, help="Processes; -1 for one a core."
)
@output_option(
    "--out", suffixes=(".json",), help="A .json file; default: of a run folder, scores.json in it, or scores-PART.json."
)
@output_option("--figure", suffixes=(".png",), help="A .png of the matrices of codes and factors.")
@output_option("--report", "page", suffixes=(".html", ".htm"), help="An .html page that explains each number.")
@json_option
@seed_option
@device_option
@click.pass_context
def command(
    ctx: click.Context, model: str | None, generator: str | None, z_dim: int | None, data: str | None,
    split: str | None, check_overlap: bool, data_dir: Path | None, factors_file: Path | None, codes: Path | None,
    factors: Path | None, id_column: str | None,
    encoder: str | None, resolution: int | None,
    images: str | None, reference: str | None, extractor: str, weights: Path | None, download: bool,
    random_weights: bool, metrics: str, protocol: str | None, fit: str, on_bad_image: str | None,
    changes: tuple[str, ...],
    factor_kinds: str | None, baselines: bool, bootstrap: int, label: int | None, classes: str | None,
    num: int | None, jobs: int,
    out: Path | None, figure: Path | None, page: Path | None, as_json: bool, seed: int | None, device: str | None,
) -> None:  # fmt: skip
    """Scores of MODEL, by its kind, of given --codes and --factors, or of --images.

    An encoder has disentanglement scores on --data, which is a name or your own pictures: a folder with factors.csv, in
    which one column names the files and the others are factors, numbers or texts, or an .npz of images and factors. A
    third of the points is held out for the metrics that predict, so 15,000 pictures give the usual 10,000 and 5,000.
    Metrics that intervene (beta-vae, factor-vae, z-max-variance, fairness) need a MODEL or an --encoder, for they draw
    pictures of their own. A classifier has accuracies and a confusion matrix on the test part of --data (by default the
    data set of its run), or on all of a folder without parts.

    A generator, or --images, have scores of images: fid, kid, is, prdc (precision, recall, density, coverage) against
    --reference. ppl, pipl, vp, activeness, jacobian-orthogonality and ima-contrast of a MODEL need none,
    factor-predictor needs --data. They bear these names with the published weights alone; another extractor is in the
    name, as fd/efficientnet-lite0. Of a generator with classes, each is drawn as often as in the
    reference, or uniformly where that has no classes; --label takes one.

    \b
    Examples:
      disentangle evaluate vae-rooms --data rooms --metrics mig,sap,dci,factor-vae
      disentangle evaluate --codes z.npy --factors y.npy --metrics all --report scores.html
      disentangle evaluate --encoder my_model:encode --data sprites --metrics mig --json
      disentangle evaluate --generator my_model.py:build --metrics ppl --extractor efficientnet-lite0
      disentangle evaluate eigengan-rooms --reference rooms --metrics fid --extractor efficientnet-lite0 --num 1000
      disentangle evaluate --images fakes --reference photos.zip --metrics fid --protocol clean
      disentangle evaluate runs/dbn --data fashion-mnist --split test
    """
    names = _names(metrics) if was_given(ctx, "metrics") else []
    source = None if model is None and generator is None else ModelSource(model, generator, z_dim)
    if sum(x is not None for x in (source, codes, encoder, images)) != 1:
        raise click.UsageError(
            "Give one of MODEL, --encoder with --data, --codes with --factors, --images with --reference, or "
            "--generator."
        )
    if generator is not None and reference is None and not any(name in IMAGE_METRICS for name in names):
        raise click.UsageError(
            f"--generator has scores of images: give --metrics, of {', '.join(IMAGE_METRICS)}; codes of your own code "
            "are scored by --encoder."
        )
    kind = None if model is None else _kind(model)
    way = GENERATOR if generator is not None else _way(kind, codes, encoder, images, reference, names)
    where = setting(ctx, "device", device, "auto")
    number = setting(ctx, "seed", seed, 0)
    if way == CLASSIFIER:
        from disentangle.cli.evaluate_classifier import evaluate_classifier

        refuse_unread(ctx, way, READ, hints=_HINTS)
        assert model is not None
        evaluate_classifier(
            ctx, model, data, data_dir,
            split=split, check_overlap=check_overlap, on_bad_image=on_bad_image, out=out, as_json=as_json, device=where,
        )  # fmt: skip
    elif way in (GENERATOR, IMAGES):
        from disentangle.cli.evaluate_images import ImageMeasurement, evaluate_images, read_by

        names = _image_metrics(names, reference)
        counted = {IMAGES: READ[IMAGES] | {"num"}} if str(images).endswith(".npz") else {}  # statistics tell no number
        refuse_unread(ctx, way, {**READ, **counted}, hints=_HINTS)
        number_of_each = {"num": "how much they draw is a setting of each, as --set ppl.n=1000"}
        refuse_unread(ctx, ",".join(names), read_by(names), hints=number_of_each)
        if label is not None and classes is not None:
            raise click.UsageError("Give --label or --classes, not both.")
        evaluate_images(
            ctx, source, images, reference, data, data_dir, factors_file,
            ImageMeasurement(
                metrics=",".join(names), protocol=protocol or "clean", fit=fit, on_bad_image=on_bad_image,
                changes=changes, extractor=extractor, weights=weights, download=download, random=random_weights,
                label=label, classes=classes, num=num or 50_000,
                seed=number, device=where, out=out, as_json=as_json,
            ),
        )  # fmt: skip
    else:
        from disentangle.cli.evaluate_codes import Measurement, evaluate_codes, evaluate_encoder

        _check_codes_metrics(model, kind, names)
        if codes is None and data is None:
            raise click.UsageError("Say what to encode: --data NAME (see `disentangle data list`).")
        refuse_unread(ctx, way, READ, hints=_HINTS)
        if codes is not None and factors is None:
            raise click.UsageError("Codes need the factors they are scored against: --factors y.npy.")
        how = Measurement(
            metrics=metrics, protocol=protocol, changes=changes, factor_kinds=factor_kinds, baselines=baselines,
            bootstrap=bootstrap, seed=number, jobs=jobs, out=out, figure=figure, page=page, as_json=as_json,
        )  # fmt: skip
        if codes is not None:
            assert factors is not None
            evaluate_codes(ctx, codes, factors, how, id_column)
        else:
            assert data is not None
            evaluate_encoder(ctx, model, encoder, data, data_dir, factors_file, resolution, num or 15_000, where, how)


CODES, ENCODED, FUNCTION = "codes and factors", "an encoder as MODEL", "an --encoder"
CLASSIFIER, GENERATOR, IMAGES = "a classifier", "scores of a generator's images", "scores of given --images"
_OF_CODES = {
    "metrics", "protocol", "changes", "factor_kinds", "baselines", "bootstrap", "jobs", "out", "figure", "page",
    "as_json", "seed",
}  # fmt: skip
_OF_IMAGES = {
    "metrics", "protocol", "changes", "reference", "data_dir", "extractor", "weights", "download", "random_weights",
    "fit", "on_bad_image", "out", "as_json", "seed", "device",
}  # fmt: skip
# What each way of measuring reads; whatever else was given is refused.
READ = {
    CODES: {"codes", "factors", "id_column", *_OF_CODES},
    ENCODED: {"model", "data", "data_dir", "factors_file", "num", "device", *_OF_CODES},
    FUNCTION: {"encoder", "data", "data_dir", "factors_file", "num", "resolution", "device", *_OF_CODES},
    CLASSIFIER: {"model", "data", "data_dir", "split", "check_overlap", "on_bad_image", "device", "out", "as_json"},
    GENERATOR: {"model", "generator", "z_dim", "data", "factors_file", "label", "classes", "num", *_OF_IMAGES},
    IMAGES: {"images", *_OF_IMAGES},
}
_HINTS = {
    "metrics": "it always has its accuracies and the confusion matrix",
    "figure": "its matrices are of codes and factors",
    "page": "its page is of scores of codes and factors",
    "factors": "they go with --codes",
    "factors_file": "it is about the pictures of --data",
    "fit": "it is for scores of images",
    "label": "it is for scores of a generator's images",
    "classes": "it is for scores of a generator's images",
}


def _names(metrics: str) -> list[str]:
    """The metrics asked for, each of them known."""
    from disentangle.errors import unknown_name

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if not names:
        raise click.UsageError("--metrics names no metric; see `disentangle evaluate --help`.")
    if all(name in IMAGE_METRICS for name in names):
        return names
    from disentangle.evaluations.disentanglement.registry import INTERVENTIONAL, METRICS

    known = (*METRICS, *INTERVENTIONAL, *IMAGE_METRICS, "all")
    for name in names:
        if name not in known:
            raise unknown_name("metric", name, known)
    of_images = next((name for name in names if name in IMAGE_METRICS), None)
    if of_images is not None:
        other = next(name for name in names if name not in IMAGE_METRICS)
        raise click.UsageError(f"{other} is no score of images, as {of_images} is; measure them in two commands.")
    return names


def _way(
    kind: str | None, codes: Path | None, encoder: str | None, images: str | None, reference: str | None,
    names: list[str],
) -> str:  # fmt: skip
    """How is measured: by what is given, and by the metrics."""
    if kind == "classifier":
        return CLASSIFIER
    if images is not None:
        return IMAGES
    if codes is not None or encoder is not None:
        if any(name in IMAGE_METRICS for name in names):
            raise click.UsageError(f"{names[0]} is a score of images; it needs a generator as MODEL, or --images.")
        return CODES if codes is not None else FUNCTION
    if reference is not None or any(name in IMAGE_METRICS for name in names):
        return GENERATOR
    return ENCODED


def _image_metrics(names: list[str], reference: str | None) -> list[str]:
    """The scores of images that were asked for, of which FID is the usual one."""
    for name in names:
        if name not in IMAGE_METRICS:
            raise click.UsageError(
                f"{name} is no score of images; these have {', '.join(IMAGE_METRICS)}. For scores of codes give MODEL "
                "or --encoder with --data, or --codes with --factors."
            )
    return names or ["fid"]


def _check_codes_metrics(model: str | None, kind: str | None, names: list[str]) -> None:
    from disentangle.models.base import has_encoder

    if model is not None and kind is not None and not has_encoder(kind):
        what = f"has no {', '.join(names)}" if names else "has scores of its images only"
        raise click.UsageError(
            f"{shown(model)} is a generator ({kind}) without an encoder, so it {what}; give --metrics fid with "
            "--reference, or one of ppl, vp, activeness and jacobian-orthogonality."
        )


def _kind(model: str) -> str:
    from disentangle.io import find_model, model_info

    return str(model_info(find_model(model))["kind"])
