"""Other people's style-based generators, classes, projections of any layer, and their model files."""

from __future__ import annotations

import copy
import logging
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import disentangle
from disentangle import wrap
from disentangle.errors import CheckpointError, InputError
from disentangle.latents import basis, ganspace, invert, jacobian_axes, sefa, turn
from disentangle.nn import bake, project

Z, W, ROWS = 6, 8, 3


class Styled(nn.Module):
    """A mapping, and a synthesis of three layers that read a row of w+ each."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim = Z
        self.map = nn.Sequential(nn.Linear(Z, 10), nn.ReLU(), nn.Linear(10, W))
        self.affine = nn.ModuleList(nn.Linear(W, 4 + i) for i in range(ROWS))
        self.unused = nn.Linear(W, 2)
        self.out = nn.Linear(15, 3 * 16)

    def paint(self, ws):
        # not in the order in which they stand
        rows = [self.affine[i](ws[:, ROWS - 1 - i]) for i in (2, 0, 1)]
        return torch.tanh(self.out(torch.cat(rows, 1))).reshape(-1, 3, 4, 4)

    def forward(self, z):
        return self.paint(self.map(z)[:, None].repeat(1, ROWS, 1))


class Conditional(nn.Module):
    def __init__(self, one_hot: bool) -> None:
        super().__init__()
        self.table = nn.Linear(4, 5, bias=False) if one_hot else nn.Embedding(4, 5)
        self.head = nn.Linear(Z + 5, 48)

    def forward(self, z, y):
        return self.head(torch.cat([z, self.table(y)], 1)).reshape(-1, 3, 4, 4)


class Deep(nn.Module):
    """A convolutional generator whose first layer reads z, with a spectrally normalised one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(5, 6, 4)
        self.mid = nn.Conv2d(6, 4, 3, padding=1)
        self.normed = torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1))
        self.old = torch.nn.utils.spectral_norm(nn.Conv2d(4, 4, 1))
        self.last = nn.ConvTranspose2d(4, 3, 2, stride=2)

    def forward(self, z):
        return torch.tanh(self.last(self.old(self.normed(torch.relu(self.mid(self.first(z)))))))


@pytest.fixture
def module() -> Styled:
    torch.manual_seed(0)
    return Styled()


@pytest.fixture
def styled(module):
    return disentangle.wrap(module, mapping="map", synthesis="paint", num_ws=ROWS)


