"""The configuration for training a generator further: its own architecture, the rest from the rows of its family."""

from __future__ import annotations

import math
import os
from typing import Any

from disentangle.config import parse_config, with_fields
from disentangle.data import open_data
from disentangle.errors import ArgumentError, unknown_name
from disentangle.io import discriminator_config, model_config
from disentangle.signatures import checks_arguments
from disentangle.training.config import VAETraining
from disentangle.training.gan_config import STYLE_BASED, GANTraining
from disentangle.training.initial import run_config
from disentangle.training.presets.gan import gan_config
from disentangle.training.presets.rows import PRESETS, Kind, looked_at, preset_names
from disentangle.training.presets.vae import vae_config

__all__ = ["finetune_config"]

# The rows whose losses and rates a generator is trained further with.
_FAMILY: dict[str, Kind] = {
    "eigengan": "eigengan", "gan": "gan", "dcgan": "gan", "progan": "progan",
    "stylegan1": "stylegan2", "stylegan2": "stylegan2", "stylegan3": "stylegan2", "vae": "vae",
}  # fmt: skip
SHARE = 0.03  # of the steps of a training from scratch; published: 1 % for StyleGAN2, more for smaller networks


@checks_arguments
def finetune_config(
    init: str | os.PathLike[str],
    *,
    data: dict[str, Any],
    preset: str | None = None,
    projection: dict[str, Any] | None = None,
    discriminator: str | os.PathLike[str] | None = None,
    kind: Kind | None = None,
    **fields: Any,
) -> GANTraining | VAETraining:
    """A resolved configuration for training a generator further, with its projections made orthogonal or as they are.

    Args:
        init: a model file, run folder or zoo name.
        data: fields of :class:`DataConfig`; the resolution is the generator's.
        preset: a row of the table, whose losses, rates and batch are used. By default those of the run, if ``init`` is
            the folder of one, else the row of the generator's family whose size is nearest. Nothing grows any more,
            and with a ``projection`` the steps are cut to 3 %.
        projection: arguments of :func:`disentangle.nn.project`: kind, rank, layers.
        discriminator: a discriminator file to start from, which `disentangle convert --discriminator` writes.
        kind: the family that the generator has to be of, a VAE among them.
        fields: dotted fields to replace.

    Raises:
        InputError: if the model is no generator that can be trained, is of another family, or the pictures have
            another number of channels.
        ConfigError: if a field does not validate.
    """
    model: Any = model_config(init)
    if model.kind not in _FAMILY:
        raise ArgumentError(
            f"{init} holds a {model.kind!r}, which is not trained further as a generator; expected one of "
            f"{', '.join(_FAMILY)}."
        )
    family = _FAMILY[model.kind]
    if kind is not None and kind != family:
        raise ArgumentError(
            f"{init} holds a {model.kind!r}; train it with `disentangle train {family} --from` instead."
        )
    names = preset_names(family)
    if preset is not None and preset not in names:
        raise unknown_name(f"preset for {family}", preset, names)
    if data.get("resolution") not in (None, model.resolution):
        raise ArgumentError(
            f"resolution is {data['resolution']}, but {init} makes pictures of {model.resolution} pixels; leave it out."
        )
    data = {**data, "resolution": model.resolution}
    channels = open_data(**looked_at(data)).image_shape[0]
    if channels != model.image_channels:
        raise ArgumentError(
            f"The pictures have {channels} channels, but {init} makes pictures of {model.image_channels}; give other "
            "data, or another model."
        )
    own = run_config(init) if preset is None else None
    if own is not None:
        record = own.model_dump(mode="json")
    else:
        preset = preset or min(names, key=lambda name: abs(math.log2(PRESETS[name]["size"] / model.resolution)))
        row_config = vae_config if family == "vae" else gan_config
        record = row_config(PRESETS[preset], data, channels).model_dump(mode="json")
    record |= {"data": data, "model": model.model_dump(mode="json"), "init": os.fspath(init)}
    if family != "vae":
        record |= {"growth": None, "discriminator_first": 0}
        if own is None:
            record["discriminator"] = _fitted(record["discriminator"], model)
            if record["discriminator"]["kind"] == "stylegan2":
                record["discriminator"]["c_dim"] = getattr(model, "c_dim", 0)
            if model.kind not in STYLE_BASED[1:]:  # StyleGAN had no path lengths
                record["path_length"]["weight"] = 0.0
        if discriminator is not None:
            record["discriminator"] = discriminator_config(discriminator).model_dump(mode="json")
            record["discriminator_init"] = os.fspath(discriminator)
    elif discriminator is not None:
        raise ArgumentError(f"{init} holds a VAE, which has no discriminator; leave {discriminator} out.")
    if projection is not None:
        record["model"]["projection"] = projection
        record["steps"] = max(1, round(SHARE * record["steps"]))
    training: type[GANTraining | VAETraining] = VAETraining if family == "vae" else GANTraining
    return with_fields(parse_config(training, record), fields)


def _fitted(discriminator: dict[str, Any], model: Any) -> dict[str, Any]:
    """The row's discriminator for the generator's resolution: the finest widths stay, coarser ones are repeated."""
    widths = list(discriminator["channels"])
    missing = int(math.log2(model.resolution / discriminator["resolution"]))
    ascending = discriminator["kind"] in ("paired", "strided")  # these list the picture's side first
    if missing > 0:
        widths = [*widths, *[widths[-1]] * missing] if ascending else [*[widths[0]] * missing, *widths]
    elif missing < 0:
        widths = widths[:missing] if ascending else widths[-missing:]
    return {**discriminator, "resolution": model.resolution, "channels": widths}
