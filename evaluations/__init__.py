"""What the toolkit measures. Arrays, images or callables go in, a :class:`Score` comes out.

Nothing here knows the toolkit's own models: a metric takes ``codes (n, d)`` and ``factors (n, k)``, ``logits (n, c)``
and ``labels (n,)``, features, images, or a callable.
"""

import importlib
from typing import Any

if __name__ != "disentangle.evaluations":  # a second copy of every module, whose classes are not the first one's
    raise ImportError(f"{__name__} is a part of disentangle; expected import disentangle.evaluations.")

from disentangle.evaluations.classification import (
    accuracy,
    classification_scores,
    confusion_matrix,
    per_class_accuracy,
)
from disentangle.evaluations.disentanglement import dci, evaluate, evaluate_encoder, mig, sap
from disentangle.evaluations.encoding import classify_dataset, encode_dataset
from disentangle.evaluations.score import Score, load_scores, save_scores

__all__ = [
    "Score",
    "accuracy",
    "classification_scores",
    "classify_dataset",
    "confusion_matrix",
    "dci",
    "encode_dataset",
    "evaluate",
    "evaluate_encoder",
    "load_scores",
    "mig",
    "per_class_accuracy",
    "sap",
    "save_scores",
]


def __getattr__(name: str) -> Any:
    """Every other metric by its name, e.g. ``irs`` or ``frechet_distance``."""
    for part in ("disentanglement", "generation"):
        module = importlib.import_module(f"{__name__}.{part}")
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
