"""The spectral core: batched functions of matrices, tensors in and tensors out."""

from disentangle.linalg.covariance import covariance
from disentangle.linalg.diagnostics import (
    condition_number,
    effective_condition_number,
    effective_rank,
    numerical_rank,
    orthogonality_error,
    row_length,
    row_orthogonality_error,
    weight_diagnostics,
)
from disentangle.linalg.matrix_power import (
    cholesky_whitening,
    matrix_inverse_sqrt,
    matrix_log,
    matrix_power,
    matrix_sqrt,
)
from disentangle.linalg.polar import polar

__all__ = [
    "cholesky_whitening",
    "condition_number",
    "covariance",
    "effective_condition_number",
    "effective_rank",
    "matrix_inverse_sqrt",
    "matrix_log",
    "matrix_power",
    "matrix_sqrt",
    "numerical_rank",
    "orthogonality_error",
    "polar",
    "row_length",
    "row_orthogonality_error",
    "weight_diagnostics",
]


def __dir__() -> list[str]:
    return sorted(__all__)
