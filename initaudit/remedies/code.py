"""A remedy as lines of Python in torch's own terms: what to paste where a model is initialised."""

import math
from collections.abc import Iterator

from initaudit.laws import shrink
from initaudit.layers.axes import unit_axis
from initaudit.model import Model, Tensor
from initaudit.remedies.setting import setting_of
from initaudit.remedies.values import Remedy

SAME = 1e-6
"""How near a call of `torch.nn.init` is to a remedy's deviation to be the same: what rounding leaves."""

DIGITS = 7
"""Significant digits of a number that is written down."""

BLOCKS = "n_layer"
"""What the number of blocks is called in code that scales by it."""


def statements_of(remedy: Remedy, tensor: Tensor, model: Model, target: str) -> tuple[str, ...]:
    """The statements that fill ``target``, the Python for a tensor of a model, as a remedy does.

    They are run where no gradient is recorded, with `math`, `torch` and `torch.nn` at hand; ``target`` is repeated.
    """
    padding = remedy.parameters.get("padding")
    lines = [*_filled(remedy, tensor, model, target)]
    if padding is not None:
        lines.append(f"nn.init.zeros_({target}[{padding}])")
    return tuple(lines)


def _filled(remedy: Remedy, tensor: Tensor, model: Model, target: str) -> Iterator[str]:
    given = remedy.parameters
    match remedy.law:
        case "constant":
            plain = {0.0: f"nn.init.zeros_({target})", 1.0: f"nn.init.ones_({target})"}
            yield plain.get(given["value"], f"nn.init.constant_({target}, {_number(given['value'])})")
        case "uniform" if "low" in given:
            yield f"nn.init.uniform_({target}, {_number(given['low'])}, {_number(given['high'])})"
        case "normal" | "uniform" if not given.get("mean"):
            yield _scaled(remedy, tensor, model, target)
        case "trunc_normal":
            parent, mean = given["std"] / shrink(given["cut"]), given.get("mean", 0.0)
            low, high = mean - given["cut"] * parent, mean + given["cut"] * parent
            about = f"mean={_number(mean)}, " if mean else ""
            std = _std(parent, remedy, tensor, model, parent / given["std"])
            yield f"nn.init.trunc_normal_({target}, {about}std={std}, a={_number(low)}, b={_number(high)})"
        case "orthogonal":
            yield from _orthogonal(remedy, tensor, target)
        case "sparse":
            yield f"nn.init.normal_({target}, std={_number(given['std'])})"
            axis, connections = 1 if unit_axis(tensor.part, tensor.shape) == 0 else 0, given["connections"]
            flat = target if len(tensor.shape) == 2 else f"{target}.flatten(1)"
            ranks = f"torch.rand_like({flat}).argsort({axis}).argsort({axis})"
            mask = f"({ranks} >= {connections})"
            yield f"{target}.masked_fill_({mask if flat == target else f'{mask}.view_as({target})'}, 0.0)"
        case "identity":
            groups = f", {tensor.part.groups}" if tensor.part.groups > 1 else ""
            yield f"nn.init.eye_({target})" if len(tensor.shape) == 2 else f"nn.init.dirac_({target}{groups})"
        case "blocks":
            stds = ", ".join(map(_number, given["stds"]))
            yield f"for part, std in zip({target}.tensor_split({len(given['stds'])}), ({stds},)):"
            yield "    nn.init.normal_(part, std=std)"
        case "formula":
            yield from _by_formula(remedy, tensor, target)
        case _:
            yield f"nn.init.normal_({target}, mean={_number(given['mean'])}, std={_number(given['std'])})"


def _scaled(remedy: Remedy, tensor: Tensor, model: Model, target: str) -> str:
    """A centred draw: by torch's function for the fans where that is the same, else by its deviation."""
    std, law = float(remedy.parameters["std"]), remedy.law
    if remedy.scheme not in ("normal", "uniform", "residual_scaled", "layer_scaled"):
        for call, scale in _by_fans(tensor, law, remedy):
            if math.isclose(scale, std, rel_tol=SAME):
                return call.format(target=target)
    written = _std(std, remedy, tensor, model)
    if law == "normal":
        return f"nn.init.normal_({target}, std={written})"
    bound = _number(std * math.sqrt(3))
    return f"nn.init.uniform_({target}, -{bound}, {bound})"


