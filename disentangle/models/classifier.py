"""Residual classifiers with the paper's two SVD meta-layers as choices: whitening at the stem, covariance pooling.

The layer in front of a meta-layer, the *pre-SVD layer*, is what a treatment acts on; :meth:`Classifier.pre_svd` gives
its trained weight. Song, Sebe, Wang, "Orthogonal SVD Covariance Conditioning and Latent Disentanglement", TPAMI 2023;
the networks are torchvision's, or a small one that trains on a laptop in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.errors import CheckpointError, InputError
from disentangle.models.base import misfits, register_model
from disentangle.nn import SkewConv2d, orthogonal_weight, replace_norm, replace_pool
from disentangle.nn.baking import bake_structure

__all__ = ["Classifier", "ClassifierConfig", "PoolingConfig", "SmallResNet", "WhiteningConfig"]

Arch = Literal[
    "small",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
LARGEST_CIFAR_STEM = 64  # pictures up to this side keep their resolution through the stem


class WhiteningConfig(Config):
    """Arguments of :class:`disentangle.nn.DecorrelatedBatchNorm2d`. The paper's code has eps 1e-2, running "matrix"."""

    eps: float = pydantic.Field(1e-3, ge=0)
    momentum: float | None = 0.1
    groups: int = pydantic.Field(1, ge=1)
    channels_per_group: int | None = pydantic.Field(None, ge=1)
    whitening: Literal["zca", "pca", "cholesky"] = "zca"
    method: str = "eigh"
    running: Literal["covariance", "matrix"] = "covariance"
    synchronize: bool = False


class PoolingConfig(Config):
    """Arguments of :class:`disentangle.nn.CovariancePool2d`; ``reduction`` channels by a 1x1 convolution before it."""

    reduction: int | None = pydantic.Field(None, ge=1)
    power: float | Literal["log"] = 0.5
    upper_triangle: bool = True
    eps: float = pydantic.Field(1e-3, ge=0)
    method: str = "eigh"
    norm_after: Literal["bn_relu", "bn", "none"] = "bn_relu"


class ClassifierConfig(Config):
    """Architecture of a :class:`Classifier`, and what it needs to read and name a picture.

    Attributes:
        arch: "small" (see :class:`SmallResNet`) or one of torchvision's ResNets.
        resolution: side of the pictures.
        image_channels: 3 for colour, 1 for grey, any other number for other pictures.
        class_names: one name a class, in the order of the labels.
        stem: of a ResNet: "imagenet" is 7x7 of stride 2 and a max-pool, "cifar" 3x3 of stride 1 without one; "auto"
            takes "cifar" up to 64 pixels.
        channels: widths of the small network: the stem's, then one a block.
        norm: of the stem: "bn", or "dbn" for decorrelated batch normalisation. All other norms are BatchNorm.
        pool: "avg", or "cov" for global covariance pooling.
        weight: of the pre-SVD layers: "plain"; "ow", an orthogonal weight (polar parametrisation of the flattened
            matrix); "sn", spectral normalisation; "soc", a skew orthogonal convolution.
        mean, std: of the pictures' channels in [0, 1], taken off inside the model.
        resize: how a picture of another size or shape is brought to the resolution, see
            :class:`disentangle.data.ImageFolder`.
        baked: whether :func:`disentangle.nn.bake` has made the meta-layers and the weights in front of them plain.
    """

    kind: Literal["classifier"] = "classifier"
    arch: Arch = "small"
    resolution: int = pydantic.Field(32, ge=8)
    image_channels: int = pydantic.Field(3, ge=1)
    class_names: tuple[str, ...] = pydantic.Field(min_length=2)
    stem: Literal["auto", "cifar", "imagenet"] = "auto"
    channels: tuple[int, ...] = pydantic.Field((16, 24, 48), min_length=2)
    norm: Literal["bn", "dbn"] = "bn"
    dbn: WhiteningConfig = WhiteningConfig()
    pool: Literal["avg", "cov"] = "avg"
    cov: PoolingConfig = PoolingConfig()
    weight: Literal["plain", "ow", "sn", "soc"] = "plain"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    resize: Literal["center-crop", "squash", "pad"] = "center-crop"
    baked: bool = False

    @pydantic.model_validator(mode="after")
    def _fits(self) -> ClassifierConfig:
        if self.weight != "plain" and self.norm == "bn" and self.pool == "avg":
            raise ValueError(
                f"weight is {self.weight!r}, which is for the layer in front of an SVD meta-layer, but there is none; "
                "give norm='dbn' or pool='cov'"
            )
        if self.baked and self.norm == "bn" and self.pool == "avg":
            raise ValueError("baked is for networks with norm='dbn' or pool='cov'; leave it out")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.image_channels):
                raise ValueError(
                    f"{name} has {len(values)} numbers; expected 1 or image_channels = {self.image_channels}"
                )
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError("class_names holds a name twice")
        return self

    @property
    def resolved_stem(self) -> Literal["cifar", "imagenet"]:
        """``stem`` with "auto" decided by the resolution."""
        if self.stem != "auto":
            return self.stem
        return "cifar" if self.resolution <= LARGEST_CIFAR_STEM else "imagenet"


