"""The ways to write a convolution, against the one that is chosen."""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import jax
import numpy as np

import tele_jax as tele
from experiments.benchmarks import convolving, measure
from experiments.benchmarks.measure import Record
from tele_jax.tasks.convolution import Formulation


def formulating(*, num_slots: int, pairs: int) -> list[Record]:
    """Time of every formulation of a layer, a kernel per slot, over the chosen one's.

    As in ``convolving``: the output and the gradients for kernel and input, inside a
    program that steps one slot after the other on a CPU, and all at once elsewhere.
    """
    return [
        _compared(layer, formulation, num_slots, pairs)
        for layer in convolving.LAYERS
        for formulation in get_args(Formulation)
    ]


def _compared(
    layer: str, formulation: Formulation, num_slots: int, pairs: int
) -> Record:
    chosen = tele.tasks.conv_general_dilated
    named = partial(chosen, formulation=formulation)
    one, other = (_program(conv, layer, num_slots) for conv in (named, chosen))
    seconds = measure.alternate(one, other, pairs)
    record = {
        "layer": layer,
        "formulation": formulation,
        "ms": float(np.median(seconds[:, 0])) * 1e3,
        **measure.quotient(seconds[:, 0], seconds[:, 1]),
    }
    return measure.judged(record, at_least=0.9)


def _program(
    conv: Callable[..., jax.Array], layer: str, num_slots: int
) -> measure.Program:
    slots: Any = convolving.kernels_and_inputs(layer, num_slots)
    return convolving.of_slots(partial(convolving.gradients, conv), slots)
