"""Paths between two latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PATHS", "lerp", "slerp", "slerp_sphere", "slerp_unit"]


def lerp(first: Tensor, second: Tensor, t: Tensor) -> Tensor:
    """On the straight line; latents (n, ..., d), ``t`` (n, 1, ...) in [0, 1]."""
    return first + (second - first) * t


def slerp(first: Tensor, second: Tensor, t: Tensor) -> Tensor:
    """On the arc between the two directions, over the last axis, each end with its own length.

    sin((1 - t) omega) / sin omega a + sin(t omega) / sin omega b, with omega the angle between them: Shoemake,
    "Animating rotation with quaternion curves", SIGGRAPH 1985. Where the directions agree, the straight line.
    """
    import torch

    cosine = (_unit(first) * _unit(second)).sum(-1, keepdim=True).clamp(-1, 1)
    near = cosine.abs() > 1 - 1e-7
    angle = torch.arccos(torch.where(near, torch.zeros_like(cosine), cosine))
    arc = (torch.sin((1 - t) * angle) * first + torch.sin(t * angle) * second) / torch.sin(angle)
    return torch.where(near, lerp(first, second, t), arc)


def slerp_unit(first: Tensor, second: Tensor, t: Tensor) -> Tensor:
    """:func:`slerp`, brought to length 1 over the last axis: torch-fidelity's ``slerp_unit``."""
    return _unit(slerp(first, second, t))


def slerp_sphere(first: Tensor, second: Tensor, t: Tensor) -> Tensor:
    """On the great circle of the unit sphere, both ends brought to length 1 over the last axis first: StyleGAN's."""
    return slerp(_unit(first), _unit(second), t)


def _unit(latents: Tensor) -> Tensor:
    return latents / latents.norm(dim=-1, keepdim=True)


PATHS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "lerp": lerp,
    "slerp": slerp,
    "slerp_unit": slerp_unit,
    "slerp_sphere": slerp_sphere,
}
