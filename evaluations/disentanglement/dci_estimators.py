"""The models that DCI asks how much each code matters for a factor."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from disentangle.errors import InputError, unknown_name
from disentangle.evaluations.disentanglement.boosting import fit_boosted_trees
from disentangle.evaluations.disentanglement.kinds import FactorKind

__all__ = ["ESTIMATORS", "Estimator", "Fitted", "resolve_estimator"]


class Fitted(NamedTuple):
    """One factor's model: importance (d,) at least 0, and how well it tells the factor in both parts, at most 1."""

    importance: np.ndarray
    told_train: float
    told_test: float


class Part(NamedTuple):
    """Codes (n, d) float32 and one factor's values (n,)."""

    codes: np.ndarray
    values: np.ndarray


class Estimator(Protocol):
    """Fits a model to one factor. Classes and no closures, so that they travel to other processes."""

    name: str
    description: str

    def __call__(self, train: Part, test: Part, kind: FactorKind) -> Fitted: ...


def _share_right(model: Any, part: Part) -> float:
    return float(np.mean(np.ravel(model.predict(part.codes)) == part.values))


def _share_explained(model: Any, part: Part, targets: np.ndarray) -> float:
    residual = np.sum((np.reshape(model.predict(part.codes), targets.shape) - targets) ** 2)
    spread = np.sum((targets - targets.mean(axis=0)) ** 2)
    return float(max(1 - residual / spread, 0.0)) if spread > 0 else 0.0


def _importance(model: Any, codes: np.ndarray) -> np.ndarray:
    importance = getattr(model, "feature_importances_", None)
    if importance is None:
        raise InputError(f"estimator {type(model).__name__} has no feature_importances_ after fitting; DCI needs them.")
    importance = np.abs(np.asarray(importance, dtype=np.float64))
    if importance.shape != codes.shape[1:] or not np.all(np.isfinite(importance)):
        raise InputError(
            f"estimator {type(model).__name__} gave importances of shape {importance.shape}; expected a finite number "
            f"for each of the {codes.shape[1]} codes."
        )
    return importance


def _regression(make: Any, train: Part, test: Part, kind: FactorKind) -> Fitted:
    """One regression for each target of a continuous or periodic factor; importances and shares are averaged."""
    fitted = []
    for y, y_test in zip(kind.targets(train.values).T, kind.targets(test.values).T, strict=True):
        model = make().fit(train.codes, y)
        told = _share_explained(model, train, y), _share_explained(model, test, y_test)
        fitted.append(Fitted(_importance(model, train.codes), *told))
    return _averaged(fitted)


def _averaged(fitted: list[Fitted]) -> Fitted:
    """Over the targets of one factor."""
    return Fitted(
        np.mean([one.importance for one in fitted], axis=0),
        float(np.mean([one.told_train for one in fitted])),
        float(np.mean([one.told_test for one in fitted])),
    )


class _Boosting:
    name = "gradient-boosting"
    description = "exact-greedy boosted trees: 100 stages, depth 3, learning rate 0.1"

    def __init__(self, seed: int, n_jobs: int) -> None:
        self.seed = seed
        self.threads = n_jobs

    def __call__(self, train: Part, test: Part, kind: FactorKind) -> Fitted:
        if kind.name != "discrete":
            return _regression(self._regressor, train, test, kind)
        model = self._classifier(train)
        return Fitted(_importance(model, train.codes), _share_right(model, train), _share_right(model, test))

    def _classifier(self, train: Part) -> Any:
        return fit_boosted_trees(train.codes, train.values, seed=self.seed, threads=self.threads)

    def _regressor(self) -> Any:
        from sklearn.ensemble import GradientBoostingRegressor

        return GradientBoostingRegressor(random_state=self.seed)


class _ScikitLearnBoosting(_Boosting):
    name = "sklearn-gradient-boosting"
    description = "GradientBoostingClassifier with scikit-learn's defaults"

    def _classifier(self, train: Part) -> Any:
        from sklearn.ensemble import GradientBoostingClassifier

        return GradientBoostingClassifier(random_state=self.seed).fit(train.codes, train.values)


