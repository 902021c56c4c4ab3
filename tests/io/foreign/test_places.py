"""A network is recognised by its tensors, wherever they lie in a file and whatever wrapped it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from sample_files import torch_bytes
from torch import Tensor, nn
from writers import genforce, rosinality, rough
from writers_more import eigengan, example_dcgan, pro_gan_pytorch, simple_gan

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import DamagedError, Limits
from disentangle.io import foreign, load
from disentangle.io.foreign.places import places_in, standing
from disentangle.models import build_model
from tests.resources import cost, within_bounds

SG2 = {
    "kind": "stylegan2", "resolution": 16, "z_dim": 12, "w_dim": 12, "mapping_layers": 3, "channels": (8, 8, 6),
}  # fmt: skip
DC = {"kind": "dcgan", "resolution": 16, "latent_dim": 7, "channels": (6, 5)}
SIMPLE = {"kind": "gan", "resolution": 16, "latent_dim": 6, "channels": (8, 6, 4)}
EIGEN = {"kind": "eigengan", "resolution": 16, "basis": 2, "noise_dim": 5, "channels": (8, 6, 4)}
PRO = {"kind": "progan", "resolution": 16, "latent_dim": 10, "channels": (8, 8, 6), "equalized": True,
       "first_gain": 2**0.5, "first_norm": False, "rgb_gain": 2**0.5}  # fmt: skip


def held(folder: Path, content: bytes) -> dict[str, Any]:
    (folder / "source").write_bytes(content)
    data = foreign.read_inert(folder / "source")
    (folder / "source").unlink()
    assert isinstance(data, dict)
    return data


def rosinality_state(folder: Path, model: Any) -> dict[str, Tensor]:
    return held(folder, rosinality(model))["g_ema"]


def nvidia_state(folder: Path, model: Any) -> dict[str, Tensor]:
    filters = {f"synthesis.b{r}.resample_filter": torch.ones(4, 4) / 16 for r in (4, 8, 16)}
    return {**model.state_dict(), **filters}


STATES: dict[str, tuple[dict[str, Any], Callable[[Path, Any], dict[str, Tensor]]]] = {
    "rosinality": (SG2, rosinality_state),
    "NVIDIA": ({**SG2, "resample_filter": (1.0, 1.0, 1.0, 1.0)}, nvidia_state),
    "genforce": (SG2, lambda folder, m: held(folder, genforce(m))["generator_smooth"]),
    "DCGAN": (DC, lambda folder, m: held(folder, example_dcgan(m))),
    "own names": (DC, lambda folder, m: own_names(m)),
    "simple GAN": (SIMPLE, lambda folder, m: held(folder, simple_gan(m))),
    "EigenGAN": (EIGEN, lambda folder, m: held(folder, eigengan(m))["g_ema"]),
    "pro_gan": (PRO, lambda folder, m: held(folder, pro_gan_pytorch(m, bare=True))),
}


def own_names(model: Any) -> dict[str, Tensor]:
    """A DCGAN's tensors in the order of its layers."""
    s, found = model.state_dict(), {}
    for i in range(len(model.config.channels)):
        found[f"up_{i}.weight"] = s[f"convs.{i}.weight"]
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            found[f"bn_{i}.{part}"] = s[f"norms.{i}.{part}"]
    found["paint.weight"] = s["to_image.weight"]
    return found


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


CRITIC = {
    "main.0.weight": torch.ones(4, 3, 4, 4), "main.2.weight": torch.ones(8, 4, 4, 4), "main.3.weight": torch.ones(8),
    "main.3.bias": torch.ones(8), "main.3.running_mean": torch.ones(8), "main.3.running_var": torch.ones(8),
    "main.5.weight": torch.ones(1, 8, 4, 4),
}  # fmt: skip
WRAPPED: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda s: s,
    "netG_state_dict": lambda s: {"netG_state_dict": s, "netD_state_dict": CRITIC, "epoch": 3, "G_losses": [0.5]},
    "state_dict": lambda s: {"state_dict": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
    "model, generator": lambda s: {"model": {"generator": s, "discriminator": CRITIC}, "step": 7},
    "list": lambda s: [CRITIC, {"generator": s}],
    "Lightning": lambda s: {
        "state_dict": {**prefixed(CRITIC, "discriminator."), **prefixed(s, "generator.")},
        "hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2.1",
    },
    "Lightning, a name of one's own": lambda s: {"state_dict": {**prefixed(s, "generator.net.")}},
    "chains of prefixes": lambda s: {"ema": prefixed(s, "module._orig_mod.netG._orig_mod.")},
    "EMA": lambda s: {
        "initted": torch.tensor(True), "step": torch.tensor(4), **prefixed(s, "ema_model."),
        **prefixed({name: torch.zeros_like(tensor) for name, tensor in s.items()}, "online_model."),
    },
    "averaged and compiled": lambda s: {"_orig_mod.n_averaged": torch.tensor(9), **prefixed(s, "_orig_mod.module.")},
    "averaged": lambda s: {"n_averaged": torch.tensor(9), **prefixed(s, "module.")},
    "six deep": lambda s: {"a": {"b": {"c": {"k": {"e": {"state_dict": s}}}}}},
}  # fmt: skip


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        foreign.convert(path, path.parent / "out.safetensors", **options)
    assert not (path.parent / "out.safetensors").exists()
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


