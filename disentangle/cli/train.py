"""``disentangle train``: fit a model; the same command again continues the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from disentangle.cli.options import Assignments, device_option, note, seed_option, setting
from disentangle.cli.progress import training_progress

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


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--data", required=False, help="Name of a data set, or a folder, zip or file; see `data list`."),
        click.option("--resolution", type=int, help="Side of the pictures in pixels."),
        click.option("--data-dir", type=click.Path(path_type=Path), help="Where files of named data sets lie."),
        click.option("--download", is_flag=True, help="Download the data set if it is missing."),
        click.option("--on-bad-image", type=click.Choice(["raise", "skip"]),
                     help="Stop at an unreadable picture (default), or leave such pictures out and name them."),
        click.option("--preset", help="Row of the preset table; default: the first of the pictures' size."),
        click.option("--nog", is_flag=True, help="Nearest orthogonal gradient on the projections."),
        click.option("--olr", is_flag=True, help="Optimal learning rate on the projections."),
        click.option("--olr-form", type=click.Choice(["released", "matrix", "exact"]), help="Form of --olr."),
        click.option("--ol", type=float, help="Weight of the orthogonality loss on the projections."),
        click.option("--mode", type=click.Choice(["gradient", "update", "landing", "pogo", "spel", "scion"]),
                     help="What --nog makes orthogonal; or a treatment that takes the place of --nog."),
        click.option("--scale", type=click.Choice(["none", "grad_norm", "nuclear"]), help="Length of --nog's step."),
        click.option("--retraction", type=click.Choice(["none", "polar"]), help="Keep the projections orthogonal."),
        click.option("--steps", type=int, help="Training steps in all."),
        click.option("--batch", type=int, help="Batch size over all processes."),
        click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Arithmetic of the networks."),
        click.option("--tracker", type=click.Choice(["none", "tensorboard"]), help="Also log to a tracker."),
        click.option("--set", "fields", type=Assignments(), multiple=True, help="Any field, e.g. model.basis=4."),
        click.option("--config", "config_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="A config.json to start from instead of a preset."),
        click.option("--out", type=click.Path(path_type=Path), help="The run folder."),
        click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop."),
        seed_option,
        device_option,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return click.pass_context(function)


@command.command()
@click.option("--objective", type=click.Choice(["beta-vae", "beta-tcvae", "factor-vae", "dip-vae"]))
@click.option("--beta", type=float, help="Weight in beta-vae and beta-tcvae.")
@click.option("--gamma", type=float, help="Weight of the total correlation in factor-vae.")
@click.option("--capacity", type=float, help="Final capacity in nats, for beta-vae.")
@click.option("--latent-dim", type=int)
@_common
def vae(ctx: click.Context, **options: Any) -> None:
    """Train a VAE: beta-VAE, beta-TCVAE, FactorVAE or DIP-VAE.

    \b
    Examples:
      disentangle train vae --data rooms --objective beta-tcvae --beta 6 --out runs/rooms
      disentangle train vae --data sprites --resolution 32 --objective factor-vae --gamma 10 --out runs/sprites
    """
    weights = {name: options[name] for name in ("beta", "gamma", "capacity") if options[name] is not None}
    if options["objective"]:
        fields: dict[str, Any] = {"objective": {"kind": options["objective"], **weights}}
    else:
        fields = {f"objective.{name}": weight for name, weight in weights.items()}
    if options["latent_dim"] is not None:
        fields["model.latent_dim"] = options["latent_dim"]
    _train(ctx, "vae", options, fields)


def _of_gan(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--from", "init", type=str, help="Model file, run folder or zoo name to train further."),
        click.option("--treat", help="Of the projections: nog, olr, ol, ow, separated by commas."),
        click.option("--penalty", type=click.Choice(["hessian", "orojar", "vp"]),
                     help="Instead of a treatment: Hessian penalty, orthogonal Jacobian, variation predictability."),
        click.option("--penalty-weight", type=float, help="Weight of --penalty."),
        click.option("--augment", type=click.Choice(["none", "diffaugment", "ada"]),
                     help="Change real and fake pictures alike; ada: as often as the discriminator overfits."),
        click.option("--accumulate", type=int, help="Pieces of a batch computed one after the other."),
        click.option("--ema", type=float, help="Decay of the averaged generator."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return _common(function)


@command.command()
@click.option("--basis", type=int, help="Directions of each block.")
@_of_gan
def eigengan(ctx: click.Context, **options: Any) -> None:
    """Train an EigenGAN, whose blocks each add a point of a linear subspace.

    \b
    Examples:
      disentangle train eigengan --data fashion-mnist --resolution 32 --nog --olr --out runs/fashion
      disentangle train eigengan --data photos/ --resolution 64 --nog --mode update --retraction polar --out runs/photos
    """
    _train_gan(ctx, "eigengan", options, {} if options["basis"] is None else {"model.basis": options["basis"]})


@command.command()
@click.option("--latent-dim", type=int)
@_of_gan
def gan(ctx: click.Context, **options: Any) -> None:
    """Train a simple GAN of transposed convolutions.

    \b
    Examples:
      disentangle train gan --data rooms --resolution 32 --nog --out runs/gan-rooms
      disentangle train gan --data celeba --data-dir data --preset gan-celeba --nog --out runs/celeba
    """
    _train_gan(
        ctx, "gan", options, {} if options["latent_dim"] is None else {"model.latent_dim": options["latent_dim"]}
    )


@command.command()
@click.option("--latent-dim", type=int)
@_of_gan
def progan(ctx: click.Context, **options: Any) -> None:
    """Train a ProGAN, whose resolution grows while it learns.

    \b
    Examples:
      disentangle train progan --data fashion-mnist --resolution 32 --nog --out runs/progan
      disentangle train progan --data church/ --resolution 256 --precision bf16 --out runs/church
    """
    _train_gan(ctx, "progan", options, _latent_dim(options))


@command.command()
@_of_gan
def stylegan2(ctx: click.Context, **options: Any) -> None:
    """Train a StyleGAN2.

    \b
    Examples:
      disentangle train stylegan2 --data rooms --resolution 64 --out runs/rooms
      disentangle train stylegan2 --data faces.zip --from ffhq.safetensors --augment ada --out runs/faces
    """
    _train_gan(ctx, "stylegan2", options, {})


@command.command()
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

    The layers start at the nearest orthogonal weights to their own. The generator may be a StyleGAN, StyleGAN2 or 3,
    ProGAN, DCGAN, EigenGAN or simple GAN: a converted file, a run, or a model of the zoo. A file brings no
    discriminator: give a new one a few hundred steps with --set discriminator_first=500.

    \b
    Examples:
      disentangle train projection --from ffhq.safetensors --data faces/ --out runs/householder
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
    for name in ("accumulate", "ema"):
        if options[name] is not None:
            fields[name] = options[name]
    if options["accumulate"] is not None and options["accumulate"] > 1:
        fields["reuse_fakes"] = False
    if "ow" in _treatments(options, ("nog", "olr", "ol", "ow")):
        fields["model.projection"] = {"kind": "polar"}
    _train(ctx, kind, options, fields)


@command.command()
@click.option("--arch", help="small, or one of torchvision's: resnet18, resnet34, resnet50 ...")
@click.option("--stem", type=click.Choice(["auto", "cifar", "imagenet"]), help="First layers of a ResNet.")
@click.option("--norm", type=click.Choice(["bn", "dbn"]), help="Of the stem: batch norm, or decorrelated (whitening).")
@click.option("--pool", type=click.Choice(["avg", "cov"]), help="Average pooling, or global covariance pooling.")
@click.option(
    "--treat",
    help="Of the layer in front of whitening or pooling: nog, olr, ol and one of ow, sn, soc, separated by commas.",
)
@click.option("--epochs", type=float, help="Length of the training, instead of --steps.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option("--validation", type=int, help="Training pictures kept apart for validation.")
@click.option("--init", type=click.Path(path_type=Path), help="File of weights of the plain network to start from.")
@_common
def classifier(ctx: click.Context, **options: Any) -> None:
    """Train a classifier, with whitening or covariance pooling and the treatments of the layer in front of them.

    A folder needs a sub-folder of pictures for each class; train/, val/ and test/ around them are recognised. The test
    part is never looked at: see `disentangle evaluate`.

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
    weights = [name for name in _treatments(options, ("nog", "olr", "ol", *_WEIGHTS)) if name in _WEIGHTS]
    if len(weights) > 1:
        raise click.UsageError(f"--treat {options['treat']} constrains one weight in {len(weights)} ways; choose one.")
    if weights:
        fields["model.weight"] = weights[0]
    _train(ctx, "classifier", options, fields)


