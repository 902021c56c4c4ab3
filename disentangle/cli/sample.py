"""``disentangle sample``."""

from __future__ import annotations

from pathlib import Path

import click

from disentangle.cli.destinations import PICTURES, output_option
from disentangle.cli.model_source import ModelSource, model_argument
from disentangle.cli.options import FiniteFloat, IntegerRanges, check_pictures, device_option, note, setting

__all__ = ["command"]


@click.command("sample")
@model_argument
@click.option("--seeds", type=IntegerRanges(), default="0-15", show_default=True, help="One picture a seed.")
@click.option(
    "--truncation",
    type=FiniteFloat(0, 100),
    default=1.0,
    show_default=True,
    help="Shrinks latents towards the mean.",
)
@click.option("--label", type=click.IntRange(0), help="Class of a conditional model.")
@click.option("--columns", type=click.IntRange(1), help="Pictures a row; default: as square as possible.")
@output_option("--out", suffixes=PICTURES, required=True, help="A picture file.")
@device_option
@click.pass_context
def command(
    ctx: click.Context, model: ModelSource, seeds: tuple[int, ...], truncation: float, label: int | None,
    columns: int | None, out: Path, device: str | None,
) -> None:  # fmt: skip
    """Pictures of random latents of MODEL, one for each seed.

    \b
    Examples:
      disentangle sample eigengan-rooms --out samples.png
      disentangle sample runs/fashion --seeds 0-63 --truncation 0.7 --out samples.png
    """
    import math

    import torch

    from disentangle.devices import resolve_device
    from disentangle.errors import ArgumentError
    from disentangle.looking import looking_at
    from disentangle.models.base import class_option
    from disentangle.viz import save_grid

    generator = model.open(resolve_device(setting(ctx, "device", device, "auto")), "draws no pictures")
    check_pictures(len(seeds), generator)
    if columns is not None and columns > len(seeds):
        raise ArgumentError(
            f"--columns is {columns}, but --seeds are {len(seeds)}; expected no more columns than these."
        )
    columns = columns or math.ceil(math.sqrt(len(seeds)))
    # A StyleGAN's z cannot be shrunk: its w is.
    first = next(iter(generator.spaces.values()))
    space = "w" if truncation != 1 and first.truncated_by == "call" and "w" in generator.spaces else first.name
    options = class_option(generator, label)
    drawn = [torch.Generator().manual_seed(seed) for seed in seeds]
    late = options if space == "z" else {}
    with looking_at(generator), torch.inference_mode():
        latents = torch.cat(
            [generator.sample_latents(1, space=space, truncation=truncation, generator=g, **options) for g in drawn]
        )
        images = torch.cat([generator(part, space=space, **late).cpu() for part in latents.split(64)])
    blank = torch.ones(-len(images) % columns, *images.shape[1:])
    rows = torch.cat([images, blank]).reshape(-1, columns, *images.shape[1:])
    save_grid(rows, out)
    note(ctx, f"{len(seeds)} pictures: {out}")
