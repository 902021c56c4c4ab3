"""Plain generators against torch's own layers: kernels, strides, slopes, normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_files import torch_bytes
from torch import Tensor, nn

from disentangle.errors import CheckpointError, ConfigError
from disentangle.io import foreign, load
from disentangle.models import build_model

Z = 6


def written(folder: Path, data: Any) -> Path:
    (folder / "file.pth").write_bytes(torch_bytes(data))
    return folder / "file.pth"


def trained(network: nn.Sequential, latents: Tensor) -> nn.Sequential:
    """With running statistics of its own, in evaluation mode."""
    with torch.no_grad():
        network.train()(latents)
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return network.eval()


def dcgan(
    drawn: Sequence[tuple[int, ...]], *, slope: float = 0.0, tanh: bool = True, eps: float = 1e-5
) -> nn.Sequential:
    torch.manual_seed(0)
    widths = (Z, *(5,) * (len(drawn) - 1), 3)
    layers: list[nn.Module] = []
    for index, geometry in enumerate(drawn):
        layers.append(nn.ConvTranspose2d(widths[index], widths[index + 1], *geometry, bias=False))
        if index < len(drawn) - 1:
            layers += [nn.BatchNorm2d(5, eps=eps), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    network = nn.Sequential(*layers, *([nn.Tanh()] if tanh else []))
    return trained(network, torch.randn(8, Z, 1, 1))


def mlp(norms: Sequence[bool], *, slope: float = 0.2, eps: float = 1e-5, tanh: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    width = Z
    for index, normalised in enumerate(norms):
        layers.append(nn.Linear(width, 10 + index, bias=not normalised))
        width = 10 + index
        layers += [nn.BatchNorm1d(width, eps=eps)] if normalised else []
        layers.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
    network = nn.Sequential(*layers, nn.Linear(width, 64), *([nn.Tanh()] if tanh else []))
    return trained(network, torch.randn(8, Z))


def check(network: nn.Sequential, data: Any, folder: Path, **options: Any) -> foreign.Foreign:
    found = foreign.convert(written(folder, data), folder / "m.safetensors", **options)
    z = torch.randn(3, Z, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        first = z if isinstance(network[0], nn.Linear) else z[:, :, None, None]
        expected = network(first)
        expected = expected.reshape(3, 1, 8, 8) if expected.ndim == 2 else expected
    torch.testing.assert_close(load(folder / "m.safetensors")(z), expected, rtol=0, atol=1e-6)
    return found


DOUBLING = {
    2: [(4,), (2, 2)],
    3: [(4,), (3, 2, 1, 1)],
    5: [(4,), (5, 2, 2, 1)],
    6: [(4,), (6, 2, 2)],
    7: [(7,), (4, 2, 1), (7, 2, 3, 1)],
    1: [(4,), (4, 2, 1), (1,)],
}


@pytest.mark.parametrize("kernel", sorted(DOUBLING))
def test_kernels_that_double(kernel, tmp_path):
    network = dcgan(DOUBLING[kernel])
    found = check(network, network.state_dict(), tmp_path)
    assert any("strides 1,2" in said and "--set-source" in said for said in found.provenance["decisions"])


ODD = [(3, 2), (4, 1), (3, 2), (4, 2)]  # 3, 6, 13 and 28 pixels


def test_strides_are_given_or_read_from_the_network(tmp_path):
    network = dcgan(ODD, slope=0.2, tanh=False, eps=0.1)
    given = {"strides": "2,1,2,2", "paddings": "0", "output_paddings": 0, "slope": 0.2, "tanh": "false", "eps": "0.1"}
    for data in (network.state_dict(), {f"main.{name}": tensor for name, tensor in network.state_dict().items()}):
        check(network, data, tmp_path, settings=given)
    found = check(network, network, tmp_path)
    assert found.config["convolutions"] == ((3, 2, 0, 0), (4, 1, 0, 0), (3, 2, 0, 0), (4, 2, 0, 0))
    with pytest.raises(CheckpointError, match="the file states strides 2,1,2,2, which is read from it"):
        foreign.read(tmp_path / "file.pth", settings={"strides": "2"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strides": "2,1"}, "expected 4 whole numbers up to 64, one for each layer, as 1,2,2,2, or one for all"),
        ({"strides": "0"}, "with stride 0"),
        ({"strides": "1,2,2,x"}, "strides is 1,2,2,x"),
        ({"paddings": "9"}, "pixels or none"),
        ({"output_paddings": "2"}, "pixels or none"),
        (
            {"strides": "1", "paddings": "0,1,1,1", "output_paddings": 0},
            "make 5 pixels with strides 1,1,1,1; expected 8",
        ),
        ({"strides": "64"}, "pixels or none"),
        ({"slope": "-1"}, "its slope is -1"),
        ({"eps": "0"}, "its eps 0"),
    ],
)
def test_strides_that_make_no_picture(settings, said, tmp_path):
    path = written(tmp_path, dcgan(ODD).state_dict())
    with pytest.raises(CheckpointError) as caught:
        foreign.read(path, settings=settings)
    assert said in str(caught.value)


def test_a_stated_size_decides_against_the_usual_strides(tmp_path):
    path = written(tmp_path, {"netG": dcgan(ODD).state_dict(), "image_size": 28})
    with pytest.raises(CheckpointError, match="image_size is 28, and its tensors make that 24"):
        foreign.read(path)
    foreign.read(path, settings={"strides": "2,1,2,2", "paddings": 0, "output_paddings": 0})


@pytest.mark.parametrize("norms", [(True, True), (True, False), (False, False)])
def test_linear_layers_with_normalisations(norms, tmp_path):
    network = mlp(norms, slope=0.1, tanh=False)
    check(network, network.state_dict(), tmp_path, settings={"slope": "0.1", "tanh": False})
    check(network, network, tmp_path)


def test_an_eps_that_was_meant_as_a_momentum(tmp_path):
    network = mlp((False, True, True), eps=0.8)
    found = check(network, network.state_dict(), tmp_path)
    assert any("as in PyTorch-GAN, whose eps is 0.8" in said for said in found.provenance["decisions"])
    network = mlp((False, True), eps=0.3)
    check(network, network.state_dict(), tmp_path, settings={"eps": 0.3})
    check(network, network, tmp_path)


def test_lists_of_convolutions_and_of_normalisations(tmp_path):
    network = dcgan([(4,), (4, 2, 1), (4, 2, 1), (4, 2, 1)])
    state = network.state_dict()
    for order in ((0, 3, 6, 9, 1, 4, 7), (1, 4, 7, 0, 3, 6, 9), (0, 3, 6, 1, 4, 7, 9)):
        names = {place: f"{'convs' if place % 3 == 0 else 'norms'}.{place // 3}" for place in order}
        listed = {
            f"{names[place]}.{name.partition('.')[2]}": tensor
            for place in order
            for name, tensor in state.items()
            if name.startswith(f"{place}.")
        }
        found = check(network, listed, tmp_path)
        assert any("are taken by turns" in said for said in found.provenance["decisions"])


class Leaky(nn.Sequential):
    """A class of somebody's own, whose slope is an attribute and used in a function."""

    def __init__(self, *layers: nn.Module, slope: float) -> None:
        super().__init__(*layers)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = list(self)
        for layer in inner:
            x = layer(x)
            x = nn.functional.leaky_relu(x, self.slope) if isinstance(layer, nn.BatchNorm2d) else x
        return last(x).tanh()


