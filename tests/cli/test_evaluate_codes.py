"""``disentangle evaluate`` on arrays and on an encoder of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import invoke

ENCODER = """
import torch

def encode(images):
    return torch.stack([images.mean((1, 2, 3)), images[:, 0, 0, 0], images[:, 0, -1, 0]], dim=1)

def wrong(images):
    return images

def posterior(images):
    return encode(images), 0 * encode(images)

class Vae:
    encode = staticmethod(posterior)

vae = Vae()

number = 3
"""


@pytest.fixture
def arrays(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, 3, 600), rng.integers(0, 5, 600)], axis=1)
    np.save(tmp_path / "z.npy", np.concatenate([factors, rng.normal(size=(600, 2))], axis=1))
    np.save(tmp_path / "y.npy", factors)
    return tmp_path / "z.npy", tmp_path / "y.npy"


def test_arrays_to_table_file_figure_and_page(run, arrays, tmp_path: Path):
    codes, factors = arrays
    out, figure, page = tmp_path / "s.json", tmp_path / "m.png", tmp_path / "r.html"
    output = run(
        "evaluate", "--codes", codes, "--factors", factors, "--metrics", "mig,sap", "--bootstrap", 20,
        "--out", out, "--figure", figure, "--report", page,
    )  # fmt: skip
    assert "chance" in output
    assert "95 %" in output
    assert "factor 1" in output
    record = json.loads(out.read_text())["scores"]["mig"]
    assert record["chance"] < 0.2 < 0.9 < record["value"] <= record["ceiling"] + 0.05
    low, high = record["interval"]
    assert low < record["value"] < high
    with Image.open(figure) as image:
        assert image.width > 200
    text = page.read_text()
    assert "MIG, mutual information gap" in text
    assert "data:image/png;base64," in text


def test_protocol_kinds_and_no_baselines(run, arrays):
    codes, factors = arrays
    both = ("evaluate", "--codes", codes, "--factors", factors, "--metrics", "mig,sap", "--no-baselines", "--json")
    scores = json.loads(
        run(*both, "--protocol", "ubisoft-2023", "--factor-kinds", "discrete,continuous", "--set", "mig.bins=10")
    )
    assert scores["mig"]["settings"]["bins"] == 10
    assert scores["mig"]["settings"]["protocol"] == "custom (from ubisoft-2023)"
    assert scores["mig"]["settings"]["factor_kinds"] == ["discrete", "continuous"]
    assert "chance" not in scores["mig"]


def test_an_encoder_of_ones_own(run, fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_encoder_module.py").write_text(ENCODER)
    monkeypatch.chdir(tmp_path)
    command = ("evaluate", "--data", "rooms", "--num", 300, "--resolution", 32, "--metrics", "mig", "--encoder")
    scores = json.loads(run(*command, "my_encoder_module:encode", "--json"))
    assert scores["mig"]["settings"]["n_codes"] == 3
    kinds = ("--factor-kinds", "floor_hue=periodic:10", "--json", "--no-baselines")
    settings = json.loads(run(*command, "my_encoder_module:encode", *kinds))["mig"]["settings"]
    assert settings["factor_kinds"] == ["periodic:10", *["discrete"] * 5]
    assert scores["mig"]["parts"]["per_factor"][0] > 0.05  # a corner's colour tells about a hue
    for name in ("posterior", "vae"):
        assert (
            json.loads(run(*command, f"my_encoder_module.py:{name}", "--json"))["mig"]["value"]
            == (scores["mig"]["value"])
        )
    assert "Vae is a class; expected a function" in fails(*command, "my_encoder_module:Vae")
    assert "as in my_encoder_module.py:function" in fails(*command, "my_encoder_module.py")
    assert "The encoder returned shape (256, 3, 32, 32)" in fails(*command, "my_encoder_module:wrong")
    assert "expected module:function" in fails(*command, "encode")
    assert "there is no function 'number' to call" in fails(*command, "my_encoder_module:number")
    assert "module 'absent_module' cannot be imported" in fails(*command, "absent_module:encode")


def test_pictures_and_factors_of_ones_own(run, fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("own_encoder.py").write_text(ENCODER)
    Path("data").mkdir()
    lines = ["name,hue,kind"]
    for i in range(48):
        Image.new("RGB", (16, 16), (20 * (i % 8), 0, 0)).save(f"data/{i}.png")
        lines.append(f"{i}.png,{i % 8},{('dog', 'cat')[i % 2]}")
    Path("factors.csv").write_text("\n".join(lines))
    command = ("evaluate", "--encoder", "own_encoder.py:encode", "--metrics", "mig", "--no-baselines", "--json")
    data = ("--data", "data", "--resolution", 16)
    assert "no known factors" in fails(*command, *data)
    scores = json.loads(run(*command, *data, "--factors-file", "factors.csv"))
    assert scores["mig"]["settings"]["factor_sizes"] == [8, 2]
    Path("factors.csv").rename("data/factors.csv")
    result = invoke(*command, *data)
    assert json.loads(result.stdout)["mig"]["value"] == scores["mig"]["value"]
    assert "48 pictures with factors in data: hue: 8 values, discrete; kind: 2 values (cat, dog)" in result.stderr
    assert "no resolution of its own" in fails(*command, "--data", "data")
    assert "is about the pictures of --data" in fails("evaluate", "--codes", "z.npy", "--factors-file", "a.csv")


def test_what_does_not_fit(fails, arrays, tmp_path: Path):
    codes, factors = arrays
    both = ("evaluate", "--codes", codes, "--factors", factors)
    assert "Unknown protocol 'dlib'" in fails(*both, "--protocol", "dlib")
    assert "Unknown metric 'mgi'; did you mean 'mig'" in fails(*both, "--metrics", "mgi")
    assert "factor_kinds has 3 entries but factors have 2 columns" in fails(
        *both, "--factor-kinds", "discrete,discrete,discrete"
    )
    assert "--set is 'bins=3'; expected METRIC.OPTION=VALUE" in fails(*both, "--set", "bins=3")
    assert "Unknown option of mig 'binz'" in fails(*both, "--set", "mig.binz=3")
    assert "options name 'aam'" in fails(*both, "--set", "aam.bins=3")
    assert "bootstrap is 3" in fails(*both, "--bootstrap", 3, "--metrics", "mig")
    assert {path.name for path in tmp_path.iterdir()} == {"z.npy", "y.npy"}


def test_tables_of_ones_own(run, fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kinds, ages = rng.integers(0, 3, 300), rng.integers(0, 2, 300)
    lines = ["cell,z1,z2,z3,kind,batch,hue"]
    for i, (kind, age) in enumerate(zip(kinds, ages, strict=True)):
        told = ("B", "NK", "T")[kind] if i % 10 else ""
        lines.append(f"c{i},{kind + rng.normal() / 5},{age},{rng.normal()},{told},{'xy'[age]},{rng.uniform(0, 360)}")
    Path("t.csv").write_text("\n".join(lines))
    cells = [line.split(",") for line in (lines[0], *lines[:50:-1])]  # in another order, fifty fewer
    Path("y.csv").write_text("\n".join(f"{row[0]},{row[4]}" for row in cells))
    command = ("evaluate", "--codes", "t.csv:z*", "--metrics", "mig", "--jobs", 1, "--no-baselines")
    result = invoke(*command, "--factors", "t.csv:kind,batch,hue", "--factor-kinds", "hue=periodic:360", "--json")
    assert "kind: 3 values (B, NK, T), discrete, 30 missing; batch: 2 values (x, y), discrete" in result.stderr
    settings = json.loads(result.stdout)["mig"]["settings"]
    assert settings["factor_kinds"] == ["discrete", "discrete", "periodic:360"]
    assert settings["missing_labels"] == [30, 0, 0]
    result = invoke(*command, "--factors", "y.csv", "--out", "s.json")
    assert "joined by name: 250 points in both, 50 with codes alone and 0 with factors alone left out." in result.stderr
    subject = json.loads(Path("s.json").read_text())["subject"]
    assert subject["categories"] == {"kind": ["B", "NK", "T"]}
    assert "300 rows" in fails(*command, "--factors", "y.csv", "--id", "none")
    assert "--id is not for an --encoder" in fails("evaluate", "--data", "rooms", "--encoder", "a:b", "--id", "cell")