def written(folder: Path, data: Any) -> Path:
    (folder / "file.pth").write_bytes(torch_bytes(data))
    return folder / "file.pth"


def made(config: dict[str, Any]) -> Any:
    model = rough(config)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.abs_().add_(0.5)
    return model


def check_pictures(model: Any, found: foreign.Foreign, out: Path) -> None:
    again = load(out)
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(z), model(z), rtol=0, atol=2e-5)
    assert found.config["kind"] == model.config.kind


EVERYWHERE = [
    pytest.param(case, wrapping, marks=() if case == "DCGAN" or wrapping == "Lightning" else pytest.mark.slow)
    for case in sorted(STATES)
    for wrapping in sorted(WRAPPED)
]  # fmt: skip


@pytest.mark.parametrize(("case", "wrapping"), EVERYWHERE)
def test_nesting_and_prefixes(case, wrapping, tmp_path):
    config, state = STATES[case]
    model = made(config)
    path = written(tmp_path, WRAPPED[wrapping](state(tmp_path, model)))
    found = foreign.convert(path, tmp_path / "m.safetensors")
    check_pictures(model, found, tmp_path / "m.safetensors")
    assert foreign.contents(path)["format"] == found.format


def test_what_lies_beside_a_nested_network_is_seen(tmp_path):
    model = made(SG2)
    data = held(tmp_path, rosinality(model))
    found = foreign.read(written(tmp_path, {"ckpt": {"model": prefixed(data["g_ema"], "g_ema.") | {
        "latent_avg": data["latent_avg"]}}}))  # fmt: skip
    assert found.provenance["which"] == "ckpt.model.g_ema"
    assert torch.equal(found.state["mapping.w_avg"], model.mapping.w_avg)


def test_counters_are_left_out_and_said(tmp_path):
    state = held(tmp_path, example_dcgan(made(DC)))
    decisions = foreign.read(written(tmp_path, WRAPPED["averaged"](state))).provenance["decisions"]
    assert any("only count: n_averaged" in said for said in decisions)


def test_an_average_of_torch(tmp_path):
    network = nn.Sequential(
        nn.ConvTranspose2d(5, 4, 4, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    averaged = torch.optim.swa_utils.AveragedModel(nn.DataParallel(network), use_buffers=True)
    network(torch.randn(8, 5, 1, 1))
    averaged.update_parameters(nn.DataParallel(network))
    foreign.convert(written(tmp_path, {"g_avg": averaged.state_dict()}), tmp_path / "m.safetensors")
    z = torch.randn(3, 5)
    with torch.no_grad():
        expected = network.eval()(z[:, :, None, None])
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), expected, rtol=0, atol=1e-6)


def test_files_and_folders_of_safetensors(tmp_path):
    model = made(DC)
    state = {name: tensor.clone() for name, tensor in held(tmp_path, example_dcgan(model)).items()}
    save_file(state, tmp_path / "weights.safetensors")
    found = foreign.convert(tmp_path / "weights.safetensors", tmp_path / "m.safetensors")
    check_pictures(model, found, tmp_path / "m.safetensors")
    folder = tmp_path / "checkpoint_3"  # as accelerate's save_state leaves one
    folder.mkdir()
    save_file(prefixed(state, "module."), folder / "model.safetensors")
    save_file({name: tensor.clone() for name, tensor in CRITIC.items()}, folder / "model_1.safetensors")
    (folder / "random_states_0.pkl").write_bytes(b"none of a network's")
    found = foreign.convert(folder, tmp_path / "m.safetensors")
    check_pictures(model, found, tmp_path / "m.safetensors")
    assert found.provenance["which"] == "model"


