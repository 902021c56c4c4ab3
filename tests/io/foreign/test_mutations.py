"""Random changes of files of every format, behind their checksums: a model, or one sentence."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path

import pytest
import test_convert
import test_convert_more
from writers import nvidia_stylegan2, rosinality, rough, tensorflow_stylegan2
from writers_discriminators import (
    nvidia_discriminator,
    rosinality_discriminator,
    rough_discriminator,
    tensorflow_discriminator,
)
from writers_more import pythae

from disentangle.errors import CheckpointError
from disentangle.io import foreign

MUTATIONS = 1000


def samples() -> list[bytes]:
    """One file of each writer, three with discriminators."""
    config, opponent = test_convert.SG2, rough_discriminator()
    found = [write(rough(config)) for config, write in test_convert.CASES.values()]
    found += [write(test_convert_more.made(config)) for config, write, _, _ in test_convert_more.CASES.values()]
    found.append(nvidia_stylegan2(rough(config), discriminator=nvidia_discriminator(opponent)))
    found.append(rosinality(rough(config), training=True, discriminator=rosinality_discriminator(opponent)))
    found.append(tensorflow_stylegan2(rough(config), discriminator=tensorflow_discriminator(opponent)))
    return found


def mutated(content: bytes, source: random.Random) -> bytes:
    """With a few bytes changed, taken out, put in or repeated."""
    changed = bytearray(content)
    for _ in range(source.choice([1, 1, 1, 2, 5])):
        place, length = source.randrange(len(changed)), source.randrange(1, 12)
        match source.randrange(5):
            case 0 | 1:
                changed[place] = source.randrange(256)
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = source.randbytes(length)
            case 4:
                other = source.randrange(len(changed))
                changed[place:place] = changed[other : other + 4 * length]
    return bytes(changed)


def behind_checksums(content: bytes, source: random.Random) -> bytes:
    """Of a zip, one of its parts, mostly the pickle; of other files, anything."""
    if not content.startswith(b"PK"):
        return mutated(content, source)
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(held, "w") as target:
        names = archive.namelist()
        pickled = next(name for name in names if name.endswith("data.pkl"))
        chosen = pickled if source.random() < 0.9 else source.choice(names)
        for name in names:
            part = archive.read(name)
            target.writestr(name, mutated(part, source) if name == chosen and part else part)
    return held.getvalue()


@pytest.mark.faults
def test_mutated_files_of_every_format(tmp_path):
    source, valid = random.Random(0), samples()
    path, out, said = tmp_path / "file.pkl", tmp_path / "out.safetensors", []
    for index in range(MUTATIONS):
        path.write_bytes(behind_checksums(valid[index % len(valid)], source))
        for reader in (
            foreign.contents,
            lambda p: foreign.convert(p, out),
            lambda p: foreign.convert(p, out, discriminator=f"{out}.d"),
        ):
            try:
                reader(path)
            except CheckpointError as error:
                said.append(str(error))
    assert len(said) > MUTATIONS
    assert all(message.startswith(str(path)) and message.isprintable() and len(message) < 1500 for message in said)


@pytest.mark.faults
def test_mutated_configurations_of_folders(tmp_path):
    source, folder, said = random.Random(1), tmp_path / "trained", []
    model = rough({"kind": "mlp-vae", "image_shape": (1, 8, 8), "latent_dim": 4, "hidden": 16})
    pythae(model, folder)
    config, weights = (folder / "model_config.json").read_bytes(), (folder / "model.pt").read_bytes()
    for index in range(100):
        (folder / "model_config.json").write_bytes(mutated(config, source) if index % 2 else config)
        (folder / "model.pt").write_bytes(weights if index % 2 else behind_checksums(weights, source))
        try:
            foreign.convert(folder, tmp_path / "out.safetensors")
        except CheckpointError as error:
            said.append(str(error))
    for settings in (
        "[" * 100_000,
        '{"name": 1}',
        '{"name": "x", "input_dim": [1e999, 1, 1]}',
        json.dumps({"name": "n" * 10**6}),
    ):
        (folder / "model.pt").write_bytes(weights)
        (folder / "model_config.json").write_text(settings)
        with pytest.raises(CheckpointError) as caught:
            foreign.convert(folder, tmp_path / "out.safetensors")
        said.append(str(caught.value))
    assert all(message.startswith(str(folder)) and message.isprintable() and len(message) < 1500 for message in said)
    assert _untouched(folder)


def _untouched(folder: Path) -> bool:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".pt") == ["model.pt"]