_OL = 0.1 / 16  # the weight of --treat ol where --ol gives none: a tenth of the squared error a feature of 16
_WEIGHTS = ("ow", "sn", "soc")


def _treatments(options: dict[str, Any], known: tuple[str, ...]) -> list[str]:
    """The names in ``--treat nog,ow``; those that are switches of their own are set."""
    chosen = [name.strip() for name in (options["treat"] or "").split(",") if name.strip()]
    from disentangle.errors import unknown_name

    for name in chosen:
        if name not in known:
            raise unknown_name("treatment", name, known, hint="Newer treatments: --mode landing, pogo, spel or scion.")
    options["nog"] |= "nog" in chosen
    options["olr"] |= "olr" in chosen
    if "ol" in chosen and options["ol"] is None:
        options["ol"] = _OL
    return chosen


def _train(ctx: click.Context, kind: Any, options: dict[str, Any], fields: dict[str, Any]) -> None:
    if options["data"] is None and options["config_file"] is None:
        raise click.UsageError(
            "Say what to train on: --data NAME_OR_PATH (see `disentangle data list`) or --config FILE."
        )
    if options["out"] is None and not options["dry_run"]:
        raise click.UsageError("Say where to put the run: --out FOLDER.")
    from disentangle.training import resolve_device, train_classifier, train_gan, train_vae

    device = setting(ctx, "device", options["device"], "auto")
    resolve_device(device)
    config = _resolve(ctx, kind, options, fields)
    if options["dry_run"]:
        click.echo(config.model_dump_json(indent=2))
        return
    loops: dict[str, Callable[..., Any]] = {"vae": train_vae, "classifier": train_classifier}
    train = loops.get(kind, train_gan)
    with training_progress(ctx, f"train {kind}") as progress:
        result = train(config, options["out"], device=device, progress=progress)
    note(ctx, f"{result.steps} steps in {result.seconds:.0f} s: {options['out']}")


