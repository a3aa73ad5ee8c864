"""What torch and numpy draw is recognised by the name it was drawn under."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import scipy.stats
import torch
from safetensors.torch import save_file

from initaudit.schemes import Scheme
from initaudit.schemes.families import FAMILIES, NORMAL, TRUNCATED, TRUNCATED_3, UNIFORM, Family
from initaudit.significance import (
    chance_equal_pairs,
    chance_zeros,
    dispersion_z,
    exceeds_poisson,
    log_std_error,
    variance_z,
)
from initaudit.understanding import open_paths, read

SHAPES = [(256, 320), (512, 128), (64, 48, 3, 3)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
init = torch.nn.init


def truncated(std: float, cut: float = 2.0) -> Callable[[torch.Tensor], object]:
    return lambda tensor: init.trunc_normal_(tensor, std=std, a=-cut * std, b=cut * std)


DRAWS: Mapping[str, Callable[[torch.Tensor], object]] = {
    "torch_default": lambda tensor: init.kaiming_uniform_(tensor, a=math.sqrt(5)),
    "xavier_normal": init.xavier_normal_,
    "xavier_uniform": init.xavier_uniform_,
    "xavier_normal(1.667)": lambda tensor: init.xavier_normal_(tensor, gain=5 / 3),
    "kaiming_normal(fan_in, relu)": lambda tensor: init.kaiming_normal_(tensor, nonlinearity="relu"),
    "kaiming_normal(fan_out, relu)": lambda tensor: init.kaiming_normal_(tensor, mode="fan_out", nonlinearity="relu"),
    "kaiming_uniform(fan_in, relu)": lambda tensor: init.kaiming_uniform_(tensor, nonlinearity="relu"),
    "lecun_normal": lambda tensor: init.kaiming_normal_(tensor, nonlinearity="linear"),
    "lecun_uniform": lambda tensor: init.kaiming_uniform_(tensor, nonlinearity="linear"),
    "normal(0.02)": lambda tensor: init.normal_(tensor, std=0.02),
    "normal(1)": lambda tensor: init.normal_(tensor),
    "trunc_normal(0.01759)": truncated(0.02),
    "trunc_normal(0.01973)": truncated(0.02, cut=3.0),
    "orthogonal": init.orthogonal_,
}


def drawn(tensors: Mapping[str, torch.Tensor], folder: Path) -> Mapping[str, Scheme]:
    path = folder / "drawn.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return read(open_paths([path])[0][0]).schemes


def names(scheme: Scheme) -> set[str]:
    """The scheme's own name, with what tells it from others of that name, and those it is equivalent to."""
    telling = [scheme.parameters[key] for key in ("mode", "gain", "nonlinearity") if key in scheme.parameters]
    if scheme.name in ("normal", "uniform", "trunc_normal"):
        telling = [scheme.parameters["std"]]
    words = ", ".join(value if isinstance(value, str) else f"{value:.4g}" for value in telling)
    own = scheme.name if scheme.name == "orthogonal" or not words else f"{scheme.name}({words})"
    return {own, *scheme.equivalent}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", DRAWS)
