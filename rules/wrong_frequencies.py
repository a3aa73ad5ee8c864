"""IA407: rotary frequencies are not what their formula gives."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from initaudit.examples import bad, constant, good, normal, powers
from initaudit.places import measured
from initaudit.rule import Fault, Model, Severity, Tensor, rule

TOLERANCE = 0.01
"""How far the mean may be off that of a geometric series, as a part of it: bfloat16 rounds by 0.4 %."""


@rule(
    code="IA407",
    severity=Severity.WARNING,
    examples=[
        good("10000^(-2i/64)", {"rotary.inv_freq": powers(32, base=10000)}),
        bad("never computed", {"rotary.inv_freq": constant(0, 32)}, at="rotary.inv_freq"),
        bad("memory that held something else", {"rotary.inv_freq": normal(32, std=1)}, at="rotary.inv_freq"),
    ],
)
def wrong_frequencies(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """The frequencies of a rotary embedding are not a falling geometric series from one.

    ## Why is this bad?

    Rotary embeddings turn each pair of features by position times base^(-2i/d). The table is computed, not loaded, but
    it is created with the model: on the meta device it stays empty, and `to_empty` fills it with whatever memory held.
    Attention then sees no positions, or random ones, and nothing fails.

    ## How is it decided?

    A table named `inv_freq` is to hold positive values up to one. If ``config.json`` states no scaling of the rotary
    embedding, its mean is to be that of a geometric series with the same first and last value, to 1 %.

    ## When is it right?

    Scaled variants (YaRN, Llama 3, dynamic NTK) whose configuration is not beside the file; `--exclude` it.

    ## What to do

    Compute it again once the model is on its device.
    """
    values = tensor.statistics
    if not tensor.name.endswith("inv_freq") or len(tensor.shape) != 1 or values.count < 2 or values.nonfinite:
        return
    in_range = values.minimum > 0 and values.maximum <= 1 + TOLERANCE
    if in_range and (_is_scaled(model.config) or _is_geometric(tensor)):
        return
    yield tensor.fault(
        f"{measured(tensor)}; expected base^(-2i/{2 * values.count}), from 1 down",
        advice="compute it again once the model is on its device",
        min=values.minimum,
        max=values.maximum,
        mean=values.mean,
    )


def _is_geometric(tensor: Tensor) -> bool:
    """Whether the mean is that of the geometric series between the first and last value: (1 - r^n)/(n·(1 - r))."""
    values = tensor.statistics
    ratio = (values.minimum / values.maximum) ** (1 / (values.count - 1))
    if ratio == 1:
        return False
    mean = values.maximum * (1 - ratio**values.count) / (1 - ratio) / values.count
    return math.isclose(values.mean, mean, rel_tol=TOLERANCE)


def _is_scaled(config: Mapping[str, Any]) -> bool:
    """Whether a configuration asks for anything but plain rotary embeddings."""
    for key in ("rope_scaling", "rope_parameters"):
        stated = config.get(key)
        if isinstance(stated, Mapping) and stated.get("rope_type", stated.get("type")) not in (None, "default"):
            return True
    return isinstance(config.get("text_config"), Mapping) and _is_scaled(config["text_config"])
