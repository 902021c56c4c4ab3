"""Trained weights that others have published, converted, against the pictures of their own code.

The packages come from the package index that pip is set up for, into a temporary folder; without one the tests are
skipped. Both are MIT licensed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import disentangle
from disentangle.cli import cli
from disentangle.files import sha256_of
from disentangle.io import foreign, zoo_entry
from disentangle.latents import sefa, traverse

pytestmark = pytest.mark.published
SEED, PICTURES = 3, 6
GAN_FACE, GENERATE_ME = "gan-face-generate==1.1.1", "generateme==0.1.2"


def installed(package: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-compile", "--only-binary", ":all:"]
    command += ["--ignore-requires-python", "--quiet", "--target", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        pytest.skip(f"pip cannot install {package} here: {said}")
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return installed(GAN_FACE, tmp_path_factory.mktemp("gan-face")) / "gan_face_generate"


@pytest.fixture(scope="module")
def generate_me(tmp_path_factory) -> Path:
    return installed(GENERATE_ME, tmp_path_factory.mktemp("generateme")) / "generateme"


def module(path: Path) -> ModuleType:
    """One file of a package, without what its ``__init__`` imports besides."""
    spec = importlib.util.spec_from_file_location(f"published_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def latents() -> torch.Tensor:
    return torch.randn(PICTURES, 100, generator=torch.Generator().manual_seed(SEED))


def check(converted: Path, theirs: torch.Tensor) -> Any:
    """The same pictures as theirs, (n, channels, 64, 64), and pictures there are; then six directions of SeFa."""
    model: Any = disentangle.load(converted)
    assert theirs.std() > 0.2
    assert (theirs[0] - theirs[1]).abs().mean() > 0.05
    torch.testing.assert_close(model(latents()), theirs, rtol=0, atol=1e-5)
    found = sefa(model, top=6)
    gram = found.vectors.flatten(1) @ found.vectors.flatten(1).mT
    torch.testing.assert_close(gram, torch.eye(6), rtol=0, atol=1e-4)
    walks = traverse(model, found, seeds=[0], steps=3)
    assert walks.shape == (1, 6, 3, *theirs.shape[1:])
    moved = (walks[0, :, 0] - walks[0, :, 2]).abs().mean(dim=(1, 2, 3))
    assert (moved > 0.05).all()
    return model


def test_gan_face_generate(faces, tmp_path):
    network = module(faces / "models.py").Generator(0, 3, 100, 64)
    network.load_state_dict(torch.load(faces / "weights.tar", map_location="cpu", weights_only=True)["netG_state_dict"])
    found = foreign.convert(faces / "weights.tar", tmp_path / "m.safetensors")
    assert found.provenance["which"] == "netG_state_dict"
    with torch.no_grad():
        check(tmp_path / "m.safetensors", network.eval()(latents()[:, :, None, None]))


def test_the_dcgan_of_generateme(generate_me, tmp_path):
    file = generate_me / "static" / "Models" / "dcGanGeneratorModel.pt"
    found = foreign.convert(file, tmp_path / "m.safetensors")
    assert any("names of their own (convTr1, batchNorm1, ...)" in said for said in found.provenance["decisions"])
    with torch.no_grad():
        theirs = module(generate_me / "DCGan.py").netG.cpu().eval()(latents()[:, :, None, None])
        check(tmp_path / "m.safetensors", theirs)


def test_the_linear_gan_of_generateme(generate_me, tmp_path):
    file = generate_me / "static" / "Models" / "linearGanGeneratorModel.pt"
    found = foreign.convert(file, tmp_path / "m.safetensors")
    assert found.config["kind"] == "mlp-gan"
    with torch.no_grad():
        theirs = module(generate_me / "LinearGan.py").G.cpu().eval()(latents()).reshape(-1, 1, 64, 64)
        check(tmp_path / "m.safetensors", theirs)


def test_the_faces_by_name(faces, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    entry = zoo_entry("faces-dcgan")
    assert sha256_of(faces / "weights.tar") == entry.sha256
    assert (faces / "weights.tar").stat().st_size == entry.bytes
    done = CliRunner().invoke(cli, ["models", "fetch", "faces-dcgan"])
    assert done.exit_code == 0, done.output
    network = module(faces / "models.py").Generator(0, 3, 100, 64)
    network.load_state_dict(torch.load(faces / "weights.tar", map_location="cpu", weights_only=True)["netG_state_dict"])
    with torch.no_grad():
        theirs = network.eval()(latents()[:, :, None, None])
        torch.testing.assert_close(disentangle.load("faces-dcgan")(latents()), theirs, rtol=0, atol=1e-5)
