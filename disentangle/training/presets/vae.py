"""The configuration of a VAE from a row of the preset table."""

from __future__ import annotations

from typing import Any

from disentangle.config import parse_config
from disentangle.training.config import VAETraining

__all__ = ["vae_config"]


def vae_config(row: dict[str, Any], data: dict[str, Any], channels: int) -> VAETraining:
    """Of pictures of so many channels."""
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
                "decoder": row["decoder"],
            },
            "reconstruction": row["likelihood"],
            "pairs": row["pairs"],
            "objective": row["objective"],
            "optimizer": {"lr": row["lr"]},
            "batch": row["batch"],
            "steps": row["steps"],
            "log_every": 200,
            "sample_every": 2000,
            "checkpoint_every": 2000,
        },
    )
