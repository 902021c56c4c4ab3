"""Metrics and extractors from outside the package: one record each, known by name wherever names are taken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from disentangle.cli import cli
from disentangle.errors import InputError
from disentangle.evaluations import Score, evaluate, mig, sap
from disentangle.evaluations.disentanglement import METRICS, Metric, infom, modularity
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.registry import INTERVENTIONAL, register
from disentangle.evaluations.features import EXTRACTORS, Extractor, ExtractorSource, load_extractor
from disentangle.evaluations.features.extractors import register as register_extractor


def _measure(points: Points, *, power: float, protocol: str) -> Score:
    """The largest absolute correlation of each factor with any code."""
    table = np.abs(np.corrcoef(points.codes.T, points.factors.T))[: points.codes.shape[1], points.codes.shape[1] :]
    per_factor = table.max(axis=0) ** power
    return Score("toy", float(per_factor.mean()), {"per_factor": per_factor}, {"power": power, "protocol": protocol})


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Metric:
    for registry in (METRICS, INTERVENTIONAL, EXTRACTORS):
        monkeypatch.setattr(registry, "_records", {name: registry[name] for name in registry})
    return register(Metric("toy", "Toy", _measure, {"ours-2026": {"power": 1.0}}, min_factors=2))


def test_a_metric_is_known_by_its_name(toy: Metric, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (300, 2))
    codes = factors @ np.array([[1.0, 0.5], [0.0, 1.0]]) + 0.1 * rng.normal(size=(300, 2))
    score = evaluate(codes, factors, ["mig", "toy"], test=(codes, factors))["toy"]
    assert replace(score, seconds=0) == replace(toy(codes, factors, test=(codes, factors)), seconds=0)
    assert score.settings["protocol"] == "ours-2026"
    assert score.ceiling == pytest.approx(1)
    assert score.chance is not None
    assert score.chance < 0.3 < score.value
    assert toy(codes, factors, power=2.0).value < score.value
    assert toy(codes, factors, power=2.0).settings["protocol"] == "custom (from ours-2026)"
    again = evaluate(codes, factors, "toy", protocol="ours-2026", test=(codes, factors))["toy"]
    assert again.value == score.value
    with pytest.raises(InputError, match="Unknown option of toy 'pover'; did you mean 'power'"):
        toy(codes, factors, pover=2)
    with pytest.raises(InputError, match="Toy"):
        toy(codes, factors[:, :1])

    np.save(tmp_path / "z.npy", codes)
    np.save(tmp_path / "y.npy", factors)
    arguments = ["evaluate", "--codes", "z.npy", "--factors", "y.npy", "--metrics", "toy", "--out", "s.json"]
    arguments = [str(tmp_path / part) if "." in part else part for part in arguments]
    result = CliRunner().invoke(cli, [*arguments, "--report", str(tmp_path / "s.html")])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "s.json").read_text())["scores"]["toy"]
    assert written["value"] == pytest.approx(evaluate(codes, factors, "toy")["toy"].value)
    assert "toy" in (tmp_path / "s.html").read_text()


def test_names_are_taken_once_over_both_kinds(toy: Metric) -> None:
    for name in ("mig", "factor-vae"):
        with pytest.raises(InputError, match=f"The metric '{name}' exists already"):
            register(Metric(name, "Mine", _measure, {"ours-2026": {}}))


def test_every_metric_can_be_called(toy: Metric) -> None:
    factors = np.indices((3, 4, 5)).reshape(3, -1).T
    codes = factors + np.random.default_rng(0).normal(0, 0.1, factors.shape)
    for function, name in ((mig, "mig"), (sap, "sap"), (modularity, "modularity"), (infom, "infom")):
        one, other = METRICS[name](codes, factors, seed=3), function(codes, factors, seed=3)
        assert replace(one, seconds=0) == replace(other, seconds=0)


def test_an_extractor_is_known_by_its_name(toy: Metric) -> None:
    class Means(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    def make(network: Any, name: str, sha256: str, published: bool) -> Extractor:
        return Extractor(name, 8, network, network=network)

    register_extractor(ExtractorSource("means", lambda: (Means(), make), weights_needed=False))
    found = load_extractor("means")
    assert found.name == "means"
    assert found.features(torch.ones(2, 3, 8, 8)).tolist() == [[1, 1, 1], [1, 1, 1]]
    with pytest.raises(InputError, match="Unknown extractor 'mean'; did you mean 'means'"):
        load_extractor("mean")
    with pytest.raises(InputError, match="The extractor 'inception' exists already"):
        register_extractor(ExtractorSource("inception", lambda: (Means(), make)))