class SmallResNet(nn.Module):
    """A residual network of some 40,000 weights for pictures of 28 or 32 pixels.

    A 5x5 convolution of stride 2 to ``channels[0]`` features, norm, ReLU; one basic block a further entry, the second
    and later ones of stride 2; average pooling; a linear head. The stem is 5x5 because a 3x3 one on grey pictures has
    rank 9, so 16 features after it could not be whitened.
    """

    def __init__(self, image_channels: int, channels: tuple[int, ...], num_classes: int) -> None:
        from torchvision.models.resnet import BasicBlock

        super().__init__()
        self.conv1 = nn.Conv2d(image_channels, channels[0], 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        blocks = []
        for position, (before, after) in enumerate(pairwise(channels)):
            stride = 2 if position else 1
            shortcut: nn.Module | None = None
            if stride > 1 or before != after:
                shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            blocks.append(BasicBlock(before, after, stride, shortcut))
        self.blocks = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels[-1], num_classes)
        # Torch's initialisation stays: with a ResNet's (normal, by fan-out) 400 steps end one point of error higher.

    def forward(self, images: Tensor) -> Tensor:
        features = self.blocks(self.relu(self.bn1(self.conv1(images))))
        return self.fc(self.avgpool(features).flatten(1))


@register_model(ClassifierConfig)
class Classifier(nn.Module):
    """Images (n, C, H, W) in [0, 1] to logits (n, classes).

    Args:
        config: the architecture.
        weights: of the plain network before the meta-layers are put in, such as torchvision's or timm's ImageNet
            weights of the same ``arch``; the head is taken only if it has the same shape. Everything else must fit.

    Raises:
        CheckpointError: if ``weights`` do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ClassifierConfig, *, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        network = _plain_network(config)
        if weights is not None:
            _load_plain(network, weights, config)
        layers: list[nn.Module] = []
        if config.norm == "dbn":
            layers.append(replace_norm(network, **config.dbn.model_dump()))
        if config.pool == "cov":
            layers.append(replace_pool(network, **config.cov.model_dump()))
        if config.weight != "plain":
            layers = [_constrained(network, layer, config.weight) for layer in layers]
        self.network = network
        names = {id(module): name for name, module in network.named_modules()}
        self._pre_svd_layers = {names[id(layer)]: layer for layer in layers}
        for name in ("mean", "std"):
            values = torch.tensor(getattr(config, name)).reshape(1, -1, 1, 1)
            self.register_buffer(name, values, persistent=False)
        if config.baked:
            bake_structure(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes).

        Raises:
            InputError: if the images have another size or are not floating point.
        """
        if torch.jit.is_tracing():  # where a comparison would be taken for a part of the network
            return self.network((images - self.mean) / self.std)
        side = self.config.resolution
        expected = (self.config.image_channels, side, side)
        if images.ndim != 4 or images.shape[1:] != expected or not images.is_floating_point():
            raise InputError(
                f"images have shape {tuple(images.shape)} and dtype {images.dtype}; this classifier takes "
                f"(n, {', '.join(map(str, expected))}) floating point in [0, 1]."
            )
        return self.network((images - self.mean) / self.std)

    @property
    def head(self) -> nn.Linear:
        """The linear layer that gives the logits."""
        return self.network.fc  # type: ignore[return-value]

    def pre_svd_layers(self) -> dict[str, nn.Module]:
        """The layer in front of each meta-layer, by its name in the network; none without one, as after baking."""
        return {} if self.config.baked else dict(self._pre_svd_layers)

    def pre_svd(self) -> dict[str, nn.Parameter]:
        """What to hand to :func:`disentangle.orthogonalize`: the trained weight of each pre-SVD layer.

        For an orthogonal or spectrally normalised weight this is the free parameter behind it, for a skew orthogonal
        convolution its raw filter.
        """
        return {name: _trained(layer) for name, layer in self._pre_svd_layers.items()}


def _plain_network(config: ClassifierConfig) -> nn.Module:
    classes = len(config.class_names)
    if config.arch == "small":
        return SmallResNet(config.image_channels, config.channels, classes)
    import torchvision

    network: Any = torchvision.models.get_model(config.arch, weights=None, num_classes=classes)
    width = network.conv1.out_channels
    if config.resolved_stem == "cifar":
        network.conv1 = nn.Conv2d(config.image_channels, width, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    elif config.image_channels != 3:
        network.conv1 = nn.Conv2d(config.image_channels, width, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's own
    return network


def _load_plain(network: nn.Module, weights: Mapping[str, Tensor], config: ClassifierConfig) -> None:
    own = network.state_dict()
    of_head = {id(tensor) for tensor in network.fc.state_dict(keep_vars=True).values()}  # type: ignore[union-attr]
    head = {name for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in of_head}
    found = {name: t for name, t in weights.items() if name not in head or (own[name].shape == t.shape)}
    # timm's and older files may lack these counters; they count batches only
    optional = head | {name for name in own if name.endswith("num_batches_tracked")}
    problems = misfits(found, own, optional=optional)
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise CheckpointError(
            f"The weights do not fit a {config.arch} with the stem {config.resolved_stem!r} on "
            f"{config.image_channels} channels: {shown}; expected the plain network's, so give --arch, the stem and "
            "the channels they are for."
        )
    network.load_state_dict({**own, **found})


def _constrained(network: nn.Module, layer: nn.Module, weight: str) -> nn.Module:
    """The layer with its weight constrained; a skew convolution takes its place in the network."""
    if weight == "ow":
        return orthogonal_weight(layer)
    if weight == "sn":
        return nn.utils.parametrizations.spectral_norm(layer)
    if not isinstance(layer, nn.Conv2d) or layer.kernel_size[0] != layer.kernel_size[1] or layer.groups != 1:
        raise InputError(f"weight is 'soc', which needs a square, ungrouped convolution; the pre-SVD layer is {layer}.")
    skew = SkewConv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size[0],
        layer.stride[0],
        layer.padding[0],  # type: ignore[arg-type]
        layer.bias is not None,
    )
    for parent in network.modules():
        for name, child in parent.named_children():
            if child is layer:
                setattr(parent, name, skew)
    return skew


def _trained(layer: nn.Module) -> nn.Parameter:
    (matrix,) = (parameter for parameter in layer.parameters() if parameter.ndim >= 2)
    return matrix