def test_a_slope_that_a_class_states(tmp_path):
    plain = dcgan([(4,), (4, 2, 1)])
    network = Leaky(plain[0], plain[1], plain[3], slope=0.2).eval()
    path = written(tmp_path, network)
    with pytest.raises(CheckpointError, match=r"negative_slope is 0.2, and the toolkit's dcgan has a slope of 0"):
        foreign.read(path)
    check(network, network, tmp_path, settings={"slope": 0.2})


def test_a_linear_first_layer_is_refused_by_name(tmp_path):
    network = nn.Sequential(nn.Linear(Z, 64), nn.Unflatten(1, (4, 4, 4)), nn.ConvTranspose2d(4, 3, 4, 2, 1))
    with pytest.raises(CheckpointError, match="its first layer 0 is linear"):
        foreign.read(written(tmp_path, network.state_dict()))


def test_more_between_two_layers_is_said(tmp_path):
    network = dcgan([(4,), (4, 2, 1)])
    names = {name.replace("3.", "5."): tensor for name, tensor in network.state_dict().items()}
    said = " ".join(foreign.read(written(tmp_path, names)).provenance["decisions"])
    assert "Between its layers 1 and 5 lie 3 without tensors" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resolution": 16}, "make 8 pixels"),
        ({"convolutions": [[4, 1, 0, 0]]}, "expected 2"),
        ({"convolutions": [[4, 1, 0, 0], [4, 2, 1, 2]]}, "output padding of 2"),
        ({"convolutions": [[4, 1, 2, 0], [4, 2, 1, 0]]}, "leaves nothing"),
    ],
)
def test_configurations_of_no_dcgan(changes, said):
    config = {"kind": "dcgan", "resolution": 8, "channels": [4], "convolutions": [[4, 1, 0, 0], [4, 2, 1, 0]]}
    with pytest.raises(ConfigError, match=said):
        build_model({**config, **changes}, seed=0)


