"""Resolved training configurations from tables of settings that work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from disentangle.config import with_fields
from disentangle.data import check_classes, open_data
from disentangle.errors import ArgumentError, unknown_name
from disentangle.signatures import checks_arguments
from disentangle.training.autoencoder_config import AutoencoderTraining
from disentangle.training.config import ClassifierTraining, VAETraining
from disentangle.training.gan_config import GANTraining
from disentangle.training.presets.autoencoder import autoencoder_config
from disentangle.training.presets.classifier import classifier_config
from disentangle.training.presets.finetuning import finetune_config
from disentangle.training.presets.gan import gan_config
from disentangle.training.presets.rows import PRESETS, Kind, data_arguments, looked_at, preset_names
from disentangle.training.presets.vae import vae_config

__all__ = ["PRESETS", "classifier_config", "data_arguments", "finetune_config", "preset_config", "preset_names"]

_QUANTISED = ("qlae", "fsq", "tripod")


@checks_arguments
def preset_config(
    kind: Kind, *, data: dict[str, Any], preset: str | None = None, classes: bool = False, **fields: Any
) -> VAETraining | AutoencoderTraining | GANTraining | ClassifierTraining:
    """A resolved training configuration.

    Args:
        kind: "vae", "eigengan", "gan", "progan", "stylegan2"; of an autoencoder with quantised codes its objective,
            "qlae", "fsq" or "tripod"; or "classifier", for which see :func:`classifier_config`.
        data: fields of :class:`DataConfig`; its pictures decide the number of channels and, without a resolution, the
            size.
        preset: a row of the table; by default the first one of the pictures' size.
        classes: give a StyleGAN2 the classes of the pictures.
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
    source = open_data(**looked_at(data))
    channels, height, width = source.image_shape
    if classes and kind != "stylegan2":
        raise ArgumentError(f"classes are for a StyleGAN2, not for {kind!r}; leave them out.")
    if classes:
        named = check_classes(source, str(data["name"]), training=False).class_names
        fields = {"model.c_dim": len(named), "discriminator.c_dim": len(named), **fields}
    if height != width:
        raise ArgumentError(f"The pictures are {width}x{height} pixels; expected square ones: give --resolution.")
    if preset is None:
        fitting = [name for name in names if PRESETS[name]["size"] == height]
        if not fitting:
            sizes = sorted({PRESETS[name]["size"] for name in names})
            raise ArgumentError(
                f"There is no {kind} preset for {height} pixels; give --resolution as one of {sizes}, or --preset and "
                "the fields to change."
            )
        preset = fitting[0]
    row = PRESETS[preset]
    if row["size"] != height:
        raise ArgumentError(f"Preset {preset!r} is for {row['size']} pixels, but the pictures have {height}.")
    data = {**data, "resolution": height}
    rows: dict[str, Callable[..., Any]] = {"vae": vae_config, **dict.fromkeys(_QUANTISED, autoencoder_config)}
    config: VAETraining | AutoencoderTraining | GANTraining = rows.get(kind, gan_config)(row, data, channels)
    return with_fields(config, fields)


def __dir__() -> list[str]:
    return sorted(__all__)
