"""``disentangle traverse``."""

from __future__ import annotations

from pathlib import Path

import click

from disentangle.cli.destinations import ANIMATIONS, PICTURES, output_option
from disentangle.cli.model_source import ModelSource, model_argument
from disentangle.cli.options import (
    FiniteFloat,
    IntegerRanges,
    check_pictures,
    device_option,
    note,
    refuse_unread,
    setting,
)
from disentangle.cli.progress import counting_progress

__all__ = ["command"]

_READ = {"a still picture": set[str](), "an animation": {"fps"}}
_STARTS = {"seeds": {"seeds"}, "a --start": set[str]()}
_MANY = 64  # axes above which a model's own are too many to draw


@click.command("traverse")
@model_argument
@click.option("--dims", type=IntegerRanges(), help="Directions by position, e.g. 0-5,8; default: all.")
@click.option("--active", type=click.IntRange(1), help="Instead of --dims: the N that change the picture most.")
@click.option("--directions", type=click.Path(path_type=Path), help="A file of directions; default: the model's axes.")
@click.option("--seeds", type=IntegerRanges(), default="0", show_default=True, help="Starting latents.")
@click.option(
    "--extent",
    type=FiniteFloat(0, 1e6, min_open=True),
    default=3.0,
    show_default=True,
    help="Walk from -EXTENT to EXTENT.",
)
@click.option(
    "--steps",
    type=click.IntRange(2),
    help="Pictures a walk; default: 9, or 21 of an animation, which is 40 frames.",
)
@click.option("--space", help="Walk the model's axes of this space; default: its first.")
@click.option("--layers", type=IntegerRanges(), help="Rows of w+ that directions in w move, e.g. 2-5.")
@click.option("--start", type=click.Path(path_type=Path), help="Latents to start from, by `disentangle invert`.")
@click.option(
    "--truncation", type=FiniteFloat(0, 100), help="Of the starting latents; default: the model's own, mostly none."
)
@click.option("--truncation-cutoff", type=click.IntRange(0), help="Rows of w+ that are truncated; default: all.")
@click.option("--label", type=click.IntRange(0), help="Class of a conditional model.")
@click.option("--absolute/--relative", default=None, help="Set the position along a direction, or add to the start's.")
@click.option("--fps", type=FiniteFloat(0.1, 1000), help="Speed of an animation; default: 12, slower below 24 frames.")
@click.option("--scale", type=click.IntRange(1, 64), help="Enlargement of the pictures; default: to about 64 pixels.")
@output_option("--out", suffixes=(*PICTURES, ".mp4"), required=True, help="A .png grid, .gif, .webp or .mp4.")
@device_option
@click.pass_context
def command(
    ctx: click.Context, model: ModelSource, dims: tuple[int, ...] | None, active: int | None, directions: Path | None,
    seeds: tuple[int, ...], extent: float, steps: int | None, space: str | None, layers: tuple[int, ...] | None,
    start: Path | None, truncation: float | None, truncation_cutoff: int | None, label: int | None,
    absolute: bool | None, fps: float | None, scale: int | None, out: Path, device: str | None,
) -> None:  # fmt: skip
    """Latent traversals of MODEL: each row walks one direction, everything else held.

    A picture file gets a grid, one row for each direction and seed; a .gif, .webp or .mp4 moves along all of them at
    once. The picture that a walk starts from, or the nearest to it, is framed. A model with many axes shows its ten
    strongest directions by SeFa instead.

    \b
    Examples:
      disentangle traverse vae-rooms --out rooms.png
      disentangle traverse ffhq.safetensors --directions dirs.safetensors --seeds 0,3 --truncation 0.7 --out walk.gif
    """
    refuse_unread(ctx, "an animation" if out.suffix.lower() in ANIMATIONS else "a still picture", _READ)
    refuse_unread(ctx, "a --start" if start is not None else "seeds", _STARTS)
    if dims is not None and active is not None:
        raise click.UsageError("Give --dims or --active, not both.")
    import dataclasses

    import torch

    from disentangle.devices import resolve_device
    from disentangle.errors import ArgumentError
    from disentangle.latents import Directions, Latents, basis, most_active, sefa, start_columns, traverse
    from disentangle.viz import animation_frames, save_animation, save_grid
    from disentangle.viz.video import check_animation

    if out.suffix.lower() in ANIMATIONS:
        check_animation(out)
    if steps is None:
        steps = 21 if out.suffix.lower() in ANIMATIONS else 9
    generator = model.open(resolve_device(setting(ctx, "device", device, "auto")), "has no latent space")
    if directions is not None:
        chosen = Directions.load(directions)
        if space not in (None, chosen.space):
            raise ArgumentError(
                f"{directions} holds directions in {chosen.space!r}, not in {space!r}; leave --space out."
            )
    else:
        chosen = basis(generator, space=space)
        plain = dims is None and active is None and space is None
        if plain and (len(chosen) > _MANY or (start is not None and "w" in generator.spaces)):
            space_of = generator.spaces["w" if "w" in generator.spaces else chosen.space]
            chosen = sefa(generator, top=min(10, len(space_of.walk)))
            note(ctx, f"No directions given: the {len(chosen)} strongest by SeFa.")
    if layers is not None:
        chosen = dataclasses.replace(chosen, layers=layers)
    started = None if start is None else Latents.load(start)
    if dims is not None:
        chosen = chosen.select(dims)
    elif active is not None:
        if active > len(chosen):
            raise click.BadParameter(
                f"{active} is more than the {len(chosen)} directions there are.", param_hint="'--active'"
            )
        chosen = most_active(generator, chosen, top=active, label=label)
    check_pictures(len(chosen) * steps * (len(seeds) if started is None else len(started.values)), generator)
    with counting_progress(ctx, "traverse") as progress:
        walks = traverse(
            generator, chosen, seeds=seeds, start=started, extent=extent, steps=steps, truncation=truncation,
            truncation_cutoff=truncation_cutoff, label=label, absolute=absolute, progress=progress,
        )  # fmt: skip
    starts = tuple(f"seed {seed}" for seed in seeds)
    if started is not None:
        starts = tuple(f"start {index}" for index in range(len(walks)))
    if out.suffix.lower() in ANIMATIONS:
        columns = starts if len(starts) > 1 else ()
        frames = animation_frames(walks, row_labels=chosen.labels, column_labels=columns, scale=scale)
        save_animation(frames, out, fps=fps)
    else:
        labels = chosen.labels
        if len(starts) > 1:
            labels = tuple(f"{name}, {where}" for name in chosen.labels for where in starts)
        columns = tuple(f"{-extent + 2 * extent * step / (steps - 1):+.1f}" for step in range(steps))
        positions = torch.linspace(-extent, extent, steps)
        if absolute is None:  # as traverse takes it
            absolute = chosen.method == "basis" and chosen.space == "z" and started is None
        given = {} if truncation is None else {"truncation": truncation}
        marked: list[int | None] = [int(positions.abs().argmin())] * len(labels) if not absolute and steps % 2 else []
        if absolute and chosen.space == "z" and started is None:
            marked = start_columns(generator, chosen, positions, seeds=seeds, label=label, **given)
        title = ", ".join([Path(str(model)).name or str(model), *(starts if len(starts) == 1 else ())])
        save_grid(
            walks.transpose(0, 1).flatten(0, 1), out, row_labels=labels, column_labels=columns, title=title,
            marked=marked, scale=scale,
        )  # fmt: skip
    note(ctx, f"{len(chosen)} directions, {len(starts)} starting latents: {out}")