class _RandomForest:
    """As Hsu et al. 2024: standardised codes, a tenth of the training part held out for the accuracy."""

    name = "random-forest"
    description = "RandomForestClassifier(100, criterion='entropy', max_depth=10) on nine tenths of the training part"

    def __init__(self, seed: int, n_jobs: int) -> None:
        self.seed = seed
        self.n_jobs = n_jobs

    def __call__(self, train: Part, test: Part, kind: FactorKind) -> Fitted:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
        from sklearn.model_selection import train_test_split

        options = {"n_estimators": 100, "max_depth": 10, "random_state": self.seed, "n_jobs": self.n_jobs}
        rows, held_out = train_test_split(np.arange(len(train.codes)), test_size=0.1, random_state=42)
        seen, unseen = Part(train.codes[rows], train.values[rows]), Part(train.codes[held_out], train.values[held_out])
        if kind.name != "discrete":
            return _regression(lambda: RandomForestRegressor(**options), seen, unseen, kind)
        model = RandomForestClassifier(criterion="entropy", **options).fit(*seen)
        return Fitted(_importance(model, train.codes), _share_right(model, seen), _share_right(model, unseen))


class _Lasso:
    """As Carbonneau et al. 2022: everything scaled to [0, 1], the penalty chosen by ten folds, labels as numbers."""

    name = "lasso"
    description = "Lasso on codes and factors scaled to [0, 1], alpha by 10-fold cross-validation out of 8"

    def __init__(self, seed: int, n_jobs: int) -> None:
        self.alphas = (0.0001, 0.001, 0.01, 0.1, 0.2, 0.4, 0.8, 1.0)

    def __call__(self, train: Part, test: Part, kind: FactorKind) -> Fitted:
        low, span = train.codes.min(axis=0), np.ptp(train.codes, axis=0)
        span[span == 0] = 1
        codes, test_codes = (train.codes - low) / span, (test.codes - low) / span
        fitted = []
        for y, y_test in zip(kind.targets(train.values).T, kind.targets(test.values).T, strict=True):
            bottom, width = y.min(), np.ptp(y)
            fitted.append(self._fit(codes, (y - bottom) / width, test_codes, (y_test - bottom) / width))
        return _averaged(fitted)

    def _fit(self, codes: np.ndarray, y: np.ndarray, test_codes: np.ndarray, y_test: np.ndarray) -> Fitted:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import Lasso
        from sklearn.model_selection import KFold, cross_val_score

        folds = KFold(min(10, len(y)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            errors = [
                -cross_val_score(
                    Lasso(alpha=alpha, max_iter=5000), codes, y, cv=folds, scoring="neg_mean_squared_error"
                ).mean()
                for alpha in self.alphas
            ]
            model = Lasso(alpha=self.alphas[int(np.argmin(errors))]).fit(codes, y)
        # a uniform variable on [0, 1] has variance 1/12: the error of its mean
        told = [
            float(max(1 - 12 * np.mean((model.predict(z) - t) ** 2), 0.0))
            for z, t in ((codes, y), (test_codes, y_test))
        ]
        return Fitted(np.abs(model.coef_).astype(np.float64), *told)


class _Copy:
    """A classifier of the user's."""

    def __init__(self, estimator: Any, seed: int) -> None:
        from sklearn.base import clone

        self.estimator = clone(estimator)
        if self.estimator.get_params().get("random_state", 0) is None:
            self.estimator.set_params(random_state=seed)
        self.name = type(estimator).__name__
        self.description = " ".join(repr(self.estimator).split())

    def __call__(self, train: Part, test: Part, kind: FactorKind) -> Fitted:
        from sklearn.base import clone

        if kind.name != "discrete":
            raise InputError(
                f"estimator {self.name} is a classifier, but a factor is {kind.name}; use 'gradient-boosting', "
                "'random-forest' or 'lasso', or cut the factor into labels."
            )
        model = clone(self.estimator).fit(*train)
        return Fitted(_importance(model, train.codes), _share_right(model, train), _share_right(model, test))


ESTIMATORS: dict[str, Any] = {model.name: model for model in (_Boosting, _ScikitLearnBoosting, _RandomForest, _Lasso)}


def resolve_estimator(estimator: Any, seed: int, n_jobs: int) -> Estimator:
    """By name, or a scikit-learn classifier object.

    Raises:
        InputError: if it is neither.
    """
    if isinstance(estimator, str):
        if estimator not in ESTIMATORS:
            raise unknown_name("estimator", estimator, ESTIMATORS)
        return ESTIMATORS[estimator](seed, n_jobs)
    methods = ("fit", "predict", "get_params", "set_params")
    if isinstance(estimator, type) or not all(callable(getattr(estimator, method, None)) for method in methods):
        names = ", ".join(map(repr, ESTIMATORS))
        raise InputError(f"estimator is {estimator!r}; expected {names} or a scikit-learn classifier object.")
    from sklearn.base import is_regressor

    if is_regressor(estimator):
        raise InputError(f"estimator {type(estimator).__name__} is a regressor; DCI predicts labels with a classifier.")
    return _Copy(estimator, seed)
