"""Settings that a file states are read, or refused by their name: none is passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_files import persistent_pickle, torch_bytes
from test_convert import PROGAN, SG1, SG2, SG3, refused, written
from test_convert_stylegan import inside, network
from writers import (
    genforce,
    nvidia_stylegan2,
    nvidia_stylegan3,
    rosinality,
    rough,
    tensorflow_pickle,
    tensorflow_progan,
    tensorflow_stylegan1,
    tensorflow_stylegan2,
)

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Limits
from disentangle.io import foreign, load
from disentangle.io.foreign.tensorflow import variables_of
from disentangle.io.foreign.tensorflow_settings import check_settings, number_of

REFUSED: list[tuple[dict[str, Any], Callable[..., bytes], dict[str, Any], str]] = [
    (SG2, tensorflow_stylegan2, {"nonlinearity": "elu"}, "it states nonlinearity elu"),
    (SG2, tensorflow_stylegan2, {"mapping_nonlinearity": "tanh"}, "it states mapping_nonlinearity tanh"),
    (SG2, tensorflow_stylegan2, {"synthesis_func": "G_mine"}, "it states synthesis_func G_mine"),
    (SG2, tensorflow_stylegan2, {"resample_kernel": "box"}, "it states resample_kernel box"),
    (SG2, tensorflow_stylegan2, {"conv_clamp": "all"}, "it states conv_clamp all"),
    (SG2, tensorflow_stylegan2, {"mapping_lrmul": [0.01]}, "it states mapping_lrmul"),
    (SG2, tensorflow_stylegan2, {"normalize_latents": "yes"}, "it states normalize_latents yes"),
    (SG1, tensorflow_stylegan1, {"use_styles": False}, "it states use_styles False"),
    (SG1, tensorflow_stylegan1, {"const_input_layer": False}, "it states const_input_layer False"),
    (SG1, tensorflow_stylegan1, {"use_pixel_norm": True}, "it states use_pixel_norm True"),
    (SG1, tensorflow_stylegan1, {"use_instance_norm": False}, "it states use_instance_norm False"),
    (SG1, tensorflow_stylegan1, {"nonlinearity": "swish"}, "it states nonlinearity swish"),
    (SG1, tensorflow_stylegan1, {"fused_scale": "sometimes"}, "it states fused_scale sometimes"),
    (PROGAN, tensorflow_progan, {"label_size": 4}, "it states 4 classes (label_size)"),
    (PROGAN, tensorflow_progan, {"pixelnorm_epsilon": "small"}, "it states pixelnorm_epsilon small"),
]


@pytest.mark.parametrize(("config", "write", "settings", "said"), REFUSED, ids=[case[3] for case in REFUSED])
def test_other_settings_of_tensorflow_are_refused_by_name(config, write, settings, said, tmp_path):
    assert said in refused(written(tmp_path, write(rough(config), **settings)))


def test_what_is_not_known_is_said_and_left(tmp_path):
    path = written(tmp_path, tensorflow_stylegan2(rough(SG2), mirror_augment=True, truncation_psi=0.5, num_fp16_res=4))
    said = " ".join(foreign.read(path).provenance["decisions"])
    assert "left out of account: mirror_augment True." in said
    assert "states a truncation by 0.5" in said
    assert "4 largest resolutions were run in half precision" in said


def test_many_unknown_settings_make_a_short_sentence():
    said = check_settings({f"name{i}": "x" * 10_000 for i in range(1000)}, {})
    assert len(said) == 1
    assert len(said[0]) < 1200
    assert "and 992 more" in said[0]


@pytest.mark.parametrize("value", [True, "1", None, [1], float("nan"), float("inf")])
def test_a_number_is_a_number(value):
    with pytest.raises(CheckpointError, match="it states rate"):
        number_of({"rate": value}, "rate", 0.1)


def test_a_constant_of_another_width(tmp_path):
    model = rough(SG2)
    content = foreign.read_inert(written(tmp_path, tensorflow_stylegan2(model), "whole"))
    (tmp_path / "whole").unlink()
    parts = {
        name: {key: torch.as_tensor(value) for key, value in part.attributes["variables"]}
        for name, part in content[2].attributes["components"].items()
    }
    parts["synthesis"]["4x4/Const/const"] = torch.ones(1, 5, 4, 4)
    path = written(tmp_path, tensorflow_pickle({"dlatent_avg": model.mapping.w_avg}, parts, settings={}))
    assert "its constant has 5 features (fmap_const)" in refused(path)


def grown(tmp_path: Path, lod: float) -> Path:
    """A StyleGAN2 of before the published one: layers to the image of all sizes, of which the last paints."""
    model = rough({**SG2, "architecture": "orig"})
    content = foreign.read_inert(written(tmp_path, tensorflow_stylegan2(model), "whole"))
    (tmp_path / "whole").unlink()
    parts = {
        name: {key: torch.as_tensor(value) for key, value in part.attributes["variables"]}
        for name, part in content[2].attributes["components"].items()
    }
    synthesis = parts["synthesis"]
    for part in ("weight", "bias", "mod_weight", "mod_bias"):
        synthesis[f"ToRGB_lod0/{part}"] = synthesis.pop(f"16x16/ToRGB/{part}")
        synthesis[f"ToRGB_lod1/{part}"] = torch.ones(3)
    own = {"dlatent_avg": model.mapping.w_avg, "lod": torch.tensor(lod)}
    settings = {"synthesis_func": "G_synthesis_stylegan_revised"}
    return written(tmp_path, tensorflow_pickle(own, parts, settings=settings))


def test_a_network_that_grew(tmp_path):
    found = foreign.read(grown(tmp_path, 0.0))
    assert found.config["architecture"] == "orig"
    assert "no longer show" in found.provenance["decisions"][0]
    assert sum(name.endswith("torgb.weight") for name in found.state) == 1
    assert "level of detail 0.5" in refused(grown(tmp_path, 0.5))


def test_a_stylegan_without_noise(tmp_path):
    model = rough(SG1)
    path = written(tmp_path, tensorflow_stylegan1(model, use_noise=False))
    foreign.convert(path, tmp_path / "m.safetensors")
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    again = foreign.read(path)
    assert all(not t.any() for name, t in again.state.items() if "noise" in name)
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), model(z, noise="none"), rtol=0, atol=2e-5)


def test_variables_that_are_none(tmp_path):
    path = written(tmp_path, tensorflow_pickle({"lod": torch.tensor(0.0)}, {}, settings={}))
    assert "is no generator of ProGAN, StyleGAN or StyleGAN2" in refused(path)


# ---------------------------------------------------------------------------------------------- the other software

NVIDIA: list[tuple[dict[str, Any], Callable[..., bytes], str, dict[str, Any], str]] = [
    (SG2, nvidia_stylegan2, "mapping.fc1", {"activation": "elu"}, "activation of its mapping network is elu, lrelu"),
    (SG2, nvidia_stylegan2, "synthesis.b8.conv0", {"activation": "tanh"}, "synthesis network is lrelu, tanh"),
    (SG2, nvidia_stylegan2, "synthesis.b8.conv0", {"activation": "relu"}, "synthesis network is lrelu, relu"),
    (SG2, nvidia_stylegan2, "mapping.fc2", {"bias_gain": 0.5}, "differ in their learning rate multiplier"),
    (SG2, nvidia_stylegan2, "synthesis.b8.torgb", {"conv_clamp": 3.0}, "differ in clamping"),
    (SG3, nvidia_stylegan3, "mapping.fc0", {"activation": "relu"}, "activation of its mapping network is lrelu, relu"),
]


@pytest.mark.parametrize(("config", "write", "where", "change", "said"), NVIDIA, ids=[case[4] for case in NVIDIA])
def test_other_layers_of_nvidia_are_refused_by_name(config, write, where, change, said, tmp_path):
    made = network(write(rough(config)), tmp_path)
    inside(made, where).update(change)
    assert said in refused(written(tmp_path, persistent_pickle({"G_ema": made})))


def test_filters_that_differ(tmp_path):
    made = network(nvidia_stylegan2(rough(SG2)), tmp_path)
    inside(made, "synthesis.b8.conv0")["_buffers"]["resample_filter"] = torch.ones(2, 2)
    assert "differ in their smoothing filters" in refused(written(tmp_path, persistent_pickle({"G_ema": made})))
    (tmp_path / "file.pkl").unlink()
    data = foreign.read_inert(written(tmp_path, rosinality(rough(SG2)), "whole"))
    (tmp_path / "whole").unlink()
    state = {**data["g_ema"], "convs.2.conv.blur.kernel": torch.ones(4, 4)}
    assert "differ in their smoothing filters (blur)" in refused(written(tmp_path, torch_bytes({"g_ema": state})))


@pytest.mark.parametrize(
    ("config", "changes", "said"),
    [
        (SG2, {"synthesis.layer1.filter.kernel": torch.ones(1, 1, 4, 4)}, "expected [1, 3, 3, 1]"),
        (SG1, {"synthesis.layer2.blur.kernel": torch.ones(8, 1, 3, 3)}, "expected [1, 2, 1]"),
        (SG1, {"synthesis.layer2.blur.kernel": torch.arange(72.0).reshape(8, 1, 3, 3)}, "from channel to channel"),
        (SG1, {"synthesis.layer0.apply_noise.noise": torch.ones(1, 8, 1, 1)}, "noise_type='channel'"),
        (SG1, {"synthesis.layer0.weight": torch.ones(8, 12, 4, 4)}, "const_input=False"),
        (SG2, {"truncation.w_avg": torch.ones(72)}, "repeat_w=False"),
    ],
)
def test_variants_of_genforce_are_refused_by_name(config, changes, said, tmp_path):
    data = foreign.read_inert(written(tmp_path, genforce(rough(config)), "whole"))
    (tmp_path / "whole").unlink()
    state = {**data["generator_smooth"], **changes}
    assert said in refused(written(tmp_path, torch_bytes({"generator_smooth": state})))


def test_a_mean_of_w_is_computed_behind_hidden_layers_of_another_width(tmp_path):
    """NVIDIA's networks without ``w_avg_beta`` hold no mean."""
    model = rough({**SG2, "mapping_width": 7})
    made = network(nvidia_stylegan2(model), tmp_path)
    del inside(made, "mapping")["_buffers"]["w_avg"]
    found = foreign.read(written(tmp_path, persistent_pickle({"G_ema": made})))
    assert found.state["mapping.w_avg"].shape == (12,)
    assert any("computed from 10,000" in said for said in found.provenance["decisions"])


def test_a_variable_that_is_no_array(tmp_path):
    """It is refused where it is needed, and left out where a file is only listed."""
    path = written(tmp_path, tensorflow_pickle({"lod": torch.tensor(0.0)}, {}, settings={}))
    network = foreign.read_inert(path)[2]
    budget = Budget(Limits(), size=10_000)
    network.attributes["variables"].append(("name", "text"))
    assert list(variables_of(network, budget)) == ["lod"]
    with pytest.raises(CheckpointError, match="its variable name is text"):
        variables_of(network, budget, every=True)
    assert variables_of(network, budget)["lod"].shape == ()
