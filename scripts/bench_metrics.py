"""CPU time of the disentanglement metrics against their original formulation with scikit-learn, on the same arrays.

    python scripts/bench_metrics.py            # all but DCI: a minute
    python scripts/bench_metrics.py --dci      # with DCI: five minutes

10 codes, 10,000 training and 5,000 held-out points, factor sizes of rooms (or 3D Shapes, dSprites), each factor in one
code with noise. One thread, methods interleaved in one process, median CPU seconds. The original formulations are
written here from the definitions, with the calls that the published code makes: one scikit-learn call for each pair of
code and factor. The toolkit's side is its public function, checks included, without chance, ceiling and interval.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import click
import numpy as np
from threadpoolctl import threadpool_limits
from timing import medians

SIZES = {"rooms": (10, 10, 10, 8, 4, 15), "shapes3d": (10, 10, 10, 8, 4, 15), "dsprites": (3, 6, 40, 32, 32)}
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def arrays(sizes: tuple[int, ...], codes: int = 10, n: int = 10_000, m: int = 5_000) -> Arrays:
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, size, n + m) for size in sizes], axis=1)
    scale = np.array(sizes, dtype=float)
    noise = rng.standard_normal((n + m, codes))
    noise[:, : len(sizes)] *= 0.3
    noise[:, : len(sizes)] += (factors - (scale - 1) / 2) / np.sqrt((scale**2 - 1) / 12)
    points = noise.astype(np.float32)
    return points[:n], factors[:n], points[n:], factors[n:]


def table_of_pairs(z: np.ndarray, y: np.ndarray, bins: int = 20) -> np.ndarray:
    from sklearn.metrics import mutual_info_score

    cells = np.stack([np.digitize(code, np.histogram(code, bins)[1][:-1]) for code in z.T], axis=1)
    return np.array([[mutual_info_score(label, cell) for label in y.T] for cell in cells.T])


def original_information(z: np.ndarray, y: np.ndarray) -> None:
    """MIG, MIG-sup, JEMMIG, DCIMIG and modularity: each makes its own table."""
    for _ in range(5):
        np.sort(table_of_pairs(z, y), axis=0)


def original_mig(z: np.ndarray, y: np.ndarray) -> None:
    np.sort(table_of_pairs(z, y), axis=0)


def original_infom(z: np.ndarray, y: np.ndarray) -> None:
    from sklearn.feature_selection import mutual_info_classif

    for label in y.T:
        for code in z.T:
            mutual_info_classif(code[:, None], label, discrete_features=False, n_neighbors=10, random_state=0)


def original_sap(z: np.ndarray, y: np.ndarray, zt: np.ndarray, yt: np.ndarray) -> None:
    from sklearn.svm import LinearSVC

    for label, test in zip(y.T, yt.T, strict=True):
        for j in range(z.shape[1]):
            machine = LinearSVC(C=0.01, class_weight="balanced").fit(z[:, [j]], label)
            np.mean(machine.predict(zt[:, [j]]) == test)


def original_explicitness(z: np.ndarray, y: np.ndarray, zt: np.ndarray, yt: np.ndarray) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler, label_binarize

    scaler = StandardScaler().fit(z)
    for label, test in zip(y.T, yt.T, strict=True):
        model = LogisticRegression().fit(scaler.transform(z), label)
        for codes, truth in ((z, label), (zt, test)):
            roc_auc_score(label_binarize(truth, classes=model.classes_), model.predict_proba(scaler.transform(codes)))


def original_irs(z: np.ndarray, y: np.ndarray) -> None:
    for label in y.T:
        for value in np.unique(label):
            rows = z[label == value]
            np.percentile(np.abs(rows - rows.mean(axis=0)), 99, axis=0)


def original_dci(z: np.ndarray, y: np.ndarray, zt: np.ndarray, yt: np.ndarray) -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    for label, test in zip(y.T, yt.T, strict=True):
        model = GradientBoostingClassifier(random_state=0).fit(z, label)
        np.mean(model.predict(z) == label)
        np.mean(model.predict(zt) == test)


def rows(data: Arrays) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    from disentangle.evaluations import disentanglement as d

    z, y, zt, yt = data
    plain: dict[str, Any] = {"baselines": False}
    held: dict[str, Any] = {"test": (zt, yt), **plain}
    family = ["mig", "mig-sup", "jemmig", "dcimig", "modularity"]
    return {
        "MIG": (lambda: original_mig(z, y), lambda: d.mig(z, y, **plain)),
        "information family (five metrics)": (
            lambda: original_information(z, y),
            lambda: d.evaluate(z, y, family, **held),
        ),
        "InfoM, InfoC (nearest neighbours)": (lambda: original_infom(z, y), lambda: d.infom(z, y, **plain)),
        "SAP": (lambda: original_sap(z, y, zt, yt), lambda: d.sap(z, y, **held)),
        "explicitness": (lambda: original_explicitness(z, y, zt, yt), lambda: d.explicitness(z, y, **held)),
        "IRS": (lambda: original_irs(z, y), lambda: d.irs(z, y, **plain)),
        "DCI (gradient boosting, exact)": (lambda: original_dci(z, y, zt, yt), lambda: d.dci(z, y, **held)),
    }


@click.command()
@click.option("--data", type=click.Choice(list(SIZES)), default="rooms", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--dci", is_flag=True, help="Include DCI, once: its original takes minutes.")
def main(data: str, rounds: int, dci: bool) -> None:
    warnings.simplefilter("ignore")
    chosen = rows(arrays(SIZES[data]))
    totals = {"original": 0.0, "ours": 0.0}
    print("| what | original, CPU s | ours, CPU s | ratio |\n|---|---|---|---|")
    for name, (original, ours) in chosen.items():
        slow = name.startswith("DCI")
        if slow and not dci:
            continue
        with threadpool_limits(1):
            times = medians({"original": original, "ours": ours}, 1 if slow else rounds)
        before, after = times["original"] / 1000, times["ours"] / 1000
        print(f"| {name} | {before:.3f} | {after:.3f} | {before / after:.1f} |", flush=True)
        if name != "MIG":  # it is part of the family
            totals = {"original": totals["original"] + before, "ours": totals["ours"] + after}
    ratio = totals["original"] / totals["ours"]
    print(f"| all of these | {totals['original']:.2f} | {totals['ours']:.2f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
