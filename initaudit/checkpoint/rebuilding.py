"""What the calls in a file of ``torch.save`` stand for: tensors are described, and all else is left undone.

The names are those that torch's own safe loader takes. Of what it refuses, the outcome is a `Made`, which says who
would be called; a tensor that depends on one is a `Made`, too.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from initaudit.checkpoint.allowance import Allowance, PickleError
from initaudit.checkpoint.inert import Made, Name, Plain, SavedTensor, Storage, key_of
from initaudit.checkpoint.torch_dtypes import STORAGES, WIDTHS

MOST_DIMENSIONS, MOST_ELEMENTS = 32, 1 << 63
"""What NumPy's oldest version that is supported can hold, and what torch can count to."""

LATIN = ("latin1", "latin-1")
"""How pickles of Python 2's protocol spell bytes: as text in this encoding."""

STEP, STRANGE = 32, 200
"""Bytes that are charged for each thing that is looked at within what a call is handed, and for what is not made."""

HARMLESS = {
    "torch.Size": "Size",
    "torch.device": "device",
    "torch.serialization._get_layout": "layout",
    "builtins.set": "set",
    "builtins.complex": "complex",
}
"""Calls whose outcome nobody needs, and what it is."""

TENSORS = frozenset(["torch.Tensor", "torch._tensor.Tensor", "torch.tensor.Tensor", "torch.nn.parameter.Parameter"])
"""The classes of tensors that are nothing but their data."""


NEEDED = frozenset(["copyreg._reconstructor", "copyreg.__newobj__", "builtins.object"])
"""What pickles name to say that what follows is an object."""

OF_STORAGES = frozenset(["torch", "torch.cuda", "torch.storage"])
"""The modules in which the classes of storages are."""


class TorchMeaning:
    """Calls as torch would carry them out; ``refers`` says what a name of a storage stands for."""

    def __init__(self, allowance: Allowance, refers: Callable[[tuple[Any, ...]], Any]) -> None:
        self.allowance, self.refers = allowance, refers
        self.strange: dict[str, None] = {}
        """What the file would import or call that torch's safe loader does not, in the order of the file."""
        self.tensors: list[SavedTensor] = []
        """All that have data, wherever in the file they are."""

    def refer(self, identity: Any) -> Any:
        """The storage that a persistent identity names."""
        if type(identity) is not tuple or not identity:
            raise PickleError("its pickle refers to something by what is no storage's name: damaged")
        return self.refers(identity)

    def look_up(self, name: Name) -> Name:
        """Take note of what would be imported that is strange."""
        if not _is_known(name):
            self.strange.setdefault(name.dotted)
        return name

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """What stands for the outcome of a call, or for a new object of a class."""
        if isinstance(function, Made):  # what a strange call would give is called in turn
            return self.made(function.by, arguments)
        if not isinstance(function, Name):
            raise PickleError(f"its pickle calls a {type(function).__name__}: damaged")
        dotted = function.dotted
        known = _CALLS.get(dotted)
        try:
            if known is not None:
                return known(self, arguments)
            if dotted in HARMLESS:
                return arguments[0] if dotted == "torch.Size" else Plain(HARMLESS[dotted])
        except (LookupError, ValueError, TypeError) as error:
            if isinstance(error, PickleError):
                raise
            raise PickleError(f"its pickle calls {dotted[:100]} with what it does not take: damaged") from error
        if dotted == "copyreg._reconstructor" and arguments and isinstance(arguments[0], Name):
            return self.made(arguments[0].dotted, arguments)
        return self.made(dotted, arguments)

    def set_state(self, thing: Any, state: Any) -> None:
        """Take note of what an object is to be filled with."""
        if isinstance(thing, Made):
            thing.holds_tensors = thing.holds_tensors or self._holds_tensors(state)
        elif isinstance(thing, SavedTensor):
            raise PickleError("its pickle fills a tensor as torch did before 0.4, which is not read: save it again")
        elif not isinstance(thing, dict):
            raise PickleError(f"its pickle gives a state to a {type(thing).__name__}: damaged")

    def made(self, by: str, arguments: Any, *, is_tensor: bool = False) -> Made:
        """What stands for the outcome of a strange call, or for a new object of a strange class."""
        self.allowance.spend(STRANGE)
        return Made(by, is_tensor or self._holds_tensors(arguments))

    def _holds_tensors(self, thing: Any) -> bool:
        """Whether a tensor is among what something holds."""
        left, seen = [thing], set()
        while left:
            one = left.pop()
            if isinstance(one, SavedTensor | Storage) or (isinstance(one, Made) and one.holds_tensors):
                return True
            if isinstance(one, tuple | list | dict) and id(one) not in seen:
                seen.add(id(one))
                inner = one.values() if isinstance(one, dict) else one
                self.allowance.spend(STEP * (1 + len(one)))
                left.extend(inner)
        return False

    def tensor(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        wants_gradient: Any = False,
        _hooks: Any = None,
        view: Any = None,
        *,
        dtype: str = "",
    ) -> Any:
        """A tensor of a storage; ``view`` says in what other way than by strides it is one of it."""
        strange = next((part for part in (storage, offset, shape, strides) if isinstance(part, Made)), None)
        if strange is not None:
            return self.made(strange.by, (), is_tensor=True)
        if not isinstance(storage, Storage) or not _is_natural(offset) or type(wants_gradient) is not bool:
            raise PickleError("its pickle makes a tensor of what is no storage: damaged")
        dtype = dtype or storage.dtype
        if dtype not in WIDTHS or dtype == "untyped":
            raise PickleError(f"its pickle makes a tensor of the dtype {dtype[:50]!r}, which is not known")
        obstacle = "is quantised" if dtype.startswith(("qint", "quint")) else ""
        if view:
            kinds = [_spelt(key) for key, is_on in view.items() if is_on] if isinstance(view, dict) else ["?"]
            obstacle = f"is a view of another kind than by strides ({', '.join(kinds)})" if kinds else obstacle
        made = SavedTensor(dtype, *_lengths(shape, strides), storage, offset, obstacle=obstacle)
        self.tensors.append(made)
        return made


