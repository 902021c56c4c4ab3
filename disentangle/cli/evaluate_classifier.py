"""What ``disentangle evaluate`` does with a classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle.cli.destinations import beside, check_default
from disentangle.cli.options import note
from disentangle.cli.progress import counting_progress
from disentangle.cli.results import deliver, print_json, print_table

if TYPE_CHECKING:
    from disentangle.data import LabelledImageSource
    from disentangle.evaluations import Score
    from disentangle.models import ClassifierConfig
    from disentangle.training import ClassifierTraining

__all__ = ["evaluate_classifier"]

_MADE_BY = "disentangle evaluate"
_MOST_ROWS = 20  # classes up to which all of them are printed; of more, the worst


def evaluate_classifier(
    ctx: click.Context,
    model: str,
    data: str | None,
    data_dir: Path | None,
    *,
    split: str | None,
    check_overlap: bool,
    on_bad_image: str | None,
    out: Path | None,
    as_json: bool,
    device: str,
) -> None:
    """Score MODEL on labelled pictures, print and keep the scores, draw the confusion matrix."""
    from disentangle.devices import resolve_device
    from disentangle.evaluations import classification_scores, classify_dataset, save_scores
    from disentangle.io import load
    from disentangle.models import Classifier
    from disentangle.viz.confusion import save_confusion_matrix

    in_run = (Path(model) / "config.json").is_file()
    of = {"train": "-train", "validation": "-validation", "val": "-validation"}.get(split or "", "")
    target = out or (Path(model) / f"scores{of}.json" if in_run else None)  # each part's in a file of its own
    figure: Path | None = None
    if out is not None:
        figure = beside(ctx, out.with_name(f"{out.stem}-confusion.png"), _MADE_BY)
    elif target is not None:  # the run's own
        figure = target.with_name(f"confusion{of}.png")
        check_default(target)
    where = resolve_device(device)
    classifier = load(model, device=where)
    assert isinstance(classifier, Classifier)
    run = _run_config(model)
    name = data or (run.data.name if run is not None else None)
    if name is None:
        raise click.UsageError("Say what to classify: --data NAME_OR_FOLDER (see `disentangle data list`).")
    source, part = _pictures(classifier.config, run, name, data_dir, split, on_bad_image)
    with counting_progress(ctx, "classify") as progress:
        logits, labels = classify_dataset(classifier, source, device=where, progress=progress)
    scores = classification_scores(logits, labels)
    names = classifier.config.class_names
    subject: dict[str, Any] = {"model": model, "data": name, "split": part, "classes": list(names)}
    if check_overlap and part != "train":
        subject["in_training_set"] = _warn_of_overlap(ctx, run, source, name)
    elif part == "train":
        note(ctx, "These are the pictures the model learnt from: the scores say nothing about new ones.")

    def keep() -> None:
        if target is not None:
            save_scores(target, scores, subject=subject)
            note(ctx, f"scores: {target}")

    def draw() -> None:
        if figure is not None:
            save_confusion_matrix(scores["confusion"].parts["matrix"], names, figure, made_by=_MADE_BY)
            note(ctx, f"confusion matrix: {figure}")

    def show() -> None:
        if as_json:
            print_json({name: score.to_dict() for name, score in scores.items()})
        else:
            _print(scores, names, title=f"{model} on {name} ({part}, {len(source)} pictures)")

    deliver(keep, draw, show)


def _run_config(model: str) -> ClassifierTraining | None:
    """The configuration of a run folder; None for a model file or a bundled model."""
    from disentangle.config import parse_config
    from disentangle.training import ClassifierTraining

    path = Path(model) / "config.json"
    if not path.is_file():
        return None
    return parse_config(ClassifierTraining, json.loads(path.read_text(encoding="utf-8")), source=str(path))


def _pictures(
    config: ClassifierConfig,
    run: ClassifierTraining | None,
    name: str,
    data_dir: Path | None,
    split: str | None,
    on_bad_image: str | None,
) -> tuple[LabelledImageSource, str]:
    """The labelled pictures to score on, and which part of the data set they are."""
    from disentangle.data import ImageFolder, check_classes, open_data, splits, with_classes
    from disentangle.errors import DataError
    from disentangle.training.classifier import open_parts

    if on_bad_image is not None and run is not None:
        options = {**run.data.options, "on_bad_image": on_bad_image}
        run = run.model_copy(update={"data": run.data.model_copy(update={"options": options})})
    parts = splits(name)
    own = run is not None and run.data.name == name
    kept_apart = own and run is not None and run.validation > 0
    if split in ("val", "valid"):
        split = "validation"
    if split is None:
        split = next(
            (part for part in ("test", "validation") if part in parts), "validation" if kept_apart else "train"
        )
    if own and run is not None and split in ("train", "validation"):
        train, validation = open_parts(run)
        source = train if split == "train" else validation
        if source is None:
            raise DataError(
                f"{name} has no validation part: the run kept no pictures apart (validation is 0); score --split test."
            )
        return source, split
    arguments: dict[str, Any] = {"resolution": config.resolution, "split": split, "data_dir": data_dir}
    if own and run is not None:
        arguments |= {**run.data.options, "data_dir": data_dir or run.data.data_dir}
    if on_bad_image is not None:
        arguments["on_bad_image"] = on_bad_image
    opened = open_data(name, **arguments)
    if isinstance(opened, ImageFolder) and opened.image_shape[0] != config.image_channels:
        opened = open_data(name, **{**arguments, "channels": config.image_channels})
    labelled = check_classes(opened, name, training=False)
    whole = parts == ("train",) and not own
    return with_classes(labelled, config.class_names, name), "all" if whole else split


def _warn_of_overlap(
    ctx: click.Context, run: ClassifierTraining | None, source: LabelledImageSource, name: str
) -> int | None:
    """How many pictures the model has learnt from, found by their content; None if that is not known."""
    from disentangle.data import overlap
    from disentangle.errors import DataError
    from disentangle.training.classifier import open_parts

    if run is None:
        return None
    try:
        train, _ = open_parts(run)
    except DataError as error:
        note(ctx, f"The training pictures cannot be compared with these ({error})")
        return None
    if train.image_shape != source.image_shape:
        return None
    with counting_progress(ctx, "compare with the training set") as progress:
        shared = len(overlap(train, source, progress=progress))
    if shared:
        note(
            ctx,
            f"Warning: {shared} of the {len(source)} pictures of {name} are in the training set too, byte for byte; "
            "the scores are that much too good.",
        )
    return shared


def _print(scores: dict[str, Score], class_names: tuple[str, ...], *, title: str) -> None:
    cells = [
        [name, f"{score.value:.4f}", f"{score.parts['standard_error']:.4f}"]
        for name, score in scores.items()
        if name.startswith("accuracy/top")
    ]
    per_class = scores["accuracy/per-class"]
    cells.append(["mean of the classes", f"{per_class.value:.4f}", ""])
    print_table(["score", "value", "standard error"], cells, title=title)
    rows = list(zip(class_names, per_class.parts["per_class"], per_class.parts["points"], strict=True))
    title = "per class"
    if len(rows) > _MOST_ROWS:
        title = f"the {_MOST_ROWS} worst of {len(rows)} classes"
        rows = sorted((row for row in rows if row[2]), key=lambda row: row[1])[:_MOST_ROWS]
    cells = [[name, f"{value:.4f}" if points else "", str(points)] for name, value, points in rows]
    print_table(["class", "accuracy", "pictures"], cells, title=title)
