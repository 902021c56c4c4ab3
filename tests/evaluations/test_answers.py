"""What an encoder returned, as codes."""

from __future__ import annotations

import collections
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from disentangle.data import Rooms
from disentangle.errors import InputError
from disentangle.evaluations import encode_dataset, evaluate_encoder
from disentangle.evaluations.answers import CodeReader

MEAN = torch.arange(12.0).reshape(4, 3)
OTHER = torch.zeros(4, 3)
Posterior = collections.namedtuple("Posterior", ["z", "mu", "logvar"])


class Undefined:
    @property
    def mean(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    "answer",
    [
        MEAN,
        MEAN.numpy(),
        MEAN.tolist(),
        list(MEAN),
        (MEAN, OTHER),
        [MEAN, OTHER],
        (MEAN,),
        {"z": OTHER, "mu": MEAN, "logvar": OTHER},
        {"mean": MEAN.numpy()},
        Posterior(OTHER, MEAN, OTHER),
        SimpleNamespace(mean=MEAN, std=OTHER),
        torch.distributions.Normal(MEAN, OTHER + 1),
        SimpleNamespace(latent_dist=SimpleNamespace(mean=MEAN, sample=lambda: OTHER)),
        {"latent_dist": torch.distributions.Independent(torch.distributions.Normal(MEAN, OTHER + 1), 1)},
        collections.OrderedDict(embedding=MEAN, log_covariance=OTHER),
        (MEAN[:, :, None, None], OTHER[:, :, None, None]),
    ],
)
def test_the_mean_of_whatever_an_encoder_returns(answer):
    assert np.array_equal(CodeReader()(answer), MEAN.numpy())


def test_what_is_taken_is_said_once_and_plain_codes_need_no_word(caplog):
    read = CodeReader()
    with caplog.at_level(logging.WARNING):
        read(MEAN)
        assert not caplog.records
        read((MEAN, OTHER))
        read((MEAN, OTHER))
        CodeReader()({"latent_dist": SimpleNamespace(mean=torch.zeros(2, 4, 3, 3))})
    assert [record.getMessage() for record in caplog.records] == [
        "The encoder returned 2 parts ((4, 3), (4, 3)); taken as the code: the first of both, the mean.",
        "The encoder returned a dict with latent_dist; taken as the code: its latent_dist's mean, 4 x 3 x 3 numbers in "
        "a row.",
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((MEAN, OTHER, OTHER), r"3 parts \(\(4, 3\), \(4, 3\), \(4, 3\)\), of which any could be the codes"),
        ((MEAN, torch.zeros(4, 3, 8, 8)), "of which any could be the codes"),
        ({"reconstruction": MEAN}, "a dict with reconstruction; expected codes"),
        ({}, "nothing in it"),
        ((torch.distributions.Normal(MEAN, OTHER + 1), MEAN), "a Normal"),
        (None, "codes of the encoder"),
        (SimpleNamespace(), "codes of the encoder"),
        (Undefined(), "codes of the encoder"),
    ],
)
def test_an_answer_that_could_mean_several_things_is_refused(answer, message):
    with pytest.raises(InputError, match=message):
        CodeReader()(answer)


def test_an_encoder_of_mean_and_log_variance_scores_as_its_mean_alone():
    rooms = Rooms(16)

    def mean(images):
        return torch.stack([images[:, 0, 0, 0], images[:, 1, -1, 0], images.mean((1, 2, 3))], dim=1)

    def posterior(images):
        return mean(images), torch.zeros(len(images), 3)

    codes, factors = encode_dataset(posterior, rooms, n=40)
    assert np.array_equal(codes, encode_dataset(mean, rooms, n=40)[0])
    assert factors.shape == (40, 6)
    both = [evaluate_encoder(f, rooms, "mig", n=200, baselines=False)["mig"].value for f in (mean, posterior)]
    assert both[0] == both[1]
