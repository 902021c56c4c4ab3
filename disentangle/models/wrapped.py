"""Any module that maps latents to images, as a generator of the toolkit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from disentangle.checks import check_integer
from disentangle.errors import InputError
from disentangle.looking import looks_at
from disentangle.models.base import LatentModule, LatentSpace, Projection, check_latents

__all__ = ["WrappedGenerator", "wrap"]

_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def wrap(
    module: nn.Module,
    z_dim: int,
    *,
    latent_shape: tuple[int, ...] | None = None,
    image_range: tuple[float, float] = (-1.0, 1.0),
    prior: Literal["normal", "uniform"] = "normal",
    projection: nn.Module | None = None,
) -> WrappedGenerator:
    """A generator around ``module``, which is used as it is and not copied.

    Args:
        module: called with latents (n, *latent_shape); returns images (n, C, H, W).
        z_dim: length of one latent as the toolkit sees it, a flat vector.
        latent_shape: shape the module expects of one latent, e.g. ``(z_dim, 1, 1)`` for a DCGAN; default ``(z_dim,)``.
        image_range: range of the module's images; they are mapped from it to [-1, 1].
        prior: distribution of the latents.
        projection: the linear or convolutional layer that reads the latent. By default the first one whose input has
            ``z_dim`` features; a generator without any has no projections.

    Raises:
        InputError: if the module does not accept such latents or does not return images, or the arguments disagree.

    >>> decoder = nn.Sequential(nn.Linear(5, 3 * 8 * 8), nn.Unflatten(1, (3, 8, 8)), nn.Sigmoid())
    >>> generator = wrap(decoder, z_dim=5, image_range=(0, 1))
    >>> generator(generator.sample_latents(2)).shape
    torch.Size([2, 3, 8, 8])
    """
    z_dim = check_integer("z_dim", z_dim, least=1)
    low, high = image_range
    if not low < high:
        raise InputError(f"image_range is {image_range}; expected (low, high) with low < high.")
    shape = latent_shape or (z_dim,)
    if torch.Size(shape).numel() != z_dim:
        raise InputError(f"latent_shape {shape} holds {torch.Size(shape).numel()} numbers; expected z_dim = {z_dim}.")
    if projection is None:
        projection = next((layer for layer in module.modules() if _reads(layer, z_dim)), None)
    elif not _reads(projection, z_dim):
        raise InputError(
            f"projection is {projection}; expected a Linear, Conv2d or ConvTranspose2d layer with {z_dim} inputs."
        )
    generator = WrappedGenerator(module, z_dim, shape, (low, high), prior, projection)
    generator.check_output()
    return generator


def _reads(layer: nn.Module, z_dim: int) -> bool:
    if isinstance(layer, nn.Linear):
        return layer.in_features == z_dim
    return isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.in_channels == z_dim


class WrappedGenerator(LatentModule):
    """See :func:`wrap`."""

    def __init__(
        self,
        module: nn.Module,
        z_dim: int,
        latent_shape: tuple[int, ...],
        image_range: tuple[float, float],
        prior: Literal["normal", "uniform"],
        projection: nn.Module | None,
    ) -> None:
        super().__init__()
        self.module = module
        self.latent_shape = latent_shape
        self.image_range = image_range
        self._projection = [projection]  # in a list, so that it is not registered a second time
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (z_dim,), prior=prior)}

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        images = self.module(latents.reshape(len(latents), *self.latent_shape))
        low, high = self.image_range
        return images if (low, high) == (-1.0, 1.0) else (images - low) * (2 / (high - low)) - 1

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        if any(True for _ in self.parameters()):
            return super().sample_latents(n, space=space, truncation=truncation, generator=generator)
        return self._space(space).sample(n, truncation=truncation, generator=generator)

    @looks_at("self")
    @torch.no_grad()
    def check_output(self) -> None:
        """One trial call in evaluation mode, so that a wrong shape shows up now and not in the middle of a job."""
        latents = self.sample_latents(2, generator=torch.Generator().manual_seed(0))
        try:
            images = self(latents)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise InputError(
                f"The module does not accept latents of shape (2, {', '.join(map(str, self.latent_shape))}): {error} "
                "Pass latent_shape= if it expects another shape, e.g. (z_dim, 1, 1)."
            ) from error
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[0] != 2:
            given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise InputError(f"The module returned {given} for two latents; expected images of shape (2, C, H, W).")

    @torch.no_grad()
    def turn_latents(self, rotation: Tensor) -> None:
        """As elsewhere: the layer that reads the latent takes the rotation in, whatever else the module does with z."""
        layer = self._projection[0]
        if not isinstance(layer, _LAYERS):
            raise InputError("the wrapped module has no linear or convolutional layer that reads its z.")
        wide, along = layer.weight.to("cpu", torch.float64), 0 if isinstance(layer, nn.ConvTranspose2d) else 1
        turned = torch.tensordot(rotation, wide, dims=([1], [along]))
        layer.weight.copy_(turned.movedim(0, along))

    def projections(self) -> dict[str, Projection]:
        """The layer that reads the latent, if the module has one; a convolution is viewed by its input channels."""
        layer = self._projection[0]
        if not isinstance(layer, _LAYERS):
            return {}

        def matrix() -> Tensor:
            if isinstance(layer, nn.Linear):
                return layer.weight
            if isinstance(layer, nn.ConvTranspose2d):
                return layer.weight.flatten(1).mT
            return layer.weight.transpose(0, 1).flatten(1).mT

        size = self.spaces["z"].size
        return {
            "first": Projection(
                parameter=layer.weight, space="z", depth=0, coordinates=tuple(range(size)), linear_map=matrix
            )
        }
