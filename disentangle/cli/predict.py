"""``disentangle predict``: a trained classifier on pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from disentangle.cli.options import device_option, json_option, setting
from disentangle.cli.results import print_json, print_line
from disentangle.signatures import described

__all__ = ["command"]

_BATCH = 64


@click.command("predict")
@click.argument("model")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes named for each picture.")
@json_option
@device_option
@click.pass_context
def command(
    ctx: click.Context, model: str, images: tuple[Path, ...], top: int, as_json: bool, device: str | None
) -> None:
    """What a classifier MODEL takes IMAGES for: the likeliest classes with their probabilities.

    Pictures of any size are brought to the model's as in its training.

    \b
    Examples:
      disentangle predict runs/dbn shoe.png
      disentangle predict runs/birds photos/*.jpg --top 1 --json
    """
    import torch

    from disentangle.data.decoding import PictureDecoder
    from disentangle.devices import resolve_device
    from disentangle.errors import ArgumentError, DataError, reason
    from disentangle.images import PictureError, read_picture_file
    from disentangle.io import load
    from disentangle.models import Classifier

    where = resolve_device(setting(ctx, "device", device, "auto"))
    classifier = load(model, device=where)
    if not isinstance(classifier, Classifier):
        raise ArgumentError(f"{model} is {described(classifier)}, which names no classes; expected a classifier.")
    config = classifier.config
    decode = PictureDecoder(config.resolution, config.image_channels, config.resize)

    def read(path: Path) -> torch.Tensor:
        try:
            return torch.from_numpy(decode(read_picture_file(path)).copy()).float() / 255
        except FileNotFoundError:
            raise DataError(f"There is no picture {path}; expected the path of a picture file.") from None
        except (OSError, PictureError, MemoryError) as error:
            raise DataError(
                f"{path} cannot be read as a picture ({reason(error)}); expected e.g. a PNG or JPEG."
            ) from error

    found: list[dict[str, Any]] = []
    for start in range(0, len(images), _BATCH):
        batch = torch.stack([read(path) for path in images[start : start + _BATCH]])
        with torch.inference_mode():
            likely = classifier(batch.to(where)).float().softmax(1).cpu().topk(min(top, len(config.class_names)))
        for path, values, classes in zip(images[start:], likely.values.tolist(), likely.indices.tolist(), strict=False):
            named = [{"class": config.class_names[i], "probability": p} for i, p in zip(classes, values, strict=True)]
            found.append({"image": str(path), "classes": named})
    if as_json:
        print_json(found)
        return
    for record in found:
        shown = ", ".join(f"{row['class']} {100 * row['probability']:.1f} %" for row in record["classes"])
        print_line(f"{record['image']}: {shown}")
