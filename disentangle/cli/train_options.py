"""Options that all trainings share, and the way from them to a configuration and a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from disentangle.cli.destinations import output_option
from disentangle.cli.options import (
    Assignments,
    FiniteFloat,
    NameOf,
    bad_image_option,
    device_option,
    note,
    seed_option,
    setting,
)
from disentangle.cli.progress import training_progress
from disentangle.cli.results import print_text
from disentangle.text import lasting

__all__ = ["generator_options", "run_generator", "run_training", "training_options", "treatments"]


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every ``disentangle train`` command."""
    options = [
        click.option("--data", required=False, help="Name of a data set, or a folder, zip or file; see `data list`."),
        click.option("--resolution", type=int, help="Side of the pictures in pixels; default: the data's own."),
        click.option("--data-dir", type=click.Path(path_type=Path),
                     help="Where files of named data sets lie; default: see `data list`."),
        click.option("--download", is_flag=True, help="Download the data set if it is missing."),
        bad_image_option,
        click.option("--preset", help="Row of the preset table; default: the first of the pictures' size."),
        click.option("--nog", is_flag=True, help="Nearest orthogonal gradient on the projections."),
        click.option("--olr", is_flag=True, help="Optimal learning rate on the projections."),
        click.option("--olr-form", type=click.Choice(["released", "matrix", "exact"]),
                     help="Form of --olr; default: matrix."),
        click.option("--ol", type=float,
                     help="Weight of the orthogonality loss on the projections; default: 0, or 0.00625 by --treat ol."),
        click.option("--mode", type=NameOf("disentangle.optim", "MODES", "mode"),
                     help="What --nog makes orthogonal: gradient (default) or update; or a treatment in the place of "
                          "--nog: landing, pogo, spel, scion, or one that another package adds."),
        click.option("--scale", type=click.Choice(["none", "grad_norm", "nuclear"]),
                     help="Length of --nog's step; default: none."),
        click.option("--retraction", type=click.Choice(["none", "polar"]),
                     help="Keep the projections orthogonal; default: none."),
        click.option("--steps", type=int, help="Training steps in all; default: the preset's, see above."),
        click.option("--batch", type=int, help="Batch size over all processes; default: the preset's."),
        click.option("--precision", type=click.Choice(["fp32", "bf16"]),
                     help="Arithmetic of the networks; default: fp32."),
        click.option("--tracker", type=click.Choice(["none", "tensorboard", "wandb"]),
                     help="Also log to a tracker (default: none); wandb: online, or with WANDB_MODE=offline into the "
                          "run folder."),
        click.option("--set", "fields", type=Assignments(), multiple=True,
                     help="Any field that --dry-run shows, e.g. log_every=10."),
        click.option("--config", "config_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="A config.json to start from instead of a preset."),
        output_option("--out", folder=True, help="The run folder."),
        click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop."),
        seed_option,
        device_option,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return click.pass_context(function)


def generator_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every generator's command has besides: where to start, the rate, and the treatments of its projections."""
    function = click.option(
        "--treat", help="Of the projections: nog, olr, ol, ow, separated by commas; default: none."
    )(function)
    rate = FiniteFloat(0, min_open=True)
    function = click.option(
        "--lr", type=rate, help="Learning rate, of a GAN's discriminator too; default: the preset's."
    )(function)
    further = click.option("--from", "init", help="Model file, run folder or zoo name to train further.")
    return further(training_options(function))


_OL = 0.1 / 16  # the weight of --treat ol where --ol gives none: a tenth of the squared error a feature of 16


def treatments(options: dict[str, Any], known: tuple[str, ...]) -> list[str]:
    """The names in ``--treat nog,ow``; those that are switches of their own are set."""
    chosen = [name.strip() for name in (options["treat"] or "").split(",") if name.strip()]
    from disentangle.errors import unknown_name

    for name in chosen:
        if name not in known:
            from disentangle.optim import MODES

            *others, last = (mode.name for mode in MODES.values() if mode.alone)
            hint = f"Newer treatments: --mode {', '.join(others)} or {last}."
            raise unknown_name("treatment", name, known, hint=hint)
    options["nog"] |= "nog" in chosen
    options["olr"] |= "olr" in chosen
    if "ol" in chosen and options["ol"] is None:
        options["ol"] = _OL
    return chosen


def run_generator(ctx: click.Context, kind: Any, options: dict[str, Any], fields: dict[str, Any]) -> None:
    """:func:`run_training` for options with those of :func:`generator_options`."""
    orthogonal = "ow" in treatments(options, ("nog", "olr", "ol", "ow"))
    if orthogonal and options.get("projection") is None:  # `train projection` has said how
        fields["model.projection"] = {"kind": "polar"}
    if options["lr"] is not None:
        fields["optimizer.lr"] = options["lr"]
    run_training(ctx, kind, options, fields)


def run_training(ctx: click.Context, kind: Any, options: dict[str, Any], fields: dict[str, Any]) -> None:
    if options["data"] is None and options["config_file"] is None:
        raise click.UsageError(
            "Say what to train on: --data NAME_OR_PATH (see `disentangle data list`) or --config FILE."
        )
    if options["out"] is None and not options["dry_run"]:
        raise click.UsageError("Say where to put the run: --out FOLDER.")
    from disentangle.devices import resolve_device
    from disentangle.training import train_autoencoder, train_classifier, train_gan, train_vae
    from disentangle.training.trackers import check_tracker

    device = setting(ctx, "device", options["device"], "auto")
    resolve_device(device)
    config = _checked(ctx, kind, options, fields)
    if options["dry_run"]:
        print_text(config.model_dump_json(indent=2))
        return
    check_tracker(config.tracker)
    loops: dict[str, Callable[..., Any]] = {
        "vae": train_vae, "autoencoder": train_autoencoder, "classifier": train_classifier, "gan": train_gan,
    }  # fmt: skip
    train = loops[config.kind]
    with training_progress(ctx, f"train {kind}") as progress:
        result = train(config, options["out"], device=device, progress=progress)
    if not result.taken:
        note(
            ctx,
            f"{options['out']} has its {result.steps:,} steps already: nothing is left to train.{_going_on(config)}",
        )
        return
    before = f", {result.steps:,} in all" if result.taken < result.steps else ""
    note(ctx, f"{result.taken:,} steps in {lasting(result.seconds)}{before}: {options['out']}")


def _going_on(config: Any) -> str:
    """How a finished run goes on, where it can."""
    return f" More of them: --steps {2 * config.steps}." if "steps" in config.may_differ else ""


# The option behind a field of the configuration, for messages.
_WRITTEN = {
    "treatment.nog": "--nog", "treatment.olr": "--olr", "treatment.olr_form": "--olr-form", "treatment.ol": "--ol",
    "treatment.mode": "--mode", "treatment.scale": "--scale", "treatment.retraction": "--retraction",
    "steps": "--steps", "batch": "--batch", "precision": "--precision", "tracker": "--tracker", "seed": "--seed",
    "objective.beta": "--beta", "objective.gamma": "--gamma", "objective.capacity": "--capacity",
    "model.latent_dim": "--latent-dim", "model.basis": "--basis", "model.arch": "--arch", "model.stem": "--stem",
    "optimizer.lr": "--lr", "discriminator_optimizer.lr": "--d-lr", "validation": "--validation",
    "accumulate": "--accumulate", "ema": "--ema",
    "generator_penalty.weight": "--penalty-weight", "model.projection.rank": "--rank",
}  # fmt: skip


def _checked(ctx: click.Context, kind: Any, options: dict[str, Any], fields: dict[str, Any]) -> Any:
    """The configuration, of which every option that was given is a part."""
    from disentangle.errors import FieldError

    assigned = dict(options["fields"])
    if len(assigned) < len(options["fields"]):
        raise click.UsageError("--set gives a field twice; give each one value.")
    try:
        config = _resolve(ctx, kind, options, fields)
    except FieldError as error:
        if not error.problems:
            raise
        told = []
        for path, text in error.problems:
            option = _WRITTEN[path] if path in _WRITTEN and path not in assigned else f"--set {path}"
            told.append(f"{option}: {text}" if path else text)
        raise FieldError(f"{'; '.join(told)}.", error.problems) from None
    _refuse_idle(options, config)
    return config


def _refuse_idle(options: dict[str, Any], config: Any) -> None:
    """End a command that was given an option of something which is not done.

    Raises:
        ArgumentError: naming the option, and what it goes with.
    """
    from disentangle.errors import ArgumentError
    from disentangle.optim import MODES
    from disentangle.optim.treatment import TreatmentOptions

    treatment, penalty = config.treatment, getattr(config, "generator_penalty", None)
    constrained = getattr(config.model, "projection", None) is not None or getattr(config.model, "weight", None) in (
        "ow", "soc",
    )  # fmt: skip
    objective = getattr(getattr(config, "objective", None), "kind", None)
    classic = not MODES[treatment.mode].alone
    idle = [
        (options.get("penalty") is not None and treatment.active, "--penalty",
         "takes the place of a treatment (--nog, --olr, --ol, --mode, --retraction, --treat); give one of the two"),
        (options.get("penalty_weight") is not None and getattr(penalty, "kind", "none") == "none", "--penalty-weight",
         "weighs what --penalty chooses; give that too"),
        (options["olr_form"] is not None and not treatment.olr, "--olr-form", "is of --olr; give that too"),
        (options["scale"] is not None and classic and not treatment.nog, "--scale", "is of --nog; give that too"),
        (options["mode"] is not None and classic and not treatment.active, "--mode",
         f"{treatment.mode} is of --nog; give that too"),
        (options["retraction"] == "polar" and constrained, "--retraction",
         "is for free weights, and these are orthogonal by construction; leave it out"),
        (options.get("beta") is not None and objective not in ("beta-vae", "beta-tcvae"), "--beta",
         f"is of --objective beta-vae or beta-tcvae, not {objective}; leave it out"),
        (options.get("gamma") is not None and objective != "factor-vae", "--gamma",
         f"is of --objective factor-vae, not {objective}; leave it out, or give --set objective.gamma=X for another's"),
        (options.get("capacity") is not None and objective != "beta-vae", "--capacity",
         f"is of --objective beta-vae, not {objective}; leave it out"),
        (options.get("d_lr") is not None and not hasattr(config, "discriminator_optimizer"), "--d-lr",
         "is of a GAN's discriminator, and a VAE has none; leave it out"),
        (options["preset"] is not None and options["config_file"] is not None, "--preset",
         "and --config are two ways to begin; give one of them"),
        (options.get("stem") is not None and getattr(config.model, "arch", None) == "small", "--stem",
         "is of the ResNets; give --arch resnet18 or the like too"),
    ]  # fmt: skip
    for is_idle, option, why in idle:
        if is_idle:
            raise ArgumentError(f"{option} {why}.")
    if treatment.active:
        TreatmentOptions(**treatment.model_dump(), method="gram_eigh", rank_deficient="partial")


def _resolve(ctx: click.Context, kind: Any, options: dict[str, Any], fields: dict[str, Any]) -> Any:
    """The configuration from --config or a preset, then options, then --set."""
    from disentangle.config import parse_config, with_fields
    from disentangle.errors import ConfigError
    from disentangle.json_files import read_json
    from disentangle.training import (
        AutoencoderTraining,
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
        for name, option in (("config_file", "--config"), ("classes", "--classes")):
            if options.get(name):
                raise click.UsageError(f"--from takes the architecture from its model; leave {option} out.")
        family = None if kind == "projection" else kind
        own = {name: options.get(name) for name in ("preset", "projection", "discriminator")}
        further = finetune_config(options["init"], data=data, kind=family, **own, **fields)
        d_lr = options["lr"] if options.get("d_lr") is None else options["d_lr"]
        told = "discriminator_optimizer.lr" in fields
        if kind == "projection" and d_lr is not None and isinstance(further, GANTraining) and not told:
            return with_fields(further, {"discriminator_optimizer.lr": d_lr})
        return further
    if options.get("discriminator") is not None:
        raise click.UsageError("--discriminator is for training a generator further; give that one as --from.")
    if options["config_file"] is not None and options.get("classes"):
        raise click.UsageError("--classes is for presets; with --config give c_dim to model and discriminator there.")
    if options["config_file"] is None:
        given: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
        if options.get("classes"):
            given["classes"] = True
        return preset_config(kind, data=data, preset=options["preset"], **given, **fields)
    if epochs is not None:
        raise click.UsageError("With --config the length is --steps; --epochs is for presets.")
    record = read_json(options["config_file"], what="a configuration", error=ConfigError)
    kinds: dict[str, type[TrainingConfig]] = {"vae": VAETraining, "classifier": ClassifierTraining}
    kinds |= dict.fromkeys(("qlae", "fsq", "tripod"), AutoencoderTraining)
    training = kinds.get(kind, GANTraining)
    config = parse_config(training, record, source=str(options["config_file"]))
    given = {f"data.{key}": value for key, value in data.items() if value}
    return with_fields(config, {**given, **fields})
