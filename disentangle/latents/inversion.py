"""Inversion: the latent from which a generator makes a given picture, by optimisation.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, appendix D (start at the mean
of w, noise that fades, a learning rate that rises and falls); Abdal, Qin, Wonka, "Image2StyleGAN", ICCV 2019 (w+).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disentangle.checks import check_integer, check_number, check_seed
from disentangle.colour import coloured
from disentangle.errors import InputError, unknown_name
from disentangle.latents.latent_file import Latents
from disentangle.looking import looks_at
from disentangle.models.base import Encoder, Generator, LatentSpace, class_option
from disentangle.signatures import checks_arguments

__all__ = ["Inversion", "invert"]

_STATISTICS = 2000  # latents behind the mean and spread of a space
_RISE, _FALL, _NOISE = 0.05, 0.25, 0.75  # parts of the run: rate rises, rate falls, noise fades


@dataclass(frozen=True)
class Inversion:
    """What was found.

    Attributes:
        latents: one of each picture.
        images: (n, C, H, W) what the generator makes of them.
        losses: (steps, n) loss of each step.
        pixel_error: (n,) mean squared difference of pixels in [-1, 1].
        perceptual: (n,) perceptual distance, None if none was given.
    """

    latents: Latents
    images: Tensor
    losses: Tensor
    pixel_error: Tensor
    perceptual: Tensor | None

    @property
    def psnr(self) -> Tensor:
        """(n,) peak signal to noise ratio in dB; the peak is 2, the range of [-1, 1]."""
        return 10 * torch.log10(4 / self.pixel_error.clamp(min=1e-12))


@checks_arguments
@looks_at("generator", "perceptual")
def invert(
    generator: Generator, images: Tensor, *, space: str | None = None,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None, steps: int = 500, learning_rate: float | None = None,
    perceptual_weight: float = 1.0, pixel_weight: float = 1.0, pull: float = 1e-3, noise: float = 0.05,
    candidates: int = 64, label: int | None = None, seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Inversion:  # fmt: skip
    """Latents whose images are as near to the given ones as a descent gets them.

    In w, w+ and s it starts at the mean; in a z, at the encoder's answer if the model has one, else at the nearest of
    some random latents. Adam, its rate rising at first and falling at the end, with noise on the latents that fades.

    Args:
        generator: any differentiable generator.
        images: (n, C, H, W) in [-1, 1], of the generator's size.
        space: by default w+ where there is one, else the first.
        perceptual: distance (n,) of two batches (n, 3, H, W), e.g. LPIPS; transparent pictures are laid over white for
            it. Pixels alone if None.
        steps: of the descent.
        learning_rate: by default 0.1 (0.02 in s, whose channels differ in spread and are scaled by it).
        perceptual_weight, pixel_weight: of the two distances; that of pixels is their mean square.
        pull: weight of the squared distance from the space's mean, in spreads; keeps the latent where directions hold.
        noise: of the latents at the start, in spreads.
        candidates: random latents tried as starts, in a z without an encoder.
        label: class of a conditional generator.
        seed: of everything random.
        progress: called with (steps done, steps).

    Raises:
        InputError: if the images do not fit the generator, or an option is out of range.
    """
    name = space or ("w+" if "w+" in generator.spaces else next(iter(generator.spaces)))
    if name not in generator.spaces:
        raise unknown_name("latent space", name, generator.spaces)
    chosen = generator.spaces[name]
    steps = check_integer("steps", steps, least=1)
    rate = learning_rate if learning_rate is not None else 0.02 if name == "s" else 0.1
    rate = check_number("learning_rate", rate, above=0)
    options = class_option(generator, label)
    random = torch.Generator().manual_seed(check_seed(seed))
    mean, spread = _statistics(generator, chosen, options)
    call = options if name == "z" else {}
    _check(generator, images, mean, name, call)
    targets = images.to(mean)

    def distances(made: Tensor) -> Tensor:
        pixels = (made - targets).square().flatten(1).mean(1)
        total = pixel_weight * pixels
        if perceptual is not None:
            total = total + perceptual_weight * perceptual(coloured(made.clamp(-2, 2)), coloured(targets))
        return total

    with torch.no_grad():
        start = _start(generator, chosen, targets, mean, spread, candidates, random, call)
    # In spreads, so that one rate and one noise mean the same in every space.
    offset = ((start - mean) / spread).requires_grad_(True)
    optimizer = torch.optim.Adam([offset], lr=rate, betas=(0.9, 0.99))
    best, best_loss = offset.detach().clone(), torch.full((len(targets),), math.inf).to(mean)
    losses = []
    for step in range(steps):
        done = step / steps
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (done + 1 / steps) / _RISE) * _falling(done)
        strength = noise * max(0.0, 1 - done / _NOISE) ** 2
        shaken = offset
        if strength:
            shaken = offset + strength * torch.randn(offset.shape, generator=random).to(offset)
        loss = distances(generator(mean + spread * shaken, space=name, **call))
        objective = loss + pull * offset.square().flatten(1).mean(1)
        # not backward(), which would add to the gradients of the generator's parameters too
        (offset.grad,) = torch.autograd.grad(objective.sum(), offset)
        losses.append(loss.detach())
        if not strength:
            better = loss.detach() < best_loss
            best_loss = torch.where(better, loss.detach(), best_loss)
            best[better] = offset.detach()[better]
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
    with torch.no_grad():
        if steps < 4:  # too few for one without noise
            best = offset.detach()
        found = mean + spread * best
        made = generator(found, space=name, **call).float()
        error = (made - targets).square().flatten(1).mean(1)
        seen = None if perceptual is None else perceptual(coloured(made.clamp(-2, 2)), coloured(targets))
    return Inversion(Latents(found.cpu(), name), made.cpu(), torch.stack(losses).cpu(), error.cpu(),
                     None if seen is None else seen.cpu())  # fmt: skip


def _falling(done: float) -> float:
    left = min(1.0, (1 - done) / _FALL)
    return 0.5 - 0.5 * math.cos(left * math.pi)


def _statistics(generator: Generator, space: LatentSpace, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each number of a latent: (1, *shape)."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        drawn = generator.sample_latents(_STATISTICS, space=space.name, generator=random, **options).float()
    if space.prior == "normal" and space.name == "z":
        return torch.zeros_like(drawn[:1]), torch.ones_like(drawn[:1])
    return drawn.mean(0, keepdim=True), drawn.std(0, keepdim=True).clamp(min=1e-6)


def _check(generator: Generator, images: Tensor, mean: Tensor, space: str, call: dict[str, Any]) -> None:
    with torch.no_grad():
        shape = tuple(generator(mean, space=space, **call).shape[1:])
    if images.ndim != 4 or not images.is_floating_point() or not len(images) or tuple(images.shape[1:]) != shape:
        raise InputError(
            f"images have shape {tuple(images.shape)} and dtype {images.dtype}; this generator makes (n, "
            f"{', '.join(map(str, shape))}), floating point in [-1, 1]."
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= -1.001 and high <= 1.001):
        raise InputError(f"images lie in [{low:.3g}, {high:.3g}]; expected [-1, 1].")


def _start(
    generator: Generator, space: LatentSpace, targets: Tensor, mean: Tensor, spread: Tensor, candidates: int,
    random: torch.Generator, call: dict[str, Any],
) -> Tensor:  # fmt: skip
    if space.name != "z":
        return mean.expand(len(targets), *space.shape).clone()
    if isinstance(generator, Encoder):
        return generator.encode((targets + 1) / 2).reshape(len(targets), *space.shape)
    tried = generator.sample_latents(max(1, candidates), space=space.name, generator=random, **call)
    made = torch.cat([generator(part, space=space.name, **call) for part in tried.split(16)])
    gaps = torch.stack([(made - target).square().flatten(1).mean(1) for target in targets])
    return tried[gaps.argmin(dim=1)].to(mean)
