"""Configurations: replacing fields by path, comparing, errors that name the field."""

from __future__ import annotations

import pytest
import torch

from disentangle.config import differences, parse_config, with_fields
from disentangle.errors import ConfigError
from disentangle.training import GANTraining, VAETraining, preset_config


@pytest.fixture(scope="module")
def config() -> GANTraining:
    made = preset_config("eigengan", data={"name": "rooms", "resolution": 32})
    assert isinstance(made, GANTraining)
    return made


def test_json_round_trip(config):
    assert GANTraining.model_validate_json(config.model_dump_json()) == config


def test_fields_are_replaced_by_dotted_path(config):
    changed = with_fields(config, {"model.basis": 4, "treatment.nog": True, "steps": 7})
    assert (changed.model.basis, changed.treatment.nog, changed.steps) == (4, True, 7)
    assert differences(config, changed) == [
        "model.basis: 6 != 4",
        f"steps: {config.steps} != 7",
        "treatment.nog: False != True",
    ]
    assert differences(config, config) == []


def test_errors_name_the_path(config):
    with pytest.raises(ConfigError, match=r"no field 'model\.bases'.*model\.basis"):
        with_fields(config, {"model.bases": 4})
    with pytest.raises(ConfigError, match=r"model\.eigengan\.basis: .*greater than or equal to 1, got 0"):
        with_fields(config, {"model.basis": 0})
    with pytest.raises(ConfigError, match="steps: Field required"):
        parse_config(VAETraining, {"data": {"name": "rooms"}, "model": {}, "batch": 3}, source="x.json")


def test_frozen(config):
    with pytest.raises(ValueError, match="frozen"):
        config.steps = 3


def test_no_torch_state_is_needed(config):
    state = torch.get_rng_state()
    preset_config("vae", data={"name": "sprites", "resolution": 32})
    assert torch.equal(torch.get_rng_state(), state)
