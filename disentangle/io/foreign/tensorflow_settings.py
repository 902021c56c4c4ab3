"""Settings that TensorFlow's networks state: each is read, or known to change no picture, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.smoothing import PUBLISHED, taps_of
from disentangle.text import shown

__all__ = ["ANY", "Allowed", "check_settings", "half_precision", "number_of", "taps_stated", "word_of"]

ANY = None  # of a setting that is read elsewhere, or changes no picture
Allowed = Mapping[str, tuple[Any, ...] | None]
_LISTED = 8
_BOX = (1.0, 1.0)  # taps that None stands for


def check_settings(settings: Mapping[Any, Any], allowed: Allowed, *, what: str = "it") -> list[str]:
    """Compare what a file states with what can be kept.

    Args:
        settings: of a network, by the other software's names.
        allowed: the values of each setting that are kept, or :data:`ANY`.
        what: the network, as a sentence begins with it.

    Returns:
        A sentence about settings that are not known, which the other software ignores too; none if there are none.

    Raises:
        CheckpointError: for a setting of another value, by its name.
    """
    unknown = []
    for key, value in settings.items():
        name = shown(key, most=40)
        if key not in allowed:
            unknown.append(f"{name} {shown(value, most=40)}")
            continue
        values = allowed[key]
        if values is not None and not (value is None or isinstance(value, (bool, int, float, str))):
            raise CheckpointError(f"{what} states {name} {shown(value, most=60)}; expected {_listed(values)}.")
        if values is not None and value not in values:
            raise CheckpointError(
                f"{what} states {name} {shown(value, most=60)}, which is not supported; expected {_listed(values)}."
            )
    if not unknown:
        return []
    more = f", and {len(unknown) - _LISTED} more" if len(unknown) > _LISTED else ""
    return [f"Stated and not known, so left out of account: {', '.join(unknown[:_LISTED])}{more}."]


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(shown(value, most=40) for value in values)


def number_of(settings: Mapping[Any, Any], key: str, default: float) -> float:
    """A setting that is a finite number.

    Raises:
        CheckpointError: if it is anything else.
    """
    value = settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        raise CheckpointError(f"it states {key} {shown(value, most=60)}; expected a number.")
    return float(value)


def word_of(settings: Mapping[Any, Any], key: str, default: str) -> str:
    """A setting that is a word, after :func:`check_settings`."""
    value = settings.get(key, default)
    return value if isinstance(value, str) else default


def half_precision(settings: Mapping[Any, Any]) -> list[str]:
    """A sentence where TensorFlow's network was run in half precision, in part or as a whole."""
    count = settings.get("num_fp16_res")
    if settings.get("dtype", "float32") != "float32":
        return ["It was run in half precision; here everything is float32."]
    if isinstance(count, int) and count > 0:
        return [f"Its {shown(count, most=20)} largest resolutions were run in half precision; here all are float32."]
    return []


def taps_stated(
    settings: Mapping[str, Any], key: str = "resample_kernel", default: tuple[float, ...] = PUBLISHED, *,
    none: tuple[float, ...] = _BOX,
) -> tuple[float, ...]:  # fmt: skip
    """The taps that are stated.

    Args:
        settings: what a network was made with.
        key: name of the filter.
        default: taps where nothing is stated.
        none: taps that a stated None stands for.

    Raises:
        CheckpointError: if what is stated is no filter.
    """
    if key not in settings:
        return default
    value = settings[key]
    if value is None or (isinstance(value, (list, tuple)) and not value and not none):
        return none
    if not isinstance(value, (list, tuple, Tensor)):
        raise CheckpointError(f"it states {key} {shown(value, most=60)}; expected taps as [1, 3, 3, 1].")
    return taps_of(value)
