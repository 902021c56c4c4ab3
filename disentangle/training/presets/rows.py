"""The rows of all preset tables by name."""

from __future__ import annotations

from typing import Any, Literal

from disentangle.training.presets import tables

__all__ = ["PRESETS", "Kind", "data_arguments", "looked_at", "preset_names"]

Kind = Literal["vae", "eigengan", "gan", "progan", "stylegan2", "classifier", "qlae", "fsq", "tripod"]

PRESETS: dict[str, dict[str, Any]] = {
    name: dict(zip(columns, row, strict=True))
    for columns, table in (
        (tables.GAN_COLUMNS, tables.GAN),
        (tables.PROGAN_COLUMNS, tables.PROGAN),
        (tables.STYLEGAN_COLUMNS, tables.STYLEGAN),
        (tables.VAE_COLUMNS, tables.VAE),
        (tables.AUTOENCODER_COLUMNS, tables.AUTOENCODER),
        (tables.CLASSIFIER_COLUMNS, tables.CLASSIFIER),
    )
    for name, row in table.items()
}


def preset_names(kind: Kind) -> list[str]:
    """Presets for one kind of model."""
    return [name for name, row in PRESETS.items() if row["kind"] == kind]


def data_arguments(data: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``open_data`` from the fields of a :class:`DataConfig`."""
    arguments = {key: value for key, value in data.items() if key != "options"}
    return {**arguments, **data.get("options", {})}


def looked_at(data: dict[str, Any]) -> dict[str, Any]:
    """:func:`data_arguments` for the shape of the pictures alone: unreadable ones are looked for by the training."""
    arguments = data_arguments(data)
    return {**arguments, "on_bad_image": "raise"} if arguments.get("on_bad_image") == "skip" else arguments
