"""Single channels of the style space, ranked by how much of the picture they change.

Source: Wu, Lischinski, Shechtman, "StyleSpace Analysis: Disentangled Controls for StyleGAN Image Generation", CVPR
2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from disentangle.checks import check_seed
from disentangle.errors import ArgumentError, InputError
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.method import DirectionMethod, keywords_of
from disentangle.looking import looks_at
from disentangle.models.base import Generator, class_option
from disentangle.signatures import checks_arguments

__all__ = ["METHOD", "style_channels"]


@checks_arguments
@looks_at("generator")
def style_channels(
    generator: Generator, *, layers: Sequence[int] | None = None, top: int = 10, seeds: Sequence[int] = (0, 1),
    samples: int = 1000, step: float = 2.0, batch: int = 32, label: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Directions:  # fmt: skip
    """The style channels that change the pictures most, one direction each, in s.

    Every channel is moved by ``step`` of its standard deviations both ways; the mean absolute change of the pixels
    ranks it.

    Args:
        generator: a StyleGAN.
        layers: rows of w+ whose layers' channels are tried; all by default, which takes a picture for each of two
            moves of every channel and seed.
        top: how many channels.
        seeds: pictures to start from.
        samples: latents from which the standard deviations are taken.
        step: in standard deviations.
        batch: pictures at once.
        label: class of a conditional generator.
        progress: called with (pictures done, pictures in all).

    Returns:
        Directions in s whose ``scale`` is the channel's standard deviation.

    Raises:
        InputError: if the generator has no style space or no such layer.
    """
    if not hasattr(generator, "style_layers") or "s" not in generator.spaces:
        raise InputError("this generator has no style space; style channels need a StyleGAN.")
    model: Any = generator
    options = class_option(generator, label)
    chosen = [layer for layer in model.style_layers() if layers is None or layer.ws_index in layers]
    channels = torch.tensor([i for layer in chosen for i in range(layer.start, layer.start + layer.channels)])
    if not len(channels):
        raise InputError(f"there are no layers {list(layers or ())}; expected rows of w+, 0 to {model.num_ws - 1}.")
    if not 1 <= top <= len(channels):
        raise InputError(f"top is {top}; expected 1 to {len(channels)}, the channels tried.")
    spread = model.sample_latents(samples, space="s", generator=torch.Generator().manual_seed(0), **options).std(dim=0)
    changes = torch.zeros(len(channels))
    done, total = 0, 2 * len(seeds) * len(channels)
    with torch.inference_mode():
        for seed in seeds:
            start = model.sample_latents(
                1, space="s", generator=torch.Generator().manual_seed(check_seed(seed)), **options
            )
            before = model(start, space="s").float()
            for sign in (-step, step):
                for first in range(0, len(channels), batch):
                    part = channels[first : first + batch]
                    moved = start.repeat(len(part), 1)
                    rows = torch.arange(len(part), device=moved.device)
                    moved[rows, part.to(moved.device)] += sign * spread[part.to(spread.device)]
                    change = (model(moved, space="s").float() - before).abs().flatten(1).mean(1)
                    changes[first : first + len(part)] += change.cpu()
                    done += len(part)
                    if progress is not None:
                        progress(done, total)
    best = changes.sort(descending=True, stable=True).indices[:top]
    positions = channels[best]
    vectors = torch.zeros(top, generator.spaces["s"].size)
    vectors[torch.arange(top), positions] = 1
    labels = tuple(generator.spaces["s"].labels[int(position)] for position in positions)
    return Directions(
        vectors=vectors, space="s", labels=labels, method="style-channel", scale=spread.cpu()[positions].float(),
        generator=fingerprint(generator, "s"),
    )  # fmt: skip


def _find(generator: Generator, *, space: str | None = None, **options: Any) -> Directions:
    if space not in (None, "s"):
        raise ArgumentError(f"style channels live in 's', not in {space!r}.")
    return style_channels(generator, **options)


METHOD = DirectionMethod(
    "style-channel",
    "Single channels of s, those first that change a picture most.",
    _find,
    options=("space", *keywords_of(style_channels)),
)
