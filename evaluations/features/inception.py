"""The Inception network of the FID, from torchvision's blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from torchvision.models import inception

from disentangle.evaluations.features.weights import load_strictly

__all__ = ["FIDInception"]

OUTPUTS = ("64", "192", "768", "2048", "logits_unbiased", "logits")


class FIDInception(nn.Module):
    """Inception-v3 as TensorFlow published it in 2015, with the key names of its converted weights.

    It differs from torchvision's network: 1,008 classes, no auxiliary head, average pools that do not count the
    padding, a maximum pool in the last block.

    Images in, (n, 3, 299, 299) scaled as (x - 128) / 128; out, a dictionary of the outputs asked for: pooled features
    after four stages (named by their number), logits with and without the bias.
    """

    name = "inception"
    size = 299
    features = 2048

    def __init__(self) -> None:
        super().__init__()
        network = inception.Inception3(num_classes=1008, aux_logits=False, transform_input=False, init_weights=False)
        for name, block in {
            "Mixed_5b": _A(192, pool_features=32),
            "Mixed_5c": _A(256, pool_features=64),
            "Mixed_5d": _A(288, pool_features=64),
            "Mixed_6b": _C(768, channels_7x7=128),
            "Mixed_6c": _C(768, channels_7x7=160),
            "Mixed_6d": _C(768, channels_7x7=160),
            "Mixed_6e": _C(768, channels_7x7=192),
            "Mixed_7b": _E(1280),
            "Mixed_7c": _LastE(2048),
        }.items():
            setattr(network, name, block)
        for name, module in network.named_children():
            if name not in ("maxpool1", "maxpool2", "avgpool", "dropout"):
                self.add_module(name, module)
        self.eval()
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # half the time on a CPU

    def load_weights(self, weights: Mapping[str, Tensor]) -> FIDInception:
        """Load the converted weights, every key of which must be there.

        Raises:
            CheckpointError: if keys or shapes do not fit.
        """
        load_strictly(
            self,
            weights,
            "those of the FID's Inception network, 566 tensors, as in pt_inception-2015-12-05-6726825d.pth",
        )
        return self

    def forward(self, images: Tensor, outputs: tuple[str, ...] = ("2048",)) -> dict[str, Tensor]:
        unknown = set(outputs) - set(OUTPUTS)
        assert not unknown, unknown
        found: dict[str, Tensor] = {}
        x = images.contiguous(memory_format=torch.channels_last)
        stages: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("64", ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "pool")),
            ("192", ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "pool")),
            ("768", tuple(f"Mixed_{block}" for block in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e"))),
            ("2048", ("Mixed_7a", "Mixed_7b", "Mixed_7c")),
        )
        for output, layers in stages:
            for layer in layers:
                x = max_pool2d(x, 3, stride=2) if layer == "pool" else getattr(self, layer)(x)
            found[output] = adaptive_avg_pool2d(x, 1).flatten(1)
        fc: Any = self.fc
        found["logits_unbiased"] = found["2048"] @ fc.weight.T
        found["logits"] = found["logits_unbiased"] + fc.bias
        return {output: found[output] for output in outputs}


def _pool(x: Tensor) -> Tensor:
    return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _A(inception.InceptionA):  # type: ignore[misc]  # torchvision has no types
    def _forward(self, x: Tensor) -> list[Tensor]:
        return [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(_pool(x)),
        ]


class _C(inception.InceptionC):  # type: ignore[misc]
    def _forward(self, x: Tensor) -> list[Tensor]:
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return [
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool(_pool(x)),
        ]


class _E(inception.InceptionE):  # type: ignore[misc]
    def _pooled(self, x: Tensor) -> Tensor:
        return _pool(x)

    def _forward(self, x: Tensor) -> list[Tensor]:
        one, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return [
            self.branch1x1(x),
            torch.cat([self.branch3x3_2a(one), self.branch3x3_2b(one)], 1),
            torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1),
            self.branch_pool(self._pooled(x)),
        ]


class _LastE(_E):
    def _pooled(self, x: Tensor) -> Tensor:
        return max_pool2d(x, 3, stride=1, padding=1)
