"""Checks of arguments: whole and real numbers, names, arrays of finite real numbers, the range of images.

Each returns the value in the form that the caller goes on with, or raises an
:class:`~disentangle.errors.InputError` that names the argument. Neither numpy nor torch is imported with the module.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from disentangle.errors import ArgumentError, InputError, reason, unknown_name
from disentangle.text import shown

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "check_finite",
    "check_image_range",
    "check_integer",
    "check_jobs",
    "check_name",
    "check_number",
    "check_seed",
    "in_image_range",
    "read_array",
]

FURTHEST = 10.0  # an image in [-1, 1] may reach a little beyond (a StyleGAN's does), one in [0, 255] far beyond


def check_seed(value: Any) -> int:
    """A seed of a torch generator, as it is.

    Raises:
        InputError: it is no whole number of 64 bits.
    """
    return check_integer("seed", value, least=-(2**63), most=2**64 - 1)


def check_integer(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> int:
    """``value`` as an int within bounds, both included; True and False are no numbers here.

    >>> check_integer("bins", 4, least=2)
    4
    """
    number = None if isinstance(value, bool) or not isinstance(value, numbers.Integral) else int(value)
    if number is None or (least is not None and number < least) or (most is not None and number > most):
        bounds = "" if least is None else f" from {least}"
        bounds += "" if most is None else f" to {most}" if least is not None else f" of at most {most}"
        raise ArgumentError(f"{name} is {_given(value)}; expected a whole number{bounds}.")
    return number


def check_jobs(n_jobs: Any) -> int:
    """``n_jobs`` in joblib's sense: a count from 1, or -1 for all cores, -2 for all but one, and so on."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, numbers.Integral) or n_jobs == 0:
        raise ArgumentError(f"n_jobs is {_given(n_jobs)}; expected a whole number from 1, or -1 for all cores.")
    return int(n_jobs)


def check_number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """``value`` as a finite float: ``least <= value``, ``above < value``, ``value <= most``, ``value < below``.

    Whole numbers, numpy's scalars and tensors of no dimension are numbers; True, texts and complex numbers are not.

    >>> check_number("rate", 1, above=0)
    1.0
    """
    number = _as_float(value)
    fits = (
        number is not None
        and math.isfinite(number)
        and (least is None or number >= least)
        and (above is None or number > above)
        and (most is None or number <= most)
        and (below is None or number < below)
    )
    if not fits or number is None:
        bounds = _bounds(least, above, most, below)
        raise ArgumentError(f"{name} is {_given(value)}; expected a {'' if bounds else 'finite '}number{bounds}.")
    return number


def check_name(what: str, given: Any, known: Iterable[str], *, hint: str = "") -> str:
    """``given``, one of the ``known`` names; the nearest ones are suggested otherwise.

    >>> check_name("kernel", "rbf", ("polynomial", "rbf"))
    'rbf'
    """
    names = list(known)
    if not isinstance(given, str) or given not in names:
        raise unknown_name(what, given if isinstance(given, str) else shown(given), names, hint=hint)
    return given


def read_array(
    value: Any,
    name: str,
    *,
    ndim: int | None = None,
    expected: str = "",
    finite: bool = True,
    by_rows: bool = False,
    advice: str = "drop those rows or repair their source",
) -> np.ndarray:
    """Real numbers as a numpy array in their own dtype, on the CPU.

    Args:
        value: a numpy array, a torch tensor on any device, nested lists of numbers or of tensors, or whatever numpy
            makes an array of. Half precision stays, bfloat16 and the 8-bit floats become float32, truth values uint8.
        name: plural, of the sentences.
        ndim: number of dimensions, None for any.
        expected: of the sentence about the number of dimensions.
        finite: whether NaN and infinity are refused; see :func:`check_finite` for ``by_rows`` and ``advice``.

    Raises:
        InputError: on complex numbers, text, objects, dates; on masked arrays with masked entries, which would lose
            their mask; on tensors without values (``meta``), sparse, nested or quantised ones; on another number of
            dimensions; on NaN and infinity.
    """
    array = _array(value, name)
    if ndim is not None and array.ndim != ndim:
        flat = f" (as {name}.reshape({len(array)}, -1), say)" if array.ndim > ndim == 2 else ""
        raise InputError(f"{name} have shape {array.shape}; expected {expected or f'{ndim} dimensions'}{flat}.")
    if finite:
        check_finite(array, name, by_rows=by_rows, advice=advice)
    return array


def check_finite(
    array: np.ndarray, name: str, *, by_rows: bool = False, advice: str = "drop those rows or repair their source"
) -> None:
    """Refuse NaN and infinity, with the number of them and where they are.

    Args:
        array: real numbers.
        name: plural, of the sentence.
        by_rows: of a matrix the number of rows that hold any is told, not which columns.
        advice: what to do about them.

    Raises:
        InputError: if there are any.
    """
    import numpy as np

    if array.dtype.kind != "f":
        return
    good = np.isfinite(array)
    if good.all():
        return
    total = int(array.size - good.sum())
    places = ""
    if array.ndim == 2 and by_rows:
        places = f", in {int(np.sum(~good.all(axis=1)))} of {len(array)} rows"
    elif array.ndim == 2:
        bad = np.sum(~good, axis=0)
        columns = np.flatnonzero(bad)
        listed = ", ".join(f"{column} ({bad[column]})" for column in columns[:5])
        more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
        places = f", in column{'s' if len(columns) > 1 else ''} {listed}{more}"
    raise InputError(
        f"{name} hold {total} value{'s' if total > 1 else ''} that {'are' if total > 1 else 'is'} NaN or infinite"
        f"{places}; {advice}."
    )


