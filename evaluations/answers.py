"""What an encoder returned, as codes: of a posterior, its mean."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from disentangle.checks import read_array
from disentangle.errors import InputError
from disentangle.text import shown

__all__ = ["CodeReader"]

_log = logging.getLogger(__name__)

# What holds a mean: usual names in dictionaries and objects; torch's distributions and diffusers' have ``mean``, and
# "embedding" is pythae's. Tensors have a method of that name, so only what holds numbers counts.
_MEANS = ("mu", "mean", "loc", "latent_dist", "embedding")
_EXPECTED = "expected codes (n, d), (mean, log variance), or 'mu', 'mean' or 'latent_dist' in a dictionary or object"


class CodeReader:
    """Reads an encoder's answers as arrays; what is taken of an answer of several parts is logged, once.

    Codes are what they are. Of two tensors of one shape, as (mean, log variance), the first counts; of a dictionary, an
    object or a distribution its ``mu``, ``mean``, ``loc`` or ``latent_dist``. Such a mean is flattened where it is a
    map of features.
    """

    def __init__(self) -> None:
        self._said = False

    def __call__(self, answer: Any) -> np.ndarray:
        """(n, d) numbers, in the dtype given.

        Raises:
            InputError: if there are no numbers in it, or more than one thing could be meant.
        """
        value, path = _codes_in(answer)
        codes = read_array(value, "codes of the encoder", finite=False)
        if path and codes.ndim > 2:
            path += f", {' x '.join(map(str, codes.shape[1:]))} numbers in a row"
            codes = codes.reshape(len(codes), -1)
        if path and not self._said:
            _log.warning("The encoder returned %s; taken as the code: %s.", _described(answer), path)
            self._said = True
        return codes


def _codes_in(answer: Any, depth: int = 0) -> tuple[Any, str]:
    """The numbers in an answer, and which part of it they are; "" for the whole."""
    if _is_array(answer) or depth > 3:
        return answer, ""
    named = _named_mean(answer)
    if named is not None:
        name, value = named
        inner, path = _codes_in(value, depth + 1)
        return inner, f"its {name}" + (f"'s {path.removeprefix('its ')}" if path else "")
    if isinstance(answer, Mapping):
        raise InputError(f"The encoder returned {_described(answer)}; {_EXPECTED}.")
    parts = list(answer) if isinstance(answer, (tuple, list)) else []
    if not any(_is_array(part) and len(part.shape) > 1 for part in parts):
        return answer, ""  # rows of codes, if anything
    shapes = {tuple(part.shape) for part in parts if _is_array(part)}
    if len(parts) == 1:
        return parts[0], "its only part"
    if len(parts) == 2 and all(map(_is_array, parts)) and len(shapes) == 1:
        return parts[0], "the first of both, the mean"
    raise InputError(f"The encoder returned {_described(answer)}, of which any could be the codes; {_EXPECTED}.")


def _named_mean(answer: Any) -> tuple[str, Any] | None:
    for name in _MEANS:
        value = answer.get(name) if isinstance(answer, Mapping) else _attribute(answer, name)
        if value is None or callable(value):
            continue
        if _is_array(value) or (name == "latent_dist" and _named_mean(value) is not None):
            return name, value
    return None


def _attribute(answer: Any, name: str) -> Any:
    try:
        return getattr(answer, name, None)
    except Exception:  # a property of the user's, or a distribution without a mean
        return None


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _described(answer: Any) -> str:
    if isinstance(answer, Mapping):
        keys = list(answer)[:8]
        return f"a {type(answer).__name__} with {', '.join(shown(key, most=40) for key in keys) or 'nothing in it'}"
    if isinstance(answer, (tuple, list)):
        parts = [str(tuple(p.shape)) if _is_array(p) else f"a {type(p).__name__}" for p in answer[:8]]
        return f"{len(answer)} parts ({', '.join(parts)})"
    return f"a {type(answer).__name__}"
