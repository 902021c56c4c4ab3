"""Classifiers that a downstream user might put on the codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle.errors import unknown_name
from disentangle.evaluations.disentanglement.boosting import BoostedTrees, fit_boosted_trees

__all__ = ["PREDICTORS", "make_predictor"]


class _BoostedTrees:
    """Gradient boosting: 100 stages, depth 3, rate 0.1, the trees of scikit-learn's ``GradientBoostingClassifier``."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.model: BoostedTrees | None = None

    def fit(self, codes: np.ndarray, labels: np.ndarray) -> _BoostedTrees:
        self.model = fit_boosted_trees(codes, labels, seed=self.seed)
        return self

    def predict(self, codes: np.ndarray) -> np.ndarray:
        assert self.model is not None
        return self.model.predict(codes)


class _Logistic:
    """Logistic regression, its penalty out of 10 chosen by 5 consecutive folds."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, codes: np.ndarray, labels: np.ndarray) -> Any:
        import warnings

        from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
        from sklearn.model_selection import KFold

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # folds that lack a class, 100 iterations: as in the source
            folds = KFold(n_splits=5)
            enough = len(labels) >= 10 and all(
                len(np.unique(labels[rows])) == len(np.unique(labels)) for rows, _ in folds.split(labels)
            )
            if not enough:  # a class that a fold does not see cannot be scored there
                return LogisticRegression().fit(codes, labels)
            return LogisticRegressionCV(Cs=10, cv=folds).fit(codes, labels)


PREDICTORS = {"gradient-boosting": _BoostedTrees, "logistic": _Logistic}


def make_predictor(name: str, seed: int) -> Any:
    """An unfitted classifier with ``fit`` and ``predict``.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in PREDICTORS:
        raise unknown_name("predictor", name, PREDICTORS)
    return PREDICTORS[name](seed)