# --------------------------------------------------------------------------------------------- which of several


def test_two_of_equal_standing_are_listed_and_chosen(tmp_path):
    first, second = held(tmp_path, example_dcgan(made(DC))), own_names(rough(DC, seed=7))
    second["bn_0.running_var"].abs_()
    path = written(tmp_path, {"run": {"day": first, "night": prefixed(first, "module.")}})
    assert foreign.read(path).provenance["which"] == "run.day"  # one network, in two places
    other = {name: tensor + 1 for name, tensor in first.items()}
    path = written(tmp_path, {"run": {"day": first, "night": prefixed(other, "module.")}, "d": CRITIC})
    said = refused(path)
    assert "holds 2 networks of equal standing: run.day, run.night; choose one with --weights" in said
    for name in ("run.night", "night"):
        found = foreign.read(path, weights=name)
        assert found.provenance["which"] == "run.night"
        assert torch.equal(found.state["to_image.weight"], other["main.6.weight"])
    assert "has no weights 'noon'; it has run.day, run.night" in refused(path, weights="noon")


def test_two_side_by_side_under_names_that_a_format_knows(tmp_path):
    state = held(tmp_path, example_dcgan(made(DC)))
    other = {name: tensor + 1 for name, tensor in state.items()}
    path = written(tmp_path, {"netG": state, "generator": other})
    assert "2 networks of equal standing: netG, generator; choose" in refused(path)
    found = foreign.read(path, weights="generator")
    assert torch.equal(found.state["to_image.weight"], other["main.6.weight"])
    path = written(tmp_path, {"run": {"netG": state, "generator": other}})
    assert "2 networks of equal standing: netG, generator; choose" in refused(path)
    assert foreign.read(path, weights="generator").provenance["which"] == "run.generator"
    path = written(tmp_path, {"netG": state, "generator": state})
    assert foreign.read(path).provenance["which"] == "netG"
    data = held(tmp_path, rosinality(made(SG2)))
    other = {k: t if k.endswith("kernel") else t + 1 for k, t in data["g_ema"].items()}
    path = written(tmp_path, {**data, "my_ema": other})
    assert "g_ema, my_ema; choose" in refused(path)
    found = foreign.read(path, weights="my_ema")
    assert found.provenance["which"] == "my_ema"
    assert torch.equal(found.state["synthesis.b4.const"], other["input.input"][0])
    assert foreign.read(path, weights="g_ema").provenance["which"] == "g_ema"


def test_an_average_comes_first_and_the_others_are_said(tmp_path):
    state = own_names(made(DC))
    other = {name: tensor + 1 for name, tensor in state.items()}
    path = written(tmp_path, {"generator": other, "generator_ema": state, "discriminator": CRITIC})
    found = foreign.read(path)
    assert found.provenance["which"] == "generator_ema"
    assert any("The file also holds generator," in said for said in found.provenance["decisions"])
    assert torch.equal(foreign.read(path, weights="generator").state["convs.0.weight"], other["up_0.weight"])


@pytest.mark.parametrize(
    ("path", "level"),
    [("g_ema", 0), ("netG_state_dict", 1), ("model.generator", 1), ("state_dict", 2), ("", 2), ("netD_ema", 3),
     ("discriminator.net", 3), ("generatorEMA", 0), ("vae.decoder", 3), ("gadget", 2)],
)  # fmt: skip
def test_standing(path, level):
    assert standing(path) == level


# --------------------------------------------------------------------------------------------- plain generators


def test_a_plain_dcgan_is_taken_and_said(tmp_path):
    decisions = foreign.read(written(tmp_path, own_names(made(DC)))).provenance["decisions"]
    assert any("names of their own (up_0, bn_0, ...)" in said for said in decisions)


