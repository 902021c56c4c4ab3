"""The boosted trees take the best cut of all, and are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier

from disentangle.evaluations.disentanglement import boosting
from disentangle.evaluations.disentanglement.boosting import fit_boosted_trees


def overlapping(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) codes, two of which say something about labels (n,) of several classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size=n)
    codes = rng.normal(size=(n, 4))
    codes[:, 0] += labels
    codes[:, 1] += 0.5 * (labels % 2)
    return codes.astype(np.float32), labels


def best_gain(codes: np.ndarray, residuals: np.ndarray) -> float:
    """The squared error that the best cut removes, by trying every one."""
    best = 0.0
    for column in codes.T:
        for value in np.unique(column)[:-1]:
            best = max(best, gain(residuals, column <= value))
    return best


def gain(residuals: np.ndarray, left: np.ndarray) -> float:
    parts = (residuals[left], residuals[~left])
    return sum(part.sum() ** 2 / len(part) for part in parts) - residuals.sum() ** 2 / len(residuals)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 150),
    d=st.integers(1, 4),
    decimals=st.integers(0, 3),
    levels=st.sampled_from([2, 3, 1000]),
    block=st.sampled_from([1, 2, 5, 48]),
    trees=st.integers(1, 3),
)
def test_every_node_takes_the_best_cut(
    seed: int, n: int, d: int, decimals: int, levels: int, block: int, trees: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n, d)).round(decimals).astype(np.float32)  # few decimals: many equal values
    residuals = rng.integers(0, levels, size=(trees, n)) / levels - 0.3  # few levels: many equal gains
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting, "_BLOCK", block)
        blocks = boosting._Blocks(codes)
        features = np.zeros((trees, 7), dtype=np.int64)
        thresholds = np.full((trees, 7), np.inf, dtype=np.float32)
        leaves, removed = boosting._grow(blocks, residuals, features, thresholds, [rng] * trees)

    expected = np.zeros(d)
    for tree in range(trees):
        inside = [np.ones(n, dtype=bool)]
        for i in range(7):
            points = inside[i]
            left = points & (codes[:, features[tree, i]] <= thresholds[tree, i])
            inside += [left, points & ~left]
            possible = best_gain(codes[points], residuals[tree, points])
            if np.isfinite(thresholds[tree, i]):
                taken = gain(residuals[tree, points], left[points])
                assert taken == pytest.approx(possible, rel=1e-8, abs=1e-12)
                expected[features[tree, i]] += taken
            else:
                assert possible < 1e-12
        for leaf in range(8):
            np.testing.assert_array_equal(leaves[tree] == leaf, inside[7 + leaf])
    np.testing.assert_allclose(removed, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_first_stages_are_those_of_scikit_learn(classes: int) -> None:
    codes, labels = overlapping(3000, classes)
    test_codes, _ = overlapping(1000, classes, seed=1)
    ours = fit_boosted_trees(codes, labels, stages=4, depth=2)  # shallow, so that no two cuts tie
    theirs = GradientBoostingClassifier(n_estimators=4, max_depth=2, random_state=0).fit(codes, labels)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=1e-10)
    decision = theirs.decision_function(test_codes).reshape(1000, -1)
    np.testing.assert_allclose(ours.scores(test_codes), decision, atol=1e-9)
    np.testing.assert_array_equal(ours.predict(test_codes), theirs.predict(test_codes))


@pytest.mark.parametrize("classes", [2, 4])
def test_whole_ensembles_agree_up_to_ties(classes: int) -> None:
    codes, labels = overlapping(1000, classes)
    ours = fit_boosted_trees(codes, labels)
    theirs = GradientBoostingClassifier(random_state=0).fit(codes, labels)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=0.01)
    assert np.mean(ours.predict(codes) == theirs.predict(codes)) > 0.98


def test_few_distinct_values() -> None:
    labels = np.tile(np.arange(5), 60)
    codes = np.stack([labels, np.random.default_rng(0).integers(0, 2, size=300), np.zeros(300)], axis=1)
    ours = fit_boosted_trees(codes, labels, stages=10)
    theirs = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(codes, labels)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=1e-10)
    np.testing.assert_array_equal(ours.predict(codes), labels)


def test_codes_without_a_cut_leave_the_class_shares() -> None:
    labels = np.array([3] * 5 + [1] * 2 + [7])
    model = fit_boosted_trees(np.full((8, 2), 4.0), labels, stages=3)
    np.testing.assert_array_equal(model.feature_importances_, [0.0, 0.0])
    np.testing.assert_array_equal(model.predict(np.zeros((2, 2))), [3, 3])
    assert np.all(np.isinf(model.thresholds))


@pytest.mark.parametrize("low", [3.0, -3.0, 1e30, 1e-30])
def test_neighbouring_numbers(low: float) -> None:
    # the middle of two neighbouring float32 numbers is neither; both sides must still be told apart if they differ by
    # more than 1e-7, which neighbours below 1 do not
    pair = np.array([low, np.nextafter(np.float32(low), np.float32(np.inf))], dtype=np.float32)
    labels = np.tile([0, 1], 20)
    model = fit_boosted_trees(pair[labels][:, None], labels, stages=20)
    if abs(low) > 1:
        np.testing.assert_array_equal(model.predict(pair[:, None]), [0, 1])
    else:
        assert model.feature_importances_.sum() == 0


def test_the_seed_draws_among_equal_cuts() -> None:
    codes, labels = overlapping(400, 3)
    codes = np.repeat(codes[:, :1], 3, axis=1)  # every cut exists three times
    chosen = [fit_boosted_trees(codes, labels, stages=5, seed=seed).feature_importances_ for seed in range(3)]
    again = fit_boosted_trees(codes, labels, stages=5, seed=0).feature_importances_
    np.testing.assert_array_equal(chosen[0], again)
    assert not np.array_equal(chosen[0], chosen[1])
    assert np.all(np.mean(chosen, axis=0) > 0.1)  # no code is preferred for its position


def test_scan_in_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, labels = overlapping(1500, 5)
    whole = fit_boosted_trees(codes, labels, stages=3)
    monkeypatch.setattr(boosting, "_SLICE", 1)
    pieces = fit_boosted_trees(codes, labels, stages=3)
    np.testing.assert_allclose(pieces.feature_importances_, whole.feature_importances_, atol=1e-12)
    np.testing.assert_allclose(pieces.values, whole.values, atol=1e-12)


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, 600)
    codes = np.round(labels[:, None] + rng.normal(size=(600, 4)), 1)  # with ties
    alone, together = (fit_boosted_trees(codes, labels, stages=12, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(alone.feature_importances_, together.feature_importances_)
    np.testing.assert_array_equal(alone.thresholds, together.thresholds)
    np.testing.assert_array_equal(alone.values, together.values)
