"""Paths and path lengths: the packages' post-processing, a generator whose length is known, and the exact limit."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.evaluations.generation import path_length, perceptual_perturbation
from disentangle.evaluations.generation.latent_paths import PATHS
from disentangle.evaluations.generation.path_length import PRESETS, PathLengthSettings, filtered, prepare_images
from disentangle.models import EigenGAN, EigenGANConfig
from disentangle.models.base import LatentSpace


class Squares:
    """Mean squared difference of pixels, with the embedding it is the squared distance of."""

    name = "pixels"

    def embed(self, images: Tensor) -> Tensor:
        return images.flatten(1) / images[0].numel() ** 0.5

    def __call__(self, one: Tensor, two: Tensor) -> Tensor:
        return (self.embed(one) - self.embed(two)).square().sum(1)


class Linear(nn.Module):
    """Images that are a linear map of the latent: the length of a path from a to b is that of the map of b - a."""

    def __init__(self, bend: float = 0.0, spaces: tuple[str, ...] = ("z",)) -> None:
        super().__init__()
        self.spaces = {name: LatentSpace(name, (6,)) for name in spaces}
        self.weight = torch.randn(3 * 16 * 16, 6, generator=torch.Generator().manual_seed(0)).double() / 6
        self.bend = bend

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: Any = None
    ) -> Any:
        return torch.randn(n, 6, generator=generator, dtype=torch.float64)

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        flat = latents @ self.weight.T
        return (flat + self.bend * torch.sin(3 * flat)).reshape(-1, 3, 16, 16)


@pytest.mark.parametrize("row", range(5))
def test_filtering_of_the_packages(row: int, inputs: ModuleType, generation_reference: dict[str, Any]) -> None:
    case = generation_reference["ppl_postprocessing"][row]
    distances = inputs.distances(*case["recipe"])
    for preset, key, deviation in (
        ("torch-fidelity", "torch_fidelity_lower1_higher99", "std_ddof0"),
        ("torchmetrics", "torchmetrics_lower1_lower99", "std_ddof1"),
    ):
        settings = PRESETS[preset][0]
        kept = filtered(distances.astype(np.float64), settings)
        expected = case[key]
        assert len(kept) == expected["kept"]
        assert kept.mean() == pytest.approx(expected["mean"], rel=1e-12)
        assert kept.std(ddof=settings.ddof) == pytest.approx(expected[deviation], rel=1e-12)
        assert (kept.min(), kept.max()) == pytest.approx((expected["kept_min"], expected["kept_max"]), rel=1e-6)
    everything = filtered(distances, replace(PRESETS["ppl2_wend"][0], low=None, high=None))
    assert everything.astype(np.float64).mean() == pytest.approx(case["unfiltered_mean"], rel=1e-12)


def test_interpolation_of_torch_fidelity(generation_reference: dict[str, Any]) -> None:
    a, b = (torch.from_numpy(np.random.RandomState(seed).standard_normal((4, 8))) for seed in (61, 62))
    for case in generation_reference["interpolation"]:
        path = PATHS[{"slerp_any": "slerp"}.get(case["method"], case["method"])]
        t = torch.full((4, 1), case["t"], dtype=torch.float64)
        np.testing.assert_allclose(path(a, b, t), case["value"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(PATHS))
def test_paths_begin_and_end_where_they_should(name: str) -> None:
    a, b = torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ends = (a, b) if name in ("lerp", "slerp") else (a / a.norm(dim=-1, keepdim=True), b / b.norm(dim=-1, keepdim=True))
    for t, end in zip((0.0, 1.0), ends, strict=True):
        np.testing.assert_allclose(PATHS[name](a, b, torch.full((5, 1), t).double()), end, atol=1e-12)
    same = PATHS[name](a, a, torch.full((5, 1), 0.4).double())  # no angle to turn by
    np.testing.assert_allclose(same, ends[0], atol=1e-6)


def test_length_of_a_linear_generator() -> None:
    generator = Linear()
    score = path_length(generator, Squares(), preset="torchmetrics", n=400, low=None, high=None, size=None, seed=3)
    stream = torch.Generator().manual_seed(3)
    expected = []
    for count in (256, 144):  # the pieces in which latents are drawn, whatever the batch
        a, b = (generator.sample_latents(count, generator=stream) for _ in range(2))
        expected += ((b - a) @ generator.weight.T).square().mean(1).tolist()
    assert score.value == pytest.approx(np.mean(expected), rel=1e-6)
    assert score.parts["kept"] == 400
    assert not score.higher_is_better
    assert score.settings["protocol"] == "custom (from torchmetrics)"
    assert score.value == path_length(generator, Squares(), preset="torchmetrics", n=400, low=None, high=None,
                                      size=None, seed=3).value  # fmt: skip


@pytest.mark.parametrize("path", list(PATHS))
@pytest.mark.parametrize("ends", ["full", "end"])
def test_the_limit_is_what_small_steps_approach(path: Any, ends: Any) -> None:
    generator = Linear(bend=0.3)
    options: dict[str, Any] = {"n": 24, "path": path, "ends": ends, "size": None, "space": "z"}
    exact = path_length(generator, Squares(), epsilon=0, **options)
    assert exact.settings["epsilon"] == 0
    errors = []
    for epsilon in (1e-2, 1e-3, 1e-4):
        step = path_length(generator, Squares(), epsilon=epsilon, **options)
        errors.append(float(np.max(np.abs(step.parts["distances"] / exact.parts["distances"] - 1))))
    assert errors[2] < 2e-3
    assert errors[1] < 0.3 * errors[0]
    assert errors[2] < 0.3 * errors[1]


def test_an_eigengan_moves_its_bases_only() -> None:
    config = EigenGANConfig(resolution=16, channels=(8, 8, 8), basis=2, noise_dim=4)
    generator = EigenGAN(config).double().eval()
    space = generator.spaces["z"]
    seen: list[Tensor] = []

    class Watch(nn.Module):
        spaces = generator.spaces

        def sample_latents(self, *args: Any, **kwargs: Any) -> Tensor:
            return generator.sample_latents(*args, **kwargs)

        def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
            seen.append(latents.detach().clone())
            return generator(latents, space=space)

    score = path_length(Watch(), Squares(), n=4, batch=4, size=None, epsilon=1e-3, path="slerp")
    fixed = sorted(set(range(space.size)) - set(space.walk))
    assert fixed
    before, after = (latents.flatten(1) for latents in seen)
    np.testing.assert_array_equal(before[:, fixed], after[:, fixed])
    assert torch.all(before[:, list(space.walk)] != after[:, list(space.walk)])
    assert score.settings["space"] == "z"
    assert path_length(generator, Squares(), n=4, size=None, epsilon=0).value > 0


def test_images_are_cropped_resized_and_quantised() -> None:
    images = torch.linspace(-1.2, 1.2, 3 * 64 * 64).reshape(1, 3, 64, 64)
    crop = prepare_images(images, PathLengthSettings(crop=True, size=None))
    torch.testing.assert_close(crop, images[..., 24:56, 16:48])
    box = prepare_images(images, PathLengthSettings(size=16))
    torch.testing.assert_close(box[0, 0, 0, 0], images[0, 0, :4, :4].mean())
    assert prepare_images(images, PathLengthSettings(size=256)).shape[-1] == 64  # a box mean does not enlarge
    assert prepare_images(images, PathLengthSettings(size=80, resize="area")).shape[-1] == 80
    assert prepare_images(images, PathLengthSettings(size=32, resize="bilinear")).shape[-1] == 32
    assert (
        prepare_images(images, PathLengthSettings(size=48, resize="bilinear")).shape[-1] == 64
    )  # less than twice as large
    levels = (prepare_images(images, PathLengthSettings(size=None, quantise=True)) + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert levels.min() >= 0
    assert levels.max() <= 255


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "ppl"}, "Unknown path length preset 'ppl'"),
        ({"space": "w"}, "Unknown latent space 'w'"),
        ({"quantise": True}, "8-bit images and a step of 0.0001 would measure the images' rounding"),
        ({"epsilon": -1}, "epsilon is -1; expected a step above 0"),
        ({"path": "arc"}, "Unknown path 'arc'"),
        ({"ends": "middle"}, "ends is 'middle'"),
        ({"crops": True}, "Unknown setting of a path length 'crops'; did you mean 'crop'"),
        ({"n": 0}, "n is 0"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        path_length(Linear(), Squares(), **{"n": 2, **options})


def test_wrong_range_and_a_distance_without_derivative() -> None:
    generator = Linear()
    generator.weight = 1e3 * generator.weight
    with pytest.raises(InputError, match=r"the generator's images lie in \[-.*expected \[-1, 1\]"):
        path_length(generator, Squares(), n=2)
    with pytest.raises(InputError, match="epsilon=0 differentiates what images are compared by, but function has no"):
        path_length(Linear(), lambda one, two: (one - two).square().mean((1, 2, 3)), n=2, epsilon=0)


class Counted(Linear):
    """Notes how many latents it is given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __call__(self, latents: torch.Tensor, *, space: str | None = None) -> torch.Tensor:
        self.seen.append(len(latents))
        return super().__call__(latents, space=space)


