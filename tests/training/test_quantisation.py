"""Losses of quantised autoencoders against what the authors' code printed (tests/reference), and their training."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import disentangle
from disentangle.errors import ConfigError, InputError
from disentangle.models.ops.finite_scalar import FiniteScalars
from disentangle.models.ops.scalar_codebooks import ScalarCodebooks
from disentangle.optim import normalised_hessian_penalty
from disentangle.training import AutoencoderTraining, QLAEObjective, preset_config, train_autoencoder
from disentangle.training.autoencoder import decayed
from disentangle.training.code_usage import CodeUsage, revived
from disentangle.training.objectives import reconstruction_error
from disentangle.training.quantisation import kernel_information, quantised_terms

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "quantised_autoencoders.json").read_text())


def tensor(value: Any, *, grad: bool = False) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=grad)


def close(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found.detach(), tensor(expected), rtol=1e-7, atol=1e-9)


def test_qlae_is_the_authors():
    case = REFERENCE["qlae"]
    x, images = tensor(case["x"]), tensor(case["images"])
    encoder, decoder = tensor(case["W"], grad=True), tensor(case["D"], grad=True)
    books = ScalarCodebooks(3, 4).double()
    with torch.no_grad():
        books.values.copy_(tensor(case["books"]))
    continuous = books.continuous(x @ encoder)
    assert books.indices(continuous).tolist() == case["indices"]
    z = books(continuous)
    close(z, case["z_hat"])
    objective = QLAEObjective(quantisation=case["quantization_weight"], commitment=case["commitment_weight"])
    model: Any = SimpleNamespace(quantiser=books)
    terms = quantised_terms(objective, model, continuous, z, batch=5, shard=slice(0, 5), stream=None)  # type: ignore[arg-type]
    reconstruction = reconstruction_error(z @ decoder, images, "bernoulli") / images.shape[1]
    close(terms["quantisation"], case["quantization_loss"])
    close(terms["commitment"], case["commitment_loss"])
    close(reconstruction, case["reconstruction"])
    loss = reconstruction + terms["regulariser"]
    close(loss, case["loss"])
    loss.backward()
    for found, name in ((encoder, "W"), (books.values, "books"), (decoder, "D")):
        assert found.grad is not None
        close(found.grad, case[f"gradient_{name}"])


def test_tripod_is_the_authors():
    case = REFERENCE["tripod"]
    encoder, one, two, three = (tensor(case[name], grad=True) for name in ("W1", "V1", "V2", "V3"))
    images = tensor(case["x"])
    levels = FiniteScalars(3, case["values"])
    continuous = levels.continuous(images.flatten(1) @ encoder)
    z = levels(continuous)
    close(continuous, case["z_c"])
    close(z, case["z_q"])

    def maps(latents: Tensor) -> list[Tensor]:
        hidden = torch.tanh(latents @ one)
        return [hidden, torch.sin(hidden @ two)]

    information = kernel_information(z, continuous)
    hessian = normalised_hessian_penalty(
        maps, z, tensor(case["signs"]), tensor(case["normals"]), epsilon=case["epsilon"],
        scale=continuous.std(dim=0, correction=0) + 1e-6,
    )  # fmt: skip
    target = (images.flatten(1) + 1) / 2  # theirs are in [-1, 1]
    reconstruction = F.binary_cross_entropy_with_logits(maps(z)[1] @ three, target)
    close(information, case["information"])
    close(hessian, case["hessian"])
    loss = reconstruction + case["information_weight"] * information + case["hessian_weight"] * hessian
    close(loss, case["loss"])
    loss.backward()
    for found, name in ((encoder, "W1"), (one, "V1"), (two, "V2"), (three, "V3")):
        assert found.grad is not None
        close(found.grad, case[f"gradient_{name}"])


@pytest.mark.parametrize("bandwidth", ["released", "consistent"])
def test_kernel_information_is_the_authors(bandwidth):
    case = REFERENCE["information"]
    z, continuous = tensor(case["z"], grad=True), tensor(case["continuous"], grad=True)
    value = kernel_information(z, continuous, bandwidth=bandwidth)
    close(value, case[bandwidth]["value"])
    value.backward()
    assert z.grad is not None
    assert continuous.grad is not None
    close(z.grad, case[bandwidth]["gradient_z"])
    close(continuous.grad, case[bandwidth]["gradient_continuous"])


def test_kernel_information_of_a_batch_of_one_is_refused():
    with pytest.raises(InputError, match="least 2"):
        kernel_information(torch.zeros(1, 3), torch.zeros(1, 3))


def test_a_learnt_variance_is_the_best_one():
    images, logits = torch.rand(4, 3, 2, 2).double(), torch.randn(4, 3, 2, 2).double()
    error = float((torch.sigmoid(logits) - images).square().mean())

    def likelihood(variance: float) -> float:
        return 6 * (error / variance + torch.tensor(variance).double().log().item())

    found = float(reconstruction_error(logits, images, "gaussian-learned"))
    assert found == pytest.approx(likelihood(error) - 6, rel=1e-4)
    assert likelihood(error) < min(likelihood(0.9 * error), likelihood(1.1 * error))


# ------------------------------------------------------------------------------------------------------- training

TINY = {
    "batch": 6, "steps": 4, "log_every": 2, "sample_every": 4, "checkpoint_every": 2, "usage_every": 2,
    "model.channels": (3, 3, 4), "model.hidden": 6, "model.latent_dim": 3, "model.quantiser.values": 5,
}  # fmt: skip


def tiny(kind: Any, **fields: Any) -> AutoencoderTraining:
    made = preset_config(kind, data={"name": "sprites", "resolution": 32}, **{**TINY, **fields})
    assert isinstance(made, AutoencoderTraining)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fields"), [("qlae", {"revive": True}), ("fsq", {"reconstruction": "gaussian-learned"}), ("tripod", {})]
)
def test_a_killed_training_goes_on_to_the_same_weights(kind, fields, tmp_path):
    config = tiny(kind, **fields)
    whole = train_autoencoder(config, tmp_path / "whole", device="cpu").model

    class Killed(Exception):
        pass

    def kill(step: int, *_: object) -> None:
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        train_autoencoder(config, tmp_path / "broken", device="cpu", progress=kill)
    again = train_autoencoder(config, tmp_path / "broken", device="cpu").model.state_dict()
    assert all(torch.equal(again[name], value) for name, value in whole.state_dict().items())
    loaded = disentangle.load(tmp_path / "whole")
    assert loaded.config == config.model
    lines = [json.loads(line) for line in (tmp_path / "whole" / "stats.jsonl").read_text().splitlines()]
    assert lines[0]["codes"] == {"values": 15, "dead": None}
    assert 0 < lines[-1]["codes"]["dead"] < 15
    assert (tmp_path / "whole" / "samples" / "000004.png").is_file()


def test_a_training_counts_dead_values(tmp_path):
    config = tiny("qlae", steps=1, usage_every=1)
    model = train_autoencoder(config, tmp_path, device="cpu").model
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [line["codes"]["values"] for line in lines] == [15, 15]
    assert lines[0]["codes"]["dead"] is None
    assert 0 < lines[1]["codes"]["dead"] < 15
    assert disentangle.load(tmp_path).config == model.config


def test_what_decays():
    model = disentangle.models.build_model(tiny("qlae").model)
    weights, others = decayed(model)
    assert len(weights) + len(others) == len(list(model.parameters()))
    assert all(p is not model.quantiser.values for p in weights)
    assert any(p is model.decoder.constant for p in weights)
    assert any(p is model.first.bias for p in others)


def test_dead_values_are_counted_and_revived():
    usage = CodeUsage(2, 3)
    usage.add(torch.tensor([[0, 2], [0, 2], [1, 2]]))
    counts = usage.close()
    assert counts.tolist() == [[2, 1, 0], [0, 0, 3]]
    assert usage.dead == 3
    assert not usage.counts.any()
    values = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
    made = revived(values, counts, torch.Generator().manual_seed(0))
    assert made[0, :2].tolist() == [0.0, 1.0]
    assert made[1, 2] == 0
    moved = torch.stack([made[0, 2], made[1, 0], made[1, 1]])
    assert bool((moved != 0).all())
    assert float(moved.abs().max()) < 0.1
    with pytest.raises(InputError, match="differ"):
        revived(values, counts[:1], torch.Generator())


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("qlae", {"model.quantiser.values": 7}, "a batch of 6 pictures can take no more than 6"),
        ("qlae", {"model.quantiser.kind": "fsq"}, "is for model.quantiser.kind 'codebooks'"),
        ("tripod", {"model.quantiser.kind": "codebooks"}, "is for model.quantiser.kind 'fsq'"),
        ("fsq", {"revive": True}, "evenly spaced values stay"),
        ("tripod", {"objective.bandwidth": "own"}, "bandwidth"),
    ],
)
def test_what_does_not_fit_is_refused(kind, fields, message):
    with pytest.raises(ConfigError, match=message):
        tiny(kind, **fields)


@pytest.mark.parametrize("name", ["qlae-64", "tripod-64", "fsq-64", "tripod-isaac3d"])
def test_published_rows(name):
    row = disentangle.training.PRESETS[name]
    config = preset_config(row["kind"], data={"name": "rooms"}, preset=name)
    assert isinstance(config, AutoencoderTraining)
    assert config.model.latent_dim == row["latent"]
    assert config.clip_all == (row["kind"] != "qlae")
    assert config.optimizer.weight_decay == (0.1 if name == "qlae-64" else 0)