def test_spaces_of_a_module_with_a_mapping(module, styled):
    assert {name: space.shape for name, space in styled.spaces.items()} == {"z": (Z,), "w": (W,), "w+": (ROWS, W)}
    z = styled.sample_latents(4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(styled(z), module(z))
    w = styled.convert_latents(z, "z", "w")
    assert torch.equal(w, module.map(z))
    assert torch.equal(styled(w, space="w"), module(z))
    rows = torch.randn(2, ROWS, W)
    assert torch.equal(styled(rows, space="w+"), module.paint(rows))


def test_truncation_pulls_towards_the_mean_of_w(module, styled):
    drawn = torch.randn(4096, Z, generator=torch.Generator().manual_seed(0))
    centre = module.map(drawn).mean(0)
    z = torch.randn(2, Z)
    w = styled.convert_latents(z, "z", "w", truncation=0.5)
    assert torch.allclose(w, centre + 0.5 * (module.map(z) - centre), atol=1e-5)
    assert torch.allclose(styled(z, truncation=0.0), styled(centre.expand(2, -1), space="w"), atol=1e-5)
    with torch.no_grad():
        module.map[2].bias += 1  # the mean is that of the weights as they are
    assert torch.allclose(styled.convert_latents(z, "z", "w", truncation=0.0)[0], centre + 1, atol=1e-5)
    kept = styled.convert_latents(z, "z", "w+", truncation=0.0, truncation_cutoff=1)
    assert torch.allclose(kept[:, 1:], module.map(z)[:, None].expand(-1, 2, -1))


def test_the_layers_that_read_w_and_their_rows_are_seen(styled):
    assert [(layer.name, layer.ws_index) for layer in styled.style_layers()] == [
        ("affine.2", 0), ("affine.0", 2), ("affine.1", 1),
    ]  # fmt: skip


def test_sefa_ganspace_walks_and_inversion(module, styled):
    found = sefa(styled, top=2, layers=[1, 2])
    weights = torch.cat([module.affine[i].weight for i in (0, 1)]).double()  # rows 2 and 1
    weights = weights / weights.norm(dim=1, keepdim=True)
    expected = torch.linalg.svd(weights, full_matrices=False).Vh[:2].float()
    assert torch.allclose((found.vectors * expected).sum(1).abs(), torch.ones(2), atol=1e-5)
    assert found.space == "w"
    named = disentangle.wrap(module, mapping="map", synthesis="paint", num_ws=ROWS, style_layers=["affine.1"])
    assert sefa(named, top=1).vectors.shape == (1, W)
    assert [layer.ws_index for layer in named.style_layers()] == [1]
    walks = disentangle.traverse(styled, found, steps=3, truncation=0.7, truncation_cutoff=2)
    assert walks.shape == (1, 2, 3, 3, 4, 4)
    assert ganspace(styled, top=2, samples=50).space == "w"
    target = styled(styled.sample_latents(1)).detach()
    assert invert(styled, target, steps=3).latents.space == "w+"


def test_ppl_in_w(styled):
    from disentangle.evaluations.generation import path_length

    def distance(one, two):
        return (one - two).square().flatten(1).sum(1)

    score = path_length(styled, distance, n=4, size=None, epsilon=1e-2, low=None, high=None)
    assert score.settings["space"] == "w"
    assert score.value > 0


def test_a_synthesis_that_reads_one_w_and_a_mapping_beside_it():
    mapping, synthesis = nn.Linear(Z, W), nn.Sequential(nn.Linear(W, 48), nn.Unflatten(1, (3, 4, 4)))
    generator = disentangle.wrap(synthesis, Z, mapping=mapping)
    assert list(generator.spaces) == ["z", "w"]
    z = torch.randn(2, Z)
    assert torch.equal(generator(z), synthesis(mapping(z)))
    assert {id(p) for p in generator.parameters()} == {id(p) for p in [*mapping.parameters(), *synthesis.parameters()]}
    assert sefa(generator, top=2).space == "w"
    project(generator, rank=2)
    assert basis(generator).layers is None
    assert disentangle.traverse(generator, steps=3).shape == (1, 2, 3, 3, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mapping": "mop"}, "Unknown part of the module for mapping 'mop'; did you mean 'map'"),
        ({"mapping": 3}, "mapping is 3; expected a torch module"),
        ({"mapping": "map", "synthesis": "paint", "num_ws": 2}, "The synthesis does not accept w of shape"),
        ({"mapping": "map", "synthesis": "paint"}, "Pass num_ws="),
        ({"mapping": "map", "synthesis": "paint", "num_ws": 3, "w_dim": 5}, "w_dim is 5, but the mapping returned 8"),
        ({"mapping": "unused"}, "The mapping does not accept latents of shape"),
        ({"mapping": "map", "synthesis": "unused"}, "The module returned"),
        (
            {"mapping": "map", "synthesis": "paint", "num_ws": 3, "style_layers": ["unused"]},
            "'unused' does not multiply a row of w",
        ),
        ({"mapping": "map", "synthesis": "paint", "num_ws": 3, "style_layers": ["gone"]}, "Unknown layer 'gone'"),
        ({"num_ws": 3}, "num_ws was given without a mapping"),
        ({"mapping": "map", "projection": "out"}, "projection is for a module without a mapping"),
    ],
)
def test_what_does_not_fit_is_said(module, arguments, message):
    with pytest.raises(InputError, match=message):
        disentangle.wrap(module, **arguments)


@pytest.mark.parametrize("one_hot", [False, True])
def test_classes_are_handed_on_as_the_module_takes_them(one_hot):
    module = Conditional(one_hot)
    generator = disentangle.wrap(module, Z, classes=4)
    z = generator.sample_latents(2)
    given = torch.eye(4)[[3, 3]] if one_hot else torch.tensor([3, 3])
    assert torch.equal(generator(z, label=3), module(z, given))
    assert disentangle.traverse(generator, steps=2, label=1).shape[:3] == (1, Z, 2)
    with pytest.raises(InputError, match="4 classes and none was given"):
        generator(z)
    with pytest.raises(InputError, match="expected 0 to 3"):
        generator(z, label=4)
    if not one_hot:
        with pytest.raises(InputError, match="classes cannot be mixed"):
            generator(z, label=torch.full((2, 4), 0.25))
    with pytest.raises(InputError, match="4 classes, as numbers or as one-hot rows"):
        disentangle.wrap(nn.Linear(Z, 3), Z, classes=4)