@pytest.mark.parametrize("n", [3, 300])
@pytest.mark.parametrize("ends", ["end", "full"])
def test_the_batch_moves_no_draw(n: int, ends: str) -> None:
    directions = {"first": torch.eye(6).double()[:2]}
    measures = {
        "ppl": lambda model, batch: path_length(
            model, Squares(), n=n, batch=batch, epsilon=1e-2, size=None, ends=ends, seed=3
        ),
        "limit": lambda model, batch: path_length(
            model, Squares(), n=n, batch=batch, epsilon=0, size=None, ends=ends, seed=3
        ),
        "pipl": lambda model, batch: perceptual_perturbation(
            model, Squares(), directions, n=n, batch=batch, size=None, ends=ends, seed=3
        ),
    }
    for name, measure in measures.items():
        scores = []
        for batch in (1, 7, 64, 1000):
            model = Counted()
            scores.append(measure(model, batch))
            assert max(model.seen) <= batch
        assert all(score.settings == scores[0].settings for score in scores), name
        # not the filtered means: along one direction all are equal, and rounding decides which are left out
        means = [score.parts["unfiltered_mean"] for score in scores]
        np.testing.assert_allclose(means, means[0], rtol=1e-9)


def test_the_plain_name_is_for_lpips_alone() -> None:
    class Published(Squares):
        has_published_weights = True

    directions = {"first": torch.eye(6)}
    options: dict[str, Any] = {"n": 2, "size": None}
    assert path_length(Linear(), Squares(), **options).name == f"ppl/{Squares.name}"
    assert path_length(Linear(), Published(), **options).name == "ppl"
    assert path_length(Linear(), Squares(), name="ppl/mine", **options).name == "ppl/mine"
    assert perceptual_perturbation(Linear(), Squares(), directions, **options).name == f"pipl/{Squares.name}"
    assert path_length(Linear(), lambda a, b: (a - b).square().mean((1, 2, 3)), **options).name == "ppl/<lambda>"


