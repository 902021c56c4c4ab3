"""Changed at random, the toolkit's own files give what they hold or one sentence."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import disentangle
from disentangle.config import parse_config
from disentangle.errors import DisentangleError
from disentangle.evaluations import Score, load_scores, save_scores
from disentangle.io import discriminator_config, load_discriminator, model_info, save_discriminator
from disentangle.io.run_checkpoints import newest_checkpoint
from disentangle.io.runs import read_stats
from disentangle.json_files import read_json
from disentangle.latents import Directions, Latents
from disentangle.models import build_model
from disentangle.models.discriminators import StridedDiscriminatorConfig, build_discriminator
from disentangle.training.config import VAETraining
from tests.resources import cost

CHANGES = 250  # of each kind of file


def run_of(folder: Path) -> object:
    read_stats(folder)
    parse_config(VAETraining, read_json(folder / "config.json", what="a configuration"))
    return newest_checkpoint(folder)


@pytest.fixture
def files(tmp_path: Path) -> dict[Path, Callable[[], object]]:
    """Good files, and what reads them."""
    model, small = tmp_path / "m.safetensors", tmp_path / "d.safetensors"
    disentangle.save(build_model({"kind": "gan", "resolution": 16, "latent_dim": 4, "channels": [4, 4, 4]}), model)
    save_discriminator(
        build_discriminator(StridedDiscriminatorConfig(resolution=16, image_channels=3, channels=(4, 4))), small
    )
    directions, latents, scores = (tmp_path / name for name in ("dir.safetensors", "l.safetensors", "s.json"))
    Directions(torch.eye(3), "w", ("a", "b", "c"), "hand", torch.ones(3), layers=((1,), (2, 3), (4,))).save(directions)
    Latents(torch.ones(2, 4), "z").save(latents)
    score = Score("mig", 0.5, parts={"per_factor": [0.5, 0.5]}, settings={"n": 3})
    save_scores(scores, {"mig": score}, subject={})
    run = tmp_path / "run"
    (run / "checkpoints" / "000002").mkdir(parents=True)
    (run / "latest").write_text("000002\n")
    (run / "config.json").write_text('{"kind": "vae", "data": {"name": "rooms"}, "steps": 3}')
    (run / "stats.jsonl").write_text('{"step": 1, "losses": {"loss": 0.5}}\n{"step": 2, "losses": {"loss": 0.25}}\n')
    sums = run / "checkpoints" / "000002" / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  model.safetensors\n")
    whole: Callable[[], object] = lambda: run_of(run)  # noqa: E731
    return {
        model: lambda: (model_info(model), disentangle.load(model)),
        small: lambda: (discriminator_config(small), load_discriminator(small)),
        directions: lambda: Directions.load(directions),
        latents: lambda: Latents.load(latents),
        scores: lambda: load_scores(scores),
        **dict.fromkeys((run / "latest", run / "config.json", run / "stats.jsonl", sums), whole),
    }


def changed(content: bytes, source: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(source.choice([1, 1, 2, 8])):
        # mostly in the first part, where the headers are
        place = source.randrange(min(len(made), source.choice([64, 1024, len(made)])) or 1) if made else 0
        match source.randrange(5):
            case 0:
                made[place : place + 1] = bytes([source.randrange(256)])
            case 1:
                made[place : place + 1] = bytes([made[place] ^ 1 << source.randrange(8)]) if made else b""
            case 2:
                del made[place : place + source.randrange(1, 30)]
            case 3:
                made[place:place] = source.choice([b"9" * 40, b"[" * 3000, b"\xff\xfe", b"null", b'"', b"1e999", b"-"])
            case 4:
                del made[place:]
    return bytes(made)


@pytest.mark.faults
def test_own_files_changed_at_random(files: dict[Path, Callable[[], object]]) -> None:
    def all_of_them() -> None:
        source = random.Random(0)
        for path, read in files.items():
            good = path.read_bytes()
            read_or_told(read)
            for _ in range(CHANGES):
                path.write_bytes(changed(good, source))
                read_or_told(read)
            path.write_bytes(good)
        assert len(told) > CHANGES

    told: list[str] = []

    def read_or_told(read: Callable[[], object]) -> None:
        try:
            read()
        except DisentangleError as error:
            told.append(str(error))
        assert all(message.isprintable() and len(message) < 5000 for message in told[-1:])

    found = cost(all_of_them, seconds=300, memory=2**32)
    assert found.outcome == "returned", found
    assert found.bytes < 512 * 2**20, found
