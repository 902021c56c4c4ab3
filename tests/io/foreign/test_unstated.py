"""Settings that no file states: given by the caller, read from what lies beside, or assumed, which is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_files import torch_bytes
from test_convert import PROGAN, SG1, SG2, refused, written
from test_convert_more import DC, PGP, ZOO_PROGAN, ZOO_SG1
from writers import genforce, rosinality, rough
from writers_more import pro_gan_pytorch, zoo_dcgan, zoo_progan, zoo_stylegan

from disentangle.cli import main
from disentangle.errors import CheckpointError, InputError
from disentangle.io import foreign, load
from disentangle.io.foreign.plausible import said_of_pictures
from disentangle.io.foreign.unstated import Setting, settled

NOT_SCALED = {"equalized": False}
CASES: dict[str, tuple[dict[str, Any], Callable[..., bytes], dict[str, str]]] = {
    "rosinality, multiplier": ({**SG2, "mapping_multiplier": 0.2}, rosinality, {"lr_mlp": "0.2"}),
    "genforce StyleGAN2, multiplier, tanh": (
        {**SG2, "mapping_multiplier": 0.2, "last": "tanh"}, genforce, {"lr_multiplier": "0.2", "tanh": "true"},
    ),
    "genforce StyleGAN, multiplier, tanh": (
        {**SG1, "mapping_multiplier": 0.2, "last": "tanh"}, genforce, {"lr_multiplier": "0.2", "tanh": "True"},
    ),
    "genforce ProGAN, tanh": ({**PROGAN, "last": "tanh", **NOT_SCALED}, genforce, {"tanh": "true", "wscale": "false"}),
    "zoo ProGAN": (
        {**ZOO_PROGAN, "slope": 0.1, "last": "tanh", "lod": 0.4}, zoo_progan,
        {"slope": "0.1", "tanh": "true", "alpha": "0.4"},
    ),
    "zoo StyleGAN": (
        {**ZOO_SG1, "last": "tanh", "slope": 0.1}, zoo_stylegan, {"tanh": "true", "slope": "0.1"},
    ),
    "zoo DCGAN": ({**DC, "last": "identity"}, zoo_dcgan, {"tanh": "false"}),
    "pro_gan_pytorch, bare": (
        {**PGP, **NOT_SCALED}, lambda m: pro_gan_pytorch(m, bare=True), {"equalized": "false"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(CASES))
def test_given_settings_make_the_pictures(case, tmp_path):
    config, write, settings = CASES[case]
    model = rough(config)
    if config["kind"] == "dcgan":  # whose untrained pictures are so pale that a tanh hardly shows
        model.to_image.weight.mul_(100)
    path = written(tmp_path, write(model))
    found = foreign.convert(path, tmp_path / "m.safetensors", settings=settings)
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    options = {"noise": "none"} if case == "zoo StyleGAN" else {}
    expected = model(z, **options)
    again = load(tmp_path / "m.safetensors")
    exact = 3e-4 if case == "zoo StyleGAN" else 2e-5  # whose variance is the less accurate one
    torch.testing.assert_close(again(z, **options), expected, rtol=0, atol=exact)
    asked = next(said for said in found.provenance["decisions"] if said.startswith("As asked: "))
    assert all(name in asked for name in settings)
    foreign.convert(path, tmp_path / "m.safetensors")
    assert (load(tmp_path / "m.safetensors")(z, **options) - expected).abs().max() > 0.01, "it matters"


@pytest.mark.parametrize("wide", [False, True])
def test_demodulation_and_scaling_of_genforce(wide, tmp_path):
    """Without demodulation the scale of a weight is seen, so it has to be put into it."""
    model = rough({**SG2, "demodulate": False})
    data = foreign.read_inert(written(tmp_path, genforce(model), "whole"))["generator_smooth"]
    state = dict(data)
    if wide:  # they multiply by one over the root of the inputs, which ours has in it
        for name in data:
            if ".layer" in name and name.endswith("weight") and "style" not in name:
                state[name] = data[name] * data[name][0].numel() ** 0.5
    else:  # they multiply by nothing at all
        for name in data:
            scaled = name.endswith(("style.weight", "output0.weight", "output1.weight", "output2.weight"))
            if (scaled or "dense" in name) and data[name].ndim > 1:
                state[name] = data[name] / data[name][0].numel() ** 0.5
    settings = {"demodulate": "false", "wscale": str(wide)}
    foreign.convert(
        written(tmp_path, torch_bytes({"generator_smooth": state})), tmp_path / "m.safetensors", settings=settings
    )
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    expected = model(z)  # thousands, since nothing holds them
    again = load(tmp_path / "m.safetensors")(z)
    torch.testing.assert_close(again, expected, rtol=0, atol=2e-5 * float(expected.std()))


def bare_zoo(tmp_path: Path, name: str) -> Path:
    """A checkpoint whose configuration is lost."""
    data = dict(foreign.read_inert(written(tmp_path, zoo_progan(rough(ZOO_PROGAN)), "whole")))
    (tmp_path / "whole").unlink()
    del data["config"]
    return written(tmp_path, torch_bytes(data), name)


def test_the_configuration_of_the_training_lies_beside(tmp_path):
    path = bare_zoo(tmp_path, "faces_s5_i96000.pt")
    assert foreign.read(path).config["slope"] == 0.2
    beside = tmp_path / "faces_train_config.json"
    beside.write_text(json.dumps({"leakyness": 0.1, "lossMode": "MSE", "miniBatchSize": 16}))
    found = foreign.read(path)
    assert (found.config["slope"], found.config["last"]) == (0.1, "tanh")
    assert "As faces_train_config.json says: slope 0.1, tanh true." in found.provenance["decisions"]
    assert foreign.read(path, settings={"slope": 0.3}).config["slope"] == 0.3
    beside.rename(tmp_path / "others_train_config.json")
    assert foreign.read(path).config["slope"] == 0.2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"lossMode": "hinge"}', "states the loss hinge"),
        ('{"lossMode": ["MSE"]}', "states the loss"),
        ('{"leakyness": "much"}', "slope is much"),
        ("[1]", "holds no settings by name"),
        ("{", "is not valid JSON"),
        ('{"perChannelNormalization": false}', "states perChannelNormalization False"),
    ],
)
def test_a_configuration_beside_that_is_none(text, said, tmp_path):
    path = bare_zoo(tmp_path, "faces.pt")
    (tmp_path / "faces_train_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=said):
        foreign.read(path)


def test_what_a_file_states_is_not_overridden(tmp_path):
    path = written(tmp_path, zoo_stylegan(rough(ZOO_SG1)))
    said = refused(path, settings={"truncation": "0.7"})
    assert "the file states truncation 0.75, which is read from it, so that truncation=0.7 cannot be" in said
    assert foreign.read(path, settings={"truncation": "0.75"}).config["truncation"] == 0.75
    data = dict(foreign.read_inert(written(tmp_path, rosinality(rough(SG2)), "whole")))
    (tmp_path / "whole").unlink()
    path = written(tmp_path, torch_bytes({**data, "args": {"lr_mlp": 0.3}}))
    assert "states lr_mlp 0.3" in refused(path, settings={"lr_mlp": 0.01})


def test_settings_that_are_none(tmp_path):
    path = written(tmp_path, rosinality(rough(SG2)))
    with pytest.raises(InputError, match="did you mean 'lr_mlp'"):
        foreign.read(path, settings={"lr_mp": 1})
    for wrong in ("fast", "nan", "inf", "", [1], None, "1e999"):
        with pytest.raises(CheckpointError, match="lr_mlp is"):
            foreign.read(path, settings={"lr_mlp": wrong})
    path = written(tmp_path, genforce(rough(PROGAN)), "other.pkl")
    with pytest.raises(CheckpointError, match="no setting demodulate; it has tanh, wscale"):
        foreign.read(path, settings={"demodulate": "false"})
    with pytest.raises(CheckpointError, match="tanh is 1; expected true or false"):
        foreign.read(path, settings={"tanh": "1"})


def test_every_source_has_its_sentence():
    known = (Setting("a", 1.0, ""), Setting("b", True, ""), Setting("c", 2.0, ""), Setting("d", 3.0, ""))
    values, said = settled(known, {"a": "5"}, stated={"c": 7}, beside={"b": False}, where="x.json")
    assert values == {"a": 5.0, "b": False, "c": 7.0, "d": 3.0}
    assert said[:2] == ["As asked: a 5.0.", "As x.json says: b false."]
    assert said[2].endswith(": d 3.0.")
    assert len(said) == 3


def test_arguments_in_a_training_checkpoint(tmp_path):
    data = dict(foreign.read_inert(written(tmp_path, rosinality(rough(SG2)), "whole")))
    path = written(tmp_path, torch_bytes({**data, "args": {"lr_mlp": 0.3}}))
    assert foreign.read(path).config["mapping_multiplier"] == 0.3


def test_equal_widths_do_not_tell(tmp_path):
    path = written(tmp_path, genforce(rough({**PROGAN, "channels": (8, 8, 8)})))
    said = " ".join(foreign.read(path).provenance["decisions"])
    assert "of one width" in said
    assert "Its first layer reads 10 numbers" in said


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in args])
    return int(stopped.value.code or 0)


def test_the_command(tmp_path, capsys):
    path, out = written(tmp_path, rosinality(rough(SG2))), tmp_path / "m.safetensors"
    assert run("convert", path, "--list") == 0
    assert "--set-source lr_mlp=0.01: learning rate multiplier" in capsys.readouterr().out
    assert run("convert", path, "--out", out, "--set-source", "lr_mlp=0.5") == 0
    assert load(out).config.mapping_multiplier == 0.5
    assert "As asked: lr_mlp 0.5." in capsys.readouterr().err
    for wrong in (["lr_mlp"], ["=1"], ["lr_mlp="], ["lr_mlp=1", "--set-source", "lr_mlp=2"]):
        assert run("convert", path, "--out", out, "--set-source", *wrong) == 2, wrong
    assert run("convert", path, "--list", "--set-source", "lr_mlp=1") == 2
    assert run("convert", path, "--out", out, "--set-source", "lr_mlp=fast") == 1


# ------------------------------------------------------------------------------------------------- plausible pictures


def test_pictures_that_are_none_are_said(tmp_path):
    model = rough(SG2)
    with torch.no_grad():
        for block in (model.synthesis.b4, model.synthesis.b8, model.synthesis.b16):
            block.torgb.weight.mul_(20)
    said = said_of_pictures(model)
    assert len(said) == 1
    assert "Pictures of 16 latents reach from" in said[0]
    assert (
        foreign.convert(written(tmp_path, rosinality(model)), tmp_path / "m.safetensors")
        .provenance["decisions"][-1]
        .startswith("Pictures of")
    )


def test_plain_pictures_pass():
    model = rough({**SG2, "last": "tanh"})
    assert said_of_pictures(model) == []


def test_pictures_of_one_colour_and_pictures_that_stay():
    model = rough({**SG2, "last": "tanh", "architecture": "orig"})
    model.synthesis.b16.torgb.weight.zero_()
    assert ["are of one colour" in one for one in said_of_pictures(model)] == [True], "channels of their own"
    model = rough({**SG2, "last": "tanh"})
    for layer in model.style_layers():
        layer.affine.weight.zero_()
    assert ["all the same" in one for one in said_of_pictures(model)] == [True]


def test_noise_is_no_variation():
    model = rough({**ZOO_SG1, "noise": "random", "last": "tanh"})
    for layer in model.style_layers():
        layer.affine.weight.zero_()
    assert any("all the same" in one for one in said_of_pictures(model))


def test_a_large_network_is_tried_with_fewer(monkeypatch):
    from disentangle.io.foreign import plausible

    model = rough({**SG2, "last": "tanh"})
    within = plausible.pictures_within
    counts = []
    for most in (2**60, 2**21, 10):

        def counted(*arguments: Any, most: int = most, **options: Any) -> torch.Tensor:
            pictures = within(*arguments, **{**options, "most": most})
            counts.append(len(pictures))
            return pictures

        monkeypatch.setattr(plausible, "pictures_within", lambda *a, most, largest, c=counted: c(*a, largest=largest))
        plausible.said_of_pictures(model)
    assert counts[0] == 16
    assert 0 < counts[1] < 16
    assert counts[2] == 0