def in_image_range(low: float, high: float) -> bool:
    """Whether images between ``low`` and ``high`` may be ones in [-1, 1] with some overshoot; False for NaN."""
    return low >= -FURTHEST and high <= FURTHEST


def check_image_range(images: Any, what: str = "images", *, expected: str = "[-1, 1] or a little beyond") -> None:
    """Tell images in [-1, 1], which may reach a little beyond, from those of another range, and from NaN.

    Args:
        images: a floating point tensor; one without any entry passes.
        what: whose images they are, plural.
        expected: of the sentence.

    Raises:
        InputError: if they are no floating point numbers, lie beyond [-10, 10] or hold NaN.
    """
    if not images.is_floating_point() or images.is_meta:
        where = " on the meta device, without values" if images.is_meta else ""
        raise InputError(f"{what} have dtype {images.dtype}{where}; expected floating point in {expected}.")
    if not images.numel():
        return
    low, high = (float(value) for value in images.detach().aminmax())
    if not in_image_range(low, high):
        raise InputError(f"{what} lie in [{low:.3g}, {high:.3g}]; expected {expected}.")


# ----------------------------------------------------------------------------------------------------- internals


def _given(value: Any) -> str:
    return repr(value) if isinstance(value, (str, bool, float)) and len(repr(value)) < 80 else shown(value)


def _as_float(value: Any) -> float | None:
    if isinstance(value, (bool, str, bytes)) or (hasattr(value, "dtype") and "bool" in str(value.dtype)):
        return None
    if not isinstance(value, numbers.Real) and getattr(value, "ndim", None) != 0:
        return None
    if "complex" in str(getattr(value, "dtype", "")):
        return None
    try:
        return float(value)
    except Exception:  # a whole number beyond all floats, a tensor without values, an array of text
        return None


def _bounds(least: float | None, above: float | None, most: float | None, below: float | None) -> str:
    low = f" of {least:g} or more" if least is not None else f" above {above:g}" if above is not None else ""
    high = f" of at most {most:g}" if most is not None else f" below {below:g}" if below is not None else ""
    if low and high:
        if least is not None and most is not None:
            return f" from {least:g} to {most:g}"
        if above is not None and below is not None:
            return f" between {above:g} and {below:g}, both excluded"
        return f"{low},{high.removeprefix(' of')}"
    return low or high


def _array(value: Any, name: str) -> np.ndarray:
    import numpy as np

    try:
        array = np.asarray(_numbers(value, name))
    except InputError:
        raise
    except Exception as error:  # rows of different lengths, or whatever an object's own conversion raises
        raise InputError(f"{name} cannot be read as an array of numbers ({reason(error)}).") from error
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "iuf":
        kind = {"c": "complex numbers", "O": "objects", "U": "text", "S": "text", "M": "dates", "m": "spans of time"}
        what = f" ({kind[array.dtype.kind]})" if array.dtype.kind in "OUSMm" else ""
        raise InputError(f"{name} have dtype {array.dtype}{what}; expected real numbers.")
    if array.dtype.itemsize > 8:  # longdouble: no metric is that exact, and torch has none
        with np.errstate(over="ignore"):
            return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _numbers(value: Any, name: str, depth: int = 0) -> Any:
    """``value`` with its tensors as numpy arrays, and no mask on them."""
    import numpy as np

    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _values(value, name)
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(value))
        if masked:
            raise InputError(
                f"{name} have {masked} masked entr{'y' if masked == 1 else 'ies'}, which no metric leaves out; drop "
                "those rows, or fill them."
            )
        return value.data
    if type(value).__module__.startswith("scipy.sparse"):
        raise InputError(f"{name} are a sparse matrix; give it as an array, by its toarray().")
    if isinstance(value, (list, tuple)) and depth < 8 and any(_needs_care(part) for part in value):
        return [_numbers(part, name, depth + 1) for part in value]
    return value


def _needs_care(value: Any) -> bool:
    """Whether a part of a list is something that numpy would read wrongly, slowly or not at all."""
    import numpy as np

    if isinstance(value, (int, float)):
        return False
    torch = sys.modules.get("torch")
    return isinstance(value, (list, tuple, np.ma.MaskedArray)) or (
        torch is not None and isinstance(value, torch.Tensor)
    )


def _values(tensor: Any, name: str) -> np.ndarray:
    """A torch tensor's numbers."""
    import torch

    if tensor.is_complex():
        raise InputError(f"{name} have dtype {str(tensor.dtype).removeprefix('torch.')}; expected real numbers.")
    if tensor.is_meta:
        raise InputError(f"{name} are a tensor on the meta device, which holds no values; give one on a real device.")
    if tensor.is_quantized:
        raise InputError(f"{name} are a quantised tensor; give its numbers, by dequantize().")
    if tensor.is_nested:
        raise InputError(f"{name} are a nested tensor, whose rows differ in length; expected rows of one length.")
    if tensor.layout != torch.strided:
        raise InputError(f"{name} are a sparse tensor; give it as a dense one, by to_dense().")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()  # numpy has neither bfloat16 nor the 8-bit floats
    array: np.ndarray = tensor.numpy()
    return array
