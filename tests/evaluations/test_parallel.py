"""Work in processes: results in order, and a sentence for a process that was killed."""

from __future__ import annotations

import os
import signal

import pytest
from joblib import delayed

from disentangle.errors import DisentangleError
from disentangle.evaluations.disentanglement.parallel import in_processes


def test_results_come_in_order() -> None:
    assert in_processes(1, [delayed(pow)(i, 2) for i in range(5)]) == [0, 1, 4, 9, 16]


@pytest.mark.slow
def test_a_killed_process_is_one_sentence() -> None:
    with pytest.raises(DisentangleError, match=r"one of 2 worker processes was killed before it was done, .* n_jobs\."):
        in_processes(2, [delayed(_end)() for _ in range(2)])


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
