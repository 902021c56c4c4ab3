"""Penalties on what latents do to the picture, of GANs and of VAEs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from disentangle import load
from disentangle.errors import ConfigError
from disentangle.optim import hessian_penalty, ima_contrast, jacobian_l1, jacobian_penalty, rademacher
from disentangle.training import GeneratorPenaltyConfig, preset_config, train_gan, train_vae
from disentangle.training.generator_penalty import independence
from tests.training.families import family

KINDS = ("hessian", "normalised-hessian", "orojar", "ima", "jacobian-l1")


@pytest.mark.parametrize("kind", KINDS)
def test_it_looks_at_the_walked_coordinates_alone(kind: str) -> None:
    """Coordinates 1 and 3 depend on each other, 0 and 2 do not; the others' signs, and axes, are left out."""
    penalty = GeneratorPenaltyConfig(kind=kind)
    latents = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stream = lambda purpose: torch.Generator().manual_seed(len(purpose))  # noqa: E731

    def function(z):
        return torch.stack([z[:, 0], 2 * z[:, 2], z[:, 1] * z[:, 3], z[:, 1] + z[:, 3]], dim=1)

    def found(walked):
        chosen = torch.tensor(walked, dtype=torch.float64)
        arguments = {"batch": 8, "shard": slice(2, 8), "stream": stream}
        return float(independence(penalty, function, latents, chosen, **arguments))

    free, mixed = found([1.0, 0, 1, 0]), found([1.0, 1, 1, 1])
    if kind == "jacobian-l1":
        assert free == pytest.approx((1 + 2) / (2 * 4))
    else:
        assert free < 1e-9 < 1e-3 < mixed
    signs = rademacher(2, 8, 4, stream("penalty, signs"))[:, 2:].double()
    direct = {
        "hessian": lambda: hessian_penalty(function, latents, signs, reduction="sample"),
        "orojar": lambda: jacobian_penalty(function, latents, signs, reduction="sample"),
        "ima": lambda: ima_contrast(function, latents),
        "jacobian-l1": lambda: jacobian_l1(function, latents),
    }
    if kind in direct:
        assert mixed == pytest.approx(float(direct[kind]()))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("plain")
    train_vae(small_vae(), out, device="cpu")
    return load(out).state_dict()


def small_vae(**fields):
    network = {"model.channels": (4, 4, 8), "model.hidden": 8, "model.latent_dim": 3}
    run = {"batch": 4, "steps": 2, "log_every": 1}
    return preset_config("vae", data={"name": "sprites", "resolution": 32}, **run, **network, **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vae_is_trained_with_it(kind: str, plain: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Its value is logged, and the weights are others; with a weight of 0 they are the same."""
    fields = {"generator_penalty.kind": kind, "generator_penalty.every": 2}
    for weight in (100.0, 0.0):
        out = tmp_path / str(weight)
        train_vae(small_vae(**fields, **{"generator_penalty.weight": weight}), out, device="cpu")
        losses = [json.loads(line)["losses"] for line in (out / "stats.jsonl").read_text().splitlines()]
        assert kind in losses[1]
        state = load(out).state_dict()
        same = all(torch.equal(state[name], tensor) for name, tensor in plain.items())
        assert same == (weight == 0)


@pytest.mark.parametrize("kind", ["normalised-hessian", "ima", "jacobian-l1"])
def test_a_gan_is_trained_with_it(kind: str, tmp_path: Path) -> None:
    train_gan(family("eigengan", **{"generator_penalty": {"kind": kind}, "steps": 2}), tmp_path, device="cpu")
    losses = [json.loads(line)["losses"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert losses[-1][kind] > 0


def test_what_a_vae_cannot_have() -> None:
    with pytest.raises(ConfigError, match="'vp' is for GANs; give a VAE one of the others"):
        small_vae(**{"generator_penalty.kind": "vp"})
    with pytest.raises(ConfigError, match="of a VAE needs a weight; give generator_penalty.weight"):
        small_vae(**{"generator_penalty.kind": "ima"})
