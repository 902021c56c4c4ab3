"""Settings that work, one aligned row each; the one for the resolution is the default."""

from __future__ import annotations

from typing import Any, Literal

from disentangle.config import Config, parse_config, with_fields
from disentangle.data import open_data
from disentangle.errors import InputError, unknown_name
from disentangle.training.config import GANTraining, VAETraining

__all__ = ["PRESETS", "preset_config", "preset_names"]

Kind = Literal["vae", "eigengan", "gan"]

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
# fmt: on
# The published simple GAN halves the discriminator's loss and weighs its penalty 10; the same ratio is 20 here.

PRESETS: dict[str, dict[str, Any]] = {
    **{name: dict(zip(_GAN_COLUMNS, row, strict=True)) for name, row in _GAN.items()},
    **{name: dict(zip(_VAE_COLUMNS, row, strict=True)) for name, row in _VAE.items()},
}


def preset_names(kind: Kind) -> list[str]:
    """Presets for one kind of model."""
    return [name for name, row in PRESETS.items() if row["kind"] == kind]


def preset_config(
    kind: Kind, *, data: dict[str, Any], preset: str | None = None, **fields: Any
) -> VAETraining | GANTraining:
    """A resolved training configuration.

    Args:
        kind: "vae", "eigengan" or "gan".
        data: fields of :class:`DataConfig`; its pictures decide the number of channels and, without a resolution, the
            size.
        preset: a row of the table; by default the first one of the pictures' size.
        fields: dotted fields to replace, e.g. ``**{"treatment.nog": True}``.

    Raises:
        InputError: if there is no such preset, or none of that size.
        ConfigError: if a field does not validate.
    """
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
