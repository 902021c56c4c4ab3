"""``disentangle turn``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from disentangle.cli.destinations import output_option
from disentangle.cli.model_source import ModelSource, model_argument
from disentangle.cli.options import device_option, note, refuse_unread, seed_option, setting
from disentangle.cli.progress import counting_progress
from disentangle.text import shown

__all__ = ["command"]


_OF_AXES = ("samples", "metric", "weights", "criterion", "label", "batch", "seed")
_READ = {"finding the axes": set(_OF_AXES), "--axes": {"file"}}


@click.command("turn")
@model_argument
@click.option(
    "--axes", "file", type=click.Path(path_type=Path), help="Directions in z to turn to; default: the Jacobian's axes."
)
@click.option("--samples", type=click.IntRange(1, 10**7), help="Latents that the axes are found from; default: 256.")
@click.option(
    "--metric", type=click.Choice(["pixels", "lpips", "efficientnet-lite0"]), help="In which pictures change; default: "
    "pixels.",
)  # fmt: skip
@click.option("--weights", type=click.Path(path_type=Path), help="The metric's weight file, or its folder.")
@click.option("--criterion", type=click.Choice(["mean", "joint"]), help="Of the latents' metrics; default: mean.")
@click.option("--label", type=click.IntRange(0), help="Class of the pictures of a conditional model.")
@click.option("--batch", type=click.IntRange(1), help="Pictures made at once; default: 64.")
@click.option("--half", is_flag=True, help="Store the weights in half precision.")
@output_option("--out", suffixes=(".safetensors",), required=True, help="The model file, .safetensors.")
@seed_option
@device_option
@click.pass_context
def command(
    ctx: click.Context, model: ModelSource, file: Path | None, samples: int | None, metric: str | None,
    weights: Path | None, criterion: str | None, label: int | None, batch: int | None, half: bool, out: Path,
    seed: int | None, device: str | None,
) -> None:  # fmt: skip
    """MODEL with its latents rotated, so that its coordinates are its Jacobian's axes: along which a small step changes
    the pictures most, next most, and so on.

    The pictures, their distribution and the size of the file stay; nothing is trained. z must be normal, whose
    distribution no rotation changes, and be read by a linear layer. Directions that were found before belong to MODEL
    and are refused by the turned one.

    \b
    Examples:
      disentangle turn eigengan-rooms --out turned.safetensors
      disentangle turn runs/gan --samples 1000 --criterion joint --out turned.safetensors
    """
    import torch

    from disentangle.cli.directions import distance
    from disentangle.devices import resolve_device
    from disentangle.io import find_model, model_info, save
    from disentangle.latents import Directions, turn

    refuse_unread(ctx, "finding the axes" if file is None else "--axes", _READ)
    if weights is not None and metric in (None, "pixels"):
        raise click.UsageError("--weights is for --metric lpips or efficientnet-lite0; leave it out.")
    where = resolve_device(setting(ctx, "device", device, "auto"))
    generator: Any = model.open(where, "has no latent space")
    number = setting(ctx, "seed", seed, 0)
    with counting_progress(ctx, "derivatives") as progress:
        turned: Any = turn(
            generator, axes=None if file is None else Directions.load(file),
            metric=distance(metric, weights, where), samples=samples or 256,
            criterion=criterion or "mean", seed=number, label=label,  # type: ignore[arg-type]
            batch=batch or 64, progress=progress,
        )  # fmt: skip
    how: dict[str, Any] = {"axes": shown(str(file))}
    if file is None:
        given = {"samples": samples, "metric": metric, "criterion": criterion, "label": label, "batch": batch}
        how = {"axes": "jacobian", "seed": number, **{key: value for key, value in given.items() if value is not None}}
    before = {} if model.model is None else model_info(find_model(model.model)).get("provenance", {})
    provenance = {**before, "turned": how}
    save(turned, out, dtype=torch.float16 if half else None, provenance=provenance)
    note(ctx, f"turned: {out}")