def test_the_length_of_a_latent_is_told_and_a_doubtful_range_is_said(caplog):
    dcgan = nn.Sequential(nn.ConvTranspose2d(7, 3, 4), nn.Sigmoid())
    with caplog.at_level(logging.WARNING):
        generator = disentangle.wrap(dcgan)
    assert "give image_range=(0, 1)" in caplog.text
    assert (generator.spaces["z"].size, generator.latent_shape) == (7, (7, 1, 1))
    assert disentangle.wrap(Styled()).spaces["z"].size == Z
    with pytest.raises(InputError, match="does not tell how long its latents are; give z_dim"):
        disentangle.wrap(nn.Identity())
    with pytest.raises(InputError, match="module is a function"):
        disentangle.wrap(lambda z: z, 3)


# ---------------------------------------------------------------------------------------------------- projections


@pytest.mark.parametrize(("kind", "rank"), [("householder", 3), ("polar", None), ("cayley", 1)])
def test_any_layer_at_any_rank_and_back(kind, rank):
    generator = disentangle.wrap(Deep().eval(), 5)
    project(generator, kind=kind, rank=rank, layers=["first", "mid", "last"])
    for layer in (generator.module.first, generator.module.mid, generator.module.last):
        values = torch.linalg.svdvals(layer.weight.flatten(1))
        full = min(layer.weight.shape[0], layer.weight[0].numel())
        kept = rank or full
        assert torch.allclose(values, (torch.arange(full) < kept).float(), atol=1e-5)
    if rank == 3:
        axes = basis(generator)
        assert torch.allclose(axes.vectors @ axes.vectors.T, torch.eye(3), atol=1e-5)
    z = torch.randn(3, 5)
    before = generator(z)
    bake(generator)
    assert type(generator.module.mid) is nn.Conv2d
    assert torch.allclose(generator(z), before, atol=1e-5)
    project(generator, layers=["mid"])  # and again


@pytest.mark.parametrize("rank", [2, 5])
def test_a_projection_of_z_itself(rank):
    generator = disentangle.wrap(Deep().eval(), 5)
    z = torch.randn(3, 5)
    before = generator(z)
    project(generator, rank=rank, layers=["z"])
    axes = basis(generator)
    assert axes.vectors.shape == (rank, 5)
    held = torch.eye(5) - axes.vectors.T @ axes.vectors  # what the axes do not span changes nothing
    assert torch.allclose(generator(z), generator(z + torch.randn(3, 5) @ held), atol=1e-5)
    assert rank < 5 or torch.allclose(generator(z), before, atol=1e-5)
    pictures = generator(z)
    assert torch.allclose(bake(generator)(z), pictures, atol=1e-5)


def test_a_module_without_layers_is_projected_by_its_z_and_styles_by_default(styled):
    plain = disentangle.wrap(nn.Unflatten(1, (1, 4, 4)), 16)
    assert project(plain, rank=2).config.projection.layers == ("z",)
    assert project(styled, rank=2).config.projection.layers == ("affine.2", "affine.0", "affine.1")
    axes = basis(styled)
    assert (axes.space, len(axes), axes.layers) == ("w", 6, ((0,), (0,), (2,), (2,), (1,), (1,)))
    bake(styled)
    project(styled, rank=2, layers=["z", "affine.1"])
    assert basis(styled).space == "z"
    assert basis(styled, space="w").layers == ((1,), (1,))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["nothing"], "Unknown projection 'nothing'.*Known: .*mid"),
        (["normed"], "parametrised by _SpectralNorm"),
        (["old"], "no parameter of its own, as after torch.nn.utils.spectral_norm"),
        (["mid", "first", "mid"], "name each once"),
        (["first", "0"], "Unknown projection '0'"),
    ],
)
def test_layers_that_cannot_be_projected(layers, message):
    generator = disentangle.wrap(Deep().eval(), 5)
    names = {name for name, _ in generator.named_parameters()}
    with pytest.raises(InputError, match=message):
        project(generator, layers=["z", *layers])
    assert {name for name, _ in generator.named_parameters()} == names  # nothing was begun


def test_one_layer_under_two_names_is_projected_once():
    generator = disentangle.wrap(nn.Sequential(nn.Linear(5, 48), nn.Unflatten(1, (3, 4, 4))), 5)
    with pytest.raises(InputError, match="of which two are one layer"):
        project(generator, layers=["first", "0"])
    project(generator, rank=2, layers=["0"])
    assert basis(generator).labels == ("first, 0", "first, 1")


