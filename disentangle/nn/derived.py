"""Tensors computed from parameters and kept until the parameters change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Derived"]


class Derived:
    """Keeps the last value of a function of tensors, and computes it anew once one of them has changed.

    A change is seen by a tensor's address, type, device and version, which every in-place operation raises: steps of
    an optimizer, ``load_state_dict``, ``module.to``. Writing through ``tensor.data`` raises no version and is missed.
    The value carries no gradient. Copies and pickles of the holder are empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[Any, Tensor] | None = None

    def __call__(self, compute: Callable[..., Tensor], *sources: Tensor) -> Tensor:
        """``compute(*sources)``, now or from before."""
        # A tensor made in inference mode could not take part in a later backward pass, so none is kept.
        with torch.inference_mode(False), torch.no_grad():
            if any(source.is_inference() for source in sources):  # these count no versions
                return compute(*sources)
            stamp = tuple((s.data_ptr(), s.dtype, s.device, s.shape, s._version) for s in sources)
            if self._kept is None or self._kept[0] != stamp:
                self._kept = (stamp, compute(*sources))
            return self._kept[1]

    def __reduce__(self) -> tuple[type[Derived], tuple[()]]:
        return Derived, ()
