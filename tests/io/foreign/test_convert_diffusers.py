"""Folders of diffusers, with a small stand-in for its class, and with the class itself where it is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from sample_files import torch_bytes
from torch import Tensor, nn
from writers import rough
from writers_more import diffusers as written_settings

from disentangle.errors import CheckpointError, ConfigError, InputError
from disentangle.io import foreign, load
from disentangle.io.foreign.conversion import open_content
from disentangle.io.foreign.registry import formats
from disentangle.models import Encoder, Generator, build_model

SETTINGS = {
    "block_out_channels": [4, 6], "layers_per_block": 1, "latent_channels": 3, "scaling_factor": 0.5,
    "shift_factor": 0.25, "norm_num_groups": 2, "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
}  # fmt: skip
CONFIG = {"kind": "autoencoder-kl", "resolution": 8, "diffusers": SETTINGS}
WEIGHTS = "diffusion_pytorch_model.safetensors"


class _Resnet(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(x).tanh()


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2).mT
        mixed = nn.functional.scaled_dot_product_attention(self.to_q(rows), self.to_k(rows), self.to_v(rows))
        return x + self.to_out[0](mixed).mT.reshape(x.shape)


class _Half(nn.Module):
    """Encoder or decoder: blocks of one layer, attention at the small end."""

    def __init__(self, inputs: int, widths: list[int], outputs: int, layers: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        blocks = []
        self.conv_in = nn.Conv2d(inputs, widths[0], 3, padding=1)
        before = widths[0]
        for width in widths:
            block = nn.Module()
            block.resnets = nn.ModuleList(_Resnet(before if i == 0 else width, width) for i in range(layers))
            blocks.append(block)
            before = width
        self.add_module("down_blocks" if down else "up_blocks", nn.ModuleList(blocks))
        self.mid_block = nn.Module()
        self.mid_block.attentions = nn.ModuleList([_Attention(widths[-1] if down else widths[0])])
        self.conv_out = nn.Conv2d(before, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        blocks = self.down_blocks if self.down else self.up_blocks
        x = x if self.down else self.mid_block.attentions[0](x)
        for index, block in enumerate(blocks):
            if index and self.down:
                x = nn.functional.avg_pool2d(x, 2)
            elif index:
                x = nn.functional.interpolate(x, scale_factor=2.0)
            for layer in block.resnets:
                x = layer(x)
        return self.conv_out(self.mid_block.attentions[0](x) if self.down else x)


class StandIn(nn.Module):
    """What the toolkit uses of diffusers' class: its arguments, names and two methods, on a network of its own."""

    def __init__(
        self, *, block_out_channels: list[int], layers_per_block: int = 1, latent_channels: int = 4,
        in_channels: int = 3, out_channels: int = 3, scaling_factor: float = 0.18215, shift_factor: Any = None,
        latents_mean: Any = None, latents_std: Any = None, norm_num_groups: int = 32, down_block_types: Any = (),
        up_block_types: Any = (), sample_size: int = 32,
    ) -> None:  # fmt: skip
        super().__init__()
        widths = block_out_channels
        self.encoder = _Half(in_channels, widths, 2 * latent_channels, layers_per_block, down=True)
        self.decoder = _Half(latent_channels, widths[::-1], out_channels, layers_per_block + 1, down=False)
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)

    def encode(self, x: Tensor, return_dict: bool) -> tuple[Any]:
        assert not return_dict
        return (types.SimpleNamespace(mean=self.quant_conv(self.encoder(x)).chunk(2, dim=1)[0]),)

    def decode(self, z: Tensor, return_dict: bool) -> tuple[Tensor]:
        assert not return_dict
        return (self.decoder(self.post_quant_conv(z)),)


@pytest.fixture
def stand_in(monkeypatch) -> None:
    module = types.ModuleType("diffusers")
    module.AutoencoderKL, module.__version__ = StandIn, "0.0.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", module)


@pytest.fixture(params=["stand-in", "diffusers"])
def either(request, monkeypatch) -> None:
    """The stand-in, and the real class where it is installed: what holds of one must hold of the other."""
    if request.param == "stand-in":
        request.getfixturevalue("stand_in")
    elif importlib.util.find_spec("diffusers") is None:
        pytest.skip("diffusers is not installed")