def test_the_hash_of_the_distance_is_in_the_settings() -> None:
    class Weighed(Squares):
        sha256 = "ab" * 32

    for score in (
        path_length(Linear(), Weighed(), n=2, size=None),
        perceptual_perturbation(Linear(), Weighed(), {"first": torch.eye(6)}, n=2, size=None),
    ):
        assert score.settings["weights_sha256"] == "ab" * 32
        assert score.settings["distance"] == "pixels"
    assert "weights_sha256" not in path_length(Linear(), Squares(), n=2, size=None).settings


@pytest.mark.parametrize("epsilon", [0, 0.1])
def test_images_that_are_no_images(epsilon: float) -> None:
    class Changed(Linear):
        def __init__(self, change: Any) -> None:
            super().__init__()
            self.change = change

        def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
            return self.change(super().forward(latents, space=space))

    for change, message in (
        (lambda images: images * 1e3, "the generator's images lie in"),
        (lambda images: images / 0, "the generator's images lie in"),
        (lambda images: images + 0j, "the generator's images have dtype torch.complex128"),
    ):
        if epsilon == 0 and "complex" in message:
            continue  # the derivative of a norm of complex numbers is another one; torch says so first
        with pytest.raises(InputError, match=message):
            path_length(Changed(change), Squares(), n=2, epsilon=epsilon, size=None)


@pytest.mark.parametrize("epsilon", [0, 0.1])
def test_distances_that_are_no_numbers_make_no_score(epsilon: float) -> None:
    class Broken(Squares):
        def __call__(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
            return super().__call__(one, two) * float("nan")

        def embed(self, images: torch.Tensor) -> torch.Tensor:
            return super().embed(images) * float("inf")

    with pytest.raises(InputError, match=r"4 of 4 distances by .* are NaN or infinite; does the generator make NaN"):
        path_length(Linear(), Broken(), n=4, epsilon=epsilon, size=None)
    with pytest.raises(InputError, match="distances by .* are NaN or infinite"):
        perceptual_perturbation(Linear(), Broken(), {"first": torch.eye(6)}, n=6, size=None)


def test_perturbations_cover_every_direction_equally() -> None:
    generator = Linear()
    directions = {"first": torch.eye(6).double()[:2], "second": torch.eye(6).double()[2:5]}
    calls: list[tuple[int, int]] = []
    score = perceptual_perturbation(
        generator, Squares(), directions, n=50, epsilon=0.5, size=None, progress=lambda *call: calls.append(call)
    )
    assert calls[-1] == (50, 50)
    lengths = generator.weight.square().mean(0)  # of one unit along each coordinate
    np.testing.assert_allclose(score.parts["table"][0, :2], lengths[:2], rtol=1e-9)
    np.testing.assert_allclose(score.parts["table"][1], lengths[2:5], rtol=1e-9)
    assert np.isnan(score.parts["table"][0, 2])
    assert score.value == pytest.approx(float(lengths[:5].mean()), rel=0.1)
    drawn = perceptual_perturbation(generator, Squares(), directions, n=50, batch=25, size=None, as_published=True)
    assert np.isfinite(drawn.parts["table"]).sum() <= 2  # two batches, two draws
    assert drawn.settings["protocol"] == "as published"
    for bad, message in (
        ({}, "there are no directions"),
        ({"a": torch.eye(5)}, r"have shape \(5, 5\); expected \(k, 6\)"),
    ):
        with pytest.raises(InputError, match=message):
            perceptual_perturbation(generator, Squares(), bad)
