"""The conditions under which conventions hold: what a tensor's values and neighbours must show.

Each takes a tensor and its model and says yes or no. They are what keeps a convention from covering a mistake.
"""

import math

from initaudit.model import Model, Tensor
from initaudit.scale import is_output

ROUND_VOCABULARY, MOST_PADDED = 64, 128
"""Vocabularies are padded to multiples of 64 or 128, so that fewer rows than that are added."""


def is_identity(tensor: Tensor, model: Model) -> bool:
    """One value at one place of each unit, zero elsewhere."""
    return tensor.pattern is not None and tensor.pattern.name == "identity"


def is_tiny(tensor: Tensor, model: Model) -> bool:
    """All values are far under any signal: at most 1e-4, where the usual draw is N(0, 1e-6)."""
    return tensor.statistics.largest <= 1e-4


def is_a_prior(tensor: Tensor, model: Model) -> bool:
    """A constant -ln((1-π)/π) for a prior probability π of 0.001 to 0.5."""
    return tensor.statistics.is_constant and -6.91 <= tensor.statistics.minimum < 0


def averages(tensor: Tensor, model: Model) -> bool:
    """A filter that takes the mean of what it reads: one value, 1/fan_in."""
    return tensor.part.fan_in is not None and math.isclose(tensor.statistics.mean * tensor.part.fan_in, 1, rel_tol=0.01)


def is_padding(tensor: Tensor, model: Model) -> bool:
    """One empty row: that of the padding token, or one that a table of the same shape has at the same place."""
    units = tensor.units
    if units is None or units.dead != 1:
        return False
    if units.dead_at == (model.config.get("pad_token_id"),) and units.count == model.config.get("vocab_size"):
        return True
    return (tensor.shape, units.dead_at) in model.remember(_empty_rows)


def pads_the_vocabulary(tensor: Tensor, model: Model) -> bool:
    """The empty rows are the last ones: those behind the stated vocabulary, or few and up to a multiple of 64."""
    units = tensor.units
    if units is None or not units.dead or units.dead_at[0] != units.count - units.dead:
        return False
    is_table = tensor.part.role == "embedding"
    if units.count not in model.remember(_vocabularies) or not (is_table or is_output(tensor, model)):
        return False
    stated = model.config.get("vocab_size")
    if isinstance(stated, int):
        return stated <= units.dead_at[0]
    return units.count % ROUND_VOCABULARY == 0 and units.dead < MOST_PADDED


def _vocabularies(model: Model) -> frozenset[int]:
    """The numbers of rows that embeddings have."""
    return frozenset(tensor.shape[0] for tensor in model.tensors if tensor.part.role == "embedding" and tensor.shape)


def _empty_rows(model: Model) -> frozenset[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The shapes of embeddings that have empty rows, with these."""
    tables = (tensor for tensor in model.tensors if tensor.part.role == "embedding" and tensor.units is not None)
    return frozenset((table.shape, table.units.dead_at) for table in tables if table.units and table.units.dead)


def is_zero_or_one(tensor: Tensor, model: Model) -> bool:
    """Some values are 0 and some are 1, give or take 1e-4."""
    values = tensor.statistics
    return (
        not values.is_constant
        and math.isclose(values.maximum, 1, abs_tol=1e-4)
        and math.isclose(values.moments.rms**2, values.mean, abs_tol=1e-4)
    )


def is_time_step(tensor: Tensor, model: Model) -> bool:
    """The inverse softplus of a time step between 0.001 and 0.1, rounding included; or a constant."""
    values = tensor.statistics
    return (model.is_alike(tensor) and model.repeats(tensor)) or (values.minimum >= -9.3 and values.maximum <= -1.9)


def always(tensor: Tensor, model: Model) -> bool:
    """The name alone says it."""
    return True
