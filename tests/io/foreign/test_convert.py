"""Every format of other projects becomes a model that draws the same pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from sample_files import Persistent, module_state, persistent_pickle, torch_bytes
from writers import (
    genforce,
    nvidia_stylegan2,
    nvidia_stylegan3,
    rosinality,
    rough,
    tensorflow_progan,
    tensorflow_stylegan1,
    tensorflow_stylegan2,
)

from disentangle.errors import CheckpointError
from disentangle.io import foreign, load, model_info

SG2 = {
    "kind": "stylegan2", "resolution": 16, "z_dim": 12, "w_dim": 12, "mapping_layers": 3, "channels": (8, 8, 6),
}  # fmt: skip
SG1 = {**SG2, "kind": "stylegan1", "channels": (8, 8, 6)}
SG3 = {
    "kind": "stylegan3", "resolution": 16, "z_dim": 8, "w_dim": 12, "num_layers": 4, "num_critical": 1,
    "channel_base": 128, "channel_max": 8, "margin_size": 4,
}  # fmt: skip
PROGAN = {"kind": "progan", "resolution": 16, "latent_dim": 10, "channels": (8, 8, 6)}


def householder(*layers: str, gain: str = "one") -> dict:
    return {"projection": {"kind": "householder", "rank": 3, "layers": layers, "gain": gain}}


CASES = {
    "NVIDIA StyleGAN2": (SG2, nvidia_stylegan2),
    "NVIDIA StyleGAN2, resnet, clamped": ({**SG2, "architecture": "resnet", "clamp": 2.0}, nvidia_stylegan2),
    "NVIDIA StyleGAN2, orig": ({**SG2, "architecture": "orig"}, nvidia_stylegan2),
    "NVIDIA StyleGAN2, classes": ({**SG2, "c_dim": 4}, nvidia_stylegan2),
    "NVIDIA StyleGAN2, other nonlinearities": (
        {**SG2, "activation": "swish", "mapping_activation": "relu", "clamp": 0.9}, nvidia_stylegan2,
    ),
    "NVIDIA StyleGAN2, linear, resnet": (
        {**SG2, "activation": "linear", "mapping_activation": "linear", "architecture": "resnet"}, nvidia_stylegan2,
    ),
    "NVIDIA StyleGAN2, three taps": ({**SG2, "resample_filter": (1.0, 2.0, 1.0)}, nvidia_stylegan2),
    "NVIDIA StyleGAN2, one tap": ({**SG2, "resample_filter": (8.0,), "architecture": "resnet"}, nvidia_stylegan2),
    "NVIDIA StyleGAN2, other widths": (
        {**SG2, "c_dim": 4, "mapping_width": 7, "class_width": 5}, nvidia_stylegan2,
    ),
    "NVIDIA StyleGAN2 of classes alone": ({**SG2, "c_dim": 4, "z_dim": 0}, nvidia_stylegan2),
    "NVIDIA StyleGAN3-T": (SG3, nvidia_stylegan3),
    "NVIDIA StyleGAN3-R": ({**SG3, "kernel": 1, "radial": True}, nvidia_stylegan3),
    "NVIDIA StyleGAN3, classes": ({**SG3, "c_dim": 4}, nvidia_stylegan3),
    "HouseholderGAN 3": ({**SG3, **householder("L0_24_8", gain="equalized")}, nvidia_stylegan3),
    "TensorFlow StyleGAN2": (SG2, tensorflow_stylegan2),
    "TensorFlow StyleGAN2 without noise": ({**SG2, "use_noise": False}, tensorflow_stylegan2),
    "TensorFlow StyleGAN2 with ADA's classes": (
        {**SG2, "c_dim": 4, "class_width": 9, "mapping_width": 7}, tensorflow_stylegan2,
    ),
    "TensorFlow StyleGAN2, other nonlinearities": (
        {**SG2, "activation": "relu", "mapping_activation": "swish"},
        lambda m: tensorflow_stylegan2(m, nonlinearity="relu", mapping_nonlinearity="swish"),
    ),
    "TensorFlow StyleGAN2, no filter": (
        {**SG2, "resample_filter": (1.0, 1.0)}, lambda m: tensorflow_stylegan2(m, resample_kernel=None),
    ),
    "TensorFlow StyleGAN2, odd filter, clamped": (
        {**SG2, "resample_filter": (1.0, 2.0, 1.0), "clamp": 1.5},
        lambda m: tensorflow_stylegan2(m, resample_kernel=[1, 2, 1], conv_clamp=1.5),
    ),
    "TensorFlow StyleGAN2 with classes before ADA": (
        {**SG2, "c_dim": 4, "class_width": 12, "class_norm": "together", "mapping_norm": False},
        lambda m: tensorflow_stylegan2(m, normalize_latents=False),
    ),
    "TensorFlow StyleGAN": (SG1, tensorflow_stylegan1),
    "TensorFlow StyleGAN, fused": (SG1, lambda m: tensorflow_stylegan1(m, fused_scale=True, use_wscale=False)),
    "TensorFlow StyleGAN with classes": ({**SG1, "c_dim": 4, "class_norm": "together"}, tensorflow_stylegan1),
    "TensorFlow StyleGAN, relu, another filter": (
        {**SG1, "activation": "relu", "mapping_activation": "relu", "blur_filter": (2.0, 3.0, 3.0, 1.0), "lod": 0.4},
        lambda m: tensorflow_stylegan1(
            m, nonlinearity="relu", mapping_nonlinearity="relu", blur_filter=[1, 3, 3, 2], mapping_lrmul=0.01
        ),
    ),
    "TensorFlow ProGAN": (PROGAN, tensorflow_progan),
    "TensorFlow ProGAN, apart": ({**PROGAN, "lod": 1.3}, lambda m: tensorflow_progan(m, fused_scale=False)),
    "TensorFlow ProGAN, other layers": (
        {**PROGAN, "slope": 0.0, "norm": False, "norm_latent": False, "norm_eps": 0.1, "equalized": False},
        lambda m: tensorflow_progan(
            m, use_leakyrelu=False, use_pixelnorm=False, normalize_latents=False, pixelnorm_epsilon=0.1,
            use_wscale=False,
        ),
    ),
    "rosinality": (SG2, rosinality),
    "rosinality, another filter": (
        {**SG2, "resample_filter": (1.0, 4.0, 2.0, 1.0, 3.0, 5.0), "image_filter": (1.0, 3.0, 3.0, 1.0)}, rosinality,
    ),
    "rosinality in training": (SG2, lambda m: rosinality(m, training=True)),
    "HouseholderGAN 2": (
        {**SG2, **householder("b8.conv0", "b16.conv0")}, lambda m: rosinality(m, training=True, rank=3),
    ),
    "genforce StyleGAN2": (SG2, genforce),
    "genforce StyleGAN2 with classes": (
        {**SG2, "c_dim": 4, "class_width": 9, "class_norm": "together", "mapping_width": 7}, genforce,
    ),
    "genforce StyleGAN with classes": ({**SG1, "c_dim": 4, "class_norm": "together"}, genforce),
    "genforce StyleGAN": (SG1, genforce),
    "genforce StyleGAN in training": (SG1, lambda m: genforce(m, trained=True)),
    "genforce ProGAN": (PROGAN, genforce),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_pictures_are_the_same(case, tmp_path):
    config, write = CASES[case]
    model = rough(config)
    source, out = tmp_path / "file", tmp_path / "model.safetensors"
    source.write_bytes(write(model))
    found = foreign.convert(source, out)
    again = load(out)
    assert again.config.kind == config["kind"]
    z = model.sample_latents(3, generator=torch.Generator().manual_seed(0))
    options = {"label": torch.tensor([0, 1, 3])} if config.get("c_dim") else {}
    torch.testing.assert_close(again(z, **options), model(z, **options), rtol=0, atol=2e-5)
    if "w" in model.spaces and "training" not in case and "HouseholderGAN 2" not in case:
        near = {**options, "truncation": 0.5, "truncation_cutoff": 2}
        torch.testing.assert_close(again(z, **near), model(z, **near), rtol=0, atol=2e-5)
    record = model_info(out)["provenance"]
    assert record["format"] == found.format
    assert record["source"] == "file"
    assert len(record["sha256"]) == 64
    assert record["which"] in ("G_ema", "Gs", "g_ema", "generator_smooth")


def written(tmp_path: Path, content: bytes, name: str = "file.pkl") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refused(path: Path, **options) -> str:
    out = path.parent / "out.safetensors"
    with pytest.raises(CheckpointError) as caught:
        foreign.convert(path, out, **options)
    assert not out.exists()
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_a_missing_mean_of_w_is_computed_and_said(tmp_path):
    model = rough(SG2)
    path = written(tmp_path, rosinality(model, training=True))
    found = foreign.read(path)
    assert any("computed from 10,000" in said for said in found.provenance["decisions"])
    w = model.sample_latents(20_000, space="w", generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(found.state["mapping.w_avg"], w.mean(0), rtol=0, atol=0.05 * float(w.std()))


def test_effective_values_come_from_the_layers(tmp_path):
    path = written(tmp_path, nvidia_stylegan2(rough({**SG2, "clamp": 256.0}), half=(8, 16)))
    found = foreign.read(path)
    assert found.config["clamp"] == 256.0
    assert any("8, 16 pixels were run in half precision" in said for said in found.provenance["decisions"])


def test_the_rank_of_a_householder_layer_is_said(tmp_path):
    model = rough({**SG2, **householder("b8.conv0")})
    path = written(tmp_path, rosinality(model, training=True, rank=3))
    assert foreign.read(path).config["projection"]["rank"] == 3
    assert "states the rank 3, so that 2 cannot be" in refused(path, rank=2)
    assert "order vsu is not defined for its layer b8.conv0" in refused(path, order="vsu")


@pytest.mark.parametrize(("layer", "open_"), [("b8.conv0", True), ("b16.conv0", False), ("b4.conv1", True)])
def test_the_order_of_the_factors_has_to_be_said_where_it_is_open(layer, open_, tmp_path):
    """Only where inputs and outputs are equal do both orders make sense; a layer that narrows has the first only."""
    model = rough({**SG2, "channels": (12, 8, 6), **householder(layer)})
    path = written(tmp_path, rosinality(model, training=True, rank=3))
    if open_:
        assert "can be made in two orders, and nothing in the file says in which: give --order usv" in refused(path)
        foreign.read(path, order="vsu")
    assert foreign.read(path, order="usv" if open_ else "auto").config["projection"]["rank"] == 3


def test_other_weights_on_request(tmp_path):
    path = written(tmp_path, rosinality(rough(SG2), training=True))
    assert foreign.read(path, weights="g").provenance["which"] == "g"
    assert "no weights 'x'; it has g_ema, g" in refused(path, weights="x")


def test_fused_kernels_are_turned(tmp_path):
    model = rough(SG1)
    path = written(tmp_path, genforce(model, fused=True))
    found = foreign.read(path, fused="always")
    assert torch.equal(found.state["synthesis.b8.conv0.weight"], model.state_dict()["synthesis.b8.conv0.weight"])
    assert not torch.equal(
        foreign.read(path).state["synthesis.b8.conv0.weight"], model.state_dict()["synthesis.b8.conv0.weight"]
    )


@pytest.mark.parametrize("name", ["TriPlaneGenerator", "SuperresGenerator", "ProjectedGenerator"])
def test_other_classes_in_the_same_container_are_refused_by_name(name, tmp_path):
    network = Persistent(name, module_state({"weight": torch.ones(2)}, {}, {}))
    message = refused(written(tmp_path, persistent_pickle({"G_ema": network})))
    assert f"class {name}" in message
    assert "1 tensors" in message


def test_a_discriminator_alone(tmp_path):
    network = Persistent("Discriminator", module_state({"weight": torch.ones(2)}, {}, {}))
    assert "holds no generator" in refused(written(tmp_path, persistent_pickle({"D": network})))


def test_a_tensor_that_is_not_known(tmp_path):
    data = foreign.read_inert(written(tmp_path, rosinality(rough(SG2)), "whole"))
    (tmp_path / "whole").unlink()
    data["g_ema"]["convs.0.extra"] = torch.ones(3)
    message = refused(written(tmp_path, torch_bytes({"g_ema": dict(data["g_ema"])})))
    assert "convs.0.extra (3,)" in message
    del data["g_ema"]["convs.0.extra"], data["g_ema"]["convs.1.activate.bias"]
    message = refused(written(tmp_path, torch_bytes({"g_ema": dict(data["g_ema"])})))
    assert "missing synthesis.b8.conv1.bias" in message


def test_a_shape_that_does_not_fit(tmp_path):
    model = rough(SG2)
    model.synthesis.b8.conv1.bias = torch.nn.Parameter(torch.ones(5))
    message = refused(written(tmp_path, rosinality(model)))
    assert "synthesis.b8.conv1.bias has shape (5,), expected (8,)" in message


def test_nan_is_refused(tmp_path):
    model = rough(SG2)
    model.mapping.fc0.weight[0, 0] = float("nan")
    assert "mapping.fc0.weight holds NaN" in refused(written(tmp_path, rosinality(model)))


LOOKS = {
    "web page": (b"<!DOCTYPE html><html>", "web page"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
    "empty": (b"", "is empty"),
    "zeros": (bytes(4096), "zeros only"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG picture"),
    "text": (b"hello there", "is text"),
    "noise": (b"\xf0\x9f" * 300, "unknown format"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "unpack it"),
    "other state": (torch_bytes({"a": torch.ones(2)}), "of no known format"),
    "cut off": (torch_bytes({"a": torch.ones(200)})[:700], "cannot be read"),
}


@pytest.mark.parametrize("name", sorted(LOOKS))
def test_what_a_wrong_file_looks_like(name, tmp_path):
    content, said = LOOKS[name]
    assert said in refused(written(tmp_path, content))


def test_a_folder_and_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="folder without a model"):
        foreign.read(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        foreign.read(tmp_path / "nothing.pkl")


def test_a_model_of_our_own_needs_no_conversion(tmp_path):
    from disentangle.io import save

    save(rough(SG2), tmp_path / "own.safetensors")
    with pytest.raises(CheckpointError, match="needs no conversion"):
        foreign.read(tmp_path / "own.safetensors")


def test_contents(tmp_path):
    held = foreign.contents(written(tmp_path, nvidia_stylegan2(rough(SG2))))
    assert held["container"] == "pickle"
    assert "StyleGAN2-ADA" in held["format"]
    network = next(part for part in held["parts"] if part["name"] == "G_ema")
    assert network["class"] == "Generator"
    assert network["tensors"]["synthesis.b4.const"] == [8, 4, 4]
    json.dumps(held)
