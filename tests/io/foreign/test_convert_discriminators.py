"""The discriminators beside generators of other projects, and training against them."""

from __future__ import annotations

import pytest
import torch
from sample_files import Persistent, persistent_pickle
from test_convert import PROGAN, SG2, written
from writers import genforce, nvidia_stylegan2, rosinality, rough, tensorflow_stylegan2, tree
from writers_discriminators import (
    by_resolution,
    nvidia_discriminator,
    rosinality_discriminator,
    rough_discriminator,
    tensorflow_discriminator,
)

from disentangle.errors import CheckpointError, ConfigError, InputError
from disentangle.io import discriminator_config, foreign, load, load_discriminator, load_state, save, save_discriminator
from disentangle.training import finetune_config, train_gan

CASES = {
    "NVIDIA": ({}, lambda g, d: nvidia_stylegan2(g, discriminator=nvidia_discriminator(d))),
    "NVIDIA, clamped": ({"clamp": 0.5}, lambda g, d: nvidia_stylegan2(g, discriminator=nvidia_discriminator(d))),
    "NVIDIA, alone": ({"group": 0}, lambda g, d: nvidia_stylegan2(g, discriminator=nvidia_discriminator(d))),
    "NVIDIA, eight": ({"group": 8}, lambda g, d: nvidia_stylegan2(g, discriminator=nvidia_discriminator(d, group=8))),
    "NVIDIA, classes": (
        {"c_dim": 4, "class_features": 5, "class_layers": 2, "class_multiplier": 0.02},
        lambda g, d: nvidia_stylegan2(g, discriminator=nvidia_discriminator(d)),
    ),
    "TensorFlow, classes": (
        {"c_dim": 4, "class_features": 4, "class_layers": 1, "class_multiplier": 0.1},
        lambda g, d: tensorflow_stylegan2(g, discriminator=tensorflow_discriminator(d)),
    ),
    "TensorFlow": ({}, lambda g, d: tensorflow_stylegan2(g, discriminator=tensorflow_discriminator(d))),
    "rosinality": ({}, lambda g, d: rosinality(g, training=True, discriminator=rosinality_discriminator(d))),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_discriminator_scores_the_same(case, tmp_path):
    fields, write = CASES[case]
    theirs = rough_discriminator(**fields)
    classes = theirs.config.c_dim
    source = written(tmp_path, write(rough({**SG2, "c_dim": classes}), theirs))
    found = foreign.convert(source, tmp_path / "g.safetensors", discriminator=tmp_path / "d.safetensors")
    ours = load_discriminator(tmp_path / "d.safetensors")
    assert ours.config == theirs.config == discriminator_config(tmp_path / "d.safetensors")
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    label = torch.arange(8) % classes if classes else None
    assert torch.equal(ours(images, label), theirs(images, label))
    assert load(tmp_path / "g.safetensors").config.kind == found.config["kind"]


def test_a_whole_batch_is_compared_in_groups(tmp_path):
    data = nvidia_stylegan2(rough(SG2), discriminator=nvidia_discriminator(rough_discriminator(), group=None))
    foreign.convert(written(tmp_path, data), tmp_path / "g.safetensors", discriminator=tmp_path / "d.safetensors")
    assert discriminator_config(tmp_path / "d.safetensors").group == 4


def other(tmp_path, name: str) -> Persistent:
    made = nvidia_discriminator(rough_discriminator())
    if name == "classes":
        made = nvidia_discriminator(rough_discriminator(c_dim=3))
    elif name == "shortcuts":
        del made.state["_modules"]["b16"].state["_modules"]["skip"]
    elif name == "size":
        made = nvidia_discriminator(rough_discriminator(resolution=8, channels=(4, 4)))
    return made


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: nvidia_stylegan2(rough(SG2)), "holds no discriminator; expected one under the name D"),
        (lambda p: rosinality(rough(SG2)), "holds no discriminator; expected one under the name d"),
        (lambda p: tensorflow_stylegan2(rough(SG2)), "holds no discriminator"),
        (lambda p: genforce(rough(PROGAN)), "its discriminator is not read; expected"),
        (
            lambda p: nvidia_stylegan2(rough(SG2), discriminator=other(p, "classes")),
            "the c_dim of its discriminator is 3, and that",
        ),
        (lambda p: nvidia_stylegan2(rough(SG2), discriminator=other(p, "shortcuts")), "has no shortcuts"),
        (
            lambda p: nvidia_stylegan2(rough(SG2), discriminator=other(p, "size")),
            "the resolution of its discriminator is 8, and that of its generator 16",
        ),
    ],
)
def test_what_is_not_read_leaves_no_file(write, message, tmp_path):
    source = written(tmp_path, write(tmp_path))
    with pytest.raises(CheckpointError, match=message):
        foreign.convert(source, tmp_path / "g.safetensors", discriminator=tmp_path / "d.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


@pytest.mark.parametrize("case", ["NVIDIA", "TensorFlow", "rosinality"])
def test_damaged_discriminators_end_in_one_sentence(case, tmp_path):
    whole = CASES[case][1](rough(SG2), rough_discriminator())
    random = torch.Generator().manual_seed(0)
    source, refused = tmp_path / "file", 0
    for _ in range(40):
        data = bytearray(whole)
        for place in torch.randint(len(data), (20,), generator=random).tolist():
            data[place] ^= 1 << int(torch.randint(8, (1,), generator=random))
        source.write_bytes(data)
        try:
            foreign.convert(source, tmp_path / "g.safetensors", discriminator=tmp_path / "d.safetensors")
        except CheckpointError:
            refused += 1
    assert refused


@pytest.mark.parametrize("name", ["b0.conv1.weight", "b24.conv1.weight", "b99999999.conv1.weight", "b4.extra"])
def test_names_that_are_no_blocks(name, tmp_path):
    made = by_resolution(rough_discriminator())
    made[name] = torch.ones(2, 2, 1, 1)
    data = nvidia_stylegan2(rough(SG2), discriminator=tree(made, {"": {"class_name": "Discriminator"}}))
    with pytest.raises(CheckpointError, match="looks like a network pickle of StyleGAN2"):
        foreign.convert(written(tmp_path, data), tmp_path / "g.safetensors", discriminator=tmp_path / "d.safetensors")


def test_a_discriminator_file_is_no_model_file(tmp_path):
    save_discriminator(rough_discriminator(), tmp_path / "d.safetensors")
    with pytest.raises(CheckpointError, match="holds a discriminator; expected a model file"):
        load(tmp_path / "d.safetensors")
    save(rough(SG2), tmp_path / "g.safetensors")
    with pytest.raises(CheckpointError, match=r"holds a model; expected a discriminator file .*--discriminator"):
        load_discriminator(tmp_path / "g.safetensors")
    with pytest.raises(InputError, match="has no model configuration to store"):
        save(rough_discriminator(), tmp_path / "no.safetensors")


def test_training_starts_from_the_discriminator(tmp_path):
    theirs = rough_discriminator()
    data = nvidia_stylegan2(rough(SG2), discriminator=nvidia_discriminator(theirs))
    generator, discriminator = tmp_path / "g.safetensors", tmp_path / "d.safetensors"
    foreign.convert(written(tmp_path, data), generator, discriminator=discriminator)
    few = {"batch": 4, "steps": 1, "sample_every": 1, "checkpoint_every": 1, "discriminator_optimizer.lr": 1e-12}
    rooms = {"name": "rooms"}
    config = finetune_config(generator, data=rooms, discriminator=discriminator, **few)
    assert config.discriminator == theirs.config
    train_gan(config, tmp_path / "run", device="cpu")
    state = load_state(tmp_path / "run" / "checkpoints" / "000001" / "state.pt")["parts"]["discriminator"]
    for name, tensor in theirs.state_dict().items():
        assert torch.allclose(state[name], tensor, atol=1e-6), name
    changed = finetune_config(generator, data=rooms, discriminator=discriminator, **few, **{"discriminator.group": 2})
    with pytest.raises(ConfigError, match=r"another one than the configured one; file != configuration: .*group"):
        train_gan(changed, tmp_path / "other", device="cpu")
    with pytest.raises(InputError, match="holds a VAE, which has no discriminator"):
        finetune_config("vae-rooms", data=rooms, discriminator=discriminator)


def test_a_pickle_of_a_discriminator_alone_is_no_generator(tmp_path):
    data = persistent_pickle({"D": nvidia_discriminator(rough_discriminator())})
    with pytest.raises(CheckpointError, match="holds no generator"):
        foreign.convert(written(tmp_path, data), tmp_path / "g.safetensors", discriminator=tmp_path / "d.safetensors")
