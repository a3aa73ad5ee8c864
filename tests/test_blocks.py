"""One tree of all names: which lists of blocks there are, and where in them each tensor stands."""

import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initaudit.names import Blocks, Depth
from initaudit.names.blocks import Seat

GPT = (
    "wte.weight",
    *(
        f"h.{number}.{name}"
        for number in range(5)
        for name in ("ln.weight", "attn.c_proj.weight", "mlp.0.weight", "mlp.2.weight", "mlp.2.bias")
    ),
    "ln_f.weight",
)
PREFIXES = (
    "0.", "model.0.", "module.", "_orig_mod.", "_fsdp_wrapped_module.", "module._orig_mod.", "base_model.model.",
    "net1.0.model.", "0.0.0.",
)  # fmt: skip


def blocks_as(write: Callable[[int], str]) -> dict[str, str]:
    """The names of the GPT by those in which its blocks are called otherwise."""
    renamed = {}
    for name in GPT:
        first, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        renamed[name if first != "h" else f"{write(int(number))}.{inner}"] = name
    return renamed


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_stands_before_all_names_changes_no_answer(prefix: str) -> None:
    plain, wrapped = Blocks(GPT), Blocks(prefix + name for name in GPT)
    masked = wrapped.place(f"{prefix}wte.weight").removesuffix("wte.weight")
    for name in GPT:
        assert wrapped.place(prefix + name) == masked + plain.place(name)
        assert wrapped.kin(prefix + name) == tuple(prefix + other for other in plain.kin(name))
        assert wrapped.depth(prefix + name) == plain.depth(name)
        assert wrapped.innermost(prefix + name) == plain.innermost(name)
        assert wrapped.block(prefix + name) == (prefix + plain.block(name) if plain.block(name) else "")
        assert wrapped.stack(prefix + name) == (prefix + plain.stack(name) if plain.stack(name) else "")
        assert wrapped.sequence(prefix + name) == plain.sequence(name)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda number: f"h.{number}", id="a list"),
        pytest.param(lambda number: f"h.{number + 1}", id="numbered from one"),
        pytest.param(lambda number: f"stages.{number // 3}.{number % 3}", id="stages"),
        pytest.param(lambda number: f"layer{number // 3 + 1}.{number % 3}", id="numbered stages"),
        pytest.param(lambda number: f"h.0.{number}", id="in a Sequential"),
        pytest.param(lambda number: f"h.{number}.0", id="each in a Sequential"),
        pytest.param(lambda number: f"stages.{number // 4}.{number // 2 % 2}.{number % 2}", id="stages of stages"),
    ],
)
def test_blocks_are_counted_through_in_whatever_lists_they_stand(write: Callable[[int], str]) -> None:
    renamed, plain = blocks_as(write), Blocks(GPT)
    tree = Blocks(renamed)
    assert {name: tree.depth(name) for name in renamed} == {name: plain.depth(was) for name, was in renamed.items()}
    assert plain.depth("h.3.mlp.2.weight") == Depth(3, 5)
    assert plain.depth("wte.weight") is None


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("params/h_0", "params/h_1", "params/h_2"), id="Flax"),
        pytest.param(("params.h_0", "params.h_1", "params.h_2"), id="Flax, joined by dots"),
        pytest.param(("model.params.h_0", "model.params.h_1", "model.params.h_2"), id="Flax in a module"),
        pytest.param(("model/h", "model/h_1", "model/h_2"), id="Keras"),
        pytest.param(("gpt/~/h", "gpt/~/h_1", "gpt/~/h_2"), id="Haiku"),
        pytest.param(("gpt/layer_._0", "gpt/layer_._1", "gpt/layer_._2"), id="TensorFlow"),
    ],
)
def test_blocks_are_counted_as_each_library_counts_them(names: tuple[str, ...]) -> None:
    separator = "/" if "/" in names[0] else "."
    inside = [separator.join((name, "mlp", "dense_1", "kernel")) for name in names]
    tree = Blocks([*inside, separator.join((*names[0].split(separator)[:-1], "head", "kernel"))])
    assert [tree.depth(name) for name in inside] == [Depth(0, 3), Depth(1, 3), Depth(2, 3)]
    assert [tree.block(name) for name in inside] == list(names)
    assert len({tree.place(name) for name in inside}) == 1
    assert tree.kin(inside[1]) == tuple(inside)


def test_layers_of_one_block_are_no_kin_of_each_other() -> None:
    tree = Blocks(["params/Dense_0/kernel", "params/Dense_1/kernel", "fc1.weight", "fc2.weight", "mlp.0.w", "mlp.2.w"])
    assert all(tree.kin(name) == (name,) for name in ("params/Dense_0/kernel", "fc1.weight", "mlp.2.w"))


def test_the_parts_of_a_block_are_no_blocks() -> None:
    names = [
        f"layers.{number}.{part}.{name}"
        for number in range(2)
        for part, held in (("0", ("norm.weight", "to_qkv.weight", "to_out.weight")), ("1", ("norm.weight", "net.0.w")))
        for name in held
    ]
    tree = Blocks(names)
    assert {tree.depth(name) for name in names} == {Depth(0, 2), Depth(1, 2)}


def test_the_steps_of_a_program_are_no_blocks() -> None:
    names = [f"0.encoder.layer.{number}.{name}.w" for number in range(3) for name in ("q", "fc")] + ["2.linear.w"]
    tree = Blocks(names)
    assert tree.depth(names[2]) == Depth(1, 3)
    assert tree.stack(names[2]) == "0.encoder.layer."
    assert tree.depth("2.linear.w") is None
    assert tree.block("2.linear.w") == ""


