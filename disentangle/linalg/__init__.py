"""The spectral core: batched functions of matrices, tensors in and tensors out."""

from disentangle.linalg.diagnostics import (
    condition_number,
    effective_condition_number,
    effective_rank,
    numerical_rank,
    orthogonality_error,
)
from disentangle.linalg.polar import polar

__all__ = [
    "condition_number",
    "effective_condition_number",
    "effective_rank",
    "numerical_rank",
    "orthogonality_error",
    "polar",
]
