"""Settings of networks that were pickled whole are read from their attributes; HouseholderGAN's order and rank."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_files import torch_bytes
from test_convert import PROGAN, SG1, written
from test_convert_more import PGP, ZOO_SG1
from torch import Tensor, nn
from writers import genforce, rough, with_factors
from writers_more import pro_gan_pytorch, zoo_stylegan

from disentangle.errors import CheckpointError
from disentangle.io import foreign, load


class Held(nn.Module):
    """Modules inside modules, of the names in a state, with attributes."""

    def __init__(self, state: Mapping[str, Tensor], **attributes: Any) -> None:
        super().__init__()
        for name, tensor in state.items():
            *path, last = name.split(".")
            part: nn.Module = self
            for step in path:
                if step not in part._modules:
                    part.add_module(step, nn.Module())
                part = part.get_submodule(step)
            part.register_buffer(last, tensor)
        for name, value in attributes.items():
            setattr(self, name, value)


def state_in(folder: Path, content: bytes, name: str | None = None) -> dict[str, Tensor]:
    data = foreign.read_inert(written(folder, content, "whole"))
    (folder / "whole").unlink()
    assert isinstance(data, dict)
    return data if name is None else data[name]


def check(model: Any, data: Any, folder: Path, **options: Any) -> foreign.Foreign:
    path = written(folder, torch_bytes(data))
    found = foreign.convert(path, folder / "m.safetensors", **options)
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(load(folder / "m.safetensors")(z), model(z), rtol=0, atol=2e-5)
    return found


def test_a_progan_of_pro_gan_pytorch(tmp_path):
    model = rough({**PGP, "equalized": False})
    state = state_in(tmp_path, pro_gan_pytorch(model, bare=True))
    check(model, Held(state, use_eql=False), tmp_path)
    check(model, nn.DataParallel(Held(state, use_eql=False)), tmp_path)
    with pytest.raises(CheckpointError, match="the file states equalized false"):
        foreign.read(tmp_path / "file.pkl", settings={"equalized": True})


def test_a_progan_of_pro_gan_pytorch_before_release_3(tmp_path):
    """Its first block had another name, and did not normalise the latent."""
    model = rough({**PGP, "norm_latent": False})
    state = {}
    for name, tensor in state_in(tmp_path, pro_gan_pytorch(model, bare=True)).items():
        kind, index, rest = name.split(".", 2)
        if kind == "layers":
            kind, index = ("initial_block", "") if index == "0" else (kind, str(int(index) - 1))
        state[".".join(part for part in (kind, index, rest) if part)] = tensor
    found = check(model, {f"module.{name}": tensor for name, tensor in state.items()}, tmp_path)
    assert any("Of a release before 3" in said for said in found.provenance["decisions"])


@pytest.mark.parametrize(
    ("config", "attributes"),
    [
        ({**PROGAN, "last": "tanh", "equalized": False}, {"final_tanh": True, "use_wscale": False, "label_size": 0}),
        ({**SG1, "last": "tanh", "mapping_multiplier": 0.2}, {"final_tanh": True, "mapping_lr_mul": 0.2}),
    ],
    ids=["ProGAN", "StyleGAN"],
)
def test_a_network_of_genforce(config, attributes, tmp_path):
    model = rough(config)
    state = state_in(tmp_path, genforce(model), "generator_smooth")
    check(model, Held(state, fused_scale=False, **attributes), tmp_path)
    with pytest.raises(CheckpointError, match="states fused_scale False, so that --fused always cannot be"):
        foreign.read(tmp_path / "file.pkl", fused="always")


def test_classes_that_a_progan_states_are_refused(tmp_path):
    state = state_in(tmp_path, genforce(rough(PROGAN)), "generator_smooth")
    with pytest.raises(CheckpointError, match="it states 3 classes"):
        foreign.read(written(tmp_path, torch_bytes(Held(state, label_size=3))))


def test_a_network_of_the_zoo(tmp_path):
    state = state_in(tmp_path, zoo_stylegan(rough(ZOO_SG1)), "avgG")
    network = Held(state, phiTruncation=0.9, alpha=0, activation=nn.LeakyReLU(0.1), generationActivation=nn.Tanh())
    config = foreign.read(written(tmp_path, torch_bytes(network))).config
    assert (config["truncation"], config["slope"], config["last"]) == (0.9, 0.1, "tanh")
    network.generationActivation = nn.Softplus()
    with pytest.raises(CheckpointError, match="it ends with Softplus"):
        foreign.read(written(tmp_path, torch_bytes(network)))


SG3 = {"kind": "stylegan3", "resolution": 16, "z_dim": 8, "w_dim": 8, "num_layers": 4, "num_critical": 1,
       "channel_base": 128, "channel_max": 8, "margin_size": 4}  # fmt: skip


@pytest.mark.slow
def test_tensors_of_a_householder_stylegan3(tmp_path):
    projection = {"kind": "householder", "rank": 3, "layers": ("L0_24_8", "L2_24_8"), "gain": "equalized"}
    model = rough({**SG3, "projection": projection})
    state = with_factors(model.state_dict())
    found = check(model, state, tmp_path, order="usv", rank=3)
    assert tuple(found.config["projection"]["layers"]) == projection["layers"]
    path = tmp_path / "file.pkl"
    with pytest.raises(CheckpointError, match="L0_24_8 can be made in two orders, and nothing in the file says"):
        foreign.read(path)
    del state["synthesis.L0_24_8.affine.V"]
    with pytest.raises(CheckpointError, match="L0_24_8 has one factor of two"):
        foreign.read(written(tmp_path, torch_bytes(state)), order="usv", rank=3)


def test_settings_of_tensors_by_nvidias_names(tmp_path):
    model = rough({**SG3, "output_scale": 1.0, "mapping_multiplier": 0.5})
    given = {"output_scale": "1", "lr_multiplier": 0.5, "clamp": "none"}
    found = check(model, model.state_dict(), tmp_path, settings=given)
    assert all(layer["clamp"] is None for layer in found.config["layers"])
    with pytest.raises(CheckpointError, match="clamp is much; expected a number, as 256, or none"):
        foreign.read(tmp_path / "file.pkl", settings={"clamp": "much"})