def test_an_expert_stands_in_the_stack_of_its_block_and_innermost_in_the_list_of_experts() -> None:
    tree = Blocks(
        name
        for block in range(2)
        for name in (f"layers.{block}.q.w", *(f"layers.{block}.experts.{number}.w1.w" for number in range(4)))
    )
    assert tree.depth("layers.1.experts.3.w1.w") == Depth(1, 2)
    assert tree.innermost("layers.1.experts.3.w1.w") == Depth(3, 4)
    assert tree.block("layers.1.experts.3.w1.w") == "layers.1.experts.3"
    assert tree.numbers("layers.1.experts.3.w1.w") == (1, 3)


def test_the_last_part_of_a_checkpoint_knows_how_many_blocks_came_before() -> None:
    assert Blocks(f"layers.{number}.q.w" for number in range(8, 12)).depth("layers.9.q.w") == Depth(9, 12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("net.2.weight", Seat("net.", 2, is_named=False), id="in a list"),
        pytest.param("seq.1.0.weight", Seat("seq.", 1, is_named=False), id="alone in an item of a list"),
        pytest.param("block.conv2.weight", Seat("block.conv", 2, is_named=True), id="by its name"),
        pytest.param("head.weight", None, id="without a number"),
        pytest.param("weight", None, id="without a module"),
    ],
)
def test_a_numbered_layer_has_a_seat(name: str, expected: Seat | None) -> None:
    names = ["net.0.weight", "net.2.weight", "seq.0.0.weight", "seq.1.0.weight", "block.conv2.weight", "head.weight"]
    assert Blocks([*names, "weight"]).seat(name) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["net.0.w", "net.2.w"], True, id="a list"),
        pytest.param(["fc1.w", "fc2.w"], True, id="by their names"),
        pytest.param(["a.net.0.0.w", "a.net.0.1.w", "a.net.1.0.w", "a.net.1.1.w"], True, id="a list of lists"),
        pytest.param(["0.fc1.w", "0.fc2.w"], True, id="behind a number"),
        pytest.param(["h.0.fc1.w", "h.0.fc2.w", "h.1.fc1.w", "h.1.fc2.w"], False, id="of several blocks"),
        pytest.param(["q.w", "k.w"], False, id="side by side"),
    ],
)
def test_layers_whose_names_differ_in_one_number_are_a_sequence(names: list[str], *, expected: bool) -> None:
    tree = Blocks(names)
    keys = [tree.sequence(name) for name in names]
    assert (keys[0] is not None and len(set(keys)) == 1) is expected


SEGMENTS = st.sampled_from(
    ["h", "0", "1", "2", "10", "layer1", "layer2", "fc1", "h_0", "h_1", "params", "", "w", "²", "٣"]
)
NAMES = st.lists(
    st.tuples(st.sampled_from("./"), st.lists(SEGMENTS, min_size=1, max_size=6)).map(
        lambda both: both[0].join(both[1])
    ),
    unique=True,
    max_size=20,
)


def answers(tree: Blocks, name: str) -> tuple[object, ...]:
    """All that is said of a name."""
    asked = (tree.place, tree.numbers, tree.stack, tree.depth, tree.innermost, tree.block, tree.seat, tree.sequence)
    return (*(ask(name) for ask in asked), frozenset(tree.kin(name)), tuple(tree.lists(name)))


@given(NAMES, st.randoms(use_true_random=False))
def test_the_order_of_names_changes_no_answer(names: list[str], random: Random) -> None:
    one, other = Blocks(names), Blocks(random.sample(names, len(names)))
    assert all(answers(one, name) == answers(other, name) for name in names)


@given(NAMES)
def test_a_depth_lies_within_its_list_and_kin_are_of_one_place(names: list[str]) -> None:
    tree = Blocks(names)
    for name in names:
        for depth in (tree.depth(name), tree.innermost(name)):
            assert depth is None or 0 <= depth.index < depth.count
        assert name in tree.kin(name)
        assert {tree.place(other) for other in tree.kin(name)} == {tree.place(name)}
        assert name.startswith(tree.block(name))


@given(NAMES, NAMES)
def test_a_name_that_is_not_in_the_tree_stands_alone(names: list[str], others: list[str]) -> None:
    tree = Blocks(names)
    for name in set(others) - set(names):
        assert tree.kin(name) == tuple(other for other in names if tree.place(other) == tree.place(name))
        answers(tree, name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(".".join(["0"] * 500_000), id="half a million numbers"),
        pytest.param("." * 1_000_000, id="nothing but dots"),
        pytest.param("h." + "9" * 1_000_000 + ".w", id="a number of a million digits"),
        pytest.param("a1" * 500_000 + ".0.w", id="a word of a million letters"),
        pytest.param("h_" * 500_000 + "1/x/w", id="a counted word of a million letters"),
    ],
)
def test_names_of_a_megabyte_are_answered_for_in_no_time(name: str) -> None:
    start = time.process_time()
    tree = Blocks([name, "h.0.w", "h.1.w"])
    answers(tree, name)
    assert tree.depth("h.1.w") == Depth(1, 2)
    assert time.process_time() - start < 2


def test_the_time_grows_with_the_number_of_names() -> None:
    def seconds(blocks: int) -> float:
        names = [f"h.{number}.experts.{e}.w{w}.x" for number in range(blocks) for e in range(100) for w in range(3)]
        start = time.process_time()
        tree = Blocks(names)
        for name in names:
            tree.innermost(name), tree.depth(name), tree.sequence(name)
        return time.process_time() - start

    assert min(seconds(80) for _ in range(3)) < 16 * min(seconds(10) for _ in range(3))