@pytest.mark.parametrize("bias", ["all", "last"])
def test_convolutions_with_a_bias(bias, tmp_path):
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(5, 4, 4, bias=bias == "all"), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=bias == "all"), nn.BatchNorm2d(3), nn.ReLU(),
        nn.ConvTranspose2d(3, 1, 4, 2, 1), nn.Tanh(),
    ]  # fmt: skip
    network = nn.Sequential(*layers)
    network(torch.randn(8, 5, 1, 1))
    found = foreign.convert(written(tmp_path, network.eval().state_dict()), tmp_path / "m.safetensors")
    assert found.config["bias"] == bias
    z = torch.randn(3, 5)
    with torch.no_grad():
        expected = network(z[:, :, None, None])
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_fully_connected_generator(channels, tmp_path):
    network = nn.Sequential(
        nn.Linear(6, 20),
        nn.LeakyReLU(0.2),
        nn.Linear(20, 30),
        nn.LeakyReLU(0.2),
        nn.Linear(30, channels * 64),
        nn.Tanh(),
    )
    found = foreign.convert(written(tmp_path, {"G": network.state_dict()}), tmp_path / "m.safetensors")
    assert found.config["image_shape"] == (channels, 8, 8)
    assert any("a fully connected generator" in said for said in found.provenance["decisions"])
    z = torch.randn(3, 6)
    with torch.no_grad():
        expected = network(z).reshape(3, channels, 8, 8)
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), expected, rtol=0, atol=1e-6)


# --------------------------------------------------------------------------------------------- pickled whole


def small(**changes: Any) -> list[nn.Module]:
    """A DCGAN of torch's layers, some of them replaced."""
    layers: dict[str, nn.Module] = {
        "conv": nn.ConvTranspose2d(5, 4, 4, bias=False), "norm": nn.BatchNorm2d(4), "between": nn.ReLU(),
        "last": nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), "end": nn.Tanh(),
    }  # fmt: skip
    return list({**layers, **changes}.values())


@pytest.mark.parametrize("wrap", ["whole", "parallel", "in a dictionary", "inside of a module"])
def test_a_network_pickled_whole(wrap, tmp_path):
    network = nn.Sequential(*small())
    network(torch.randn(8, 5, 1, 1))
    held = {
        "whole": network, "parallel": nn.DataParallel(network),
        "in a dictionary": {"netG": network, "netD": nn.Sequential(nn.Conv2d(3, 4, 4), nn.LeakyReLU(0.2))},
        "inside of a module": nn.ModuleDict({"generator": network, "critic": nn.Sequential(nn.Linear(3, 4))}),
    }[wrap]  # fmt: skip
    found = foreign.convert(written(tmp_path, held), tmp_path / "m.safetensors")
    assert any("has the network whole" in said for said in found.provenance["decisions"])
    z = torch.randn(3, 5)
    with torch.no_grad():
        expected = network.eval()(z[:, :, None, None])
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"end": nn.Sigmoid()}, "is a Sigmoid"),
        ({"between": nn.Upsample(scale_factor=2)}, "is a Upsample"),
        ({"last": nn.ConvTranspose2d(4, 3, 4, 2, 1, dilation=2, bias=False)}, "has dilation 2"),
        ({"last": nn.ConvTranspose2d(4, 3, 4, (2, 4), 1, bias=False)}, "has stride (2, 4)"),
        ({"between": nn.Softplus()}, "is a Softplus"),
        ({"between": nn.Identity()}, "its layers are layer, norm, layer, tanh"),
    ],
)
def test_a_whole_network_with_other_settings(changes, said, tmp_path):
    assert said in refused(written(tmp_path, {"generator": nn.Sequential(*small(**changes))}))


@pytest.mark.parametrize("between", [nn.ReLU(), nn.LeakyReLU(0.1)])
def test_the_slope_of_a_whole_network(between, tmp_path):
    network = nn.Sequential(nn.Linear(6, 20), between, nn.Linear(20, 30), between, nn.Linear(30, 64), nn.Tanh())
    foreign.convert(written(tmp_path, network), tmp_path / "m.safetensors")
    z = torch.randn(3, 6)
    with torch.no_grad():
        expected = network(z).reshape(3, 1, 8, 8)
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z), expected, rtol=0, atol=1e-6)


# --------------------------------------------------------------------------------------------- what is refused


def changed(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[], dict[str, Tensor]]:
    def make() -> dict[str, Tensor]:
        state = own_names(made(DC))
        change(state)
        return state

    return make


OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "a discriminator": (lambda: CRITIC, "no generator (a discriminator?)"),
    "a classifier": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 9, 3), nn.Linear(9, 10)).state_dict(),
        "no generator (a discriminator?)",
    ),
    "linear layers that shrink": (
        lambda: nn.Sequential(nn.Linear(784, 30), nn.Linear(30, 1)).state_dict(), "no generator (a discriminator?)",
    ),
    "a mapping network": (
        lambda: nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512)).state_dict(), "a square picture",
    ),
    "a norm behind a rectifier": (
        lambda: nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.BatchNorm1d(20), nn.Linear(20, 64)).state_dict(),
        "lies one without tensors (a rectifier?)",
    ),
    "a norm of a picture": (
        lambda: nn.Sequential(nn.Linear(6, 20), nn.Linear(20, 64), nn.BatchNorm1d(64)).state_dict(),
        "batch normalisations",
    ),
    "an embedding of classes": (
        lambda: nn.ModuleDict({"label": nn.Embedding(10, 6), "net": nn.Linear(6, 64)}).state_dict(), "fully connected",
    ),
    "a spectral norm": (
        lambda: nn.Sequential(nn.utils.spectral_norm(nn.ConvTranspose2d(6, 5, 4)), nn.BatchNorm2d(5),
                              nn.ConvTranspose2d(5, 3, 4)).state_dict(), "spectral or weight normalisation",
    ),
    "an autoencoder": (
        lambda: {**prefixed(nn.Linear(64, 6).state_dict(), "encoder.0."),
                 **prefixed(nn.Sequential(nn.Linear(6, 20), nn.Linear(20, 64)).state_dict(), "decoder.")},
        "of no known format",
    ),
    "other kernels": (changed(lambda s: s.update({"up_1.weight": torch.ones(6, 5, 5, 3)})), "kernels of 5 x 3"),
    "the first half": (changed(lambda s: [s.pop(k) for k in list(s) if k[:4] in ("pain", "bn_1")]), "5 features"),
    "a norm lost": (changed(lambda s: [s.pop(k) for k in list(s) if k.startswith("bn_1")]), "paint"),
    "another order": (changed(lambda s: s.update({"up_0.weight": s.pop("up_0.weight")})), "one after the other"),
    "attention between": (changed(lambda s: s.update({"attention.gamma": torch.ones(1)})), "attention"),
    "instance norms": (changed(lambda s: [s.pop(k) for k in list(s) if "running" in k]), "bn_0"),
    "the second half of a Sequential": (
        lambda: prefixed(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(9, 6, 4, bias=False), nn.BatchNorm2d(6),
                                       nn.ConvTranspose2d(6, 3, 4, bias=False)).state_dict(), "net."),
        "half of a checkpoint",
    ),
    "half a DCGAN of the example": (
        lambda: nn.ModuleDict({"main": nn.Sequential(
            nn.ConvTranspose2d(9, 64, 4), nn.BatchNorm2d(64), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4))}).state_dict(),
        "half of a checkpoint",
    ),
    "half a StyleGAN2": (
        lambda: {k: t for k, t in made(SG2).state_dict().items() if k.startswith("synthesis.")}, "half of a checkpoint",
    ),
    "nothing by name": (lambda: {"a": [torch.ones(3)], "b": {1: torch.ones(2)}}, "of no known format"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(OTHERS))
def test_what_is_no_plain_generator_is_refused(case, tmp_path):
    make, said = OTHERS[case]
    assert said in refused(written(tmp_path, make()))
    assert said in refused(written(tmp_path, {"state_dict": make(), "epoch": 1}))


# --------------------------------------------------------------------------------------------- settings in the file

