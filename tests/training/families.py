"""Tiny configurations of every family that is trained against a discriminator."""

from __future__ import annotations

from typing import Any

from disentangle.training import GANTraining, preset_config

_RUN = {"batch": 4, "steps": 6, "log_every": 2, "sample_every": 3, "checkpoint_every": 3}
_FIELDS: dict[str, dict[str, Any]] = {
    "stylegan2": {
        "model.channels": (8, 6, 4, 4), "model.z_dim": 6, "model.w_dim": 6, "model.mapping_layers": 2,
        "discriminator.channels": (8, 6, 4, 4), "penalty.every": 2, "path_length.every": 2,
    },
    "progan": {
        "model.channels": (8, 6, 4, 4), "model.latent_dim": 6, "discriminator.channels": (8, 6, 4, 4),
        "growth": {"start": 8, "fade_kimg": 0.006, "stable_kimg": 0.004},
    },
    "gan": {"model.channels": (8, 6, 4, 4), "model.latent_dim": 5, "discriminator.channels": (4, 6, 8)},
    "eigengan": {
        "model.channels": (8, 6, 4, 4), "model.noise_dim": 5, "model.basis": 2, "discriminator.channels": (4, 6, 8),
    },
}  # fmt: skip


def family(kind: Any, data: Any = "rooms", **fields: Any) -> GANTraining:
    """A training of a few steps on 32 pixels of rooms, or of other data."""
    made = preset_config(kind, data={"name": str(data), "resolution": 32}, **{**_RUN, **_FIELDS[kind], **fields})
    assert isinstance(made, GANTraining)
    return made