# --------------------------------------------------------------------------------------------- around a network


def prefixed(network: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


def test_an_average_under_a_name_that_no_format_knows_comes_first(tmp_path):
    """Lightning's and mmgen's files; "generator" is a name that the format of the DCGAN knows."""
    network, raw = dcgan([(4,), (4, 2, 1)]), dcgan([(4,), (4, 2, 1)], slope=0.3)
    raw[0].weight.data.mul_(2)
    named = {**prefixed(raw, "generator.main."), **prefixed(network, "generator_ema.main.")}
    for data in ({"state_dict": named}, named):
        found = check(network, data, tmp_path)
        assert found.provenance["which"].endswith("generator_ema")
        assert any(said.endswith("generator, which --weights takes.") for said in found.provenance["decisions"])
        again = foreign.read(tmp_path / "file.pth", weights="generator")
        assert torch.equal(again.state["convs.0.weight"], raw[0].weight)


def test_an_average_without_names_is_said(tmp_path):
    network = dcgan([(4,), (4, 2, 1)])
    shadow = {"decay": 0.9, "shadow_params": [parameter.detach() for parameter in network.parameters()]}
    found = check(network, {"model": network.state_dict(), "ema": shadow}, tmp_path)
    assert any("in ema has no names and is not taken" in said for said in found.provenance["decisions"])


def test_an_optimiser_that_was_pickled_whole_is_passed_over(tmp_path):
    """Its state has the parameters themselves as keys."""
    network = dcgan([(4,), (4, 2, 1)])
    state = {parameter: {"step": 1, "exp_avg": torch.zeros_like(parameter)} for parameter in network.parameters()}
    check(network, {"G": network, "optimizer": {"state": state}}, tmp_path)


def test_half_of_a_dcgan(tmp_path):
    state = prefixed(dcgan([(4,), (4, 2, 1), (4, 2, 1)]), "main.")
    for count, said in ((6, "one convolution, main.0"), (7, "half of a checkpoint")):
        with pytest.raises(CheckpointError, match=said):
            foreign.read(written(tmp_path, dict(list(state.items())[:count])))


@pytest.mark.parametrize("drawn", [[(4,), (4, 2, 1)], [(4,), (4, 2, 1), (4, 2, 1)]])
def test_a_layer_without_tensors_before_the_first(drawn, tmp_path):
    """What shapes a flat latent has the number 0, and nothing in the file."""
    network = dcgan(drawn)
    check(network, nn.Sequential(nn.Unflatten(1, (Z, 1, 1)), *network).state_dict(), tmp_path)


def test_layers_that_begin_late(tmp_path):
    """Number 0 is a layer's own where rectifiers have no number, and of two missing numbers one may be a layer's."""
    network = dcgan([(4,), (4, 2, 1), (4, 2, 1)])
    numbers = {"0": 1, "1": 2, "3": 3, "4": 4, "6": 5}
    for places in (numbers, {place: int(place) + 2 for place in numbers}):
        state = {f"{places[name.split('.')[0]]}.{name.split('.')[1]}": t for name, t in network.state_dict().items()}
        with pytest.raises(CheckpointError, match="half of a checkpoint"):
            foreign.read(written(tmp_path, state))
