"""The configuration of an autoencoder with quantised codes from a row of the preset table."""

from __future__ import annotations

from typing import Any

from disentangle.config import parse_config
from disentangle.training.autoencoder_config import AutoencoderTraining

__all__ = ["autoencoder_config"]


def autoencoder_config(row: dict[str, Any], data: dict[str, Any], channels: int) -> AutoencoderTraining:
    """Of pictures of so many channels."""
    return parse_config(
        AutoencoderTraining,
        {
            "data": data,
            "model": {
                "resolution": row["size"],
                "image_channels": channels,
                "latent_dim": row["latent"],
                "quantiser": {"kind": "codebooks" if row["kind"] == "qlae" else "fsq", "values": row["values"]},
                "network": row["network"],
                "channels": row["channels"],
                "hidden": row["hidden"],
            },
            "objective": row["objective"],
            "optimizer": {"kind": "adamw", "lr": row["lr"], "weight_decay": row["decay"]},
            "clip_all": row["clip"] == "all",
            "batch": row["batch"],
            "steps": row["steps"],
            "log_every": 200,
            "sample_every": 2000,
            "checkpoint_every": 2000,
        },
    )
