"""The same codes, the same name, another number: scores of one representation under the choices of different sources.

    python scripts/compare_metrics.py          # a minute or two; writes the table into docs/metrics.md

The representation is ``noisy/shapes3d`` of tests/reference/representations.py, whose values by the original packages
are in tests/reference. Everything here is computed by the toolkit.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- same name -->", "<!-- end same name -->"


def representation(kind: str) -> Any:
    path = ROOT / "tests" / "reference" / "representations.py"
    spec = importlib.util.spec_from_file_location("representations", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.arrays(kind, "shapes3d", 1)


def rows(jobs: int) -> Iterator[tuple[str, str, str]]:
    from sklearn.ensemble import RandomForestClassifier

    from disentangle.evaluations import disentanglement as d

    z, y, zt, yt = representation("noisy")
    plain: dict[str, Any] = {"baselines": False}
    held: dict[str, Any] = {"test": (zt, yt), **plain}

    def number(score: Any) -> str:
        return f"{score.value:.3f}"

    yield "MIG", "`dlib-2018` (`disent`): 20 bins, over H(factor)", number(d.mig(z, y, **plain))
    yield "", "`ubisoft-2023`", number(d.mig(z, y, protocol="ubisoft-2023", **plain))
    yield "", "`dlib-2018` with 5 bins", number(d.mig(z, y, bins=5, **plain))
    yield "", "`dlib-2018` with 100 bins", number(d.mig(z, y, bins=100, **plain))
    yield "", "`dlib-2018` with 100 bins, 1,000 points", number(d.mig(z[:1000], y[:1000], bins=100, **plain))
    outlier = z.copy()
    outlier[0] *= 5 * abs(z).max(axis=0) / abs(z[0])
    yield "", "`dlib-2018` with one point of 10,000 at five times the range", number(d.mig(outlier, y, **plain))
    yield "SAP", "`dlib-2018` (`disent`): support vector machine", number(d.sap(z, y, **held))
    yield "", "`dlib-2018`, codes times 0.1", number(d.sap(0.1 * z, y, test=(0.1 * zt, yt), **plain))
    yield "", "`dcf-2023`: codes cut into whole numbers first", number(d.sap(z, y, protocol="dcf-2023", **held))
    yield "", "`ubisoft-2023`: squared correlation", number(d.sap(z, y, protocol="ubisoft-2023", **held))
    estimators: dict[str, dict[str, Any]] = {
        "gradient boosting (`dlib-2018`)": {},
        "random forest of depth 10, by entropy (`tripod-2024`)": {"protocol": "tripod-2024"},
        "random forest, scikit-learn's defaults": {"estimator": RandomForestClassifier()},
        "lasso (`ubisoft-2023`)": {"protocol": "ubisoft-2023"},
    }
    for position, (name, options) in enumerate(estimators.items()):
        score = d.dci(z, y, n_jobs=jobs, **options, **held)
        yield "DCI: D / C" if not position else "", name, f"{number(score)} / {score.parts['completeness']:.3f}"
    for label, function, protocols in (
        ("modularity", d.modularity, ("dlib-2018", "ubisoft-2023")),
        ("explicitness", d.explicitness, ("dlib-2018", "ubisoft-2023")),
        ("IRS", d.irs, ("dlib-2018", "ubisoft-2023")),
    ):
        arguments = held if label == "explicitness" else plain
        for position, protocol in enumerate(protocols):
            yield "" if position else label, f"`{protocol}`", number(function(z, y, protocol=protocol, **arguments))


@click.command()
@click.option("--jobs", default=2, show_default=True)
def main(jobs: int) -> None:
    from disentangle.files import write_text

    lines = ["| score | by | value |", "|---|---|---|"]
    for row in rows(jobs):
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    page = ROOT / "docs" / "metrics.md"
    text = page.read_text(encoding="utf-8")
    block = f"{BEGIN}\n" + "\n".join(lines) + f"\n{END}"
    write_text(page, re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