def saved(folder: Path, model: Any, **options: Any) -> Path:
    state = written_settings(model, folder, **options)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
    return folder


def refused(path: Path) -> str:
    out = path.parent / "out.safetensors"
    with pytest.raises(CheckpointError) as caught:
        foreign.convert(path, out)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("older", [False, True], ids=["new names", "older names"])
def test_the_pictures_are_the_same(either, older, tmp_path):
    model = rough(CONFIG)
    folder = saved(tmp_path / "vae", model, older=older)
    assert [f.name for f in formats() if f.recognise(open_content(folder))] == ["a model folder of diffusers"]
    found = foreign.convert(folder, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    assert z.shape == (2, 3, 4, 4)
    torch.testing.assert_close(again(z), model(z), rtol=0, atol=1e-6)
    assert again(z).shape == (2, 3, 8, 8)
    assert found.provenance["which"] == WEIGHTS
    assert "sha256 " in found.provenance["decisions"][0]
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(again.encode(images), model.encode(images), rtol=0, atol=1e-6)


def test_latents_are_scaled_and_shifted_as_diffusion_models_have_them(either):
    model = rough(CONFIG)
    images = torch.rand(2, 3, 8, 8)
    network = model.autoencoder
    mean = network.encode(2 * images - 1, return_dict=False)[0].mean
    torch.testing.assert_close(model.encode(images), ((mean - 0.25) * 0.5).flatten(1))
    latents = model.encode(images).reshape(2, *model.spaces["z"].shape)
    torch.testing.assert_close(model(latents), network.decode(mean, return_dict=False)[0], rtol=0, atol=1e-5)


def test_means_and_deviations_of_each_channel(either):
    settings = {**SETTINGS, "latents_mean": [1.0, 0.0, -1.0], "latents_std": [0.5, 1.0, 2.0]}
    model = rough({**CONFIG, "diffusers": settings})
    images = torch.rand(1, 3, 8, 8)
    mean = model.autoencoder.encode(2 * images - 1, return_dict=False)[0].mean
    expected = torch.stack([(mean[:, 0] - 1) * 1.0, mean[:, 1] * 0.5, (mean[:, 2] + 1) * 0.25], dim=1)
    torch.testing.assert_close(model.encode(images), expected.flatten(1))


def test_is_a_generator_and_an_encoder(either):
    model = rough(CONFIG)
    assert isinstance(model, Generator)
    assert isinstance(model, Encoder)
    assert model.projections() == {}
    assert model.config.image_channels == 3
    space = model.spaces["z"]
    assert space.labels[:2] == ("channel 0, 0, 0", "channel 0, 0, 1")
    assert space.labels[-1] == "channel 2, 3, 3"
    with pytest.raises(InputError, match=r"expects \(n, 3, 4, 4\)"):
        model(torch.ones(1, 48))
    with pytest.raises(InputError, match=r"takes \(n, 3, 8, 8\)"):
        model.encode(torch.rand(1, 3, 16, 16))
    double = rough(CONFIG).double()
    z = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    assert double(z).dtype == torch.float64
    torch.testing.assert_close(double(z).float(), model(z.float()), rtol=0, atol=1e-5)


def test_a_whole_pipeline_and_weights_of_torch(stand_in, tmp_path):
    model = rough(CONFIG)
    state = written_settings(model, tmp_path / "pipeline" / "vae")
    (tmp_path / "pipeline" / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    (tmp_path / "pipeline" / "vae" / "diffusion_pytorch_model.bin").write_bytes(torch_bytes(state))
    found = foreign.read(tmp_path / "pipeline")
    assert found.provenance["which"] == "diffusion_pytorch_model.bin"
    assert torch.equal(found.state["autoencoder.quant_conv.bias"], model.autoencoder.quant_conv.bias)


def test_what_the_settings_leave_open_is_said(stand_in, tmp_path):
    settings = {name: value for name, value in SETTINGS.items() if name != "scaling_factor"}
    model = rough({**CONFIG, "diffusers": settings})
    folder = saved(tmp_path / "vae", model, sample_size=None)
    found = foreign.read(folder)
    assert found.config["diffusers"]["scaling_factor"] == 0.18215
    assert found.config["resolution"] == 512
    said = " ".join(found.provenance["decisions"])
    assert "no scaling_factor" in said
    assert "no sample_size" in said


def test_half_precision_is_widened(stand_in, tmp_path):
    model = rough(CONFIG)
    state = written_settings(model, tmp_path / "vae")
    half = {name: tensor.half() for name, tensor in state.items()}
    save_file(half, tmp_path / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    found = foreign.read(tmp_path / "vae")
    assert found.provenance["which"] == "diffusion_pytorch_model.fp16.safetensors"
    assert all(tensor.dtype == torch.float32 for tensor in found.state.values())


SAID: dict[str, tuple[dict[str, Any], str]] = {
    "a UNet": ({"_class_name": "UNet2DConditionModel"}, "of the class UNet2DConditionModel, which is not supported"),
    "another autoencoder": ({"_class_name": "AutoencoderTiny"}, "of the class AutoencoderTiny"),
    "more layers": ({"layers_per_block": 10**9}, "layers_per_block 1000000000, but its weights are of 2 layers"),
    "more blocks": ({"block_out_channels": [4] * 9}, "but its weights are of 2 layers"),
    "other widths": ({"block_out_channels": [4, 10]}, "has shape"),
    "huge widths": ({"block_out_channels": [4, 10**7]}, "block_out_channels is 10,000,000"),
    "huge pictures": ({"sample_size": 60_000}, "expected 1,048,576"),
    "no square": ({"sample_size": [8, 16]}, "sample_size is [8, 16]"),
    "odd pictures": ({"sample_size": 9}, "expected a multiple of 2"),
    "text": ({"latent_channels": "3"}, "latent_channels is 3; expected a whole number"),
    "no scale": ({"scaling_factor": 0}, "scaling_factor is 0; expected a number above 0"),
    "means": ({"latents_mean": [1.0]}, "latents_mean is [1.0]; expected a number for each latent channel"),
    "unknown settings": ({"use_wavelets": True}, "builds no AutoencoderKL of this configuration"),
}


@pytest.mark.parametrize("case", sorted(SAID))
def test_settings_that_do_not_hold(case, either, tmp_path):
    changes, said = SAID[case]
    assert said in refused(saved(tmp_path / "vae", rough(CONFIG), **changes))


def test_damaged_folders(stand_in, tmp_path):
    model = rough(CONFIG)
    folder = saved(tmp_path / "vae", model)
    state = written_settings(model, folder)

    def weights(tensors: dict[str, Tensor]) -> None:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)

    weights({name: tensor for name, tensor in state.items() if name != "decoder.conv_in.bias"})
    assert "missing autoencoder.decoder.conv_in.bias" in refused(folder)
    weights({**state, "quant_conv.bias": torch.ones(5)})
    assert "autoencoder.quant_conv.bias has shape (5,), expected (6,)" in refused(folder)
    weights({**state, "loss.logvar": torch.ones(1)})
    assert "loss.logvar (1,)" in refused(folder)
    weights(state)
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    assert "is not a readable safetensors file" in refused(folder)
    (folder / WEIGHTS).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1")
    assert "git lfs pull" in refused(folder)
    (folder / WEIGHTS).unlink()
    assert "its weights are missing" in refused(folder)
    (folder / f"{WEIGHTS}.index.json").write_text("{}")
    assert "in several pieces" in refused(folder)
    (folder / "config.json").write_text("{")
    assert "is not valid JSON" in refused(folder)


def test_without_diffusers(monkeypatch, stand_in, tmp_path):
    folder = saved(tmp_path / "vae", rough(CONFIG))
    foreign.convert(folder, tmp_path / "m.safetensors")
    monkeypatch.setitem(sys.modules, "diffusers", None)  # importing it raises ImportError
    with pytest.raises(ConfigError, match=r"not installed; run pip install 'disentangle-toolkit\[diffusers\]'"):
        build_model(CONFIG)
    with pytest.raises(CheckpointError, match=r"m\.safetensors cannot be built: .* not installed"):
        load(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").unlink()
    assert "needs the package diffusers" in refused(folder)
