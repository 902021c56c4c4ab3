"""Configurations for training a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from disentangle.config import parse_config, with_fields
from disentangle.data import CIFAR10, CIFAR100, FashionMNIST, ImageSource, check_classes, open_data
from disentangle.data.folder import split_folders
from disentangle.errors import InputError, unknown_name
from disentangle.signatures import checks_arguments
from disentangle.training.config import ClassifierTraining
from disentangle.training.presets.rows import PRESETS, looked_at, preset_names

__all__ = ["classifier_config"]

_GREY, _COLOUR = ((0.5,), (0.5,)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # the second is ImageNet's
_FASHION, _CIFAR = ((0.286,), (0.353,)), ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


@checks_arguments
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
    source = check_classes(open_data(**looked_at(data)), data["name"])
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
