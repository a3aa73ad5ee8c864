"""Along which axes of a weight its output units and its inputs lie."""

from initaudit.layers.values import Part


def unit_axis(part: Part, shape: tuple[int, ...]) -> int:
    """The axis of the output units, -1 where there is none."""
    return _axes(part, shape)[0]


def input_axis(part: Part, shape: tuple[int, ...]) -> int:
    """The axis of the inputs, -1 where there is none."""
    return _axes(part, shape)[1]


def _axes(part: Part, shape: tuple[int, ...]) -> tuple[int, int]:
    rank = len(shape)
    if rank < 2:
        return -1, -1
    match part.layout:
        case "in_out":
            return rank - 1, 0 if rank == 2 else rank - 2
        case "conv_transposed":
            return 1, 0
        case "expert_3d":
            return (rank - 1, rank - 2) if part.fan_out == shape[-1] else (rank - 2, rank - 1)
        case _:
            return 0, 1
