"""Features of pictures by name or object, whose squared differences are a distance with a derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from disentangle.errors import InputError
from disentangle.text import quoted

__all__ = ["METRICS", "picture_features"]

METRICS = ("pixels", "lpips", "efficientnet-lite0")


def picture_features(metric: Any) -> tuple[str, Callable[[Tensor], Tensor]]:
    """A name, and a function of images (n, C, H, W) in [-1, 1] to features (n, ...).

    Args:
        metric: ``"pixels"``; ``"lpips"`` or ``"efficientnet-lite0"``, see
            :func:`disentangle.evaluations.features.load_distance`; an object with ``embed(images)``, as that function
            gives; an :class:`~disentangle.evaluations.features.Extractor`; or a function of images to features, e.g. a
            module. Named distances and extractors see a grey picture three times.

    Raises:
        InputError: if it is none of these, or its weights are not found.
    """
    if isinstance(metric, str):
        if metric == "pixels":
            return metric, lambda images: images
        if metric not in METRICS:
            raise InputError(f"metric is {quoted(metric)}; expected one of {', '.join(METRICS)}, or a function.")
        from disentangle.evaluations.features import load_distance

        metric = load_distance(metric)
    name = getattr(metric, "name", None) or type(metric).__name__
    if callable(getattr(metric, "embed", None)):
        return str(name), lambda images: metric.embed(_coloured(images))
    if all(hasattr(metric, part) for part in ("features", "size", "centre", "spread")) and callable(metric.features):
        from disentangle.evaluations.features.preparation import prepared

        return str(name), lambda images: metric.features(prepared(_coloured(images), metric))
    if not callable(metric):
        raise InputError(
            f"metric is a {type(metric).__name__}; expected one of {', '.join(METRICS)}, an object with embed(images), "
            "an extractor, or a function of images to features."
        )
    return str(name), metric


def _coloured(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1) if images.ndim == 4 and images.shape[1] == 1 else images
