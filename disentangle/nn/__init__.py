"""Layers on the spectral core."""

from disentangle.nn.projection import SubspaceProjection

__all__ = ["SubspaceProjection"]
