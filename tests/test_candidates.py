"""Which candidates run together: two waves, at most n nodes, at most 2T rounds."""

import itertools
import re

import numpy as np
import pytest

import tele_jax as tele
from tele_jax.candidates import plan_waves


@pytest.mark.parametrize("num_nodes", [*range(1, 70), 127, 128, 1023, 1024, 10**6])
def test_the_waves_fit_and_leave_no_gap_wider_than_a_factor_of_two(num_nodes):
    waves = plan_waves(num_nodes)
    assert len(waves) <= 2
    assert all(sum(wave) <= num_nodes for wave in waves)
    candidates = sum(waves, ())
    assert candidates[0] == 1
    assert all(b <= 2 * a for a, b in itertools.pairwise(candidates))
    # Any k* in 1..n is within a factor of two of a candidate.
    assert 2 * candidates[-1] >= num_nodes


@pytest.mark.parametrize(
    ("num_nodes", "waves"),
    [  # the cases that method and paper discuss
        (1, ((1,),)),
        (2, ((1,), (2,))),
        (3, ((1, 2), (3,))),
        (25, ((1, 2, 4, 8), (16,))),
        (31, ((1, 2, 4, 8, 16), (31,))),
        (32, ((1, 2, 4, 8, 16), (32,))),
        (100, ((1, 2, 4, 8, 16, 32), (64,))),
    ],
)
def test_the_waves_of_a_few_sizes(num_nodes, waves):
    assert plan_waves(num_nodes) == waves


def test_own_candidates_are_put_into_two_waves():
    assert plan_waves(20, [3, 7, 10, 15]) == ((3, 7, 10), (15,))
    assert plan_waves(20, (20,)) == ((20,),)


@pytest.mark.parametrize(
    ("candidates", "sentence"),
    [
        ([], "got candidates (), expected increasing numbers in 1..20"),
        ([4, 4], "got candidates (4, 4), expected increasing"),
        ([4, 2], "got candidates (4, 2), expected increasing"),
        ([0, 2], "got candidates (0, 2), expected increasing numbers in 1..20"),
        ([4, 21], "got candidates (4, 21), expected increasing numbers in 1..20"),
        ([9, 10, 11, 12], "the candidates (11, 12) need 23 active nodes at once"),
        ([1.5, 2], "got candidates=[1.5, 2], expected a list of whole numbers"),
        (5, "got candidates=5, expected a list of whole numbers"),
    ],
)
def test_candidates_that_cannot_run_are_refused(candidates, sentence):
    task = tele.tasks.quadratic(np.ones(20), np.zeros((20, 1)))
    with pytest.raises(ValueError, match=f"^search: .*{re.escape(sentence)}"):
        tele.search(
            tele.graphs.ring,
            task,
            np.zeros(1),
            None,
            0.1,
            num_rounds=1,
            candidates=candidates,
        )