def _resolve(ctx: click.Context, kind: Any, options: dict[str, Any], fields: dict[str, Any]) -> Any:
    """The configuration from --config or a preset, then options, then --set."""
    from disentangle.config import parse_config, with_fields
    from disentangle.errors import ConfigError
    from disentangle.training import (
        ClassifierTraining,
        GANTraining,
        TrainingConfig,
        VAETraining,
        finetune_config,
        preset_config,
    )

    for name in ("nog", "olr"):
        if options[name]:
            fields[f"treatment.{name}"] = True
    for name in ("olr_form", "ol", "mode", "scale", "retraction"):
        if options[name] is not None:
            fields[f"treatment.{name}"] = options[name]
    for name in ("steps", "batch", "precision", "tracker"):
        if options[name] is not None:
            fields[name] = options[name]
    seed = setting(ctx, "seed", options["seed"], None)
    if seed is not None:
        fields["seed"] = seed
    fields |= dict(options["fields"])
    data = {
        "name": options["data"],
        "resolution": options["resolution"],
        "data_dir": None if options["data_dir"] is None else str(options["data_dir"]),
        "download": options["download"],
    }
    epochs = options.get("epochs")
    if options["on_bad_image"] is not None:
        data["options"] = {"on_bad_image": options["on_bad_image"]}
    if options.get("init") is not None and kind != "classifier":
        if options["config_file"] is not None:
            raise click.UsageError("--from takes the architecture from its model; leave --config out.")
        family = None if kind == "projection" else kind
        given = {"preset": options["preset"], "projection": options.get("projection")}
        return finetune_config(options["init"], data=data, kind=family, **given, **fields)
    if options["config_file"] is None:
        length = {} if epochs is None else {"epochs": epochs}
        return preset_config(kind, data=data, preset=options["preset"], **length, **fields)
    if epochs is not None:
        raise click.UsageError("With --config the length is --steps; --epochs is for presets.")
    try:
        record = json.loads(options["config_file"].read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{options['config_file']} is not valid JSON: {error}.") from None
    kinds: dict[str, type[TrainingConfig]] = {"vae": VAETraining, "classifier": ClassifierTraining}
    training = kinds.get(kind, GANTraining)
    config = parse_config(training, record, source=str(options["config_file"]))
    given = {f"data.{key}": value for key, value in data.items() if value}
    return with_fields(config, {**given, **fields})
