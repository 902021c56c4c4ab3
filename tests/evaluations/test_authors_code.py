"""A name's number is its source's number: values that the authors' own code prints (tests/reference)."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from disentangle.evaluations.disentanglement import dci_es, udr
from disentangle.evaluations.disentanglement.dci_es import explicitness_of_curves
from disentangle.evaluations.features import PROTOCOLS, Extractor, array_images, extract_features
from disentangle.evaluations.features.inception import FIDInception

REFERENCE = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="module")
def authors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REFERENCE / "authors_code.json").read_text())
    return found


@pytest.fixture(scope="module")
def inputs() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("authors_inputs", REFERENCE / "authors_inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("similarity", ["lasso", "spearman"])
@pytest.mark.parametrize("case", ["duplicated", "uninformative"])
def test_udr_of_models_that_hold_a_factor_twice(
    case: str, similarity: Any, authors: dict[str, Any], inputs: ModuleType
) -> None:
    """A lasso of b on a is not one of a on b: the original takes the median over the models that explain one."""
    expected = authors["udr"][f"{case}/{similarity}"]
    score = udr(inputs.udr_models(case), divergences=inputs.UDR[case]["divergences"], similarity=similarity)
    np.testing.assert_allclose(score.parts["pairwise"], expected["pairwise"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(score.parts["per_model"], expected["model_scores"], rtol=0, atol=1e-12)


def test_explicitness_of_loss_curves(authors: dict[str, Any], inputs: ModuleType) -> None:
    for name in inputs.CURVES:
        found = explicitness_of_curves(*inputs.curves(name))
        np.testing.assert_allclose(found, authors["explicitness"][name], rtol=0, atol=1e-12, err_msg=name)


def test_explicitness_is_that_of_the_losses_in_the_parts() -> None:
    stream = np.random.RandomState(0)
    codes = stream.standard_normal((400, 3))
    factors = np.stack([codes[:, 0] > 0, np.prod(np.sign(codes), axis=1) > 0], axis=1)
    score = dci_es(codes, factors, trees=10, capacities=(1, 2, 8), baselines=False)
    parts = score.parts
    curves = parts["capacities"], parts["loss"], parts["constant_loss"]
    expected = explicitness_of_curves(*curves, logarithmic=False)
    np.testing.assert_array_equal(parts["per_factor"], expected)
    assert score.value == expected.mean()


def test_the_protocol_pytorch_fid_scales_as_that_package_does() -> None:
    """Features of Inception under pseudo weights, by the package's own preprocessing: (u - 127.5) / 127.5."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("images_and_features", REFERENCE / "images_and_features.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    network = FIDInception()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_weights({key: torch.from_numpy(value) for key, value in made.pseudo_weights(shapes).items()})
    extractor = Extractor(
        "inception", 299, lambda images: network(images, ("2048",))["2048"], network=network, sha256="of a test"
    )
    images = array_images(torch.from_numpy(made.images(81, 2, 64, 64)))
    probe = json.loads((REFERENCE / "generation_metrics.json").read_text())["networks"]["inception_fid"]
    probe = probe["pytorch_fid_own_preprocessing_2048"]
    found = extract_features(images, extractor, PROTOCOLS["pytorch-fid"], cache=False)["features"]
    np.testing.assert_allclose(found.ravel()[probe["flat_index"]], probe["value"], rtol=1e-4, atol=1e-5)


def test_a_protocol_scales_for_its_own_network_only() -> None:
    """What is prepared: 0 to -1 and 255 to 1 for the FID's Inception; another network's scale stays its own."""
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).reshape(3, 1, 1, 1).expand(3, 3, 4, 4)
    inception = dict.fromkeys(PROTOCOLS, (-1.0, 0.0, 127 / 128)) | {"pytorch-fid": (-1.0, 1 / 255, 1.0)}
    for name, protocol in PROTOCOLS.items():
        for centre, spread, expected in (
            (128.0, 128.0, inception[name]),
            (127.0, 128.0, (-127 / 128, 1 / 128, 1.0)),
            (127.5, 127.5, (-1.0, 1 / 255, 1.0)),
        ):
            network = Extractor("any", 4, lambda x: x.mean((2, 3)), centre=centre, spread=spread)
            found = extract_features(array_images(images), network, protocol)["features"][:, 0]
            np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)


def test_features_that_were_kept_under_another_scale_are_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    images = array_images(torch.full((2, 3, 4, 4), 200, dtype=torch.uint8))
    found = [
        extract_features(
            images, Extractor("any", 4, lambda x: x.mean((2, 3)), centre=centre, spread=128.0, sha256="a"),
            PROTOCOLS["clean"],
        )["features"][0, 0]
        for centre in (128.0, 100.0)
    ]  # fmt: skip
    assert found[0] != found[1]
