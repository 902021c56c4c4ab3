"""Settings that a file states are read, or refused by their name: none is passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_convert import PROGAN, SG1, SG2, refused, written
from writers import rough, tensorflow_pickle, tensorflow_progan, tensorflow_stylegan1, tensorflow_stylegan2

from disentangle.errors import CheckpointError
from disentangle.io import foreign, load
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
