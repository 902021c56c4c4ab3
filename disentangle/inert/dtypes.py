"""The types of numbers that files name, as tables: no name is looked up anywhere else."""

from __future__ import annotations

import re

import numpy as np
import torch

from disentangle.inert.nodes import DamagedError
from disentangle.text import shown

__all__ = ["DEVICES", "DTYPES", "LAYOUTS", "STORAGES", "numpy_type"]

_NAMES = (
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu", "float4_e2m1fn_x2", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
    "bool", "complex128", "complex64", "complex32", "bcomplex32", "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2",
)  # fmt: skip
# The newest are missing in older releases of torch.
DTYPES: dict[str, torch.dtype] = {f"torch.{name}": getattr(torch, name) for name in _NAMES if hasattr(torch, name)}

STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}

_LAYOUTS = (torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
LAYOUTS = {str(layout): layout for layout in _LAYOUTS}

DEVICES = ("cpu", "cuda", "mps", "xpu", "xla", "hpu", "meta")

# Those that both numpy and torch have, and texts. Extended precision, dates and records are not among them.
_CODE = re.compile(r"[<>|=]?(\?|b1|i[1248]|u[1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,3})")


def numpy_type(code: str) -> np.dtype:
    """The type behind a code such as ``"<f4"``.

    Raises:
        DamagedError: if it is none of those that torch has, nor a text.
    """
    if len(code) > 8 or not _CODE.fullmatch(code):
        raise DamagedError(f"it has an array of the type {shown(code, most=20)}; expected plain numbers")
    return np.dtype(code)
