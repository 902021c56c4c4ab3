"""Tensors computed from parameters and kept until the parameters change."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disentangle.linalg.differentiable import are_followed, are_values_visible

__all__ = ["Derived"]


class Derived:
    """Keeps the last value of a function of tensors, and computes it anew once one of them has changed.

    A change is seen by which tensor it is, and by its address, type, device and version, which every in-place operation
    raises: steps of an optimizer, ``load_state_dict``, ``module.to``. Writing through ``tensor.data`` raises no version
    and is missed. Nothing is kept where a derivative may be asked, a compiler or a transform looks on, or a tensor was
    made in inference mode and counts no versions. Copies and pickles of the holder are empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[Any, list[weakref.ref[Tensor]], Tensor] | None = None

    def __call__(self, compute: Callable[..., Tensor], *sources: Tensor, settings: Any = ()) -> Tensor:
        """``compute(*sources)``, now or from before; ``settings`` is whatever else the value depends on."""
        if not all(map(are_values_visible, sources)) or are_followed(sources):
            return compute(*sources)
        # A tensor made in inference mode could not take part in a later backward pass, so none is kept.
        with torch.inference_mode(False), torch.no_grad():
            if any(source.is_inference() for source in sources):
                return compute(*sources)
            stamp = (settings, *((s.data_ptr(), s.dtype, s.device, s.shape, s._version) for s in sources))
            kept = self._kept  # read once: replicas on several devices share this object between threads
            # By address alone a new tensor in a freed one's place would pass for it.
            if kept is None or kept[0] != stamp or any(a() is not b for a, b in zip(kept[1], sources, strict=True)):
                kept = self._kept = (stamp, [weakref.ref(source) for source in sources], compute(*sources))
            return kept[2]

    def __reduce__(self) -> tuple[type[Derived], tuple[()]]:
        return Derived, ()
