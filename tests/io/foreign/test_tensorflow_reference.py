"""Pictures that NVIDIA's own networks made under TensorFlow, of variables that are drawn anew here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from writers import tensorflow_pickle

from disentangle.io import foreign, load

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "tensorflow_generators.json").read_text())


def drawn(case: dict[str, Any]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Variables by name, and latents, as the reference drew them."""
    random = np.random.RandomState(7)
    variables = {}
    for name in sorted(case["shapes"]):
        value = np.asarray(random.standard_normal(case["shapes"][name]), dtype=np.float32)
        variables[name] = torch.tensor(float(case["lod"]) if name.endswith("lod") else value)
    return variables, torch.tensor(random.standard_normal((2, case["settings"]["latent_size"])), dtype=torch.float32)


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_the_pictures_are_those_of_tensorflow(name, tmp_path):
    case = REFERENCE[name]
    variables, z = drawn(case)
    parts: dict[str, dict[str, torch.Tensor]] = {"mapping": {}, "synthesis": {}}
    own = {}
    for key, value in variables.items():
        part, slash, rest = key.partition("/")
        if slash and part in parts:
            parts[part][rest] = value
        else:
            own[key] = value
    module = "tfutil" if case["family"] == "pg" else "dnnlib.tflib.network"
    components = {key: part for key, part in parts.items() if part}
    path = tmp_path / "network.pkl"
    path.write_bytes(tensorflow_pickle(own, components, settings=case["settings"], module=module))
    foreign.convert(path, tmp_path / "m.safetensors")
    options: dict[str, Any] = {}
    if case["settings"]["label_size"]:
        options["label"] = torch.tensor([0, case["settings"]["label_size"] - 1])
    if case["truncation"] != 1:
        options |= {"truncation": case["truncation"], "truncation_cutoff": case["cutoff"]}
    expected = torch.tensor(case["pictures"]).reshape(case["shape"])
    torch.testing.assert_close(load(tmp_path / "m.safetensors")(z, **options), expected, rtol=0, atol=2e-5)