# ---------------------------------------------------------------------------------------------------- files

OWN = """
import torch
from torch import nn
import disentangle
from disentangle import wrap

loaded = True

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 48), nn.Unflatten(1, (3, 4, 4)))
    def forward(self, z):
        return self.body(z)

def build():
    return Net()

def wrapped():
    net = Net()
    return disentangle.wrap(net, 5, image_range=(0, 2), built_by="own_net:wrapped")

def other():
    return nn.Sequential(nn.Linear(5, 48), nn.Unflatten(1, (3, 4, 4)))

def wider():
    net = Net()
    net.body = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 48), nn.Unflatten(1, (3, 4, 4)))
    return net
"""


@pytest.fixture
def own_net(tmp_path: Path, monkeypatch):
    (tmp_path / "own_net.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    yield tmp_path
    sys.modules.pop("own_net", None)


def test_a_wrapped_module_comes_back_from_its_file(own_net):
    import own_net as own

    generator = disentangle.wrap(own.Net(), 5, image_range=(0, 2), prior="uniform")
    project(generator, rank=2, layers=["z", "body.2"])
    path = own_net / "m.safetensors"
    disentangle.save(generator, path)
    z = torch.randn(3, 5)
    for given in ("own_net:build", "own_net.py:Net", own.Net, own.Net()):
        back = disentangle.load(path, generator=given)
        assert torch.equal(back(z), generator(z))
        assert back.config == generator.config
        assert torch.equal(basis(back).vectors, basis(generator).vectors)
        assert not back.training
    assert torch.allclose(bake(back)(z), generator(z), atol=1e-5)
    disentangle.save(back, path)
    assert torch.equal(disentangle.load(path, generator=own.Net)(z), back(z))


def test_nothing_that_a_file_names_is_imported(own_net):
    import own_net as own

    path = own_net / "m.safetensors"
    disentangle.save(disentangle.wrap(own.Net(), 5), path)
    del sys.modules["own_net"]
    with pytest.raises(InputError, match="built by own_net:Net, and no code is kept in a file"):
        disentangle.load(path)
    assert disentangle.io.model_info(path)["built_by"] == "own_net:Net"
    assert disentangle.io.model_config(path).z_dim == 5
    assert "own_net" not in sys.modules


def test_what_does_not_fit_a_file_is_refused(own_net):
    import own_net as own

    path = own_net / "m.safetensors"
    disentangle.save(disentangle.wrap(own.Net(), 5), path)
    for given, error, message in (
        ("own_net:other", InputError, "has no part 'body.0', which the file names"),
        ("own_net:wider", CheckpointError, r"does not fit what was given: .*has shape \(7,\), expected \(9,\)"),
        ("own_net:wrapped", InputError, r"image_range \(0.0, 2.0\), but the file \(-1.0, 1.0\)"),
        ("own_net:gone", InputError, "own_net has no 'gone'"),
        ("own_net:loaded", InputError, "is True; expected a torch.nn.Module"),
        ("own_net", InputError, "expected module:function or file.py:function"),
        ("own_net.py", InputError, "as in own_net.py:function"),
        ("elsewhere.py:build", InputError, "no file elsewhere.py; .*elsewhere:build"),
        (lambda: 3, InputError, "returned 3"),
        (lambda x: x, InputError, "called without arguments, it failed"),
    ):
        with pytest.raises(error, match=message):
            disentangle.load(path, generator=given)
    with pytest.raises(InputError, match="holds all of a vae; leave it out"):
        disentangle.load("vae-rooms", generator=own.Net)


def test_functions_without_a_name_need_what_wraps_them(styled, module, tmp_path):
    path = tmp_path / "m.safetensors"

    def wrapped(net=None):
        net = net or Styled()
        return disentangle.wrap(net, mapping=lambda z: net.map(z), synthesis=net.paint, num_ws=ROWS)

    disentangle.save(styled, path)  # a method too: a file does not choose which is called
    with pytest.raises(InputError, match="returns what disentangle.wrap made"):
        disentangle.load(path, generator=Styled)
    disentangle.save(wrapped(module), path)
    with pytest.raises(InputError, match="returns what disentangle.wrap made, not the module alone"):
        disentangle.load(path, generator=Styled)
    assert torch.equal(disentangle.load(path, generator=wrapped)(torch.ones(1, Z)), styled(torch.ones(1, Z)))


def test_parts_that_are_modules_have_names(tmp_path):
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.mapping, self.synthesis = nn.Linear(Z, W), nn.Sequential(nn.Linear(W, 48), nn.Unflatten(1, (3, 4, 4)))

    generator = disentangle.wrap(Parts(), Z, mapping="mapping", synthesis="synthesis", style_layers=["synthesis.0"])
    project(generator, rank=2)
    disentangle.save(generator, tmp_path / "m.safetensors")
    back = disentangle.load(tmp_path / "m.safetensors", generator=Parts)
    assert torch.equal(back(torch.ones(1, Z)), generator(torch.ones(1, Z)))
    assert torch.equal(basis(back).vectors, basis(generator).vectors)


@pytest.mark.parametrize(
    "fields",
    [
        {"z_dim": 10**12}, {"z_dim": 60_000}, {"num_ws": 10**9}, {"latent_shape": [1] * 5000}, {"first": "__init__"},
        {"mapping": "train", "synthesis": "eval"}, {"mapping": "", "synthesis": ""}, {"entry": True}, {"c_dim": 60_000},
        {"layers": ["x" * 100_000]}, {"built_by": "os:abort"}, {"image_range": [1, 0]}, {"named": "x"},
        {"projection": {"layers": ["forward"]}}, {"projection": {"layers": ["0"], "rank": 10**6}},
    ],
)  # fmt: skip
def test_a_file_that_states_anything_else_is_a_sentence(tmp_path, fields):
    from disentangle.io.described import MODEL_FILE
    from disentangle.tensor_files import write_tensors

    net = nn.Sequential(nn.Linear(5, 48), nn.Unflatten(1, (3, 4, 4)))
    header = {**disentangle.wrap(net).config.model_dump(mode="json"), **fields}
    write_tensors(tmp_path / "m.safetensors", {"module.0.weight": torch.ones(48, 5)}, kind=MODEL_FILE, header=header)
    with pytest.raises((CheckpointError, InputError)) as told:
        disentangle.load(tmp_path / "m.safetensors", generator=net)
    assert len(str(told.value)) < 2000


def test_a_state_that_is_no_tensor_is_refused(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"note": 1}

        def set_extra_state(self, state):
            pass

    generator = disentangle.wrap(nn.Sequential(Extra(5, 48), nn.Unflatten(1, (3, 4, 4))), 5)
    with pytest.raises(InputError, match="_extra_state in the model's state_dict is no tensor"):
        disentangle.save(generator, tmp_path / "m.safetensors")


def test_a_weight_that_is_made_anew_is_read_as_it_is_and_never_replaced():
    first = torch.nn.utils.spectral_norm(nn.Linear(4, 48))
    generator = wrap(nn.Sequential(first, nn.Unflatten(1, (3, 4, 4))), 4)
    assert generator.projections()["first"].matrix().shape == (48, 4)
    axes = jacobian_axes(generator, samples=2)
    assert len(axes) == 4
    for change in (lambda: turn(generator, axes=axes), lambda: project(generator, kind="polar")):
        with pytest.raises(InputError, match="is no parameter of its own, as after torch.nn.utils.spectral_norm"):
            change()


def test_looking_for_the_mean_of_w_teaches_the_mapping_nothing():
    mapping = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    synthesis = nn.Sequential(nn.Linear(4, 48), nn.Unflatten(1, (3, 4, 4)))
    generator = wrap(nn.ModuleDict({"m": mapping, "s": synthesis}), 4, mapping="m", synthesis="s")
    generator.train()
    before = int(mapping[1].num_batches_tracked)
    generator(torch.randn(5, 4), truncation=0.5)
    assert int(mapping[1].num_batches_tracked) == before + 1
    assert mapping.training


def test_functions_in_the_place_of_parts_are_not_copied(styled):
    inner = nn.Sequential(nn.Linear(4, 48), nn.Unflatten(1, (3, 4, 4)))
    generator = wrap(inner, 4, mapping=lambda z: z, synthesis=lambda w: inner(w))
    with pytest.raises(InputError, match="mapping is a function, which a copy of this generator would call on"):
        copy.deepcopy(generator)
    twin = copy.deepcopy(styled)
    latents = styled.sample_latents(2)
    assert torch.equal(twin(latents), styled(latents))
    for parameter in twin.parameters():
        nn.init.zeros_(parameter)
    assert not torch.equal(twin(latents), styled(latents))
