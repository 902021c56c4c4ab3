"""``disentangle train`` of the generators that learn against a discriminator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from disentangle.cli.options import FiniteFloat
from disentangle.cli.train_options import generator_options, run_generator

__all__ = ["COMMANDS"]


def _of_gan(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--discriminator", type=click.Path(path_type=Path),
                     help="File to start from, by `disentangle convert --discriminator`; a run brings its own."),
        click.option("--penalty", type=click.Choice(["hessian", "orojar", "vp"]),
                     help="Instead of a treatment (default: none): Hessian penalty, orthogonal Jacobian, variation "
                          "predictability."),
        click.option("--penalty-weight", type=float,
                     help="Weight of --penalty; default: 2e-4 of hessian, 2e-8 of orojar, 0.1 of vp."),
        click.option("--augment", type=click.Choice(["none", "diffaugment", "ada"]),
                     help="Change real and fake pictures alike (default: the preset's); ada: as often as the "
                          "discriminator overfits."),
        click.option("--accumulate", type=int, help="Pieces of a batch computed one after the other; default: 1."),
        click.option("--ema", type=float, help="Decay of the averaged generator; default: the preset's."),
        click.option("--d-lr", type=FiniteFloat(0, min_open=True),
                     help="Learning rate of the discriminator; default: that of --lr, or the preset's."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return generator_options(function)


@click.command()
@click.option("--basis", type=int, help="Directions of each block; default: 6.")
@_of_gan
def eigengan(ctx: click.Context, **options: Any) -> None:
    """Train an EigenGAN, whose blocks each add a point of a linear subspace.

    Presets: eigengan-32, eigengan-64, eigengan-animeface (128 pixels), eigengan-ffhq (256).
    By default 5,000 steps at 32 pixels, 20,000 at 64; the published presets 500,000.

    \b
    Examples:
      disentangle train eigengan --data fashion-mnist --resolution 32 --nog --olr --out runs/fashion
      disentangle train eigengan --data photos/ --resolution 64 --nog --mode update --retraction polar --out runs/photos
    """
    _train_gan(ctx, "eigengan", options, {} if options["basis"] is None else {"model.basis": options["basis"]})


@click.command()
@click.option("--latent-dim", type=int, help="Numbers of a latent; default: the preset's, 12 or 30.")
@_of_gan
def gan(ctx: click.Context, **options: Any) -> None:
    """Train a simple GAN of transposed convolutions.

    Presets: gan-32, gan-dsprites (64 pixels), gan-celeba and gan-church (128).
    By default 10,000 steps at 32 pixels, 300,000 at 64, 600,000 at 128 (the published presets).

    \b
    Examples:
      disentangle train gan --data rooms --resolution 32 --nog --out runs/gan-rooms
      disentangle train gan --data celeba --data-dir data --preset gan-celeba --nog --out runs/celeba
    """
    _train_gan(
        ctx, "gan", options, {} if options["latent_dim"] is None else {"model.latent_dim": options["latent_dim"]}
    )


@click.command()
@click.option("--latent-dim", type=int, help="Numbers of a latent; default: the preset's, 64 to 512.")
@_of_gan
def progan(ctx: click.Context, **options: Any) -> None:
    """Train a ProGAN, whose resolution grows while it learns.

    Presets: progan-32, progan-64, progan-celeba (128 pixels), progan-church (256), progan-512, progan-celebahq (1024).
    By default 12,500 steps at 32 pixels, 25,000 at 64; the published presets 750,000.

    \b
    Examples:
      disentangle train progan --data fashion-mnist --resolution 32 --nog --out runs/progan
      disentangle train progan --data church/ --resolution 256 --precision bf16 --out runs/church
    """
    _train_gan(ctx, "progan", options, _latent_dim(options))


@click.command()
@click.option("--classes", is_flag=True, help="Teach it the classes of the pictures, such as a folder's sub-folders.")
@_of_gan
def stylegan2(ctx: click.Context, **options: Any) -> None:
    """Train a StyleGAN2.

    Presets: stylegan2-32, stylegan2-64, stylegan2-128, stylegan2-church (256 pixels), stylegan2-512, stylegan2-ffhq
    (1024). Those of 128 and 512 pixels are NVIDIA's for adaptive augmentation, --augment ada.
    By default 20,000 steps at 32 pixels, 30,000 at 64 (hours on a CPU: give fewer --steps to try it); the published
    presets 780,000, that of 512 pixels 390,000.

    \b
    Examples:
      disentangle train stylegan2 --data rooms --resolution 64 --out runs/rooms
      disentangle train stylegan2 --data fashion-mnist --resolution 32 --classes --out runs/clothes
      disentangle train stylegan2 --data faces.zip --from ffhq.safetensors --augment ada --out runs/faces
    """
    _train_gan(ctx, "stylegan2", options, {})


@click.command()
@click.option(
    "--kind",
    type=click.Choice(["householder", "cayley", "matrix_exp", "polar"]),
    default="householder",
    show_default=True,
    help="How the weights are kept orthogonal.",
)
@click.option("--rank", type=int, help="Directions of each layer; default 10, or all where there are fewer.")
@click.option("--layers", help="Names of projections, separated by commas; default: the published choice.")
@click.option("--trains", type=click.Choice(["all", "projections"]), help="What of the generator learns; default all.")
@_of_gan
def projection(ctx: click.Context, **options: Any) -> None:
    """Train a generator further with orthogonal projections, whose directions are then exact by construction.

    By default 3 % of the steps of the generator's preset, 900 of a StyleGAN2 at 64 pixels. The layers start at the
    nearest orthogonal weights to their own. The generator may be a StyleGAN, StyleGAN2 or 3,
    ProGAN, DCGAN, EigenGAN, simple GAN or VAE: a converted file, a run, or a model of the zoo. A file of a GAN brings
    no discriminator: give its own as --discriminator, or a new one a few hundred steps with
    --set discriminator_first=500.

    \b
    Examples:
      disentangle train projection --from ffhq.safetensors --discriminator ffhq-d.safetensors --data faces/ \\
        --out runs/householder
      disentangle train projection --from runs/rooms --data rooms --rank 6 --steps 500 --out runs/rooms-householder
    """
    if options["init"] is None:
        raise click.UsageError("Say which generator to train further: --from MODEL.")
    layers = [name.strip() for name in (options["layers"] or "").split(",") if name.strip()]
    options["projection"] = {"kind": options["kind"], "rank": options["rank"], "layers": layers}
    fields = {} if options["trains"] is None else {"trains": options["trains"]}
    _train_gan(ctx, "projection", options, fields)


def _latent_dim(options: dict[str, Any]) -> dict[str, Any]:
    return {} if options["latent_dim"] is None else {"model.latent_dim": options["latent_dim"]}


def _train_gan(ctx: click.Context, kind: str, options: dict[str, Any], fields: dict[str, Any]) -> None:
    """The options of all GANs as fields."""
    if options["penalty"] is not None:
        fields["generator_penalty.kind"] = options["penalty"]
    if options["penalty_weight"] is not None:
        fields["generator_penalty.weight"] = options["penalty_weight"]
    if options["augment"] is not None:
        on = options["augment"] != "none"
        fields["augment"] = ["color", "translation", "cutout"] if on else []
        if options["augment"] == "ada":
            fields |= {"augment_target": 0.6, "augment_probability": 0.0}
    d_lr = options["lr"] if options["d_lr"] is None else options["d_lr"]
    if d_lr is not None and kind != "projection":  # which may be a VAE's: told when its model is known
        fields["discriminator_optimizer.lr"] = d_lr
    for name in ("accumulate", "ema"):
        if options[name] is not None:
            fields[name] = options[name]
    if options["accumulate"] is not None and options["accumulate"] > 1:
        fields["reuse_fakes"] = False
    run_generator(ctx, kind, options, fields)


COMMANDS = (eigengan, gan, progan, stylegan2, projection)
