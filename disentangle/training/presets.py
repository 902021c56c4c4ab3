"""Settings that work, one aligned row each; the one for the resolution is the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from disentangle.config import Config, parse_config, with_fields
from disentangle.data import CIFAR10, CIFAR100, FashionMNIST, ImageSource, check_classes, open_data
from disentangle.data.folder import split_folders
from disentangle.errors import InputError, unknown_name
from disentangle.training.config import ClassifierTraining, GANTraining, VAETraining

__all__ = ["PRESETS", "classifier_config", "data_arguments", "preset_config", "preset_names"]

Kind = Literal["vae", "eigengan", "gan", "classifier"]

# A row is for one kind of model and one resolution. Rows with a paper's data set in their name hold that paper's
# settings (Song, Sebe, Wang 2023; Wei et al. 2021); the others were found on the data they name.
#
#   lr = generator / discriminator;  penalty = kind, weight, every;  d = discriminator kind, channels
# fmt: off
_GAN_COLUMNS = ("kind", "size", "channels", "latent", "d", "loss", "penalty", "lr", "betas", "batch", "ema", "augment", "steps")  # noqa: E501
_GAN: dict[str, tuple[Any, ...]] = {
    "eigengan-32":        ("eigengan",  32, (128, 64, 32, 24),               (6, 64),  ("strided", (32, 64, 128)),                     "non-saturating", ("r1", 3, 8),       (5e-4, 4e-4), (0.5, 0.99),   32, 0.998,   (),     5_000),  # noqa: E501
    "eigengan-64":        ("eigengan",  64, (192, 128, 64, 32, 24),          (6, 64),  ("strided", (32, 64, 128, 192)),                "non-saturating", ("r1", 5, 8),       (5e-4, 4e-4), (0.5, 0.99),   32, 0.998,   (),    20_000),  # noqa: E501
    "eigengan-animeface": ("eigengan", 128, (512, 256, 128, 64, 32, 16),     (6, 512), ("paired",  (16, 32, 64, 128, 256, 512)),       "hinge-clipped",  ("r1", 10, 16),     (1e-4, 1e-4), (0.5, 0.99),   64, 0.99557, "all", 500_000),  # noqa: E501
    "eigengan-ffhq":      ("eigengan", 256, (512, 512, 256, 128, 64, 32, 16), (6, 512), ("paired", (16, 32, 64, 128, 256, 512, 512)),  "hinge-clipped",  ("r1", 10, 16),     (1e-4, 1e-4), (0.5, 0.99),   64, 0.99557, "all", 500_000),  # noqa: E501
    "gan-32":             ("gan",       32, (256, 128, 64, 64),              12,       ("strided", (64, 128, 256)),                    "non-saturating", ("r1", 1, 8),       (2e-4, 2e-4), (0.5, 0.99),   32, 0.998,   (),    10_000),  # noqa: E501
    "gan-dsprites":       ("gan",       64, (512, 256, 128, 64, 64),         12,       ("strided-in", (64, 128, 256, 512)),            "non-saturating", ("wgan-gp", 20, 1), (2e-4, 2e-4), (0.5, 0.999), 128, 0.0,     (),   300_000),  # noqa: E501
    "gan-celeba":         ("gan",      128, (1024, 1024, 512, 256, 128, 64), 30,       ("strided-in", (64, 128, 256, 512, 1024)),      "non-saturating", ("wgan-gp", 20, 1), (2e-4, 2e-4), (0.5, 0.999), 128, 0.0,     (),   600_000),  # noqa: E501
}

_VAE_COLUMNS = ("kind", "size", "channels", "hidden", "latent", "objective", "lr", "batch", "steps")
_VAE: dict[str, tuple[Any, ...]] = {
    "vae-32":  ("vae",  32, (32, 32, 64),         256, 10, {"kind": "beta-tcvae", "beta": 6.0}, 5e-4, 64,  50_000),
    "vae-64":  ("vae",  64, (32, 32, 64, 64),     256, 10, {"kind": "beta-tcvae", "beta": 6.0}, 5e-4, 64, 100_000),
    "vae-128": ("vae", 128, (32, 32, 64, 64, 64), 256, 10, {"kind": "beta-tcvae", "beta": 6.0}, 5e-4, 64, 100_000),
}

# dbn = norm of the stem, and eps and running statistic of "dbn";  cov = pooling, and reduced channels, eps and what
# follows the reduction of "cov";  head = factor of the head's rate;  schedule = shares of the run at which the rate
# falls to a tenth, or "one-cycle".
# The small ones: at most ten minutes on two cores for 60,000 grey pictures. The others: Song, Sebe, Wang 2023
# (decorrelated BN on CIFAR) and the training scripts of the covariance pooling that it builds on.
_CLASSIFIER_COLUMNS = ("kind", "size", "arch", "dbn", "cov", "lr", "decay", "schedule", "clip", "head", "batch", "epochs", "crop", "flip")  # noqa: E501
_CLASSIFIER: dict[str, tuple[Any, ...]] = {
    "classifier-small-28":           ("classifier",  28, "small",    ("bn",  1e-3, "covariance"), ("avg", 24, 1e-3, "bn"),       0.1,    5e-4, "one-cycle",                          None,  1, 128,   8,  0, False),  # noqa: E501
    "classifier-small-32":           ("classifier",  32, "small",    ("bn",  1e-3, "covariance"), ("avg", 24, 1e-3, "bn"),       0.1,    5e-4, "one-cycle",                          None,  1, 128,   8,  0, False),  # noqa: E501
    "classifier-resnet18-cifar10":   ("classifier",  32, "resnet18", ("dbn", 1e-2, "matrix"),     ("avg", 256, 1e-5, "bn_relu"), 0.1,    5e-4, (100 / 350, 200 / 350, 300 / 350),    None,  1, 128, 350,  4, True),  # noqa: E501
    "classifier-resnet50-cifar100":  ("classifier",  32, "resnet50", ("dbn", 1e-2, "matrix"),     ("avg", 256, 1e-5, "bn_relu"), 0.1,    5e-4, (100 / 350, 200 / 350, 300 / 350),    None,  1, 128, 350,  4, True),  # noqa: E501
    "classifier-resnet50-imagenet":  ("classifier", 224, "resnet50", ("bn",  1e-5, "covariance"), ("cov", 256, 1e-5, "bn_relu"), 0.0794, 1e-4, (30 / 60, 45 / 60),                   5.0,   1, 256,  60, 28, True),  # noqa: E501
    "classifier-resnet50-birds":     ("classifier", 448, "resnet50", ("bn",  1e-5, "covariance"), ("cov", 256, 1e-5, "bn_relu"), 3e-3,   1e-4, (50 / 200, 100 / 200),                5.0,  20,  10, 200, 56, True),  # noqa: E501
    "classifier-resnet50-cars":      ("classifier", 448, "resnet50", ("bn",  1e-5, "covariance"), ("cov", 256, 1e-5, "bn_relu"), 3e-3,   1e-4, (50 / 200, 100 / 200),                5.0,  10,  10, 200, 56, True),  # noqa: E501
    "classifier-resnet50-aircraft":  ("classifier", 448, "resnet50", ("bn",  1e-5, "covariance"), ("cov", 256, 1e-5, "bn_relu"), 3e-3,   1e-3, (21 / 50, 40 / 50),                   5.0,   5,   8,  50, 56, True),  # noqa: E501
}
# fmt: on
_GREY, _COLOUR = ((0.5,), (0.5,)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # the second is ImageNet's
_FASHION, _CIFAR = ((0.286,), (0.353,)), ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
# The published simple GAN halves the discriminator's loss and weighs its penalty 10; the same ratio is 20 here.

PRESETS: dict[str, dict[str, Any]] = {
    **{name: dict(zip(_GAN_COLUMNS, row, strict=True)) for name, row in _GAN.items()},
    **{name: dict(zip(_VAE_COLUMNS, row, strict=True)) for name, row in _VAE.items()},
    **{name: dict(zip(_CLASSIFIER_COLUMNS, row, strict=True)) for name, row in _CLASSIFIER.items()},
}


def preset_names(kind: Kind) -> list[str]:
    """Presets for one kind of model."""
    return [name for name, row in PRESETS.items() if row["kind"] == kind]


def preset_config(
    kind: Kind, *, data: dict[str, Any], preset: str | None = None, **fields: Any
) -> VAETraining | GANTraining | ClassifierTraining:
    """A resolved training configuration.

    Args:
        kind: "vae", "eigengan", "gan", or "classifier", for which see :func:`classifier_config`.
        data: fields of :class:`DataConfig`; its pictures decide the number of channels and, without a resolution, the
            size.
        preset: a row of the table; by default the first one of the pictures' size.
        fields: dotted fields to replace, e.g. ``**{"treatment.nog": True}``.

    Raises:
        InputError: if there is no such preset, or none of that size.
        ConfigError: if a field does not validate.
    """
    if kind == "classifier":
        return classifier_config(data=data, preset=preset, **fields)
    names = preset_names(kind)
    if preset is not None and preset not in names:
        raise unknown_name(f"preset for {kind}", preset, names)
    if preset is not None and data.get("resolution") is None:
        data = {**data, "resolution": PRESETS[preset]["size"]}
    channels, height, width = open_data(**data_arguments(data)).image_shape
    if height != width:
        raise InputError(f"The pictures are {width}x{height} pixels; expected square ones: give --resolution.")
    if preset is None:
        fitting = [name for name in names if PRESETS[name]["size"] == height]
        if not fitting:
            sizes = sorted({PRESETS[name]["size"] for name in names})
            raise InputError(
                f"There is no {kind} preset for {height} pixels; give --resolution as one of {sizes}, or --preset and "
                "the fields to change."
            )
        preset = fitting[0]
    row = PRESETS[preset]
    if row["size"] != height:
        raise InputError(f"Preset {preset!r} is for {row['size']} pixels, but the pictures have {height}.")
    data = {**data, "resolution": height}
    config: Config = _vae(row, data, channels) if kind == "vae" else _gan(row, data, channels)
    return with_fields(config, fields)  # type: ignore[return-value]


def classifier_config(
    *, data: dict[str, Any], preset: str | None = None, epochs: float | None = None, **fields: Any
) -> ClassifierTraining:
    """A resolved configuration for training a classifier.

    Args:
        data: fields of :class:`DataConfig`; its pictures decide the channels, its labels the classes. A twelfth of its
            training part, at most 5,000 pictures, is kept apart for validation, unless it brings a part for that.
        preset: a row of the table; by default the first one for this ``model.arch`` (or the small network) whose size
            is nearest to the pictures'. No row is tied to its size.
        epochs: length of the run, in place of the row's or of ``steps``.
        fields: dotted fields to replace.

    Raises:
        InputError: if there is no such preset.
        DataError: if the data set has no classes to learn.
        ConfigError: if a field does not validate.
    """
    names = preset_names("classifier")
    if preset is not None and preset not in names:
        raise unknown_name("preset for classifier", preset, names)
    if epochs is not None and (epochs <= 0 or "steps" in fields):
        raise InputError(f"epochs is {epochs}; expected a number above 0, without steps beside it.")
    if preset is not None and data.get("resolution") is None and Path(data["name"]).expanduser().is_dir():
        data = {**data, "resolution": PRESETS[preset]["size"]}
    source = check_classes(open_data(**data_arguments(data)), data["name"])
    channels, height, width = source.image_shape
    if height != width:
        raise InputError(f"The pictures are {width}x{height} pixels; expected square ones: give --resolution.")
    arch = fields.get("model.arch", "small" if preset is None else PRESETS[preset]["arch"])
    if preset is None:
        fitting = [name for name in names if PRESETS[name]["arch"] == arch]
        fitting = fitting or [name for name in names if PRESETS[name]["arch"] == "resnet50"]
        preset = min(fitting, key=lambda name: abs(PRESETS[name]["size"] - height))
    row = PRESETS[preset]
    (norm, eps, running), (pool, reduction, ridge, after) = row["dbn"], row["cov"]
    mean, std = _channel_statistics(source)
    own_part = "validation" in split_folders(Path(data["name"]).expanduser())
    validation = fields.get("validation", 0 if own_part else min(5000, len(source) // 12))
    batch = fields.get("batch", row["batch"])
    config = parse_config(
        ClassifierTraining,
        {
            "data": {**data, "resolution": height},
            "model": {
                "arch": arch,
                "resolution": height,
                "image_channels": channels,
                "class_names": source.class_names,
                "norm": norm,
                "dbn": {"eps": eps, "running": running},
                "pool": pool,
                "cov": {"reduction": reduction, "eps": ridge, "norm_after": after},
                "mean": mean,
                "std": std,
                "resize": data.get("options", {}).get("resize", "center-crop"),
            },
            "optimizer": {"kind": "sgd", "lr": row["lr"], "momentum": 0.9, "weight_decay": row["decay"]},
            "schedule": {"kind": "one-cycle"}
            if row["schedule"] == "one-cycle"
            else {"kind": "step", "milestones": row["schedule"]},
            "clip_norm": row["clip"],
            "head_lr": row["head"],
            "batch": batch,
            "steps": max(1, round((epochs or row["epochs"]) * (len(source) - validation) / batch)),
            "validation": validation,
            "crop_padding": row["crop"],
            "flip": row["flip"],
        },
    )
    return with_fields(config, fields)


def _channel_statistics(source: ImageSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel, from the literature; both CIFAR sets share one pair, as in the paper."""
    if isinstance(source, FashionMNIST):
        return _FASHION
    if isinstance(source, (CIFAR10, CIFAR100)):
        return _CIFAR
    return _COLOUR if source.image_shape[0] == 3 else _GREY