def test_a_model_drawn_by_one_scheme_is_recognised_by_it(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {}
    for place, shape in enumerate(SHAPES):
        tensor = torch.empty(shape)
        DRAWS[name](tensor)
        tensors[f"layers.{place}.proj.weight"] = tensor.to(dtype)
    schemes = drawn(tensors, tmp_path)
    for tensor in tensors:
        assert name in names(schemes[tensor]), schemes[tensor]


def test_sparse_initialisation_is_recognised_with_its_connections(tmp_path: Path) -> None:
    torch.manual_seed(0)
    scheme = drawn({"fc.weight": init.sparse_(torch.empty(128, 64), sparsity=0.9)}, tmp_path)["fc.weight"]
    assert (scheme.name, scheme.parameters["connections"], scheme.certainty) == ("sparse", 12, "is")
    assert scheme.parameters["std"] == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("tensor", [init.eye_(torch.empty(32, 48)), init.dirac_(torch.empty(16, 16, 3, 3))])
def test_identity_initialisation_is_recognised(tensor: torch.Tensor, tmp_path: Path) -> None:
    assert drawn({"fc.weight": tensor}, tmp_path)["fc.weight"].name == "identity"


@pytest.mark.parametrize(("value", "name"), [(0.0, "zeros"), (1.0, "ones"), (0.25, "constant")])
def test_a_constant_is_recognised(value: float, name: str, tmp_path: Path) -> None:
    scheme = drawn({"fc.weight": torch.full((8, 8), value)}, tmp_path)["fc.weight"]
    assert (scheme.name, scheme.certainty) == (name, "is")


def test_a_draw_from_zero_to_one_is_uniform_between_its_bounds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    scheme = drawn({"fc.weight": torch.rand(128, 128)}, tmp_path)["fc.weight"]
    assert scheme.name == "uniform"
    assert scheme.parameters["low"] == pytest.approx(0, abs=1e-3)
    assert scheme.parameters["high"] == pytest.approx(1, abs=1e-3)


def test_residual_outputs_are_recognised_with_the_depth_of_the_stack(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {}
    for block in range(6):
        tensors[f"h.{block}.mlp.c_fc.weight"] = torch.randn(512, 128) * 0.02
        tensors[f"h.{block}.mlp.c_proj.weight"] = torch.randn(128, 512) * 0.02 / math.sqrt(2 * 6)
    schemes = drawn(tensors, tmp_path)
    assert {schemes[f"h.{block}.mlp.c_proj.weight"].name for block in range(6)} == {"residual_scaled"}
    assert schemes["h.0.mlp.c_proj.weight"].parameters["layers"] == 6


def test_a_square_matrix_takes_the_scheme_of_the_others_and_names_what_it_equals(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {f"fc{i}.weight": init.xavier_normal_(torch.empty(out, 256)) for i, out in enumerate((256, 1024, 64))}
    scheme = drawn(tensors, tmp_path)["fc0.weight"]
    assert scheme.name == "xavier_normal"
    assert "lecun_normal" in scheme.equivalent


def test_blocks_of_a_packed_weight_are_told_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {}
    for block in range(4):
        qkv = torch.randn(3 * 128, 128) * 0.02
        qkv[2 * 128 :] /= math.sqrt(12)
        tensors |= {f"h.{block}.attn.qkv.weight": qkv, f"h.{block}.fc.weight": torch.randn(512, 128) * 0.02}
    scheme = drawn(tensors, tmp_path)["h.0.attn.qkv.weight"]
    assert scheme.name == "blocks"
    assert scheme.parameters["stds"] == pytest.approx([0.02, 0.02, 0.02 / math.sqrt(12)], rel=0.05)
    assert scheme.parameters["schemes"][:2] == ["normal", "normal"]


def test_a_mixture_is_given_no_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensor = torch.randn(256, 256)
    tensor[:100] *= 10
    assert "fc.weight" not in drawn({"fc.weight": tensor}, tmp_path)


def test_few_values_are_given_no_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert "fc.weight" not in drawn({"fc.weight": torch.randn(4, 3)}, tmp_path)


def test_a_deviation_that_no_scheme_has_is_named_by_its_family_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    scheme = drawn({"fc.weight": torch.randn(512, 384) * 0.0277}, tmp_path)["fc.weight"]
    assert (scheme.name, scheme.certainty) == ("normal", "consistent with")
    assert scheme.parameters["std"] == pytest.approx(0.0277, rel=0.02)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_constants_of_a_family_are_those_of_scipy(family: Family) -> None:
    laws = {
        NORMAL: scipy.stats.norm(),
        UNIFORM: scipy.stats.uniform(-1, 2),
        TRUNCATED: scipy.stats.truncnorm(-2, 2),
        TRUNCATED_3: scipy.stats.truncnorm(-3, 3),
    }
    law = laws[family]
    moments = {order: law.moment(order) / law.std() ** order for order in (4, 6, 8)}
    assert family.kurtosis == pytest.approx(moments[4], rel=1e-5)
    spread = moments[8] - 4 * moments[4] * moments[6] + 4 * moments[4] ** 3 - moments[4] ** 2
    assert family.kurtosis_error == pytest.approx(math.sqrt(spread), rel=1e-3)
    if family is not NORMAL:
        assert family.edge == pytest.approx(law.support()[1] / law.std(), rel=1e-6)


@pytest.mark.parametrize("count", [8, 64, 4096])
@pytest.mark.parametrize("factor", [0.7, 0.95, 1.0, 1.2])
def test_the_variance_test_is_that_of_chi_squared(count: int, factor: float) -> None:
    law = scipy.stats.chi2(count)
    exact = (
        scipy.stats.norm.ppf(law.cdf(factor * count)) if factor <= 1 else scipy.stats.norm.isf(law.sf(factor * count))
    )
    assert variance_z(factor, count, 1.0, 3.0) == pytest.approx(exact, rel=0.05, abs=0.05)


def test_the_dispersion_test_is_that_of_chi_squared() -> None:
    law = scipy.stats.chi2(50)
    assert dispersion_z(1.6, 50) == pytest.approx(scipy.stats.norm.isf(law.sf(1.6 * 50)), rel=0.02)


@pytest.mark.parametrize(
    ("observed", "expected"), [(1, 1e-12), (3, 0.001), (40, 8.0), (1300, 1000.0), (5, 4.0), (0, 0.0)]
)
def test_the_poisson_test_is_that_of_scipy(observed: int, expected: float) -> None:
    tail = scipy.stats.poisson.sf(observed - 1, expected)
    assert exceeds_poisson(observed, expected) == (tail < 1e-9)


def test_the_error_of_a_deviation_is_what_many_samples_show() -> None:
    generator = np.random.default_rng(0)
    for values, kurtosis in ((generator.standard_normal((2000, 400)), 3.0), (generator.uniform(size=(2000, 400)), 1.8)):
        assert np.log(values.std(axis=1)).std() == pytest.approx(log_std_error(400, kurtosis), rel=0.05)


@pytest.mark.parametrize(("dtype", "name"), [(ml_dtypes.bfloat16, "BF16"), (np.float16, "F16")])
def test_chance_equal_pairs_are_no_fewer_than_are_seen(dtype: type, name: str) -> None:
    values = np.random.default_rng(0).standard_normal(4000).astype(dtype).view(np.uint16)
    _, counts = np.unique(values, return_counts=True)
    assert 0 < (counts * (counts - 1) / 2).sum() < 1.2 * chance_equal_pairs(4000, 1, name, 1.0)


def test_zeros_by_rounding_are_as_many_as_expected() -> None:
    values = (np.random.default_rng(0).standard_normal(10**6) * 0.02).astype(ml_dtypes.float8_e4m3fn)
    seen = int((values.astype(np.float32) == 0).sum())
    assert chance_zeros(10**6, "F8_E4M3", 0.02) == pytest.approx(seen, rel=0.05)
