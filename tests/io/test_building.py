"""Headers of the toolkit's own files: two hundred bytes must not build a million layers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import disentangle
from disentangle.errors import CheckpointError, DisentangleError
from disentangle.io import load_discriminator
from disentangle.models import build_model
from disentangle.models.base import config_class, model_kinds
from disentangle.models.discriminators import (
    PairedDiscriminatorConfig,
    ProGANDiscriminatorConfig,
    StridedDiscriminatorConfig,
    StyleGAN2DiscriminatorConfig,
    build_discriminator,
)
from tests.resources import cost, within_bounds

SMALL: dict[str, dict[str, Any]] = {
    "vae": {"resolution": 16, "latent_dim": 4, "channels": [4, 8], "hidden": 16},
    "mlp-gan": {"latent_dim": 4, "hidden": [8]},
    "mlp-vae": {"latent_dim": 4, "hidden": 8},
    "gan": {"resolution": 16, "latent_dim": 6, "channels": [8, 6, 4]},
    "dcgan": {"resolution": 16, "latent_dim": 6, "channels": [8, 6]},
    "eigengan": {"resolution": 16, "basis": 2, "noise_dim": 5, "channels": [8, 6, 4]},
    "progan": {"resolution": 16, "latent_dim": 8, "channels": [8, 8, 4]},
    "stylegan1": {"resolution": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channels": [8, 8, 4]},
    "stylegan2": {"resolution": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channels": [8, 8, 4]},
    "stylegan3": {
        "resolution": 16, "z_dim": 8, "w_dim": 12, "num_layers": 4, "num_critical": 1, "channel_base": 128,
        "channel_max": 8, "margin_size": 4,
    },
    "autoencoder": {"resolution": 16, "latent_dim": 3, "channels": [4, 8], "hidden": 8, "quantiser": {"values": 4}},
    "classifier": {"class_names": ["a", "b"], "norm": "dbn", "weight": "ow"},
}  # fmt: skip
WITHOUT = {"autoencoder-kl", "wrapped"}  # built by another library, and of the code of a user
DISCRIMINATORS = [
    PairedDiscriminatorConfig(resolution=16, image_channels=3, channels=(4, 4, 4)),
    StridedDiscriminatorConfig(resolution=16, image_channels=3, channels=(4, 4)),
    StyleGAN2DiscriminatorConfig(resolution=16, image_channels=3, channels=(4, 4, 4)),
    ProGANDiscriminatorConfig(resolution=16, image_channels=3, channels=(4, 4, 4)),
]
ABSURD = [65_536, 60_000, 10**9, 10**30, -1, 0, 1, 1e308, "x", None, [], [[1]], [65_536] * 8, [4] * 50_000, {}, True]


def written(path: Path, kind: str, fields: dict[str, object], tensors: dict[str, torch.Tensor]) -> Path:
    header = {**fields, "format": f"disentangle-{kind}", "version": 1}
    save_file(tensors, path, {"format": "pt", "disentangle": json.dumps(header)})
    return path


def test_the_table_above_has_every_kind() -> None:
    assert set(SMALL) | WITHOUT == set(model_kinds())


def test_a_thousand_million_layers(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(1)}
    for number in (10**9, 65_000):
        fields = {"kind": "stylegan2", "mapping_layers": number, "resolution": 16, "channels": [8, 8, 4]}
        path = written(tmp_path / "m.safetensors", "model", fields, tensors)
        assert path.stat().st_size < 400
        found = cost(lambda path=path: disentangle.load(path))
        assert within_bounds(found, path.stat().st_size), found
        assert found.seconds < 5
        layers = "mapping_layers is 1,000,000,000", "far more layers than the 1 tensors"
        assert any(part in found.message for part in layers)


def test_a_construction_that_fails_is_a_sentence(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(1)}
    fields = {"kind": "gan", "resolution": 16, "channels": [8, -6, 4]}
    with pytest.raises(CheckpointError, match="cannot be built: "):
        disentangle.load(written(tmp_path / "m.safetensors", "model", fields, tensors))
    for kind in (None, 3, ["gan"], {"a": 1}):
        with pytest.raises(CheckpointError, match="its header names no kind of model"):
            disentangle.load(written(tmp_path / "m.safetensors", "model", {"kind": kind}, tensors))


def test_the_hooks_that_count_are_gone_afterwards(tmp_path: Path) -> None:
    fields = {"kind": "stylegan2", "mapping_layers": 65_000, "resolution": 16, "channels": [8, 8, 4]}
    with pytest.raises(CheckpointError, match="far more layers"):
        disentangle.load(written(tmp_path / "m.safetensors", "model", fields, {"a": torch.ones(1)}))
    torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(3_000)))  # more than that file was allowed


def test_what_no_file_holds_is_made(tmp_path: Path) -> None:
    """Tensors outside the state, as a smoothing filter: on meta they have no values."""
    for kind, fields in SMALL.items():
        model = build_model({"kind": kind, **fields}, seed=3)
        disentangle.save(model, tmp_path / "m.safetensors")
        loaded = disentangle.load(tmp_path / "m.safetensors")
        assert not any(t.is_meta for m in loaded.modules() for t in vars(m).values() if isinstance(t, torch.Tensor))
        assert all(torch.equal(loaded.state_dict()[name], t) for name, t in model.state_dict().items())


def all_refused_or_built(cases: Iterator[tuple[str, object]], load: Callable[[], object]) -> None:
    """In one child for all of them, since a fork takes longer than most: each within seconds, none over the memory."""

    def run() -> None:
        for name, value in cases:
            begun = time.process_time()
            try:
                load()
            except DisentangleError:
                pass
            except BaseException as error:
                raise AssertionError(f"{name}={value!r:.60} ends in {error!r}") from error
            assert time.process_time() - begun < 10, (name, value)

    found = cost(run, seconds=300, memory=2**32)
    assert found.outcome == "returned", found
    assert found.bytes < 512 * 2**20, found


@pytest.mark.faults
@pytest.mark.parametrize("kind", sorted(SMALL))
def test_absurd_fields_of_every_kind_of_model(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model = build_model({"kind": kind, **SMALL[kind]}, seed=0)
    full = model.config.model_dump(mode="json")
    tensors = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}

    def cases() -> Iterator[tuple[str, object]]:
        for field in sorted(config_class(kind).model_fields):
            for value in ABSURD:
                for held in ({"a": torch.ones(1)}, tensors):
                    written(path, "model", {**full, field: value}, held)
                    yield field, value

    all_refused_or_built(cases(), lambda: disentangle.load(path))


@pytest.mark.faults
@pytest.mark.parametrize("config", DISCRIMINATORS, ids=lambda config: config.kind)
def test_absurd_fields_of_every_discriminator(config: StridedDiscriminatorConfig, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    tensors = {name: tensor.clone() for name, tensor in build_discriminator(config).state_dict().items()}
    full = config.model_dump(mode="json")

    def cases() -> Iterator[tuple[str, object]]:
        for field in sorted(full):
            for value in ABSURD:
                written(path, "discriminator", {**full, field: value}, tensors)
                yield field, value

    all_refused_or_built(cases(), lambda: load_discriminator(path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["eigengan", "stylegan2"])
def test_no_compiler_is_loaded_for_a_construction_without_memory(kind: str, tmp_path: Path) -> None:
    disentangle.save(build_model({"kind": kind, **SMALL[kind]}, seed=0), tmp_path / "m.safetensors")
    program = f"import sys, disentangle; disentangle.load({str(tmp_path / 'm.safetensors')!r}); "
    program += "sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
