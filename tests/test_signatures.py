"""Arguments of the wrong kind end in a sentence that names them, wherever a public function is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

import disentangle
from disentangle.errors import ArgumentError, InputError
from disentangle.evaluations import mig
from disentangle.latents import Directions, Latents, activity, basis, ganspace, invert, most_active, sefa
from disentangle.nn import replace_pool
from disentangle.signatures import checks_arguments, described
from disentangle.viz import animation_frames, image_grid, save_animation, save_grid


@checks_arguments
def everything(
    count: int = 1,
    rate: float = 0.5,
    flag: bool = False,
    name: str = "",
    path: str | Path = "",
    kind: Literal["a", "b"] = "a",
    numbers: Sequence[int] = (),
    pair: tuple[float, float] = (0.0, 1.0),
    words: Iterable[str] = (),
    table: Mapping[str, int] | None = None,
    call: Callable[[int], int] | None = None,
    tensor: torch.Tensor | None = None,
    layer: nn.Module | None = None,
    **further: Any,
) -> str:
    return "called"


@pytest.mark.parametrize(
    "given",
    [
        {"count": np.int64(3)}, {"count": torch.tensor(3)}, {"rate": 1}, {"rate": np.float32(1)}, {"flag": np.True_},
        {"path": Path("a")}, {"kind": "neither, which the function tells"}, {"numbers": [1, 2]},
        {"numbers": range(3)}, {"numbers": np.arange(3)}, {"numbers": torch.arange(3)}, {"pair": [0, 1]},
        {"words": (word for word in "ab")}, {"words": {"a"}}, {"table": {"a": 1}}, {"call": len},
        {"tensor": nn.Parameter(torch.ones(2))}, {"layer": nn.Linear(2, 2)}, {"table": None}, {"further": object()},
    ],
)  # fmt: skip
def test_what_the_annotations_allow_goes_through(given: dict[str, Any]):
    assert everything(**given) == "called"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"count": [1, 2]}, "count is [1, 2]; expected a whole number."),
        ({"count": None}, "count is None; expected a whole number."),
        ({"rate": "fast"}, "rate is 'fast'; expected a number."),
        ({"rate": torch.ones(2)}, "rate is a tensor of shape (2,); expected a number."),
        ({"flag": "False"}, "flag is 'False'; expected True or False."),
        ({"name": 3}, "name is 3; expected a text."),
        ({"path": nn.Linear(1, 1)}, "path is a Linear; expected a name or a path."),
        ({"kind": 2}, "kind is 2; expected 'a' or 'b'."),
        ({"numbers": 0}, "numbers is 0; expected a list of whole numbers."),
        ({"numbers": "0-3"}, "numbers is '0-3'; expected a list of whole numbers."),
        ({"numbers": ["a"]}, "numbers[0] is 'a'; expected a whole number."),
        ({"numbers": torch.tensor(1)}, "numbers is a tensor; expected a list of whole numbers."),
        ({"pair": (1, 2, 3)}, "pair is (1, 2, 3); expected 2 numbers in a tuple."),
        ({"words": "word"}, "words is 'word'; expected a list of texts."),
        ({"table": [1]}, "table is [1]; expected a dictionary."),
        ({"call": 3}, "call is 3; expected a function."),
        ({"tensor": np.ones((2, 3))}, "tensor is an array of shape (2, 3); expected a torch tensor."),
        ({"layer": nn.Linear}, "layer is the class Linear itself; expected a torch module, an instance of"),
        ({"layer": lambda z: z}, "layer is a function; expected a torch module"),
    ],
)
def test_what_they_rule_out_is_a_sentence(given: dict[str, Any], sentence: str):
    with pytest.raises(ArgumentError) as caught:
        everything(**given)
    assert sentence in str(caught.value)


def test_what_is_large_is_not_printed():
    assert described(list(range(10_000))) == "a list"
    assert len(described("a" * 10_000)) < 130
    assert described(np.ones(3)) == "an array of shape (3,)"
    assert described([torch.ones(100, 100)]) == "a list"


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3 * 64), nn.Unflatten(1, (3, 8, 8)))


@pytest.fixture(scope="module")
def generator(network: nn.Module) -> Any:
    return disentangle.wrap(network, 4)


def test_a_module_that_is_not_wrapped_is_told_how(network: nn.Module, tmp_path: Path):
    for function in (disentangle.traverse, basis, sefa, ganspace, activity):
        with pytest.raises(InputError, match=r"generator is a Sequential; expected a generator.*disentangle\.wrap"):
            function(network)
    with pytest.raises(InputError, match="generator is a Sequential"):
        invert(network, torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="model is a Sequential; expected a name or a path"):
        disentangle.load(network)
    with pytest.raises(InputError, match="module is a function; expected a torch module"):
        disentangle.wrap(lambda z: z, 4)


def test_slips_with_a_traversal(generator: Any):
    with pytest.raises(InputError, match=r"directions is a tensor of shape \(2, 4\); expected directions, as .*sefa"):
        disentangle.traverse(generator, torch.ones(2, 4))
    with pytest.raises(InputError, match="seeds is 0; expected a list of whole numbers"):
        disentangle.traverse(generator, seeds=0)
    with pytest.raises(InputError, match=r"seeds\[0\] is 0.5; expected a whole number"):
        disentangle.traverse(generator, seeds=[0.5])
    with pytest.raises(InputError, match="batch is 0; expected a whole number from 1"):
        disentangle.traverse(generator, batch=0)
    with pytest.raises(InputError, match="top is 5; expected a whole number from 1 to 4"):
        most_active(generator, top=5)
    assert disentangle.traverse(generator, seeds=np.arange(2)).shape == (2, 4, 9, 3, 8, 8)


def test_slips_with_pictures(generator: Any, tmp_path: Path):
    walks = disentangle.traverse(generator, steps=2)
    with pytest.raises(InputError, match=r"frames is a tensor of shape .*expected a list.*animation_frames"):
        save_animation(walks[0], tmp_path / "a.gif")
    with pytest.raises(InputError, match=r"frames\[0\] is a tensor of shape .*expected a picture of Pillow's"):
        save_animation([walks[0]], tmp_path / "a.gif")
    with pytest.raises(InputError, match=r"images is a list; expected a torch tensor"):
        save_grid([walks[0]], tmp_path / "a.png")
    with pytest.raises(InputError, match=r"images is an array of shape .*expected a torch tensor"):
        image_grid(walks[0].numpy())
    with pytest.raises(InputError, match="walks have shape"):
        animation_frames(walks[0])
    with pytest.raises(InputError, match="path is None; expected a"):
        save_grid(walks[0], None)
    with pytest.raises(InputError, match=r"image_range is \(1, 1\)"):
        save_grid(walks[0], tmp_path / "a.png", image_range=(1, 1))
    assert not list(tmp_path.iterdir())


def test_slips_with_a_wrapped_module(network: nn.Module):
    for options, message in (
        ({"latent_shape": 4}, "latent_shape is 4; expected a list of whole numbers"),
        ({"latent_shape": (2.5,)}, "latent_shape"),
        ({"image_range": 1}, "image_range is 1; expected 2"),
        ({"image_range": (0, float("nan"))}, "image_range"),
        ({"prior": "gaussian"}, "Unknown prior 'gaussian'"),
    ):
        with pytest.raises(InputError, match=message):
            disentangle.wrap(network, 4, **options)


def test_slips_with_directions():
    with pytest.raises(InputError, match=r"vectors is an array of shape \(2, 4\); expected a torch tensor"):
        Directions(np.ones((2, 4)), "z", ("a", "b"), "mine", torch.ones(2))
    with pytest.raises(InputError, match="values is a list"):
        Latents([[1.0] * 10], "z")
    found = Directions(torch.ones(2, 4), "z", ("a", "b"), "mine", torch.ones(2))
    with pytest.raises(InputError, match="positions is 0; expected a list of whole numbers"):
        found.select(0)
    with pytest.raises(InputError, match="path is None"):
        found.save(None)


def test_slips_with_a_treatment(network: nn.Module):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"params is a Linear; expected weights themselves, such as its weight"):
        disentangle.orthogonalize(optimizer, network[0], nog=True)
    with pytest.raises(InputError, match=r"params is a Sequential; .* such as its 0\.weight"):
        disentangle.orthogonalize(optimizer, network, nog=True)
    with pytest.raises(InputError, match="params is None; expected weights"):
        disentangle.orthogonalize(optimizer, None, nog=True)
    with pytest.raises(InputError, match="optimizer is a Sequential; expected a torch.optim.Optimizer"):
        disentangle.orthogonalize(network, network[0].weight, nog=True)
    with pytest.raises(InputError, match="scale='nuclear' is the length of NOG's step; pass nog=True"):
        disentangle.orthogonalize(optimizer, network[0].weight, olr=True, scale="nuclear")
    handle = disentangle.orthogonalize(optimizer, network[0].weight, nog=True)
    assert "removed" not in repr(handle)
    handle.remove()
    assert "removed" in repr(handle)


def test_a_head_without_end_is_refused_before_it_is_made():
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1000))
    with pytest.raises(InputError, match="reduction is 10000, whose covariance has 50,005,000 entries"):
        replace_pool(model, reduction=10_000)
    assert isinstance(model[3], nn.Linear)
    assert model[3].in_features == 8


def test_what_is_printed_is_a_line(generator: Any):
    score = mig(np.random.default_rng(0).normal(size=(60, 2)), np.arange(60)[:, None] % 3)
    for value, text in (
        (score, f"Score(mig = {score.value:.4g}, chance "),
        (basis(generator), "Directions(4 of 4 numbers in z by basis: z0, z1, z2, z3)"),
        (Latents(torch.ones(3, 5), "z"), "Latents(3 in z, each 5)"),
    ):
        assert repr(value).startswith(text)
        assert len(repr(value)) < 300
        assert "\n" not in repr(value)
    assert set(disentangle.__all__) <= set(dir(disentangle))
    assert not {"Any", "TYPE_CHECKING", "importlib", "annotations"} & set(dir(disentangle))
