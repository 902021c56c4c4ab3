"""StyleGAN files name by name, and files that lie about their sizes."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sample_files import Persistent, module_state, persistent_pickle, torch_bytes
from torch import nn
from writers import nvidia_stylegan2, nvidia_stylegan3, rosinality, rough, tensorflow_stylegan2

from disentangle.errors import CheckpointError, OutputError
from disentangle.io import foreign, load
from disentangle.io.foreign.smoothing import taps_of

SG2 = {
    "kind": "stylegan2", "resolution": 16, "z_dim": 12, "w_dim": 12, "mapping_layers": 3, "channels": (8, 8, 6),
}  # fmt: skip
SG3 = {
    "kind": "stylegan3", "resolution": 16, "z_dim": 8, "w_dim": 8, "num_layers": 4, "num_critical": 1,
    "channel_base": 128, "channel_max": 8, "margin_size": 4,
}  # fmt: skip


def written(tmp_path: Path, content: bytes, name: str = "file.pkl") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        foreign.convert(path, path.parent / "out.safetensors", **options)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_rosinality_name_by_name(tmp_path):
    """8 pixels, spelled out, with no help of the writers."""
    random = torch.Generator().manual_seed(0)

    def t(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    fir = torch.tensor([1.0, 3, 3, 1])
    state = {
        "style.1.weight": t(5, 5), "style.1.bias": t(5), "style.2.weight": t(5, 5), "style.2.bias": t(5),
        "input.input": t(1, 4, 4, 4),
        "conv1.conv.weight": t(1, 4, 4, 3, 3), "conv1.conv.modulation.weight": t(4, 5),
        "conv1.conv.modulation.bias": t(4), "conv1.noise.weight": t(1), "conv1.activate.bias": t(4),
        "to_rgb1.bias": t(1, 3, 1, 1), "to_rgb1.conv.weight": t(1, 3, 4, 1, 1),
        "to_rgb1.conv.modulation.weight": t(4, 5), "to_rgb1.conv.modulation.bias": t(4),
        "convs.0.conv.weight": t(1, 2, 4, 3, 3), "convs.0.conv.blur.kernel": torch.outer(fir, fir) / 16,
        "convs.0.conv.modulation.weight": t(4, 5), "convs.0.conv.modulation.bias": t(4), "convs.0.noise.weight": t(1),
        "convs.0.activate.bias": t(2),
        "convs.1.conv.weight": t(1, 2, 2, 3, 3), "convs.1.conv.modulation.weight": t(2, 5),
        "convs.1.conv.modulation.bias": t(2), "convs.1.noise.weight": t(1), "convs.1.activate.bias": t(2),
        "to_rgbs.0.bias": t(1, 3, 1, 1), "to_rgbs.0.upsample.kernel": torch.outer(fir, fir) / 16,
        "to_rgbs.0.conv.weight": t(1, 3, 2, 1, 1), "to_rgbs.0.conv.modulation.weight": t(2, 5),
        "to_rgbs.0.conv.modulation.bias": t(2),
        "noises.noise_0": t(1, 1, 4, 4), "noises.noise_1": t(1, 1, 8, 8), "noises.noise_2": t(1, 1, 8, 8),
    }  # fmt: skip
    average = t(5)
    found = foreign.read(written(tmp_path, torch_bytes({"g_ema": state, "latent_avg": average})))
    ours = {
        "mapping.fc0.weight": "style.1.weight", "mapping.fc0.bias": "style.1.bias",
        "mapping.fc1.weight": "style.2.weight", "mapping.fc1.bias": "style.2.bias",
        "synthesis.b4.const": "input.input",
        "synthesis.b4.conv1.weight": "conv1.conv.weight", "synthesis.b4.conv1.bias": "conv1.activate.bias",
        "synthesis.b4.conv1.affine.weight": "conv1.conv.modulation.weight",
        "synthesis.b4.conv1.affine.bias": "conv1.conv.modulation.bias",
        "synthesis.b4.conv1.noise_strength": "conv1.noise.weight", "synthesis.b4.conv1.noise_const": "noises.noise_0",
        "synthesis.b4.torgb.weight": "to_rgb1.conv.weight", "synthesis.b4.torgb.bias": "to_rgb1.bias",
        "synthesis.b4.torgb.affine.weight": "to_rgb1.conv.modulation.weight",
        "synthesis.b4.torgb.affine.bias": "to_rgb1.conv.modulation.bias",
        "synthesis.b8.conv0.weight": "convs.0.conv.weight", "synthesis.b8.conv0.bias": "convs.0.activate.bias",
        "synthesis.b8.conv0.affine.weight": "convs.0.conv.modulation.weight",
        "synthesis.b8.conv0.affine.bias": "convs.0.conv.modulation.bias",
        "synthesis.b8.conv0.noise_strength": "convs.0.noise.weight",
        "synthesis.b8.conv0.noise_const": "noises.noise_1",
        "synthesis.b8.conv1.weight": "convs.1.conv.weight", "synthesis.b8.conv1.bias": "convs.1.activate.bias",
        "synthesis.b8.conv1.affine.weight": "convs.1.conv.modulation.weight",
        "synthesis.b8.conv1.affine.bias": "convs.1.conv.modulation.bias",
        "synthesis.b8.conv1.noise_strength": "convs.1.noise.weight",
        "synthesis.b8.conv1.noise_const": "noises.noise_2",
        "synthesis.b8.torgb.weight": "to_rgbs.0.conv.weight", "synthesis.b8.torgb.bias": "to_rgbs.0.bias",
        "synthesis.b8.torgb.affine.weight": "to_rgbs.0.conv.modulation.weight",
        "synthesis.b8.torgb.affine.bias": "to_rgbs.0.conv.modulation.bias",
    }  # fmt: skip
    assert found.state.keys() == ours.keys() | {"mapping.w_avg"}
    for name, theirs in ours.items():
        assert torch.equal(found.state[name].flatten(), state[theirs].flatten()), name
    assert torch.equal(found.state["mapping.w_avg"], average)
    assert found.config["channels"] == (4, 2)
    assert [said.rpartition(": ")[2] for said in found.provenance["decisions"]] == ["lr_mlp 0.01."]


@pytest.mark.parametrize(
    "write", [nvidia_stylegan2, rosinality, tensorflow_stylegan2], ids=["NVIDIA", "rosinality", "TensorFlow"]
)
def test_odd_widths_are_read_from_the_tensors(write, tmp_path):
    model = rough({**SG2, "channels": (7, 5, 3)})
    assert foreign.read(written(tmp_path, write(model))).config["channels"] == (7, 5, 3)


def test_the_smoothing_filter_of_the_file_is_used(tmp_path):
    model = rough({**SG2, "resample_filter": (1.0, 2.0, 2.0, 1.0)})
    path = written(tmp_path, rosinality(model))
    foreign.convert(path, tmp_path / "m.safetensors")
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), model(z), rtol=0, atol=2e-5)


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_taps(gain):
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    assert taps_of(gain * torch.outer(taps, taps) / 64) == (1.0, 3.0, 3.0, 1.0)
    assert taps_of(gain * taps) == (1.0, 3.0, 3.0, 1.0)
    assert math.isclose(taps_of(torch.tensor([1.0, 2.0]))[1], 2 / 3)
    for wrong in (torch.eye(4), torch.zeros(4), torch.ones(2, 2, 2), torch.full((4,), math.nan)):
        with pytest.raises(CheckpointError, match="smoothing filter"):
            taps_of(wrong)


def test_an_empty_average_and_names_of_data_parallelism(tmp_path):
    data = foreign.read_inert(written(tmp_path, rosinality(rough(SG2)), "whole"))
    wrapped = {f"module.{name}": tensor for name, tensor in data["g_ema"].items()}
    found = foreign.read(written(tmp_path, torch_bytes({"g_ema": {}, "g": wrapped, "latent_avg": data["latent_avg"]})))
    assert found.provenance["which"] == "g"
    assert torch.equal(found.state["synthesis.b4.const"], data["g_ema"]["input.input"][0])


# -------------------------------------------------------------------------------------------- NVIDIA's container


def network(content: bytes, tmp_path: Path) -> Persistent:
    """G_ema of a pickle, ready to be written again."""
    data = foreign.read_inert(written(tmp_path, content, "whole"))
    (tmp_path / "whole").unlink()
    return _again(data["G_ema"])


def _again(node: Any) -> Persistent:
    state = dict(node.attributes)
    state["_parameters"] = {k: nn.Parameter(t, requires_grad=False) for k, t in state["_parameters"].items()}
    state["_modules"] = {k: _again(child) for k, child in state["_modules"].items()}
    return Persistent(node.path.rpartition(":")[2], state)


def inside(made: Persistent, path: str) -> dict[str, Any]:
    for name in filter(None, path.split(".")):
        made = made.state["_modules"][name]
    return made.state


def test_a_bare_network(tmp_path):
    model = rough(SG2)
    path = written(tmp_path, persistent_pickle(network(nvidia_stylegan2(model), tmp_path)))
    found = foreign.read(path)
    assert torch.equal(found.state["synthesis.b16.conv1.weight"], model.synthesis.b16.conv1.weight)
    assert "one network, a Generator, so there are no weights 'G'" in refused(path, weights="G")


def test_a_snapshot_without_an_average(tmp_path):
    data = {"G": network(nvidia_stylegan2(rough(SG2)), tmp_path), "progress": 3}
    assert foreign.read(written(tmp_path, persistent_pickle(data))).provenance["which"] == "G"


def test_a_bare_discriminator(tmp_path):
    made = Persistent("Discriminator", module_state({"weight": torch.ones(2)}, {}, {}))
    assert "class Discriminator" in refused(written(tmp_path, persistent_pickle(made)))


def test_a_generator_with_parts_of_another_software(tmp_path):
    made = network(nvidia_stylegan3(rough({**SG3, "c_dim": 4})), tmp_path)
    inside(made, "mapping")["_modules"]["embed_proj"] = Persistent(
        "FullyConnectedLayer", module_state({"weight": torch.ones(3, 3)}, {}, {})
    )
    assert "unexpected mapping.embed_proj.weight" in refused(written(tmp_path, persistent_pickle({"G_ema": made})))


LIES: dict[str, tuple[dict[str, Any], Callable[[Any], bytes], str, dict[str, Any], str]] = {
    "z": (SG2, nvidia_stylegan2, "", {"z_dim": 30_000_000}, "z_dim is 30,000,000"),
    "w": (SG2, nvidia_stylegan2, "", {"w_dim": 16_000}, "expected (16000,)"),
    "classes": (SG2, nvidia_stylegan2, "", {"c_dim": 10**8}, "c_dim is 100,000,000"),
    "colours": (SG2, nvidia_stylegan2, "", {"img_channels": 16_000}, "has shape (3,), expected (16000,)"),
    "resolution": (SG2, nvidia_stylegan2, "", {"img_resolution": 1 << 40}, "resolution is"),
    "text": (SG2, nvidia_stylegan2, "", {"z_dim": "12"}, "z_dim is str, not a whole number"),
    "depth": (SG2, nvidia_stylegan2, "mapping", {"num_layers": 20_000}, "3 mapping layers, and says 20000"),
    "padding": (SG3, nvidia_stylegan3, "synthesis.L1_24_8", {"padding": [10**5] * 4}, "L1_24_8 does not make 24"),
    "upsampling": (SG3, nvidia_stylegan3, "synthesis.L1_24_8", {"up_factor": 10**4}, "L1_24_8 does not make 24"),
    "kernel": (SG3, nvidia_stylegan3, "synthesis.L1_24_8", {"conv_kernel": 10**5}, "L1_24_8 does not make 24"),
    "zero": (SG3, nvidia_stylegan3, "synthesis.L1_24_8", {"down_factor": 0}, "L1_24_8 does not make 24"),
    "canvas": (SG3, nvidia_stylegan3, "synthesis.input", {"size": np.array([10**5] * 2)}, "24 pixels of 100000"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LIES))
def test_sizes_that_do_not_hold_take_no_memory(name, tmp_path, monkeypatch):
    config, write, where, change, said = LIES[name]
    made = network(write(rough(config)), tmp_path)
    inside(made, where).update(change)
    path = written(tmp_path, persistent_pickle({"G_ema": made}))
    made_for_real = []
    uniform = torch.randn

    def watched(*args: Any, **options: Any) -> torch.Tensor:
        tensor = uniform(*args, **options)
        if tensor.device.type != "meta":
            made_for_real.append(tensor.numel())
        return tensor

    monkeypatch.setattr(torch, "randn", watched)
    start = time.perf_counter()
    assert said in refused(path)
    assert sum(made_for_real) == 0
    assert time.perf_counter() - start < 20  # a hang, not a measurement


def test_every_published_geometry_holds(tmp_path):
    """Factors, paddings and sizes by the paper's rules pass the check that the lies above fail."""
    for more in ({"resolution": 32}, {"resolution": 64, "num_layers": 8}, {"kernel": 1, "radial": True}):
        path = written(tmp_path, nvidia_stylegan3(rough({**SG3, "margin_size": 10, **more})))
        assert foreign.read(path).config["layers"]


