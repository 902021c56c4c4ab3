"""A name's number is its source's number: values that the authors' own code prints (tests/reference)."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from disentangle.evaluations.disentanglement import aam, dci_es, udr
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


@pytest.mark.reference
def test_dci_es_with_options_untouched() -> None:
    """Their forests on the same points, with their seed, and what their script for scores makes of the losses."""
    values = np.load(REFERENCE / "authors_methods.npz")
    score = dci_es(
        values["dci_es/train_codes"], values["dci_es/train_factors"],
        test=(values["dci_es/test_codes"], values["dci_es/test_factors"]),
        factor_kinds=["discrete", "discrete", "continuous", "discrete"], seed=3, baselines=False,
    )  # fmt: skip
    assert score.settings["protocol"] == "dci-es-2023"
    np.testing.assert_allclose(score.parts["loss"], values["dci_es/loss"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(score.parts["per_factor"], values["dci_es/explicitness"], rtol=0, atol=1e-12)
    assert score.value == pytest.approx(float(values["dci_es/value"]), abs=1e-12)


def test_explicitness_of_the_authors_forests_and_of_a_factor_nobody_learns() -> None:
    values = np.load(REFERENCE / "authors_methods.npz")
    depths = np.array([1, 2, 3, 4, 8, 10, 12, 14, 16, 18, 20, 32])
    constant = np.array([3 / 4, 2 / 3, 1, 1 / 2])
    found = explicitness_of_curves(depths, values["dci_es/loss"], constant, logarithmic=False)
    np.testing.assert_allclose(found, values["dci_es/explicitness"], rtol=0, atol=1e-12)
    flat = np.full((12, 1), 0.5)
    assert explicitness_of_curves(depths, flat, flat[0], logarithmic=False) == float(values["dci_es/idle"]) == 1


# what _axis_aligned_metric of disentangling-vae made of the information that disentanglement_lib counted
AAM = {"noisy/shapes3d": 0.9360479892524115, "periodic/shapes3d": 0.7864683284071009, "random/shapes3d": 0.0}


@pytest.mark.parametrize("name", AAM)
def test_aam(name: str, representations: ModuleType, disentanglement_reference: dict[str, Any]) -> None:
    recipe = disentanglement_reference["representations"][name]
    codes, factors, _, _ = representations.arrays(recipe["kind"], recipe["space"], recipe["seed"])
    assert aam(codes, factors, baselines=False).value == pytest.approx(AAM[name], abs=1e-5)  # of six decimals


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
