"""Progressive growing: the schedule against a loop over stages, and what real pictures look like in between."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from disentangle.config import parse_config
from disentangle.errors import ConfigError
from disentangle.models import build_model
from disentangle.training.growing import GrowthConfig, at_level_of_detail, level_of_detail


def by_stages(start: int, fade: float, stable: float, kimg: float, resolution: int) -> float:
    """One stage after the other: (length, lod at its start, lod at its end)."""
    halvings = 0
    while start << halvings < resolution:
        halvings += 1
    stages = [(stable, halvings, halvings)]
    for lod in range(halvings, 0, -1):
        stages += [(fade, lod, lod - 1), (stable, lod - 1, lod - 1)]
    for length, first, last in stages:
        if kimg < length:
            return first + (last - first) * kimg / length
        kimg -= length
    return 0.0


@pytest.mark.parametrize(("fade", "stable"), [(3, 2), (1.5, 0), (0.25, 4)])
@pytest.mark.parametrize(("start", "resolution"), [(8, 64), (4, 16), (32, 32), (64, 32)])
def test_schedule(start, resolution, fade, stable):
    growth = GrowthConfig(start=start, fade_kimg=fade, stable_kimg=stable)
    for pictures in range(0, 30_000, 125):
        expected = by_stages(start, fade, stable, pictures / 1000, resolution)
        assert level_of_detail(growth, pictures, resolution) == pytest.approx(expected, abs=1e-9)


def test_real_pictures_in_between():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def seen(times: int) -> torch.Tensor:
        return F.avg_pool2d(images, 2**times).repeat_interleave(2**times, 2).repeat_interleave(2**times, 3)

    assert torch.equal(at_level_of_detail(images, 0.0), images)
    torch.testing.assert_close(at_level_of_detail(images, 2.0), seen(2))
    torch.testing.assert_close(at_level_of_detail(images, 1.25), 0.75 * seen(1) + 0.25 * seen(2))


def test_generated_pictures_are_what_real_ones_are_made_to_look_like():
    config = {"kind": "progan", "resolution": 16, "latent_dim": 4, "channels": (4, 4, 4)}
    model = build_model(config, seed=0)
    latents = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    for lod in (0.0, 1.0, 2.0):
        images = model(latents, lod=lod)
        torch.testing.assert_close(at_level_of_detail(images, lod), images, rtol=0, atol=1e-6)


def test_a_start_that_is_no_power_of_two():
    with pytest.raises(ConfigError, match="start is 12; expected a power of two from 4 on"):
        parse_config(GrowthConfig, {"start": 12}, source="it")
