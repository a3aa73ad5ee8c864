"""What the zeros of a weight say: whether they are more than rounding leaves, and whether they stand together."""

from initaudit.model import Tensor
from initaudit.significance import chance_zeros, dispersion_z, exceeds_poisson

MANY_ZEROS = 0.005
"""The part of a weight from which on its zeros matter: of 35,000 weights of fresh released models none has so many by
accident."""


def are_unexplained(zeros: int, tensor: Tensor) -> bool:
    """Whether so many zeros of a tensor matter, and are more than a normal draw rounded to its dtype leaves."""
    if zeros < MANY_ZEROS * tensor.count:
        return False
    return exceeds_poisson(zeros, chance_zeros(tensor.count, tensor.dtype, tensor.std))


def unevenness(tensor: Tensor) -> float:
    """How many standard errors zeros are spread over units, or inputs if these say more, beyond those thrown at random.

    Dead units and inputs are left out; 0 where there are no others, or none with zeros.
    """
    along = (tensor.units, tensor.inputs)
    return max(
        (
            dispersion_z(one.occupancy, one.living - 1)
            for one in along
            if one is not None and one.occupancy is not None and one.living > 1
        ),
        default=0.0,
    )