def data_arguments(data: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``open_data`` from the fields of a :class:`DataConfig`."""
    arguments = {key: value for key, value in data.items() if key != "options"}
    return {**arguments, **data.get("options", {})}


def _vae(row: dict[str, Any], data: dict[str, Any], channels: int) -> VAETraining:
    return parse_config(
        VAETraining,
        {
            "data": data,
            "model": {
                "resolution": row["size"],
                "image_channels": channels,
                "latent_dim": row["latent"],
                "channels": row["channels"],
                "hidden": row["hidden"],
            },
            "objective": row["objective"],
            "optimizer": {"lr": row["lr"]},
            "batch": row["batch"],
            "steps": row["steps"],
            "log_every": 200,
            "sample_every": 2000,
            "checkpoint_every": 2000,
        },
    )


def _gan(row: dict[str, Any], data: dict[str, Any], channels: int) -> GANTraining:
    common = {"resolution": row["size"], "image_channels": channels}
    model = {"kind": row["kind"], **common, "channels": row["channels"]}
    if row["kind"] == "eigengan":
        model["basis"], model["noise_dim"] = row["latent"]
    else:
        model["latent_dim"] = row["latent"]
    d_kind, d_channels = row["d"]
    discriminator = {"kind": d_kind, **common, "channels": d_channels}
    if d_kind == "strided-in":  # the simple GAN's own
        discriminator |= {"kind": "strided", "norm": "instance", "activation": "relu", "hidden": d_channels[-1]}
    penalty_kind, weight, every = row["penalty"]
    published = row["augment"] == "all"
    return parse_config(
        GANTraining,
        {
            "data": data,
            "model": model,
            "discriminator": discriminator,
            "loss": row["loss"],
            "penalty": {"kind": penalty_kind, "weight": weight, "every": every, "lazy": not published},
            "optimizer": {"lr": row["lr"][0], "betas": row["betas"]},
            "discriminator_optimizer": {"lr": row["lr"][1], "betas": row["betas"]},
            "batch": row["batch"],
            "ema": row["ema"],
            "augment": ("color", "translation", "cutout") if published else row["augment"],
            "augment_probability": 0.6 if published else 1.0,
            "flip": published,
            "reuse_fakes": row["penalty"][0] == "r1" and not published,
            "steps": row["steps"],
        },
    )
