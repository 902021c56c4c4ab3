"""Several metrics of one representation."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from disentangle.errors import InputError
from disentangle.evaluations import dci, evaluate, mig, sap
from disentangle.evaluations.disentanglement.inputs import split_indices


def test_all_metrics_by_default(factors: np.ndarray, perfect: np.ndarray) -> None:
    calls: list[tuple[str, int, int]] = []
    scores = evaluate(perfect, factors, progress=lambda *call: calls.append(call))
    assert list(scores) == ["mig", "sap", "dci"]
    assert calls == [(name, 3 * i + j + 1, 9) for i, name in enumerate(scores) for j in range(3)]
    assert scores["mig"].value > 0.8
    assert scores["dci"].value > 0.98
    for score in scores.values():
        assert (score.settings["n_train"], score.settings["n_test"]) == (400, 200)
        assert score.settings["protocol"] == "dlib-2018"
        assert score.settings["seed"] == 0
        assert score.seconds > 0


def test_metrics_agree_with_the_single_calls(factors: np.ndarray, perfect: np.ndarray) -> None:
    scores = evaluate(perfect, factors, ["sap", "mig"], seed=3)
    assert list(scores) == ["sap", "mig"]
    assert scores["sap"].value == sap(perfect, factors, seed=3).value
    train, _ = split_indices(len(factors), seed=3)
    assert scores["mig"].value == mig(perfect[train], factors[train]).value
    assert scores["mig"].settings["test_part"] == "split by seed"
    assert evaluate(perfect, factors, "mig", seed=3)["mig"].value == scores["mig"].value


def test_given_test_part(factors: np.ndarray, perfect: np.ndarray) -> None:
    train, test = (perfect[:450], factors[:450]), (perfect[450:], factors[450:])
    scores = evaluate(*train, test=test)
    assert scores["mig"].value == mig(*train).value
    assert scores["sap"].value == sap(*train, test=test).value
    assert scores["dci"].value == dci(*train, test=test).value
    assert {score.settings["test_part"] for score in scores.values()} == {"given"}


def test_constant_factors_are_named_by_all(factors: np.ndarray, perfect: np.ndarray) -> None:
    scores = evaluate(perfect, np.insert(factors, 1, 0, axis=1), ["mig", "sap"])
    for score in scores.values():
        assert score.settings["constant_factors"] == [1]
        assert score.parts["factors"].tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["mig", "spa"], "Unknown metric 'spa'; did you mean 'sap'"),
        ([], "no metrics were named"),
        (["mig", "mig"], "named twice"),
        ([3], "metrics.0. is 3; expected a text"),
    ],
)
def test_bad_names_are_refused_before_any_work(metrics: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate("no array", None, metrics)


def test_what_dci_needs_is_asked_first(factors: np.ndarray, perfect: np.ndarray) -> None:
    done: list[str] = []
    with pytest.raises(InputError, match="DCI needs at least 2 factors"):
        evaluate(perfect, factors[:, :1], progress=lambda name, *_: done.append(name))
    assert done == []
    assert list(evaluate(perfect, factors[:, :1], ["mig", "sap"])) == ["mig", "sap"]


def test_import_is_light() -> None:
    code = (
        "import sys, disentangle.evaluations; "
        "print([name for name in ('torch', 'sklearn', 'scipy', 'joblib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_metric_is_found_by_its_name():
    import disentangle.evaluations as evaluations
    from disentangle.evaluations import disentanglement, generation

    for part in (disentanglement, generation):
        assert all(getattr(evaluations, name) is getattr(part, name) for name in part.__all__)
    with pytest.raises(AttributeError, match="no attribute 'frechet'"):
        evaluations.frechet  # noqa: B018