def test_weights_that_overflow_are_refused(tmp_path):
    model = rough(SG2)
    for block in (model.synthesis.b4, model.synthesis.b8, model.synthesis.b16):
        block.torgb.bias.fill_(3e38)
    assert "pictures of NaN or infinity" in refused(written(tmp_path, nvidia_stylegan2(model)))


def test_the_trial_picture_of_a_large_network_ends_early(monkeypatch, tmp_path):
    from disentangle.io.foreign import trial

    model = rough(SG2)
    path = written(tmp_path, nvidia_stylegan2(model))
    ran: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda m, i, o, name=name: ran.append(name))
    trial.check_picture(path, model)
    assert "synthesis" in ran
    hooks = [len(module._forward_hooks) for module in model.modules()]
    assert set(hooks) == {1}, "its own hooks are gone"
    ran.clear()
    monkeypatch.setattr(trial, "_PICTURE", 8 * 8 * 8 - 1)
    trial.check_picture(path, model)
    assert "synthesis.b8.conv0" in ran
    assert "synthesis.b8.conv1" not in ran
    model.synthesis.b4.conv1.bias[0] = float("inf")
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        trial.check_picture(path, model)


def test_the_trial_picture_does_not_load_the_compiler():
    code = "import sys; from disentangle.models import build_model; "
    code += "from disentangle.io.foreign.trial import check_picture; "
    code += f"check_picture('file', build_model({SG2!r})); assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_operations_that_would_make_too_much_are_not_begun(tmp_path, monkeypatch):
    """Layers of one feature, then one of many: its output is foreseen, not made."""
    from disentangle.io.foreign import trial

    model = rough({"kind": "progan", "resolution": 16, "latent_dim": 4, "channels": (1, 1, 300)})
    made: list[int] = []
    convolve = torch.nn.functional.conv2d

    def watched(*args: Any, **options: Any) -> torch.Tensor:
        output = convolve(*args, **options)
        made.append(output.numel())
        return output

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    trial.check_picture(tmp_path, model)
    assert max(made) == 300 * 16 * 16
    made.clear()
    monkeypatch.setattr(trial, "_RESULT", 300 * 16 * 16 - 1)
    trial.check_picture(tmp_path, model)
    assert 0 < max(made) < 300 * 16 * 16
    made.clear()
    monkeypatch.setattr(trial, "_PRODUCTS", 0)
    trial.check_picture(tmp_path, model)
    assert made == []


