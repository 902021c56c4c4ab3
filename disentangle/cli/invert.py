"""``disentangle invert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle.cli.destinations import beside, output_option
from disentangle.cli.model_source import ModelSource, model_argument
from disentangle.cli.options import FiniteFloat, device_option, note, seed_option, setting
from disentangle.cli.progress import counting_progress
from disentangle.cli.results import deliver

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["command"]

_MADE_BY = "disentangle invert"


@click.command("invert")
@model_argument
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option("--space", help="Latent space: z, w, w+ or s; default: w+ where there is one.")
@output_option("--out", suffixes=(".safetensors",), required=True, help="The file of latents, .safetensors.")
@click.option("--steps", type=click.IntRange(1), default=500, show_default=True, help="Of the descent.")
@click.option("--learning-rate", type=FiniteFloat(0, 1e6, min_open=True), help="Default: 0.1, in s 0.02.")
@click.option(
    "--pull", type=FiniteFloat(0, 1e6), default=1e-3, show_default=True, help="Towards the mean of the space."
)
@click.option("--label", type=click.IntRange(0), help="Class of a conditional model.")
@click.option("--weights", type=click.Path(path_type=Path), help="VGG16 for LPIPS, if not in its usual place.")
@click.option("--pixels-only", is_flag=True, help="No perceptual distance.")
@seed_option
@device_option
@click.pass_context
def command(
    ctx: click.Context, model: ModelSource, photos: tuple[Path, ...], space: str | None, out: Path, steps: int,
    learning_rate: float | None, pull: float, label: int | None, weights: Path | None, pixels_only: bool,
    seed: int | None, device: str | None,
) -> None:  # fmt: skip
    """Latents from which MODEL makes PHOTOS, so that a traversal can start from them.

    Each photo is turned upright, cropped to its centre and resized. Distances are of pixels and LPIPS, or, without
    VGG16's weights, features of the offline extractor. Beside photo.safetensors come a picture of before and after,
    photo.invert.png, and the loss curve, photo.loss.png; where others have these names, the next that are free.

    \b
    Examples:
      disentangle invert ffhq.safetensors photo.png --space w+ --out photo.safetensors
      disentangle traverse ffhq.safetensors --start photo.safetensors --directions dirs.safetensors --out edits.png
    """
    if pixels_only and weights is not None:
        raise click.UsageError("--weights is of LPIPS, which --pixels-only leaves out; give one of the two.")
    import torch

    from disentangle.devices import resolve_device
    from disentangle.latents import invert
    from disentangle.models.base import class_option
    from disentangle.viz import save_grid
    from disentangle.viz.figures import save_curves

    strip = beside(ctx, out.with_suffix(".invert.png"), _MADE_BY)
    curves = beside(ctx, out.with_suffix(".loss.png"), _MADE_BY)
    where = resolve_device(setting(ctx, "device", device, "auto"))
    generator = model.open(where, "has no latent space")
    options = class_option(generator, label)
    with torch.no_grad():
        shape = generator(generator.sample_latents(1, **options), **options).shape[1:]
    targets = torch.stack([_photo(path, tuple(shape)) for path in photos])
    distance = None if pixels_only else _distance(ctx, weights, where)
    with counting_progress(ctx, "invert") as progress:
        found = invert(
            generator, targets, space=space, perceptual=distance, steps=steps, learning_rate=learning_rate, pull=pull,
            label=label, seed=setting(ctx, "seed", seed, 0), progress=progress,
        )  # fmt: skip
    names = tuple(path.name for path in photos)
    pictures = torch.stack([targets, found.images.clamp(-1, 1)], dim=1)
    losses = {name: found.losses[:, i].tolist() for i, name in enumerate(names)}

    def tell() -> None:
        for i, name in enumerate(names):
            seen = "" if found.perceptual is None else f", perceptual distance {float(found.perceptual[i]):.3f}"
            note(ctx, f"{name}: {float(found.psnr[i]):.1f} dB{seen}")

    def save() -> None:
        found.latents.save(out, note={"photos": list(names), "steps": steps})
        note(ctx, f"{len(photos)} latents in {found.latents.space}: {out}")

    deliver(
        tell,
        save,
        lambda: save_grid(pictures, strip, row_labels=names, column_labels=("photo", "found"), made_by=_MADE_BY),
        lambda: save_curves(losses, curves, made_by=_MADE_BY),
    )


def _photo(path: Path, shape: tuple[int, ...]) -> Tensor:
    """(C, H, W) in [-1, 1]: upright, its centre cropped to the shape and resized; on white where C is not 4."""
    import torch

    from disentangle.colour import CHANNELS
    from disentangle.errors import InputError, reason
    from disentangle.images import PictureError, decode_picture, fit_picture, read_picture_file

    channels, height, width = shape
    if channels not in CHANNELS:
        raise InputError(f"this model makes images of {channels} channels; expected 1, 3 or 4 for a photo.")
    try:
        pixels = decode_picture(
            read_picture_file(path),
            channels=channels,
            finish=lambda whole: fit_picture(whole, (height, width), "center-crop"),
        )
    except FileNotFoundError:
        raise InputError(f"There is no photo {path}.") from None
    except (OSError, PictureError, MemoryError) as error:
        raise InputError(f"{path} cannot be read as an image ({reason(error)}); expected a photo.") from None
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1


def _distance(ctx: click.Context, weights: Path | None, device: Any) -> Any:
    """LPIPS, else the offline extractor's features, else None; which one is said."""
    from disentangle.errors import InputError
    from disentangle.evaluations.features import load_distance

    try:
        found = load_distance("lpips", weights=weights, device=device)
    except InputError as error:
        if weights is not None:
            raise
        try:
            found = load_distance("efficientnet-lite0", device=device)
        except InputError:
            note(ctx, f"Pixels alone: {error}")
            return None
    note(ctx, f"Distance: pixels and {found.name}.")
    return found
