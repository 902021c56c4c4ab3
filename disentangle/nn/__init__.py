"""Layers on the spectral core."""

from disentangle.nn.baking import bake
from disentangle.nn.low_rank import LowRankOrthogonal
from disentangle.nn.orthogonal import orthogonal_weight
from disentangle.nn.pool_surgery import replace_pool
from disentangle.nn.pooling import CovariancePool2d
from disentangle.nn.project import ProjectionConfig, project
from disentangle.nn.projection import HouseholderProjection, SubspaceProjection
from disentangle.nn.skew_conv import SkewConv2d
from disentangle.nn.surgery import replace_norm, spectral_layers
from disentangle.nn.whitening import DecorrelatedBatchNorm2d

__all__ = [
    "CovariancePool2d",
    "DecorrelatedBatchNorm2d",
    "HouseholderProjection",
    "LowRankOrthogonal",
    "ProjectionConfig",
    "SkewConv2d",
    "SubspaceProjection",
    "bake",
    "orthogonal_weight",
    "project",
    "replace_norm",
    "replace_pool",
    "spectral_layers",
]


def __dir__() -> list[str]:
    return sorted(__all__)
