"""The configuration of a GAN from a row of the preset tables."""

from __future__ import annotations

from typing import Any

from disentangle.config import parse_config
from disentangle.training.gan_config import GANTraining

__all__ = ["gan_config"]

_R1_EVERY, _PATH_EVERY = 16, 4


def gan_config(row: dict[str, Any], data: dict[str, Any], channels: int) -> GANTraining:
    """Of pictures of so many channels."""
    of_family = {"progan": _of_progan, "stylegan2": _of_stylegan}.get(row["kind"], _of_gan)
    return of_family(row, data, channels)


def _of_gan(row: dict[str, Any], data: dict[str, Any], channels: int) -> GANTraining:
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


def _of_progan(row: dict[str, Any], data: dict[str, Any], channels: int) -> GANTraining:
    common = {"kind": "progan", "resolution": row["size"], "image_channels": channels, "channels": row["channels"]}
    start, fade, stable = row["growth"]
    adam = {"lr": row["lr"], "betas": (0.0, 0.99)}
    return parse_config(
        GANTraining,
        {
            "data": data,
            "model": {**common, "latent_dim": row["latent"]},
            "discriminator": common,
            "loss": "wgan",
            "penalty": {"kind": "wgan-gp", "weight": 10, "drift": 1e-3},
            "growth": {"start": start, "fade_kimg": fade, "stable_kimg": stable},
            "optimizer": adam,
            "discriminator_optimizer": adam,
            "batch": row["batch"],
            "ema": row["ema"],
            "flip": row["flip"],
            "steps": row["steps"],
        },
    )


def _of_stylegan(row: dict[str, Any], data: dict[str, Any], channels: int) -> GANTraining:
    common = {"kind": "stylegan2", "resolution": row["size"], "image_channels": channels, "channels": row["channels"]}
    z_dim, w_dim, depth = row["latent"]
    return parse_config(
        GANTraining,
        {
            "data": data,
            "model": {**common, "z_dim": z_dim, "w_dim": w_dim, "mapping_layers": depth},
            "discriminator": common,
            "loss": "non-saturating",
            "penalty": {"kind": "r1", "weight": row["r1"], "every": _R1_EVERY},
            "path_length": {"weight": row["path"], "every": _PATH_EVERY},
            "style_mixing": row["mixing"],
            "optimizer": _lazy_adam(row["lr"], _PATH_EVERY if row["path"] else None),
            "discriminator_optimizer": _lazy_adam(row["lr"], _R1_EVERY),
            "batch": row["batch"],
            "ema": row["ema"],
            "augment": row["augment"],
            "flip": row["flip"],
            "steps": row["steps"],
        },
    )


def _lazy_adam(lr: float, every: int | None) -> dict[str, Any]:
    """Adam's rate and betas for a penalty every so many steps (Karras et al. 2020, B)."""
    share = 1.0 if every is None else every / (every + 1)
    return {"lr": lr * share, "betas": (0.0, 0.99**share)}