SETTINGS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "a latent": (DC, {"args": Namespace(nz=9)}, "nz is 9, and its tensors make that 7"),
    "a size": (DC, {"config": {"image_size": 64}}, "image_size is 64, and its tensors make that 16"),
    "deeper": (DC, {"config": {"model": {"generator": {"z_dim": 64}}}}, "z_dim is 64, and its tensors make that 7"),
    "channels": (DC, {"opt": {"nc": 1}}, "nc is 1, and its tensors make that 3"),
    "an activation": (DC, {"hyper_parameters": {"activation": "elu"}}, "has relu between layers"),
    "its class": (DC, {"config": {"act": torch.nn.SELU}}, "has relu between layers"),
    "an object": (DC, {"config": {"activation": torch.nn.LeakyReLU(0.2)}}, "has relu between layers"),
    "a partial": (DC, {"config": {"act": partial(torch.nn.LeakyReLU, 0.2)}}, "has relu between layers"),
    "a slope": (DC, {"hparams": {"negative_slope": 0.2}}, "a slope of 0"),
    "the end": (DC, {"config": {"model": 1, "output_activation": "sigmoid"}}, "ends with a tanh"),
    "no tanh": (DC, {"config": {"use_tanh": False}}, "ends with a tanh"),
    "resampling": (DC, {"config": {"g_kwargs": {"upsample": "bilinear"}}}, "enlarges otherwise"),
    "StyleGAN2's size": (SG2, {"args": Namespace(size=64)}, "size is 64, and its tensors make that 16"),
    "StyleGAN2 with a tanh": (SG2, {"cfg": {"final_activation": "Tanh"}}, "ends with no tanh"),
    "StyleGAN2 with swish": (SG2, {"cfg": {"nonlinearity": "swish"}}, "between layers"),
}


@pytest.mark.parametrize("case", sorted(SETTINGS))
def test_settings_that_contradict_the_tensors(case, tmp_path):
    config, beside, said = SETTINGS[case]
    state = own_names(made(DC)) if config is DC else rosinality_state(tmp_path, made(SG2))
    message = refused(written(tmp_path, {"generator": state, **beside}))
    assert "its settings say" in message
    assert said in message
    if config is DC:
        assert said in refused(written(tmp_path, {"models": {"generator": state, **beside}}))


def test_settings_that_agree_or_are_another_networks(tmp_path):
    path = written(tmp_path, {
        "generator": own_names(made(DC)),
        "args": Namespace(nz=7, nc=3, image_size=16, activation="nn.ReLU", output_activation="tanh",
                          upsample="conv_transpose", d_activation="leaky_relu", lr=0.1, device="cuda"),
        "discriminator": {"config": {"activation": "leaky_relu"}},
    })  # fmt: skip
    assert foreign.read(path).config["latent_dim"] == 7


# --------------------------------------------------------------------------------------------- regenerated


def test_what_a_file_lacks_is_made_and_said(tmp_path):
    model = made(SG2)
    state = rosinality_state(tmp_path, model)
    left = {k: t for k, t in state.items() if not k.startswith("noises.") and not k.endswith(".kernel")}
    found = foreign.convert(written(tmp_path, {"g_ema": left}), tmp_path / "m.safetensors")
    said = " ".join(found.provenance["decisions"])
    assert "no stored noise for 5 layers" in said
    assert "no smoothing filter" in said
    assert "no mean of w" in said
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    off = load(tmp_path / "m.safetensors")(z, noise="none") - model(z, noise="none")
    assert float(off.abs().max()) < 2e-5
    again = foreign.read(tmp_path / "file.pth")
    assert all(torch.equal(tensor, again.state[name]) for name, tensor in found.state.items())


def test_smoothing_filters_of_all_layers_count(tmp_path):
    state = nvidia_state(tmp_path, made({**SG2, "resample_filter": (1.0, 1.0, 1.0, 1.0)}))
    del state["synthesis.b16.resample_filter"]
    assert foreign.read(written(tmp_path, state)).config["resample_filter"] == (2.0,) * 4
    state["synthesis.b8.resample_filter"] = torch.outer(*2 * [torch.tensor([1.0, 3, 3, 1])])
    assert "different smoothing filters" in refused(written(tmp_path, state))


def test_whole_numbers_are_no_weights(tmp_path):
    state = own_names(made(DC))
    state["up_0.weight"] = state["up_0.weight"].to(torch.int8)
    assert "holds torch.int8 numbers; expected floating point" in refused(written(tmp_path, state))


def test_batches_that_nobody_counted(tmp_path):
    state = {k: t for k, t in own_names(made(DC)).items() if "num_batches" not in k}
    found = foreign.read(written(tmp_path, state))
    assert any("does not count the batches of 2" in said for said in found.provenance["decisions"])


# --------------------------------------------------------------------------------------------- StyleGAN3's tensors

