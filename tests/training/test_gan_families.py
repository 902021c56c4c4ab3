"""ProGAN, StyleGAN2 and the others in one loop: they learn, continue bit for bit, grow, start from files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import disentangle
from disentangle.config import with_fields
from disentangle.errors import ConfigError, InputError
from disentangle.io import save
from disentangle.linalg import orthogonality_error
from disentangle.models.base import build_model
from disentangle.nn import project
from disentangle.training import GANTraining, finetune_config, train_gan
from tests.training.families import family
from tests.training.test_training import tensors, weights

ROOMS = {"name": "rooms", "resolution": 32}


def train(config: GANTraining, out: Path, **options: Any) -> Any:
    return train_gan(config, out, device="cpu", **options).model


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def state(run: Path, step: int = 6) -> torch.Tensor:
    parts = disentangle.io.load_state(run / "checkpoints" / f"{step:06d}" / "state.pt")
    return torch.cat([tensor.reshape(-1) for tensor in tensors(parts)])


def changed(first: Any, second: Any) -> list[str]:
    pairs = zip(first.named_parameters(), second.parameters(), strict=True)
    return [name for (name, a), b in pairs if not torch.equal(a, b)]


RUNS = {
    "stylegan2": family("stylegan2"),
    "stylegan2-householder-nog": family(
        "stylegan2", **{"model.projection": {"kind": "householder", "rank": 2}, "treatment.nog": True}
    ),
    "stylegan2-ada": family("stylegan2", augment=("color", "translation", "cutout"), augment_target=0.6),
    "progan": family("progan"),
    "progan-ow": family("progan", **{"model.projection": {"kind": "polar"}, "treatment.olr": True}),
    "eigengan-hessian": family("eigengan", **{"generator_penalty": {"kind": "hessian", "every": 2}}),
    "gan-orojar": family("gan", **{"generator_penalty": {"kind": "orojar", "weight": 1e-3}}),
    "gan-vp": family("gan", **{"generator_penalty": {"kind": "vp"}}),
}


@pytest.mark.parametrize("name", RUNS)
def test_killed_and_continued_is_bit_equal(name, tmp_path):
    check_continues(RUNS[name], tmp_path)


def check_continues(config: GANTraining, tmp_path: Path) -> None:
    """A run of six steps that is killed after the fifth and started again ends as one that was not."""
    whole = train(config, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(step: int, *_: object) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        train(config, tmp_path / "broken", progress=kill)
    assert (tmp_path / "broken" / "latest").read_text().strip() == "000003"
    continued = train(config, tmp_path / "broken")
    assert torch.equal(weights(whole), weights(continued))
    assert torch.equal(state(tmp_path / "whole"), state(tmp_path / "broken"))
    for line in lines(tmp_path / "whole")[1:]:
        assert all(math.isfinite(value) for value in line["losses"].values())
    loaded = disentangle.load(tmp_path / "whole")
    assert torch.equal(weights(loaded), weights(whole))
    assert loaded.config == whole.config


@pytest.mark.parametrize("kind", ["stylegan2", "progan"])
def test_every_term_is_logged(kind, tmp_path):
    train(family(kind), tmp_path)
    expected = {
        "stylegan2": {"discriminator", "penalty", "generator", "path_length_penalty"},
        "progan": {"discriminator", "penalty", "generator", "drift"},
    }[kind]
    assert set(lines(tmp_path)[1]["losses"]) == expected
    assert lines(tmp_path)[-1]["kimg"] == pytest.approx(0.024)


@pytest.mark.parametrize("kind", ["stylegan2", "gan", "eigengan"])
def test_a_batch_in_pieces_gives_the_same_steps(kind, tmp_path):
    """Up to rounding; the statistics over a group of pictures need whole groups in a piece."""
    fields = {"batch": 8, "steps": 3, "reuse_fakes": False}
    if kind == "stylegan2":
        fields |= {"path_length.weight": 0.0}  # whose running mean moves once a piece
    whole = train(family(kind, **fields), tmp_path / "whole")
    pieces = train(family(kind, **fields, accumulate=2), tmp_path / "pieces")
    # not w_avg, which moves once a piece
    for (name, a), b in zip(whole.named_parameters(), pieces.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-5), f"{name}: {float((a - b).abs().max())}"


def test_a_progan_grows_and_its_checkpoints_say_how_far(tmp_path):
    config = family("progan")  # 4 pictures a step: 8 pixels, a fade over 6 pictures, 16 pixels ...
    train(config, tmp_path)
    lods = {line["step"]: line["lod"] for line in lines(tmp_path)[1:]}
    assert lods[2] == pytest.approx(2.0)  # 4 pictures seen: the end of the first stage
    assert lods[3] == pytest.approx(2 - 4 / 6)  # 8 seen, 4 of the 6 of the fade
    assert lods[6] == pytest.approx(1 - 6 / 6)
    assert disentangle.load(tmp_path / "checkpoints" / "000003").config.lod == pytest.approx(2 - 4 / 6)
    before = torch.equal(
        weights(disentangle.load(tmp_path / "checkpoints" / "000003")), weights(build_model(config.model, seed=0))
    )
    assert not before


def test_what_is_not_grown_yet_does_not_learn(tmp_path):
    config = family("progan", steps=1, **{"ema": 0.0})
    start, model = build_model(config.model, seed=config.seed), train(config, tmp_path)
    moved = {
        name for (name, a), b in zip(start.named_parameters(), model.parameters(), strict=True) if not torch.equal(a, b)
    }
    assert "b8.conv0.weight" in moved
    assert not [name for name in moved if name.startswith(("b16", "b32"))]


def test_adaptive_augmentation_follows_the_discriminator(tmp_path):
    config = family("stylegan2", augment=("color",), augment_target=0.6, augment_probability=0.5)
    train(config, tmp_path)
    assert all(0 <= line["augment_probability"] <= 1 for line in lines(tmp_path))


def test_mean_w_is_tracked(tmp_path):
    config = family("stylegan2", ema=0.0)
    assert float(build_model(config.model, seed=0).mapping.w_avg.abs().sum()) == 0
    assert float(train(config, tmp_path).mapping.w_avg.abs().sum()) > 0


# ------------------------------------------------------------------------------------------------- training further


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "stylegan2"
    train(family("stylegan2"), out)
    return out


FEW = {"batch": 4, "steps": 2, "log_every": 1, "sample_every": 2, "checkpoint_every": 2}


@pytest.mark.parametrize("kind", ["householder", "cayley", "matrix_exp"])
def test_a_projection_starts_at_the_nearest_weights_and_stays_orthogonal(kind, trained, tmp_path):
    config = finetune_config(trained, data=ROOMS, projection={"kind": kind, "rank": 3, "layers": ()}, **FEW, ema=0.0)
    assert config.discriminator.channels == (8, 6, 4, 4) or config.discriminator.resolution == 32
    model = train(config, tmp_path / kind)
    assert model.config.projection.layers == ("b8.conv0", "b16.conv0", "b32.conv0")
    start = project(disentangle.load(trained), kind=kind, rank=3)
    for name in model.config.projection.layers:
        used = model.projections()[name].weight().double()
        values = torch.linalg.svdvals(used)
        assert torch.allclose(values[:3], torch.ones(3, dtype=torch.float64), atol=1e-5)
        assert float(values[3:].abs().max()) < 1e-5
        moved = float((used - start.projections()[name].weight().double()).norm())
        assert 0 < moved < 0.2
    loaded = disentangle.load(tmp_path / kind)
    latents = loaded.sample_latents(2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(latents), disentangle.load(tmp_path / kind)(latents))


def test_a_run_brings_its_discriminator_and_a_file_does_not(trained, tmp_path):
    saved = disentangle.io.load_state(trained / "checkpoints" / "000006" / "state.pt")["parts"]["discriminator"]
    same = {"discriminator.channels": (8, 6, 4, 4), "penalty.every": 2}
    assert finetune_config(trained, data=ROOMS).discriminator == family("stylegan2").discriminator
    for source, equal in ((trained, True), (trained / "checkpoints" / "000006" / "model.safetensors", False)):
        config = finetune_config(source, data=ROOMS, **FEW, **same, **{"discriminator_optimizer.lr": 1e-12})
        out = tmp_path / str(equal)
        train(config, out)
        found = disentangle.io.load_state(out / "checkpoints" / "000002" / "state.pt")["parts"]["discriminator"]
        assert all(torch.allclose(saved[name], found[name], atol=1e-6) for name in saved) is equal


def test_only_projections_learn(trained, tmp_path):
    one = {"kind": "householder", "rank": 2, "layers": ("b8.conv0",)}
    config = finetune_config(trained, data=ROOMS, projection=one, trains="projections", ema=0.0, **FEW)
    model = train(config, tmp_path)
    start = project(disentangle.load(trained), rank=2, layers=("b8.conv0",))
    moved = [
        name for (name, a), b in zip(start.named_parameters(), model.parameters(), strict=True) if not torch.equal(a, b)
    ]
    assert moved
    assert all(name.startswith("synthesis.b8.conv0.affine.parametrizations.weight") for name in moved)


def test_a_new_discriminator_may_learn_first(trained, tmp_path):
    config = finetune_config(trained, data=ROOMS, discriminator_first=2, **FEW)
    model = train(config, tmp_path)
    for a, b in zip(disentangle.load(trained).parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


STYLE = {"resolution": 32, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
OTHERS = {
    "gan": family("gan").model,
    "progan": family("progan").model,
    "eigengan": family("eigengan").model,
    "dcgan": {"kind": "dcgan", "resolution": 32, "channels": (8, 6, 4), "latent_dim": 5},
    "stylegan1": {"kind": "stylegan1", **STYLE, "channels": (8, 8, 8, 8)},
    "stylegan3": {
        "kind": "stylegan3", **STYLE, "num_layers": 4, "num_critical": 1, "channel_base": 256, "channel_max": 8,
        "margin_size": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_other_families_are_trained_further(kind, tmp_path):
    model = build_model(OTHERS[kind], seed=3)
    disentangle.save(model, tmp_path / "start.safetensors")
    config = finetune_config(
        tmp_path / "start.safetensors", data=ROOMS, projection={"kind": "polar", "rank": None, "layers": ()}, **FEW
    )
    trained = train(config, tmp_path / "run")
    assert changed(disentangle.nn.project(model, kind="polar"), trained)
    for name in trained.config.projection.layers:
        assert float(orthogonality_error(trained.projections()[name].weight().flatten(1))) < 1e-4


# ------------------------------------------------------------------------------------------------------- bad input


def test_what_does_not_fit_together():
    with pytest.raises(ConfigError, match="style_mixing and path_length are for StyleGANs, not for 'gan'"):
        family("gan", style_mixing=0.9)
    with pytest.raises(ConfigError, match="growth is for a ProGAN"):
        family("gan", growth={"start": 8, "fade_kimg": 1, "stable_kimg": 1})
    with pytest.raises(ConfigError, match="the discriminator looks at 64x64 pixels"):
        family("stylegan2", **{"discriminator.resolution": 64, "discriminator.channels": (8, 6, 4, 4, 4)})
    with pytest.raises(ConfigError, match="accumulate saves the memory that reuse_fakes spends"):
        family("gan", accumulate=2, reuse_fakes=True)
    with pytest.raises(ConfigError, match="the model has 3 classes and the discriminator 0; give both the same c_dim"):
        family("stylegan2", **{"model.c_dim": 3})
    classes = {"model.c_dim": 3, "discriminator.c_dim": 3}
    with pytest.raises(ConfigError, match="generator_penalty are for generators without classes"):
        family("stylegan2", **classes, generator_penalty={"kind": "hessian"})
    with pytest.raises(ConfigError, match="a gradient penalty between pictures"):
        family("stylegan2", **classes, **{"penalty.kind": "wgan-gp"})
    with pytest.raises(ConfigError, match="discriminator_first is for a generator that is trained already"):
        family("gan", discriminator_first=3)


def test_pieces_must_divide_the_batch(tmp_path):
    with pytest.raises(ConfigError, match="accumulate is 3, which a batch of 4 on 1 processes"):
        train(family("stylegan2", accumulate=3), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_trained_further(trained, tmp_path):
    with pytest.raises(InputError, match="holds a 'vae'; train it with `disentangle train vae --from` instead"):
        finetune_config("vae-rooms", data={"name": "rooms"}, kind="gan")
    save(
        build_model({"kind": "mlp-vae", "image_shape": (3, 8, 8), "latent_dim": 2, "hidden": 4}),
        tmp_path / "m.safetensors",
    )
    with pytest.raises(InputError, match="holds a 'mlp-vae', which is not trained further as a generator; expected"):
        finetune_config(tmp_path / "m.safetensors", data=ROOMS)
    with pytest.raises(InputError, match="holds a 'stylegan2'; train it with `disentangle train stylegan2 --from`"):
        finetune_config(trained, data=ROOMS, kind="progan")
    with pytest.raises(InputError, match="The pictures have 1 channels, but .* makes pictures of 3"):
        finetune_config(trained, data={"name": "sprites"})
    with pytest.raises(InputError, match="resolution is 64, but .* makes pictures of 32 pixels; leave it out"):
        finetune_config(trained, data={"name": "rooms", "resolution": 64})
    with pytest.raises(InputError, match=r"rank is 7.*b8\.conv0"):
        train(
            finetune_config(trained, data=ROOMS, projection={"kind": "householder", "rank": 7, "layers": ()}),
            tmp_path / "r",
        )
    with pytest.raises(ConfigError, match=r"is another one than the configured model; file != model: z_dim: 6 != 5"):
        train(finetune_config(trained, data=ROOMS, **{"model.z_dim": 5}), tmp_path / "z")


def test_a_run_is_not_continued_with_another_penalty(tmp_path):
    config = family("gan", **{"generator_penalty.kind": "vp"})
    train(config, tmp_path)
    with pytest.raises(ConfigError, match="generator_penalty.kind: 'vp' != 'none'"):
        train(with_fields(config, {"generator_penalty.kind": "none"}), tmp_path)