def _by_fans(tensor: Tensor, law: str, remedy: Remedy) -> Iterator[tuple[str, float]]:
    """The calls of `torch.nn.init` that scale by the fans it reads off a shape, and the deviation of each."""
    if len(tensor.shape) < 2:
        return
    field = math.prod(tensor.shape[2:])
    fan_in, fan_out = tensor.shape[1] * field, tensor.shape[0] * field
    gain = remedy.parameters.get("gain", 1.0)
    how = "" if gain == 1 else f", gain={_number(gain)}"
    yield f"nn.init.xavier_{law}_({{target}}{how})", gain * math.sqrt(2 / (fan_in + fan_out))
    for mode, fan in (("fan_in", fan_in), ("fan_out", fan_out)):
        by = "" if mode == "fan_in" else f', mode="{mode}"'
        yield f'nn.init.kaiming_{law}_({{target}}{by}, nonlinearity="relu")', math.sqrt(2 / fan)
        yield f'nn.init.kaiming_{law}_({{target}}{by}, nonlinearity="linear")', math.sqrt(1 / fan)
        yield f"nn.init.kaiming_{law}_({{target}}{by}, a=math.sqrt(5))", math.sqrt(1 / (3 * fan))


def _std(std: float, remedy: Remedy, tensor: Tensor, model: Model, factor: float = 1.0) -> str:
    """A deviation as it is written: by depth where the scheme scales by it, as 0.02 / sqrt(2 * blocks) does."""
    base = remedy.parameters.get("base_std")
    blocks = setting_of(tensor, model).blocks if base else None
    if base and blocks and math.isclose(std, base * factor / math.sqrt(2 * blocks), rel_tol=SAME):
        return f"{_number(base * factor)} / math.sqrt(2 * {BLOCKS})"
    return _number(std)


def blocks_of(tensor: Tensor, model: Model) -> int | None:
    """How many blocks there are where a tensor stands, as `BLOCKS` stands for."""
    blocks = setting_of(tensor, model).blocks
    return None if blocks is None else int(blocks)


def _orthogonal(remedy: Remedy, tensor: Tensor, target: str) -> Iterator[str]:
    gain = float(remedy.parameters["gain"])
    how = "" if gain == 1 else f", gain={_number(gain)}"
    if tensor.part.layout == "expert_3d":
        yield f"for expert in {target}.flatten(0, -3):"
        yield f"    nn.init.orthogonal_(expert{how})"
    elif len(tensor.shape) > 2 and unit_axis(tensor.part, tensor.shape) == len(tensor.shape) - 1:
        # torch takes the first axis for the units
        yield f"nn.init.orthogonal_({target}.flatten(0, -2).t(){how})"
    else:
        yield f"nn.init.orthogonal_({target}{how})"


def _by_formula(remedy: Remedy, tensor: Tensor, target: str) -> Iterator[str]:
    given, count = remedy.parameters, tensor.shape[-1] if tensor.shape else 1
    match given["formula"]:
        case "rotary":
            yield f"{target}.copy_({_number(given['base'])} ** (-torch.arange({count}) / {count}))"
        case "log_arange":
            yield f"{target}.copy_(torch.arange(1, {count + 1}).log().expand_as({target}))"
        case "log_uniform":
            yield f"nn.init.uniform_({target}, {_number(given['low'])}, {_number(given['high'])}).log_()"
        case _:
            low, high = _number(given["low"]), _number(given["high"])
            yield f"nn.init.uniform_({target}, math.log({low}), math.log({high})).exp_()"
            yield f"{target}.add_(torch.log(-torch.expm1(-{target})))"


def _number(value: float) -> str:
    """A number as a person writes it, of `DIGITS` digits."""
    return repr(float(f"{value:.{DIGITS}g}")) if value != int(value) or abs(value) >= 1e15 else f"{value:.1f}"