# --------------------------------------------------------------------------------- the order of Householder factors


def orthogonal() -> Any:
    projection = {"kind": "householder", "rank": 3, "layers": ("L0_24_8", "L2_24_8"), "gain": "equalized"}
    return rough({**SG3, "projection": projection})


@pytest.mark.parametrize("true", ["usv", "vsu"])
def test_a_file_in_another_order_is_noticed(true, tmp_path):
    """HouseholderGAN's layers keep the weight they were last used with, which tells."""
    model = orthogonal()
    made = network(nvidia_stylegan3(model, true), tmp_path)
    for layer in model.config.projection.layers:
        matrix = model.synthesis.get_submodule(f"{layer}.affine").matrix()
        inside(made, f"synthesis.{layer}.affine")["weight"] = matrix + 0.01 * torch.randn_like(matrix)
    path = written(tmp_path, persistent_pickle({"G_ema": made}))
    other = {"usv": "vsu", "vsu": "usv"}[true]
    for order in ("auto", true):
        said = foreign.read(path, order=order).provenance["decisions"]
        assert any(f"in the order {true}, as the weights show" in one for one in said)
    with pytest.raises(CheckpointError, match=f"that of the order {true}, so that {other} cannot be"):
        foreign.read(path, order=other)
    foreign.convert(path, tmp_path / "m.safetensors")
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), model(z), rtol=0, atol=1e-4)


