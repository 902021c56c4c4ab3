"""Codes of any size: what does not know their scale gives one number at 1e-300 and 1.7e308, the rest a sentence."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement import evaluate, udr
from disentangle.evaluations.disentanglement.code_table import CodeTable
from disentangle.evaluations.disentanglement.extremes import common_exponent, exponents, scaled, spread_of
from disentangle.evaluations.disentanglement.inputs import read_points
from disentangle.evaluations.disentanglement.intervention import measured_on
from disentangle.evaluations.disentanglement.registry import INTERVENTIONAL, METRICS
from disentangle.evaluations.score import Score

RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, 4, 150), RNG.integers(0, 3, 150)], axis=1)
CODES = np.stack([FACTORS[:, 0] + 0.1 * RNG.normal(size=150), 0.5 * FACTORS[:, 1] + 0.2 * RNG.normal(size=150),
                  RNG.normal(size=150)], axis=1)  # fmt: skip
CODES = CODES / np.abs(CODES).max()  # so that the largest float is reached and not exceeded
KNOW_THE_SCALE = {"sap", "downstream/logistic", "wasserstein-correlation", "active-units"}
TREES = {"dci", "dci/random-forest", "downstream"}  # equal within 1e-7
SLOW = {"dci/random-forest", "dci-es", "dci/lasso", "downstream/logistic"}


def measured(name: str, codes: np.ndarray, **arguments: Any) -> Score:
    options: dict[str, Any] = {"dci-es": {"probe": "random-features"}} if name == "dci-es" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # of numpy, on anything that is no number
        return evaluate(codes, FACTORS, [name], options=options, **arguments)[name]


def numbers(score: Score) -> dict[str, np.ndarray]:
    """Its value, parts, chance and ceiling."""
    found = {"value": score.value, **score.parts, "chance": score.chance, "ceiling": score.ceiling}
    return {key: np.asarray(value, dtype=np.float64) for key, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "power"),
    [
        pytest.param(name, power, marks=pytest.mark.slow if name in SLOW else ())
        for name in METRICS
        for power in ((1023,) if name in SLOW else (-1000, -110, 110, 1023))
        if name not in KNOW_THE_SCALE and not (name in TREES and power != 1023)
    ],
)
def test_the_scale_of_codes_does_not_matter(name: str, power: int) -> None:
    baselines = name not in SLOW | TREES
    expected, found = (numbers(measured(name, codes, baselines=baselines)) for codes in (CODES, CODES * 2.0**power))
    if power < 0:  # tiny codes are dead, and the ceiling is that of as many dead ones
        assert found.pop("ceiling", 0.0) >= 0
        expected.pop("ceiling", None)
    for part, value in expected.items():
        assert np.all(np.isfinite(found[part])), part
        np.testing.assert_allclose(found[part], value, rtol=1e-9, atol=1e-12, err_msg=part)


@pytest.mark.parametrize("name", sorted({"mig", "explicitness", "med", "mcc", "r2", "infoe", "modularity"}))
def test_each_code_has_a_scale_of_its_own(name: str) -> None:
    expected, found = (
        numbers(measured(name, codes, baselines=False)) for codes in (CODES, CODES * np.array([1e-300, 1.0, 1e300]))
    )
    for part, value in expected.items():
        np.testing.assert_allclose(found[part], value, rtol=1e-6, atol=1e-9, err_msg=part)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e40, 1e155, 1e200, 1e300, 1.7e308])
@pytest.mark.parametrize("name", sorted(KNOW_THE_SCALE))
def test_what_knows_the_scale_gives_a_number_or_a_sentence(name: str, scale: float) -> None:
    try:
        score = measured(name, CODES * scale, baselines=False)
    except InputError as error:
        assert scale > 1
        assert "in a larger unit" in str(error)  # noqa: PT017
        return
    for part, value in numbers(score).items():
        assert np.all(np.isfinite(value)), part


def test_continuous_sap_is_a_correlation() -> None:
    for name in ("sap", "mcc", "r2", "dci/lasso", "infom"):
        options: dict[str, Any] = {"factor_kinds": "continuous", "baselines": False}
        expected = measured(name, CODES, **options).value
        assert measured(name, CODES * 2.0**1023, **options).value == pytest.approx(expected, rel=1e-9)
        assert 0 < expected <= 1


@pytest.mark.parametrize("power", [-1000, 1000])
@pytest.mark.parametrize("name", ["mig", "sap", "mcc", "r2", "infom", "infoe", "dci/lasso"])
def test_the_scale_of_continuous_factors_does_not_matter(name: str, power: int) -> None:
    values = [
        evaluate(CODES, factors, [name], factor_kinds="continuous", baselines=False)[name].value
        for factors in (FACTORS.astype(float), FACTORS * 2.0**power)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-9)


def test_a_slow_regression_says_that_it_did_not_arrive() -> None:
    assert "warning" not in measured("downstream/logistic", CODES, baselines=False).settings
    score = evaluate(CODES * 1e8, FACTORS, ["downstream/logistic"], baselines=False)["downstream/logistic"]
    assert "stops before its optimum: standardise them" in score.settings["warning"]


def test_counts_of_codes_are_those_of_the_codes_given() -> None:
    points = read_points(CODES * np.array([1e300, 1.0, 1e-300]), FACTORS)
    assert (points.settings["dead_codes"], points.settings["constant_codes"]) == (1, 0)
    assert points.in_range().settings == points.settings
    assert read_points(CODES, FACTORS).in_range().codes.tobytes() == CODES.tobytes()


@pytest.mark.parametrize("similarity", ["spearman", "lasso"])
@pytest.mark.parametrize("power", [-1000, 1000])
def test_udr(similarity: Any, power: int) -> None:
    other = CODES + 0.1 * RNG.normal(size=CODES.shape)
    expected = udr([CODES, other], similarity=similarity).value
    assert udr([CODES * 2.0**power, other], similarity=similarity).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30, 3.4e38])
@pytest.mark.parametrize("name", sorted(INTERVENTIONAL))
def test_metrics_that_intervene(name: str, scale: float) -> None:
    table = CodeTable(lambda factors: (factors - 1.0) * scale, (3, 3))
    counts = {"train": 60, "evaluate": 60}
    known = {key: value for key, value in counts.items() if key in next(iter(INTERVENTIONAL[name].protocols.values()))}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        score = measured_on(INTERVENTIONAL[name], table, given=known)
    assert np.isfinite(score.value)
    if scale >= 1 and name != "beta-vae":  # whose regression has a penalty
        assert score.value == measured_on(INTERVENTIONAL[name], CodeTable(lambda f: f - 1.0, (3, 3)), given=known).value


def test_codes_of_an_encoder_beyond_float32_are_a_sentence() -> None:
    table = CodeTable(lambda factors: factors * 1e39, (3, 3))
    with pytest.raises(InputError, match="returned codes up to 1e.39, beyond single precision"):
        table.codes(np.array([[1, 1]]))


def test_encoders_of_complex_numbers_and_of_none() -> None:
    from disentangle.evaluations.encoding import encode_dataset

    class Grid:
        factor_sizes = (3, 3)

        def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
            return torch.randint(3, (n, 2), generator=generator)

        def render(self, factors: torch.Tensor) -> torch.Tensor:
            return factors[:, :, None, None].float()

    for encode, message in (
        (lambda images: images.flatten(1) + 0j, "dtype complex64; expected real numbers"),
        (lambda images: images.flatten(1).to("meta"), "on the meta device"),
    ):
        with pytest.raises(InputError, match=message):
            encode_dataset(encode, Grid(), n=4)
        with pytest.raises(InputError, match=message):
            CodeTable.of(encode, Grid()).codes(np.array([[0, 1]]))
    codes = CodeTable.of(lambda images: images.flatten(1).bfloat16(), Grid()).codes(np.array([[0, 1], [2, 2]]))
    assert codes.tolist() == [[0.0, 1.0], [2.0, 2.0]]


def test_powers_of_two() -> None:
    array = np.array([[0.0, 1.0, -1e300, 1e-300], [0.0, 3.0, 1.0, 1e-305]])
    assert exponents(array).tolist() == [0, 0, 997, -996]
    assert exponents(array, small=False).tolist() == [0, 0, 997, 0]
    assert exponents(array[:1], array[1:]).tolist() == exponents(array).tolist()
    assert common_exponent(array) == 997
    assert common_exponent(np.array([[-1e-300]])) == -996
    found = scaled(array, exponents(array))
    np.testing.assert_array_equal(np.ldexp(found[:, 1:], exponents(array)[1:]), array[:, 1:])
    assert np.abs(found[:, 2:]).max(axis=0).min() >= 0.5
    assert scaled(array, np.zeros(4)) is array
    np.testing.assert_allclose(spread_of(CODES * 1e300), CODES.std(axis=0) * 1e300)
    np.testing.assert_allclose(spread_of(CODES * 1e-300), CODES.std(axis=0) * 1e-300)
    assert np.all(np.isfinite(spread_of(np.array([[1.7e308], [-1.7e308]]))))


def test_the_docs_name_what_can_be_asked_for() -> None:
    """Every heading of docs/metrics.md with the names of metrics, against the registry."""
    import re
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    part = text[text.index("## Supervised: from arrays") : text.index("## Speed")]
    headings = re.findall(r"^### .*$", part, flags=re.M)
    named = {name for heading in headings for name in re.findall(r"`([^`]+)`", heading)}
    functions = {"mig_density", "udr"}  # of other arrays than codes and factors
    assert named - functions == set(METRICS) | set(INTERVENTIONAL)
    assert functions <= named


def test_downstream_by_logistic_regression_has_a_name() -> None:
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, 4, 600), rng.integers(0, 3, 600)], axis=1)
    codes = torch.from_numpy(factors + 0.1 * rng.standard_normal(factors.shape))
    score = evaluate(codes, factors, ["downstream/logistic"], baselines=False)["downstream/logistic"]
    assert score.name == "downstream/logistic"
    assert score.value > 0.9  # two codes that are the factors with little noise