SG3 = {"kind": "stylegan3", "resolution": 16, "z_dim": 8, "w_dim": 12, "num_layers": 4, "num_critical": 1,
       "channel_base": 128, "channel_max": 8, "margin_size": 4}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{}, {"kernel": 1, "radial": True}, {"c_dim": 3}, {"num_critical": 2, "margin_size": 10, "resolution": 32}],
    ids=str,
)
def test_a_stylegan3_of_tensors_only(changes, tmp_path):
    model = build_model({**SG3, **changes}, seed=0).eval()
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    for name in state:
        if name.endswith("magnitude_ema"):
            state[name] = torch.tensor(1.5)
            model.get_buffer(name.removeprefix("module.")).fill_(1.5)
    found = foreign.convert(written(tmp_path, {"ema": state}), tmp_path / "m.safetensors")
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    label = {"label": 1} if "c_dim" in changes else {}
    with torch.no_grad():
        expected = model(z, **label)
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z, **label), expected, rtol=0, atol=2e-5)
    assert ": lr_multiplier 0.01, clamp 256.0, output_scale 0.25." in found.provenance["decisions"][0]


def test_a_stylegan3_of_other_rules_is_refused(tmp_path):
    other = build_model({**SG3, "last_stopband_rel": 1.9}, seed=0).state_dict()
    assert "the filters of its 5 layers are not those of the published rules" in refused(written(tmp_path, other))
    odd = {name.replace("L1_24_8", "L1_24_7"): tensor for name, tensor in other.items()}
    assert "are not those of the published rules" in refused(written(tmp_path, odd))
    gone = {name: tensor for name, tensor in other.items() if "L1_" not in name}
    assert "not one after the other" in refused(written(tmp_path, gone))
    huge = {name.replace("_24_8.", "_99999_99999."): tensor for name, tensor in other.items()}
    assert "published rules" in refused(written(tmp_path, huge))


# --------------------------------------------------------------------------------------------- files without end


def test_shared_containers_are_walked_once():
    data: Any = {"x": torch.ones(1)}
    for _ in range(7):
        data = {"a": data, "b": data, "c": [data] * 60}
    budget = Budget(Limits(), size=1000)
    before = budget.objects_left
    assert len(places_in(data, budget)) < 100
    assert before - budget.objects_left < 2000


def test_what_contains_itself_ends():
    data: dict[str, Any] = {"x": torch.ones(1)}
    data["again"] = [data, [data]]
    assert len(places_in(data, Budget(Limits(), size=1000))) < 10
    endless: list[Any] = []
    endless.append(endless)
    assert len(places_in(endless, Budget(Limits(), size=1000))) == 1


def test_walking_is_taken_from_the_budget():
    tensor = torch.ones(1)
    names = {".".join([f"n{i % 3}"] * 8) + f".{i}": tensor for i in range(5000)}
    with pytest.raises(DamagedError):
        places_in(names, Budget(Limits(memory=10_000), size=0))
    with pytest.raises(DamagedError):
        places_in(names, Budget(Limits(objects=1000), size=0))


def test_prefixes_without_end_take_no_time(tmp_path):
    name = "module." * 200_000
    path = written(tmp_path, {"state_dict": {f"{name}{i}.weight": torch.ones(1) for i in range(20)}})
    assert within_bounds(cost(lambda: refused(path)), path.stat().st_size)


def test_what_a_nested_file_holds_is_listed_by_path(tmp_path):
    state = own_names(made(DC))
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}
    listed = foreign.contents(written(tmp_path, {"run": {"day": state, "night": {"x": state}}, "optim": optimiser}))
    assert [part["name"] for part in listed["parts"]] == ["optim", "run.day", "run.night.x"]
    assert listed["parts"][1]["tensors"]["paint.weight"] == [5, 3, 4, 4]


def test_networks_without_end_take_no_time(tmp_path):
    """A dictionary takes a hundred bytes of a file, and asking every format about it is much more."""
    tensors = [torch.ones(1, 1, 4, 4), torch.ones(1)]
    state = {"main.0.weight": tensors[0], "main.1.running_mean": tensors[1]}
    many = [{**state, str(i): torch.ones(1)} for i in range(2000)]
    path = written(tmp_path, [many[i : i + 60] for i in range(0, 2000, 60)])
    spent = cost(lambda: refused(path))
    assert spent.outcome == "returned", spent.message
    assert within_bounds(spent, path.stat().st_size)
    nothing = [[[{"a": tensors[0]} for _ in range(60)] for _ in range(60)] for _ in range(8)]
    path = written(tmp_path, nothing)
    spent = cost(lambda: refused(path))
    assert spent.outcome == "returned", spent.message
    assert within_bounds(spent, path.stat().st_size)
