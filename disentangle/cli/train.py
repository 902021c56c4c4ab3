"""``disentangle train``: fit a model; the same command again continues the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from disentangle.cli import train_gan
from disentangle.cli.options import FiniteFloat
from disentangle.cli.train_options import (
    generator_options,
    run_generator,
    run_training,
    training_options,
    treatments,
)

__all__ = ["command"]


@click.group("train")
def command() -> None:
    """Train a model. The same command again continues the run in --out.

    \b
    Examples:
      disentangle train eigengan --data fashion-mnist --resolution 32 --nog --olr --out runs/fashion
      disentangle train vae --data rooms --objective beta-tcvae --beta 6 --out runs/rooms
      disentangle train classifier --data fashion-mnist --norm dbn --treat nog --out runs/dbn
    """


@command.command()
@click.option(
    "--objective",
    type=click.Choice(["beta-vae", "beta-tcvae", "factor-vae", "dip-vae"]),
    help="What is minimised; default: beta-tcvae.",
)
@click.option("--beta", type=float, help="Weight in beta-vae (default: 4) and beta-tcvae (6).")
@click.option("--gamma", type=float, help="Weight of the total correlation in factor-vae; default: 10.")
@click.option("--capacity", type=float, help="Final capacity in nats, for beta-vae; default: none.")
@click.option("--latent-dim", type=int, help="Numbers of a code; default: 10.")
@click.option("--decoder", type=click.Choice(["plain", "style"]), help="Of style, latents scale maps; default: plain.")
@click.option(
    "--pairs", type=click.Choice(["known", "adaptive"]),
    help="Weak supervision of a beta-vae by pairs that differ in one factor, which is told or not; default: none.",
)  # fmt: skip
@generator_options
def vae(ctx: click.Context, **options: Any) -> None:
    """Train a VAE: beta-VAE, beta-TCVAE, FactorVAE or DIP-VAE.

    Presets: vae-32, vae-64, vae-128; pairs-32, which is told by pairs of pictures which factor of rooms changed.
    By default 50,000 steps at 32 pixels, 100,000 at 64 and 128, 120,000 of pairs-32 (hours on a CPU: give fewer
    --steps to try it).

    \b
    Examples:
      disentangle train vae --data rooms --objective beta-tcvae --beta 6 --out runs/rooms
      disentangle train vae --data sprites --resolution 32 --objective factor-vae --gamma 10 --out runs/sprites
      disentangle train vae --data rooms --preset pairs-32 --out runs/pairs
    """
    weights = {name: options[name] for name in ("beta", "gamma", "capacity") if options[name] is not None}
    named = options["objective"]
    if named:
        for name, of in _OBJECTIVES.items():
            if options[name] is not None and named not in of:
                raise click.UsageError(f"--{name} is of --objective {' or '.join(of)}, not {named}; leave it out.")
        fields: dict[str, Any] = {"objective": {"kind": options["objective"], **weights}}
    else:
        fields = {f"objective.{name}": weight for name, weight in weights.items()}
    if options["latent_dim"] is not None:
        fields["model.latent_dim"] = options["latent_dim"]
    if options["decoder"] is not None:
        fields["model.decoder"] = options["decoder"]
    if options["pairs"] is not None:
        fields["pairs"] = options["pairs"]
    run_generator(ctx, "vae", options, fields)


@command.command()
@click.option(
    "--objective", type=click.Choice(["qlae", "fsq", "tripod"]),
    help="What is minimised, and whether values are learnt (qlae) or evenly spaced; default: qlae.",
)  # fmt: skip
@click.option("--values", type=click.IntRange(2), help="Values a latent can take; default: the preset's, 10 or 12.")
@click.option("--latent-dim", type=click.IntRange(1), help="Numbers of a code; default: the preset's.")
@click.option("--revive", is_flag=True, help="Move learnt values that no picture takes; default: only count them.")
@click.option("--lr", type=FiniteFloat(0, min_open=True), help="Learning rate; default: the preset's.")
@training_options
def autoencoder(ctx: click.Context, **options: Any) -> None:
    """Train an autoencoder with quantised codes: QLAE, FSQ or Tripod.

    Presets: qlae-32, fsq-32, tripod-32, of 20,000 steps, for a CPU; qlae-64, qlae-mpi3d, fsq-64, tripod-64,
    tripod-mpi3d, tripod-falcor3d, tripod-isaac3d, of 200,000 steps or more, for a GPU.

    \b
    Examples:
      disentangle train autoencoder --data rooms --resolution 32 --out runs/qlae
      disentangle train autoencoder --data rooms --objective tripod --out runs/tripod
    """
    if options["objective"] and options["config_file"] is not None:
        raise click.UsageError("The objective is that of --config; leave --objective out, or use a preset.")
    names = {"values": "model.quantiser.values", "latent_dim": "model.latent_dim", "lr": "optimizer.lr"}
    fields: dict[str, Any] = {field: options[name] for name, field in names.items() if options[name] is not None}
    if options["revive"]:
        fields["revive"] = True
    run_training(ctx, options["objective"] or "qlae", options, fields)


@command.command()
@click.option("--arch", help="small, or one of torchvision's: resnet18, resnet34, resnet50 ...; default: small.")
@click.option(
    "--stem", type=click.Choice(["auto", "cifar", "imagenet"]), help="First layers of a ResNet; default: auto."
)
@click.option(
    "--norm",
    type=click.Choice(["bn", "dbn"]),
    help="Of the stem: batch norm, or decorrelated (whitening); default: bn.",
)
@click.option(
    "--pool", type=click.Choice(["avg", "cov"]), help="Average pooling, or global covariance pooling; default: avg."
)
@click.option(
    "--treat",
    help="Of the layer in front of whitening or pooling: nog, olr, ol and one of ow, sn, soc, separated by commas; "
    "default: none.",
)
@click.option(
    "--epochs", type=float, help="Length of the training, instead of --steps; default: the preset's, see above."
)
@click.option("--lr", type=float, help="Peak learning rate; default: the preset's, 0.1 of the small network.")
@click.option("--validation", type=int, help="Training pictures kept apart for validation; default: 0.")
@click.option(
    "--init", type=click.Path(path_type=Path), help="File of weights of the plain network to start from; default: none."
)
@training_options
def classifier(ctx: click.Context, **options: Any) -> None:
    """Train a classifier, with whitening or covariance pooling and the treatments of the layer in front of them.

    By default 8 epochs of the small network, 50 to 350 of a ResNet by the published presets. A folder needs a
    sub-folder of pictures for each class; train/, val/ and test/ around them are recognised. The test
    part is never looked at: see `disentangle evaluate`.

    Presets: classifier-small-28, classifier-small-32, classifier-resnet18-cifar10, classifier-resnet50-cifar100 (32
    pixels), classifier-resnet50-imagenet (224), classifier-resnet50-birds, classifier-resnet50-cars and
    classifier-resnet50-aircraft (448).

    \b
    Examples:
      disentangle train classifier --data fashion-mnist --norm dbn --treat nog,olr --out runs/dbn
      disentangle train classifier --data birds/ --resolution 224 --arch resnet50 --pool cov --treat ow,nog \\
        --init resnet50.pth --out runs/birds
    """
    names = {"arch": "model.arch", "stem": "model.stem", "norm": "model.norm", "pool": "model.pool",
             "lr": "optimizer.lr", "validation": "validation"}  # fmt: skip
    fields = {field: options[name] for name, field in names.items() if options[name] is not None}
    if options["init"] is not None:
        fields["init"] = str(options["init"])
    if options["epochs"] is not None and options["steps"] is not None:
        raise click.UsageError("Give the length as --epochs or as --steps, not both.")
    weights = [name for name in treatments(options, ("nog", "olr", "ol", *_WEIGHTS)) if name in _WEIGHTS]
    if len(weights) > 1:
        raise click.UsageError(f"--treat {options['treat']} constrains one weight in {len(weights)} ways; choose one.")
    if weights:
        fields["model.weight"] = weights[0]
    run_training(ctx, "classifier", options, fields)


_WEIGHTS = ("ow", "sn", "soc")
_OBJECTIVES = {"beta": ("beta-vae", "beta-tcvae"), "gamma": ("factor-vae",), "capacity": ("beta-vae",)}

for _gan in train_gan.COMMANDS:
    command.add_command(_gan)
