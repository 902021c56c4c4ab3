"""Whether a computation will be differentiated, so that it may not overwrite what it has made."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["differentiated"]


def differentiated(*tensors: Tensor | None) -> bool:
    """True if a result of these tensors needs a derivative, backward or forward, or is traced by torch.func.

    Or by a compiler or an exporter, which plan memory themselves and take no work in place into a part of a tensor.
    """
    if torch.compiler.is_compiling():
        return True
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        return True
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()