def storage_of(kind: Any, key: str, count: Any) -> Storage:
    """The storage that a class and its number of elements describe.

    Raises:
        PickleError: there is no such class, or number.

    """
    dtype = STORAGES.get(kind.name) if isinstance(kind, Name) and kind.module in OF_STORAGES else None
    if dtype is None or not _is_natural(count):
        raise PickleError(f"its pickle names the storage {str(key)[:50]!r} of no class that torch has: damaged")
    return Storage(key, dtype, count, count * WIDTHS[dtype])


def _lengths(shape: Any, strides: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape and the strides of its dimensions, once they are ones that torch could have."""
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) != len(strides):
        raise PickleError("its pickle makes a tensor whose shape and strides are none: damaged")
    if len(shape) > MOST_DIMENSIONS:
        raise PickleError(f"its pickle makes a tensor of {len(shape):,} dimensions: up to {MOST_DIMENSIONS} are read")
    if not all(map(_is_natural, (*shape, *strides))) or _count(shape) >= MOST_ELEMENTS:
        raise PickleError("its pickle makes a tensor whose shape or strides nothing can have: damaged")
    return shape, strides


def _count(shape: Iterable[int]) -> int:
    return math.prod(shape)


def _is_natural(number: Any) -> bool:
    return type(number) is int and 0 <= number < MOST_ELEMENTS


def _is_known(name: Name) -> bool:
    """Whether torch's safe loader takes a name, or Python needs it to make any object."""
    dotted = name.dotted
    if dotted in NEEDED or dotted in HARMLESS or dotted in TENSORS:
        return True
    if name.module in OF_STORAGES and (name.name in STORAGES or name.name in WIDTHS or name.name.startswith("per_")):
        return True
    return dotted in _CALLS and dotted != "collections.defaultdict"


def _dtype_of(name: Any) -> str:
    """The dtype that ``torch.float32`` and its like are."""
    if isinstance(name, Name) and name.module == "torch" and name.name in WIDTHS:
        return name.name
    raise PickleError("its pickle makes a tensor of a dtype that is not known")


def _rebuild_typed(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    return meaning.tensor(*arguments)


def _rebuild_untyped(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    storage, offset, shape, strides, wants_gradient, hooks, dtype, *view = arguments
    return meaning.tensor(storage, offset, shape, strides, wants_gradient, hooks, *view, dtype=_dtype_of(dtype))


def _rebuild_quantised(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    made = meaning.tensor(*arguments[:4])
    return SavedTensor(made.dtype, made.shape, obstacle="is quantised") if isinstance(made, SavedTensor) else made


def _rebuild_planned(_: TorchMeaning, arguments: tuple[Any, ...]) -> SavedTensor:
    dtype, shape, strides, _wants_gradient = arguments
    return SavedTensor(_dtype_of(dtype), *_lengths(shape, strides), is_meta=True)


def _rebuild_sparse(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    layout, parts = arguments
    if not isinstance(parts[-1], tuple):  # whether indices are sorted
        parts = parts[:-1]
    *_indices, values, shape = parts
    if isinstance(values, Made):
        return meaning.made(values.by, (), is_tensor=True)
    kind = layout.type if isinstance(layout, Plain) else "?"
    return SavedTensor(values.dtype, _lengths(shape, (0,) * len(shape))[0], obstacle=f"is sparse ({kind})")


def _rebuild_nested(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    values, _sizes, _strides, _offsets = arguments
    if isinstance(values, Made):
        return meaning.made(values.by, (), is_tensor=True)
    return SavedTensor(values.dtype, (), obstacle="is a nested tensor")


def _rebuild_parameter(_: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    data, *_others = arguments
    if not isinstance(data, SavedTensor | Made):
        raise PickleError("its pickle makes a parameter of what is no tensor: damaged")
    return data


def _rebuild_parameter_with_state(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    data, _wants_gradient, _hooks, state = arguments
    _require_attributes(state)
    return _rebuild_parameter(meaning, (data,))


def _rebuild_of_type(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    function, kind, inner, state = arguments
    made = meaning.call(function, inner)
    if not isinstance(kind, Name) or not isinstance(made, SavedTensor | Made):
        raise PickleError("its pickle makes a tensor of what is no class: damaged")
    _require_attributes(state)
    return made if kind.dotted in TENSORS else meaning.made(kind.dotted, (made,))


def _require_attributes(state: Any) -> None:
    """See that what is written to a tensor's attributes does not exchange its data."""
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict) and "data" in part:
            raise PickleError("its pickle exchanges the data of a tensor after it was made: damaged")


def _rebuild_moved(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    data, dtype, _device, _wants_gradient = arguments
    if isinstance(data, SavedTensor) and data.dtype == _dtype_of(dtype):
        return data
    return meaning.made("torch._utils._rebuild_device_tensor_from_cpu_tensor", arguments)


def _rebuild_unknown(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Any:
    """A subclass that keeps its data where only it knows."""
    name = arguments[0].dotted if isinstance(arguments[0], Name) else "a class of tensors"
    return meaning.made(name, (), is_tensor=True)


def _spelt(name: Any) -> str:
    """A name in the words of a report, if it is one."""
    return name[:20] if isinstance(name, str) and name.isidentifier() else "?"


def _layout(_: TorchMeaning, arguments: tuple[Any, ...]) -> Plain:
    (name,) = arguments
    return Plain(_spelt(name.removeprefix("torch.")))


def _dictionary(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """An ordered dictionary: empty, as it is filled afterwards, or of pairs, as Python 2 wrote it."""
    found: dict[Any, Any] = {}
    for pairs in arguments:
        meaning.allowance.spend(STEP * (4 + 8 * len(pairs)))
        for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
            found[key if isinstance(key, str) else key_of(key)] = value
    return found


def _default_dictionary(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    return _dictionary(meaning, arguments[1:])


def _bytes_of(_: TorchMeaning, arguments: tuple[Any, ...]) -> Plain:
    text, *encoding = arguments
    if not (isinstance(text, str) or _is_plain(text, "str")) or not (encoding and encoding[0] in LATIN):
        raise PickleError("refused: loading it would encode text otherwise than as latin1, which spells bytes")
    return Plain("bytes")


def _byte_array(meaning: TorchMeaning, arguments: tuple[Any, ...]) -> Plain:
    if arguments and isinstance(arguments[0], int):
        raise PickleError(f"refused: loading it would take {arguments[0]:,} bytes of memory for nothing")
    if arguments and not _is_plain(arguments[0], "bytes"):
        _bytes_of(meaning, arguments)
    return Plain("bytearray")


def _is_plain(thing: Any, kind: str) -> bool:
    return isinstance(thing, Plain) and thing.type == kind


_CALLS: dict[str, Callable[[TorchMeaning, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_typed,
    "torch._utils._rebuild_tensor_v2": _rebuild_typed,
    "torch._utils._rebuild_tensor_v3": _rebuild_untyped,
    "torch._utils._rebuild_qtensor": _rebuild_quantised,
    "torch._utils._rebuild_meta_tensor_no_storage": _rebuild_planned,
    "torch._utils._rebuild_sparse_tensor": _rebuild_sparse,
    "torch._utils._rebuild_nested_tensor": _rebuild_nested,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter_with_state,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _rebuild_moved,
    "torch._utils._rebuild_wrapper_subclass": _rebuild_unknown,
    "torch._tensor._rebuild_from_type_v2": _rebuild_of_type,
    "torch.tensor._rebuild_from_type_v2": _rebuild_of_type,
    "torch.nn.parameter.Parameter": _rebuild_parameter,
    "torch.serialization._get_layout": _layout,
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "collections.defaultdict": _default_dictionary,
    "_codecs.encode": _bytes_of,
    "builtins.bytearray": _byte_array,
}
