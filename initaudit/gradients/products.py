"""What multiplies what where no shape shows it: the names that the field gives to the parts of attention and gates.

These names accuse: two zeros of one pair are each the other's gradient. They excuse nothing.
"""

import re

from initaudit.gradients.factors import LONGEST_NAME, Factor


def _named(*names: str, head: str = r"(^|[._])") -> re.Pattern[str]:
    return re.compile(rf"{head}({'|'.join(names)})$", re.IGNORECASE)


_QUERY = _named(
    "q", "query", "queries", "wq", "q_proj", "to_q", "q_lin", "linear_q", "proj_q", "q_linear", "query_proj", "q_a_proj"
)
_KEY = _named("k", "key", "keys", "wk", "k_proj", "to_k", "k_lin", "linear_k", "proj_k", "k_linear", "key_proj")
_VALUE = _named("v", "value", "values", "wv", "v_proj", "to_v", "v_lin", "linear_v", "proj_v", "v_linear", "value_proj")
_OUTPUT = _named(
    "o", "out", "wo", "o_proj", "to_out", "out_proj", "out_lin", "linear_o", "proj_o", "o_linear", "c_proj", "proj",
    r"to_out\.0", r"output\.dense", head=r"(^|\.)",
)  # fmt: skip
_GATE = _named("gate_proj", "w1", "wi_0", "fc1_g", head=r"(^|\.)")
_GATED = _named("up_proj", "w3", "wi_1", "fc1_x", head=r"(^|\.)")

PRODUCTS = (
    (_QUERY, _KEY, "queries are multiplied with keys", True),
    (_VALUE, _OUTPUT, "the one reads what the other writes", False),
    (_GATE, _GATED, "the one gates the other", True),
)
"""Pairs of which two zeros are dead, why, and whether what both give counts, not only what the first gives."""

_PACKED = re.compile(r"qkv|in_proj|c_attn|query_key_value|wqkv|attn_proj|to_kv|(^|[._])kv(_proj)?$", re.IGNORECASE)

_LOW_RANK = re.compile(r"lora|hada|lokr|loha|vera|delora|_[ab]$|[._](a|b|down|up)$|factor", re.IGNORECASE)
_SIGMOID = re.compile(
    r"gat(e|es|ing)(\b|_)|_gate|[_.]g$|linear_g|g_in|g_out|router|scale|gamma|alpha|lambda", re.IGNORECASE
)
_ADAPTER_OUTPUT = re.compile(r"lora_?(B|up|E)\b|lora_embedding_B|hada_w2_[ab]|lokr_w2|vera_lambda", re.IGNORECASE)


def why_multiplied(one: Factor, other: Factor) -> tuple[str, tuple[Factor, ...]]:
    """Why two factors are a pair, in words, and those whose outputs the other's gradient hangs on.

    Empty where no name says that they are one.
    """
    for first, second, why, both in PRODUCTS:
        for a, b in ((one, other), (other, one)):
            if first.search(_tail(a)) and second.search(_tail(b)):
                return why, (a, b) if both else (a,)
    return "", ()


def meet(one: Factor, other: Factor) -> bool:
    """Whether two matrices are queries or keys beside values or outputs of one attention, never dead by each other.

    Where queries or keys are zero, attention is even; values and outputs learn, and then queries and keys do.
    """
    for a, b in ((one, other), (other, one)):
        weighs = _QUERY.search(_tail(a)) or _KEY.search(_tail(a))
        if weighs and (_VALUE.search(_tail(b)) or _OUTPUT.search(_tail(b))):
            return a.layer.rpartition(".")[0] == b.layer.rpartition(".")[0]
    return False


def gives_a_product(factor: Factor, reader: Factor) -> bool:
    """Whether a matrix is called one that gives queries and keys at once, and the only other reads the values' part."""
    width = reader.reads
    return bool(_PACKED.search(_tail(factor).rpartition(".")[2])) and width < factor.writes <= MOST_PARTS * width


MOST_PARTS = 3
"""Queries, keys and values come from one matrix; of keys and values there may be fewer heads."""


def gates_another(factor: Factor) -> bool:
    """Whether it is called the gate, or what is gated, of a gated block: then its twin reads the same features."""
    return bool(_GATE.search(_tail(factor)) or _GATED.search(_tail(factor)))


def is_low_rank(factor: Factor) -> bool:
    """Whether it is called one of the factors of a low-rank product."""
    return _LOW_RANK.search(factor.name[-LONGEST_NAME:]) is not None


def is_called_a_gate(factor: Factor) -> bool:
    """Whether it is called a gate that goes through a sigmoid, and is half open where it is zero."""
    own = ".".join(
        _tail(factor).rsplit(".", 2)[-2:]
    )  # its module and itself: what is around them may be called anything
    return _SIGMOID.search(own) is not None and not _GATE.search(_tail(factor))


def is_adapter_output(name: str) -> bool:
    """Whether a tensor is called the factor of an adapter that starts at zero beside another that is drawn."""
    return _ADAPTER_OUTPUT.search(name[-LONGEST_NAME:]) is not None


def _tail(factor: Factor) -> str:
    return factor.layer[-LONGEST_NAME:]
