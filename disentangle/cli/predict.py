"""``disentangle predict``: a trained classifier on pictures."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from disentangle.cli.destinations import output_option
from disentangle.cli.options import device_option, json_option, note, setting
from disentangle.cli.progress import counting_progress
from disentangle.cli.results import print_json, print_line
from disentangle.errors import ArgumentError, DataError, reason
from disentangle.signatures import described

__all__ = ["command"]

_BATCH = 64


@click.command("predict")
@click.argument("model")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(1), help="Classes named for each picture; default 5, and 1 with --out.")
@output_option("--out", suffixes=(".csv",), help="A table to write instead of printing: a row for each picture.")
@json_option
@device_option
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    images: tuple[Path, ...],
    top: int | None,
    out: Path | None,
    as_json: bool,
    device: str | None,
) -> None:
    """What a classifier MODEL takes IMAGES for: the likeliest classes with their probabilities.

    IMAGES are picture files, folders or .zip archives of them; of a folder all pictures in it and its sub-folders, in
    the order of their paths. Pictures of any size are brought to the model's as in its training. Those that cannot be
    read are named on standard error and left out, and the exit status is then 1.

    The columns of --out are path, class and probability, and with --top 3 class_2, probability_2, class_3 and
    probability_3 besides.

    \b
    Examples:
      disentangle predict runs/dbn shoe.png
      disentangle predict runs/birds photos/ --out predictions.csv
    """
    from disentangle.devices import resolve_device
    from disentangle.files import write_atomically
    from disentangle.io import load
    from disentangle.models import Classifier

    if out is not None and as_json:
        raise click.UsageError("--out writes a table and --json prints; give one of them.")
    where = resolve_device(setting(ctx, "device", device, "auto"))
    classifier = load(model, device=where)
    if not isinstance(classifier, Classifier):
        raise ArgumentError(f"{model} is {described(classifier)}, which names no classes; expected a classifier.")
    pictures = _pictures(images)
    bad: list[str] = []
    count = min(top or (1 if out is not None else 5), len(classifier.config.class_names))
    total = len(pictures)

    def found(step: Callable[[int, int], None] | None = None) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        for done, (name, result) in enumerate(_predicted(classifier, pictures, where, count), 1):
            if step is not None:
                step(done, total)
            if isinstance(result, DataError):
                bad.append(name)
                if total == 1:
                    raise result
                note(ctx, str(result))
                continue
            yield name, result

    def write(path: Path) -> None:
        with (
            path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
            counting_progress(ctx, "predict") as step,
        ):
            table = csv.writer(file, lineterminator="\n")
            more = [f"{column}_{rank}" for rank in range(2, count + 1) for column in ("class", "probability")]
            table.writerow(["path", "class", "probability", *more])
            for name, classes in found(step):
                table.writerow([name, *(cell for label, p in classes for cell in (label, f"{p:.6g}"))])

    if out is not None:
        write_atomically(out, write)
        note(ctx, f"{total - len(bad):,} pictures: {out}")
    elif as_json:
        print_json(
            [
                {"image": name, "classes": [{"class": label, "probability": p} for label, p in classes]}
                for name, classes in found()
            ]
        )
    else:
        for name, classes in found():
            print_line(f"{name}: {', '.join(f'{label} {100 * p:.1f} %' for label, p in classes)}")
    if bad:
        raise DataError(
            f"{len(bad):,} of {total:,} pictures could not be read and were left out; the first is {bad[0]}."
        )


def _pictures(images: tuple[Path, ...]) -> list[tuple[Any, int]]:
    """What was given, one by one: the shelf of a folder or archive and a position there, or a file and -1."""
    from disentangle.images import open_shelf

    found: list[tuple[Any, int]] = []
    for path in images:
        if path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file()):
            shelf = open_shelf(path)
            found += [(shelf, position) for position in range(len(shelf))]
        else:
            found.append((path, -1))
    return found


def _predicted(
    classifier: Any, pictures: list[tuple[Any, int]], where: Any, top: int
) -> Iterator[tuple[str, list[tuple[str, float]] | DataError]]:
    """Of each picture its name, and its likeliest classes or the DataError that says why there are none."""
    import torch

    from disentangle.archives import ArchiveError
    from disentangle.data.decoding import PictureDecoder
    from disentangle.images import PictureError, read_picture_file

    config = classifier.config
    decode = PictureDecoder(config.resolution, config.image_channels, config.resize)

    def read(source: Any, position: int) -> tuple[str, torch.Tensor | DataError]:
        name = str(source) if position < 0 else source.name(position)
        try:
            content = read_picture_file(source) if position < 0 else source.read(position)
            return name, torch.from_numpy(decode(content).copy()).float() / 255
        except FileNotFoundError:
            return name, DataError(f"There is no picture {name}; expected the path of a picture file.")
        except (OSError, ArchiveError, PictureError, MemoryError) as error:
            return name, DataError(
                f"{name} cannot be read as a picture ({reason(error)}); expected e.g. a PNG or JPEG."
            )

    for start in range(0, len(pictures), _BATCH):
        batch = [read(*picture) for picture in pictures[start : start + _BATCH]]
        good = [image for _, image in batch if isinstance(image, torch.Tensor)]
        rows: Iterator[list[tuple[str, float]]] = iter(())
        if good:
            with torch.inference_mode():
                likely = classifier(torch.stack(good).to(where)).float().softmax(1).cpu().topk(top)
            rows = (
                [(config.class_names[i], p) for i, p in zip(classes, values, strict=True)]
                for classes, values in zip(likely.indices.tolist(), likely.values.tolist(), strict=True)
            )
        for name, image in batch:
            yield name, next(rows) if isinstance(image, torch.Tensor) else image
