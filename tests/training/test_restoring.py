"""States that are well formed but of another form than the training's end in a sentence, not in torch's errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from disentangle.errors import CheckpointError
from disentangle.io import load_state, save_state
from disentangle.training.adaptive import AdaptiveProbability
from disentangle.training.ema import EMA
from disentangle.training.restoring import restore
from tests.training.test_training import train, vae, weights

FIELDS = {"treatment.nog": True, "objective": {"kind": "factor-vae", "discriminator_width": 8}, "steps": 6}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an older version, whose files have no digests."""
    run = tmp_path_factory.mktemp("restoring") / "run"
    train(vae(**FIELDS), run)
    for folder in (run / "checkpoints").iterdir():
        (folder / "SHA256SUMS").unlink()
    return run


def first(state: Any) -> Any:
    return next(iter(state.values()))


def _name(state: Any) -> str:
    return next(iter(state))


WRONG: dict[str, Callable[[Any], Any]] = {
    "a part is missing": lambda parts: parts.pop("critic"),
    "a part too many": lambda parts: parts.update(more={}),
    "a part is a number": lambda parts: parts.update(model=3),
    "a part is a list": lambda parts: parts.update(optimizer=[]),
    "a weight is missing": lambda parts: parts["model"].pop(_name(parts["model"])),
    "a weight too many": lambda parts: parts["model"].update(more=torch.zeros(2)),
    "a weight of another shape": lambda parts: parts["model"].update({_name(parts["model"]): torch.zeros(3, 1)}),
    "a weight is a text": lambda parts: parts["model"].update({_name(parts["model"]): "x\x1b[2J"}),
    "no groups": lambda parts: parts["optimizer"].pop("param_groups"),
    "no state": lambda parts: parts["optimizer"].pop("state"),
    "two groups": lambda parts: parts["optimizer"]["param_groups"].append({"params": []}),
    "a group without rate": lambda parts: parts["optimizer"]["param_groups"][0].pop("lr"),
    "a rate is a text": lambda parts: parts["optimizer"]["param_groups"][0].update(lr="fast"),
    "betas are one": lambda parts: parts["optimizer"]["param_groups"][0].update(betas=(0.9,)),
    "a moment is missing": lambda parts: first(parts["optimizer"]["state"]).pop("exp_avg"),
    "a moment of another shape": lambda parts: first(parts["optimizer"]["state"]).update(exp_avg=torch.zeros(2)),
    "a moment is None": lambda parts: first(parts["critic_optimizer"]["state"]).update(exp_avg_sq=None),
    "a count of another shape": lambda parts: first(parts["optimizer"]["state"]).update(step=torch.zeros(7)),
    "entries are a list": lambda parts: parts["optimizer"]["state"].update({0: [1]}),
    "treatment without records": lambda parts: parts["treatment"].pop("records"),
    "treatment with other options": lambda parts: parts["treatment"]["options"].update(ol=5.0),
    "treatment of another shape": lambda parts: parts["treatment"]["records"][0].update(shape=(1, 2)),
    "treatment's count is a text": lambda parts: parts["treatment"]["records"][0].update(steps="6"),
    "treatment is a list": lambda parts: parts.update(treatment=[1]),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_state_of_another_form_is_a_sentence(what, trained):
    state = load_state(trained / "checkpoints" / "000006" / "state.pt")
    changed = copy.deepcopy(state)
    WRONG[what](changed["parts"])
    file = trained / "checkpoints" / "000006" / "state.pt"
    save_state(file, changed)
    try:
        with pytest.raises(CheckpointError, match=r"000006 (does not fit this training|holds \[)") as caught:
            train(vae(**FIELDS), trained)
        assert len(str(caught.value)) < 1000
        assert "\x1b" not in str(caught.value)
    finally:
        save_state(file, state)
    assert torch.isfinite(weights(train(vae(**FIELDS), trained))).all()


@pytest.mark.parametrize(
    ("part", "state"),
    [
        (EMA(torch.nn.Linear(2, 2), 0.9), {"step": "1", "model": torch.nn.Linear(2, 2).state_dict()}),
        (EMA(torch.nn.Linear(2, 2), 0.9), {"step": 1.5, "model": torch.nn.Linear(2, 2).state_dict()}),
        (EMA(torch.nn.Linear(2, 2), 0.9), {"step": 1, "model": {}}),
        (AdaptiveProbability(0.0, target=0.6, batch=4), {"value": "1", "sum": 0.0, "count": 0, "steps": 0}),
        (AdaptiveProbability(0.0, target=0.6, batch=4), {"value": 1.0, "sum": 0.0, "count": 0}),
    ],
)
def test_averages_and_adaptive_probabilities(part, state):
    with pytest.raises(CheckpointError, match="The part in there does not fit this training"):
        restore({"part": part}, {"part": state}, source="there")
