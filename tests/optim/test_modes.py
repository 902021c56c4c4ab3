"""The list of modes: what every one of them keeps, and one of somebody else's."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import disentangle
from disentangle.checks import check_number
from disentangle.cli import cli
from disentangle.config import parse_config
from disentangle.errors import ConfigError, InputError
from disentangle.optim import MODES, Mode, Option, register
from disentangle.optim.mode import OFF, OWN_LENGTH
from disentangle.optim.treatment import TreatmentOptions
from disentangle.training.config import TreatmentConfig

ROOT = Path(__file__).parents[2]
WITH = {"olr": True, "nog": True, "ol": 0.5, "retraction": "polar", "scale": "nuclear"}


def treated(weight: Tensor, gradient: Tensor, **options: object) -> tuple[Tensor, object]:
    w = nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD([w], lr=0.25)
    handle = disentangle.orthogonalize(optimizer, w, **options)
    w.grad = gradient.clone()
    optimizer.step()
    return w.detach(), handle


def signs(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    return X - lr * options.own("strength") * G.sign(), lr


SIGNS = Mode(
    "signs",
    "The sign of every number.",
    signs,
    options={"strength": Option("times the rate", 1.0, lambda given: check_number("strength", given, above=0))},
    refuses={"olr": OWN_LENGTH},
)


@pytest.fixture
def with_signs(monkeypatch: pytest.MonkeyPatch) -> Mode:
    monkeypatch.setattr(MODES, "_records", {name: MODES[name] for name in MODES})
    return register(SIGNS)


# ------------------------------------------------------------------------------------------------ those of the list


@pytest.mark.parametrize("name", MODES)
def test_every_mode_keeps_the_contract(name: str) -> None:
    mode = MODES[name]
    assert mode.name == name == name.lower()
    assert mode.about.endswith(".")
    for option, said in mode.options.items():
        said.check(said.default)
        with pytest.raises(InputError, match=option):
            said.check("nonsense")
    assert not set(mode.refuses) & set(mode.refuses_without_nog)
    assert not (set(mode.refuses) | set(mode.refuses_without_nog)) & set(mode.needs)
    needed = {name: WITH[name] for name in mode.needs} or ({} if mode.alone else {"nog": True})
    weight = torch.eye(3, 5, dtype=torch.float64)
    gradient = torch.arange(15.0, dtype=torch.float64).reshape(3, 5).cos()
    moved, handle = treated(weight, gradient, mode=name, **needed)
    assert moved.shape == weight.shape
    assert bool(torch.isfinite(moved).all())
    assert not torch.equal(moved, weight)
    assert 0 < handle.last_lr[0] <= 0.25
    if mode.on_manifold:
        far, _ = treated(100 * weight, gradient, mode=name, **needed)
        assert float(far.norm()) < 3, "it was put near the manifold before"
    for refused in (*mode.refuses, *mode.refuses_without_nog):
        with pytest.raises(InputError, match=f"mode is '{name}': .*"):
            treated(weight, gradient, mode=name, **{refused: WITH[refused]})
    for refused in mode.refuses_without_nog:
        treated(weight, gradient, mode=name, nog=True, **{refused: WITH[refused]})
    if not mode.alone:
        with pytest.raises(InputError, match="Nothing to do"):
            treated(weight, gradient, mode=name)
    assert TreatmentConfig(mode=name).active == mode.alone


def test_the_help_and_the_pages_name_every_mode_of_the_list() -> None:
    shown = " ".join(CliRunner().invoke(cli, ["train", "vae", "--help"]).output.split())
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    said = disentangle.orthogonalize.__doc__
    for name in MODES:
        assert re.search(rf"--mode MODE [^-]*--nog[^-]*(--nog: )?[^-]*\b{name}\b", shown), name
        assert f'``"{name}"``' in said, name
        assert name == "gradient" or re.search(rf"--mode [a-z|]*\b{name}\b", page), name


# ------------------------------------------------------------------------------------------------ somebody else's


def test_a_mode_from_outside(with_signs: Mode) -> None:
    weight, gradient = torch.eye(3, 5), torch.arange(15.0).reshape(3, 5).cos()
    moved, handle = treated(weight, gradient, mode="signs", options={"strength": 2.0})
    assert torch.equal(moved, weight - 0.5 * gradient.sign())
    plain, _ = treated(weight, gradient, mode="signs")
    assert torch.equal(plain, weight - 0.25 * gradient.sign())
    state = copy.deepcopy(handle.state_dict())
    assert state["options"]["options"] == {"strength": 2.0}
    handle.load_state_dict(state)
    other = treated(weight, gradient, mode="signs")[1]
    with pytest.raises(InputError, match=r"options: saved \{'strength': 2.0\}, here \{\}"):
        other.load_state_dict(state)
    config = TreatmentConfig(mode="signs", options={"strength": 2.0})
    assert config.active
    assert torch.equal(treated(weight, gradient, **config.model_dump())[0], moved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "signs", "olr": True}, "mode is 'signs': olr=True does not go with it"),
        ({"mode": "signs", "options": {"strength": 0}}, "strength is 0; expected a number above 0"),
        ({"mode": "signs", "options": {"strenght": 1}}, "Unknown option of mode 'signs' 'strenght'; did you mean"),
        ({"mode": "signs", "options": {"radius": 2}}, "which is an argument of its own; give radius= instead"),
        ({"mode": "signs", "options": 3}, "options is 3; expected"),
        ({"mode": "landing", "options": {"strength": 1}}, "Unknown option of mode 'landing' 'strength'"),
        ({"mode": "sings"}, "Unknown value of mode 'sings'; did you mean 'signs'"),
    ],
)
def test_what_does_not_go_with_it(with_signs: Mode, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        treated(torch.eye(3, 5), torch.ones(3, 5), **options)


def test_a_state_saved_before_modes_had_options_is_read() -> None:
    _, handle = treated(torch.eye(3, 5), torch.ones(3, 5), mode="landing")
    state = copy.deepcopy(handle.state_dict())
    del state["options"]["options"]
    handle.load_state_dict(state)


def test_what_the_caller_changes_later_changes_nothing() -> None:
    given: dict[str, object] = {}
    _, handle = treated(torch.eye(3, 5), torch.ones(3, 5), nog=True, options=given)
    given["strength"] = 3
    assert handle.options.options == {}


def test_configurations_and_the_command_line_know_it_by_name(with_signs: Mode) -> None:
    command = ["train", "vae", "--data", "rooms", "--resolution", "32", "--dry-run", "--mode"]
    good = CliRunner().invoke(cli, [*command, "signs"])
    assert '"mode": "signs"' in good.output
    bad = CliRunner().invoke(cli, [*command, "sings"])
    assert bad.exit_code == 2
    assert "Unknown mode 'sings'; did you mean 'signs'" in bad.output
    with pytest.raises(ConfigError, match=r"mode: Unknown mode 'sings'; did you mean 'signs'"):
        parse_config(TreatmentConfig, {"mode": "sings"})


def test_a_mode_that_says_too_little_is_refused() -> None:
    with pytest.raises(InputError, match="The mode 'idle' lacks step; expected a function, or alone=False"):
        Mode("idle", "Nothing.")
    with pytest.raises(InputError, match="argument that the mode 'signs' refuses or needs 'nogg'; did you mean 'nog'"):
        Mode("signs", "Signs.", signs, refuses={"nogg": "never"})
    assert set(WITH) == set(OFF)