# ----------------------------------------------------------------------------------------------- what is written


def test_an_existing_file_stays_when_conversion_fails(tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"precious")
    path = written(tmp_path, b"<!DOCTYPE html><html>")
    with pytest.raises(CheckpointError):
        foreign.convert(path, out)
    assert out.read_bytes() == b"precious"
    path.write_bytes(rosinality(rough(SG2)))
    foreign.convert(path, out)
    assert load(out).config.kind == "stylegan2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.pkl", "out.safetensors"]


def test_places_that_cannot_be_written(tmp_path):
    path = written(tmp_path, rosinality(rough(SG2)))
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OutputError, match=r"folder\.safetensors cannot be written \(it is a folder\)"):
        foreign.convert(path, tmp_path / "folder.safetensors")
    with pytest.raises(OutputError, match="cannot be written"):
        foreign.convert(path, path / "out.safetensors")
    with pytest.raises(OutputError, match="is one of the files that were given"):
        foreign.convert(path, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.pkl", "folder.safetensors"]


def test_components_of_a_tensorflow_network_are_listed(tmp_path):
    model = rough(SG2)
    held = foreign.contents(written(tmp_path, tensorflow_stylegan2(model)))
    tensors = held["parts"][2]["tensors"]
    assert tensors["synthesis/16x16/Conv0_up/weight"] == [3, 3, 8, 6]
    assert tensors["mapping/Dense0/weight"] == [12, 12]
    assert tensors["dlatent_avg"] == [12]
