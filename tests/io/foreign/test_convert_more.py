"""The smaller projects' formats: the same pictures, each told from its siblings, and what is said of damaged files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from sample_files import torch_bytes
from torch import Tensor, nn
from writers import genforce, rosinality, rough
from writers_more import (
    eigengan,
    example_dcgan,
    ganspace_stylegan,
    pro_gan_pytorch,
    pythae,
    simple_gan,
    zoo_dcgan,
    zoo_progan,
    zoo_stylegan,
)

from disentangle.errors import CheckpointError
from disentangle.io import foreign, load
from disentangle.io.foreign.conversion import open_content
from disentangle.io.foreign.registry import formats

SQRT2 = math.sqrt(2.0)
PROGAN = {"kind": "progan", "resolution": 16, "latent_dim": 10, "channels": (8, 7, 6), "rgb_gain": SQRT2}
ZOO_PROGAN = {**PROGAN, "first_gain": SQRT2, "first_bias": "pixel"}
PGP = {**PROGAN, "first_gain": SQRT2, "first_norm": False}
SG1 = {
    "kind": "stylegan1", "resolution": 16, "z_dim": 12, "w_dim": 12, "mapping_layers": 3, "channels": (8, 7, 6),
}  # fmt: skip
ZOO_SG1 = {
    **SG1, "blur": False, "norm_centred": False, "rgb_gain": SQRT2, "rgb_first": 1, "truncation": 0.75,
    "noise": "none", "z_dim": 9,
}  # fmt: skip
SPACE_SG1 = {**SG1, "norm_eps": 1e-5, "rgb_first": 2, "noise": "none"}
EIGEN = {
    "kind": "eigengan", "resolution": 16, "image_channels": 3, "basis": 2, "noise_dim": 5, "channels": (8, 6, 4),
}  # fmt: skip
SIMPLE = {"kind": "gan", "resolution": 16, "latent_dim": 6, "channels": (8, 6, 4)}
DC = {"kind": "dcgan", "resolution": 32, "latent_dim": 6, "channels": (8, 6, 4)}

CASES: dict[str, tuple[dict[str, Any], Callable[..., bytes], str, str]] = {
    # configuration, writer, what the format is called, the network that is taken
    "zoo ProGAN": (ZOO_PROGAN, zoo_progan, "pytorch_GAN_zoo", "avgG"),
    "zoo ProGAN, not equalised": ({**ZOO_PROGAN, "equalized": False}, zoo_progan, "pytorch_GAN_zoo", "avgG"),
    "zoo StyleGAN": (ZOO_SG1, zoo_stylegan, "pytorch_GAN_zoo", "avgG"),
    "zoo DCGAN": (DC, zoo_dcgan, "pytorch_GAN_zoo", "avgG"),
    "zoo DCGAN, no average": (DC, lambda m: zoo_dcgan(m, averaged=False), "pytorch_GAN_zoo", "netG"),
    "pro_gan_pytorch": (PGP, pro_gan_pytorch, "pro_gan_pytorch", "shadow_generator"),
    "pro_gan_pytorch, not equalised": (
        {**PGP, "equalized": False}, pro_gan_pytorch, "pro_gan_pytorch", "shadow_generator",
    ),
    "pro_gan_pytorch, state only": (PGP, lambda m: pro_gan_pytorch(m, bare=True), "pro_gan_pytorch", "the only one"),
    "EigenGAN": (EIGEN, eigengan, "EigenGAN", "g_ema"),
    "EigenGAN, no average": (EIGEN, lambda m: eigengan(m, averaged=False), "EigenGAN", "g"),
    "simple GAN": (SIMPLE, simple_gan, "simple GAN", "the only one"),
    "DCGAN example": (DC, example_dcgan, "DCGAN", "the only one"),
    "DCGAN example, parallel": (DC, lambda m: example_dcgan(m, parallel=True), "DCGAN", "the only one"),
    "GANSpace StyleGAN": (SPACE_SG1, ganspace_stylegan, "GANSpace", "the only one"),
}  # fmt: skip


def made(config: dict[str, Any]) -> Any:
    """A model with nothing in it that the format cannot hold."""
    model = rough(config)
    if config["kind"] == "stylegan1" and config["rgb_first"] == 1:
        model.synthesis.b4.conv0.bias.zero_()  # GAN zoo's first layer has none, and one noise strength for all
        for layer in model.synthesis.style_layers():
            layer_strength = model.synthesis.get_submodule(layer.name).noise_strength
            layer_strength.copy_(layer_strength[:1].expand_as(layer_strength))
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.abs_().add_(0.5)
    return model


def written(folder: Path, content: bytes, name: str = "file.pth") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refused(path: Path, **options: Any) -> str:
    out = path.parent / "out.safetensors"
    with pytest.raises(CheckpointError) as caught:
        foreign.convert(path, out, **options)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_pictures_are_the_same(case, tmp_path):
    config, write, called, which = CASES[case]
    model = made(config)
    found = foreign.convert(written(tmp_path, write(model)), tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.config.kind == config["kind"]
    assert called in found.format
    assert found.provenance["which"] == which
    # In float64, where only what the conversion itself rounds is left to see.
    model, again = model.double(), again.double()
    z = model.sample_latents(3, generator=torch.Generator().manual_seed(0))
    options = {"noise": "none"} if config["kind"] == "stylegan1" else {}
    expected = model(z, **options)
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(again(z, **options), expected, rtol=0, atol=1e-5)
    if config["kind"] == "progan":
        torch.testing.assert_close(again(z, lod=0.7), model(z, lod=0.7), rtol=0, atol=1e-5)
    if config["kind"] == "stylegan1":
        for layer in model.synthesis.style_layers():
            ours, theirs = (m.synthesis.get_submodule(layer.name).noise_strength for m in (model, again))
            torch.testing.assert_close(theirs, ours)


@pytest.mark.parametrize("case", sorted(CASES))
def test_only_one_format_takes_a_file(case, tmp_path):
    config, write, called, _ = CASES[case]
    content = open_content(written(tmp_path, write(made(config))))
    assert [called in family.name for family in formats() if family.recognise(content)] == [True]


def test_siblings_are_told_apart(tmp_path):
    """The same kinds of network in the formats of the larger projects."""
    sg2 = {**SG1, "kind": "stylegan2"}
    for config, write, called in (
        (PROGAN, genforce, "genforce"), (SG1, genforce, "genforce"), (sg2, genforce, "genforce"),
        (sg2, rosinality, "rosinality"),
    ):  # fmt: skip
        content = open_content(written(tmp_path, write(rough(config))))
        assert [called in family.name for family in formats() if family.recognise(content)] == [True]


# --------------------------------------------------------------------------------------------- damaged files


def network_in(data: dict[str, Any]) -> dict[str, Tensor]:
    """The state that is taken, wherever the format has it."""
    for name in ("avgG", "shadow_generator", "g_ema"):
        data = data.get(name) or data
    state = data.get("state_dict", data)
    assert isinstance(state, dict)
    return state


MIDDLE = {  # a tensor with a bias's shape, and one with a convolution's, each away from both ends
    "zoo ProGAN": ("scaleLayers.0.1.module.bias", "scaleLayers.0.1.module.weight"),
    "zoo StyleGAN": ("scaleLayers.0.1.styleModulator.module.bias", "scaleLayers.0.2.module.weight"),
    "zoo DCGAN": ("main.batchNorm1.running_mean", "main.convTranspose1.weight"),
    "pro_gan_pytorch": ("layers.1.conv_2.bias", "layers.1.conv_2.weight"),
    "EigenGAN": ("blocks.1.feature_conv1.1.bias", "blocks.1.feature_conv1.1.weight"),
    "simple GAN": ("layers.1.layers.instancenorm.bias", "layers.2.layers.conv.weight"),
    "DCGAN example": ("main.4.running_mean", "main.6.weight"),
    "GANSpace StyleGAN": ("g_synthesis.blocks.8x8.epi1.style_mod.lin.bias", "g_synthesis.blocks.8x8.conv0_up.weight"),
}


def damaged(case: str, tmp_path: Path, change: Callable[[dict[str, Tensor]], None]) -> str:
    config, write, _, _ = CASES[case]
    data = foreign.read_inert(written(tmp_path, write(made(config))))
    if "config" in data:
        data["config"] = dict(data["config"].attributes)
    change(network_in(data))
    return refused(written(tmp_path, torch_bytes(data)))


@pytest.mark.parametrize("case", sorted(MIDDLE))
def test_a_missing_tensor(case, tmp_path):
    said = damaged(case, tmp_path, lambda state: state.pop(MIDDLE[case][0]))
    assert ": missing " in said or MIDDLE[case][0] in said


@pytest.mark.parametrize("case", sorted(MIDDLE))
def test_an_unknown_tensor(case, tmp_path):
    said = damaged(case, tmp_path, lambda state: state.update({"attention.weight": torch.ones(3, 2)}))
    assert "attention.weight (3, 2)" in said


@pytest.mark.parametrize("case", sorted(MIDDLE))
def test_a_shape_that_does_not_fit(case, tmp_path):
    def change(state: dict[str, Tensor]) -> None:
        state[MIDDLE[case][0]] = torch.ones(5)

    said = damaged(case, tmp_path, change)
    assert "(5,)" in said or "size" in said


@pytest.mark.parametrize("case", sorted(MIDDLE))
def test_a_width_that_no_neighbour_has(case, tmp_path):
    def change(state: dict[str, Tensor]) -> None:
        state[MIDDLE[case][1]] = state[MIDDLE[case][1]].repeat(2, 2, 1, 1)

    assert "has shape" in damaged(case, tmp_path, change)


@pytest.mark.parametrize(
    ("case", "extra", "said"),
    [
        ("zoo StyleGAN", [f"scaleLayers.{index}.2.module" for index in range(2, 16)], "it has 17 scales"),
        ("GANSpace StyleGAN", [f"g_synthesis.blocks.{4 << i}x{4 << i}.conv1" for i in range(3, 17)], "17 blocks"),
    ],
)
def test_scales_without_end_take_no_memory(case, extra, said, tmp_path, monkeypatch):
    """Noise is drawn for each scale of the file: of 262,144 x 262,144 numbers for the last one here."""

    def change(state: dict[str, Tensor]) -> None:
        for name in extra:
            state |= {f"{name}.weight": torch.ones(1, 1, 3, 3), f"{name}.bias": torch.ones(1)}

    config, write, _, _ = CASES[case]
    path = written(tmp_path, write(made(config)))
    data = foreign.read_inert(path)
    data.pop("config", None)
    change(network_in(data))
    written(tmp_path, torch_bytes(data))
    monkeypatch.setattr(torch, "randn", lambda *shape, **options: pytest.fail(f"{shape} numbers drawn"))
    assert said in refused(path)


# --------------------------------------------------------------------------------------------- what each format says


def test_other_weights_on_request(tmp_path):
    path = written(tmp_path, pro_gan_pytorch(made(PGP)))
    assert not foreign.read(path, weights="generator").state["b8.conv0.weight"].any()
    assert "no weights 'g_ema'; it has shadow_generator, generator" in refused(path, weights="g_ema")
    zoo = foreign.read(written(tmp_path, zoo_dcgan(made(DC))), weights="netG")
    assert zoo.provenance["which"] == "netG"


def test_an_equalised_network_is_assumed_and_said(tmp_path):
    found = foreign.read(written(tmp_path, pro_gan_pytorch(made(PGP), bare=True)))
    assert found.config["equalized"]
    assert any("equalized true" in said for said in found.provenance["decisions"])


def test_the_distance_of_a_basis_from_orthonormal_is_said_and_kept(tmp_path):
    model = made(EIGEN)
    model.blocks[1].projection.U[1] = 1.5 * model.blocks[1].projection.U[1]
    basis = model.blocks[1].projection.U.double()
    largest = float((basis @ basis.mT - torch.eye(2)).abs().max())
    found = foreign.read(written(tmp_path, eigengan(model)))
    assert f", {largest:.1e};" in found.provenance["decisions"][0]
    assert torch.equal(found.state["blocks.1.projection.U"], model.blocks[1].projection.U)


def test_truncation_and_noise_of_the_zoo_are_the_defaults(tmp_path):
    model = made(ZOO_SG1)
    foreign.convert(written(tmp_path, zoo_stylegan(model)), tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert (again.config.truncation, again.config.noise) == (0.75, "random")
    w = again.mapping(torch.ones(1, 9))
    mean = again.mapping.w_avg
    explicit = again((mean + 0.75 * (w - mean)), space="w", noise="none")
    torch.testing.assert_close(again(torch.ones(1, 9), noise="none"), explicit, rtol=0, atol=1e-5)


def test_a_fused_kernel_from_128_pixels_on(tmp_path):
    config = {**SPACE_SG1, "resolution": 128, "channels": (2,) * 6, "rgb_first": 5}
    model = made(config)
    found = foreign.read(written(tmp_path, ganspace_stylegan(model)))
    for name in ("synthesis.b64.conv0.weight", "synthesis.b128.conv0.weight"):
        assert torch.equal(found.state[name], model.state_dict()[name])
    assert any("From 128 pixels on" in said for said in found.provenance["decisions"])


def test_discriminators_are_named(tmp_path):
    convs = {
        "layers.0.layers.conv.weight": torch.ones(4, 3, 5, 5), "layers.1.layers.conv.weight": torch.ones(1, 4, 4, 4),
    }  # fmt: skip
    assert "it is no generator" in refused(written(tmp_path, torch_bytes(convs)))
    assert "it is no generator" in refused(written(tmp_path, torch_bytes({"main.0.weight": torch.ones(8, 3, 4, 4)})))


def test_a_dcgan_as_torch_makes_it(tmp_path):
    """With torch's own layers, and no help of our model."""
    network = nn.Sequential(
        nn.ConvTranspose2d(5, 4, 4, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
        nn.ConvTranspose2d(3, 1, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    network(torch.randn(8, 5, 1, 1))  # running statistics that are not those of the start
    state = {f"main.{name}": tensor for name, tensor in network.eval().state_dict().items()}
    foreign.convert(written(tmp_path, torch_bytes({"netG": state})), tmp_path / "m.safetensors")
    z = torch.randn(3, 5)
    with torch.no_grad():
        expected = network(z[:, :, None, None])
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), expected, rtol=0, atol=1e-6)


# --------------------------------------------------------------------------------------------------------- pythae

MLP = {"kind": "mlp-vae", "image_shape": (2, 6, 5), "latent_dim": 3, "hidden": 16}


def test_pythae(tmp_path):
    model = rough(MLP)
    folder = tmp_path / "trained"
    pythae(model, folder)
    assert [f.name for f in formats() if f.recognise(open_content(folder))] == ["a model folder of pythae"]
    found = foreign.convert(folder, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    z, images = torch.randn(4, 3), torch.rand(4, 2, 6, 5)
    assert torch.equal(again(z), model(z))
    assert torch.equal(again.encode(images), model.encode(images))
    assert (found.provenance["source"], found.provenance["which"]) == ("trained", "VAEConfig")
    assert "model.pt, sha256 " in found.provenance["decisions"][0]


def test_contents_of_a_folder(tmp_path):
    folder = tmp_path / "pipeline"
    pythae(rough(MLP), folder)
    (folder / "vae").mkdir()
    save_file({"a.weight": torch.zeros(2, 3)}, folder / "vae" / "diffusion_pytorch_model.safetensors")
    (folder / "notes.txt").write_text("no checkpoint")
    held = foreign.contents(folder)
    assert held["format"] == "a model folder of pythae"
    parts = {part["name"]: part["tensors"] for part in held["parts"]}
    assert list(parts) == ["model.pt: model_state_dict", "vae/diffusion_pytorch_model.safetensors"]
    assert parts["vae/diffusion_pytorch_model.safetensors"] == {"a.weight": [2, 3]}
    assert len(parts["model.pt: model_state_dict"]) == 10


def test_models_of_pythae_with_more_in_them(tmp_path):
    folder = tmp_path / "trained"
    pythae(rough(MLP), folder, name="VAMPConfig")
    data = foreign.read_inert(folder / "model.pt")
    data["model_state_dict"]["pseudo_inputs.weight"] = torch.ones(3)
    (folder / "model.pt").write_bytes(torch_bytes(data))
    decisions = " ".join(foreign.read(folder).provenance["decisions"])
    assert "1 tensors beside encoder and decoder" in decisions
    assert "a mixture of its own posteriors" in decisions


FOLDERS: dict[str, tuple[dict[str, Any], str]] = {
    "own encoder": ({"uses_default_encoder": False}, "networks of its own"),
    "no name": ({"name": None}, "does not name a model"),
    "a flat input": ({"input_dim": [60]}, "expected channels, height and width"),
    "another input": ({"input_dim": [1, 6, 5]}, "makes 60 numbers"),
}


@pytest.mark.parametrize("case", sorted(FOLDERS))
def test_settings_of_pythae_that_do_not_hold(case, tmp_path):
    changes, said = FOLDERS[case]
    folder = tmp_path / "trained"
    pythae(rough(MLP), folder, **changes)
    assert said in refused(folder)


def test_damaged_folders_of_pythae(tmp_path):
    folder = tmp_path / "trained"
    pythae(rough(MLP), folder)
    whole = foreign.read_inert(folder / "model.pt")["model_state_dict"]

    def weights(state: Any) -> None:
        (folder / "model.pt").write_bytes(torch_bytes(state))

    (folder / "decoder.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
    assert "(decoder.pkl), which are stored as code that is not run" in refused(folder)
    (folder / "decoder.pkl").unlink()
    weights({"model_state_dict": {k: t for k, t in whole.items() if "log_var" not in k}})
    assert "an encoder without variances" in refused(folder)
    weights({"model_state_dict": {k: t for k, t in whole.items() if k != "encoder.embedding.bias"}})
    assert "missing mean.bias" in refused(folder)
    weights({"model_state_dict": {**whole, "encoder.layers.0.0.bias": torch.ones(7)}})
    assert "encoder.0.bias has shape (7,), expected (16,)" in refused(folder)
    weights({"model_state_dict": {**whole, "decoder.layers.2.0.bias": torch.ones(7)}})
    assert "decoder.layers.2.0.bias (7,)" in refused(folder)
    weights(whole)
    assert "no model_state_dict" in refused(folder)
    (folder / "model.pt").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1")
    assert "git lfs pull" in refused(folder)
    (folder / "model_config.json").write_text("{")
    assert "is not valid JSON" in refused(folder)
    (folder / "model_config.json").write_text(json.dumps([1]))
    assert "does not name a model" in refused(folder)
