"""The positive control of the study ROT: generators of rooms whose directions are known."""

from __future__ import annotations

import statistics
from itertools import product
from typing import Any

import torch
from reproduce_independence import DATA
from rotation_scores import (
    COSINE_LATENTS,
    COSINE_SEED,
    PREDICTOR_SEEDS,
    Shared,
    Turned,
    cosines_of,
    informativeness_of,
    metrics_of,
    named_factors,
    predictability_of,
    random_axes,
)
from torch import Tensor

TURNS = (100, 101, 102)  # seeds of the rotations


def hues_to_colours(hues: Tensor) -> Tensor:
    """(...) places on the colour circle in [0, 1] to (..., 3) RGB, of the saturation of the rooms' palette."""
    from disentangle.data.rooms import SATURATION

    places = (torch.tensor([5.0, 3.0, 1.0]) + 6 * hues[..., None]) % 6
    return 1 - SATURATION * torch.minimum(places, 4 - places).clamp(0, 1)


class KnownRooms:
    """A picture of a room from six normal latents, one a factor, each through the normal distribution function.

    Continuous, it composes hues between those of the palette and mixes the scenes next to a scale, shape and
    orientation, so that it can be differentiated; else it renders the data set's own values.
    """

    def __init__(self, *, continuous: bool) -> None:
        from disentangle.data import open_data
        from disentangle.data.rooms import ORIENTATIONS, SCALES, SHAPES, scenes
        from disentangle.models.base import LatentSpace

        self.rooms: Any = open_data(**DATA)
        self.spaces = {"z": LatentSpace("z", (len(self.rooms.factor_sizes),))}
        self.continuous = continuous
        self.sizes = SCALES, len(SHAPES), ORIENTATIONS
        self.maps = scenes(self.rooms.resolution).maps.reshape(*self.sizes, 4, -1)

    def sample_latents(self, n: int, **options: Any) -> Tensor:
        return self.spaces["z"].sample(n, generator=options.get("generator"))

    def projections(self) -> dict[str, Any]:
        return {}

    def __call__(self, latents: Tensor, **_: Any) -> Tensor:
        shares = torch.special.ndtr(latents)
        if self.continuous:
            return 2 * self._composed(shares) - 1
        sizes = torch.tensor(self.rooms.factor_sizes)
        images: Tensor = self.rooms.render((shares * sizes).long().clamp(max=sizes - 1))
        return 2 * images - 1

    def _composed(self, shares: Tensor) -> Tensor:
        from disentangle.data.rooms import compose

        places = [shares[:, 3 + i] * (size - 1) for i, size in enumerate(self.sizes)]
        below = [p.detach().floor().clamp(0, size - 2).long() for p, size in zip(places, self.sizes, strict=True)]
        above = [place - low for place, low in zip(places, below, strict=True)]
        maps = torch.zeros(())
        for corner in product((0, 1), repeat=3):
            weight = torch.ones_like(shares[:, 0])
            for step, share in zip(corner, above, strict=True):
                weight = weight * (share if step else 1 - share)
            scene = self.maps[tuple(low + step for low, step in zip(below, corner, strict=True))]
            maps = maps + weight[:, None, None] * scene.float()
        return compose(maps, hues_to_colours(shares[:, :3])).reshape(len(shares), *self.rooms.image_shape)


def control_of(shared: Shared) -> dict[str, Any]:
    """The measures of the known axes and of turned ones, and which of them tell the two apart."""
    smooth, discrete = KnownRooms(continuous=True), KnownRooms(continuous=False)
    blocks = [list(range(6))]
    turns = {"known": torch.eye(6, dtype=torch.float64), **{f"turned {s}": random_axes(blocks, s) for s in TURNS}}
    metrics = metrics_of(smooth, COSINE_SEED, COSINE_LATENTS)
    codes, seen = named_factors(discrete, shared)
    found: dict[str, dict[str, Any]] = {}
    for name, axes in turns.items():
        found[name] = cosines_of(metrics, axes, blocks)
        found[name] |= predictability_of(Turned(smooth, axes), PREDICTOR_SEEDS)
        found[name] |= informativeness_of(codes @ axes.mT, seen, forest=True)
    known = found["known"]
    turned = {key: statistics.mean(found[f"turned {s}"][key] for s in TURNS) for key in ("cosine", "vp", "mig")}
    verdicts = {
        "squared cosine": known["cosine"] <= turned["cosine"] / 2,
        "VP": known["vp"] > 80 and turned["vp"] <= known["vp"] - 20,
        "MIG": known["mig"] > known["mig_ceiling"] / 2 and turned["mig"] < known["mig_ceiling"] / 5,
    }
    return {
        "axes": found,
        "turned, mean": turned,
        "verdicts": verdicts,
        "predictor": shared.predictor.accuracy.tolist(),
    }
