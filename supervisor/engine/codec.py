"""The core's values as JSON, and back: field by field, checked against their types.

What is read may have been written by another version, or by anybody: a field that is missing has its default, and
whatever does not fit is a ValueError that says where.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct
from msgspec.structs import asdict

from supervisor.core import launch, model, outcome, policy, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Tables = Mapping[type, Sequence[Any]]

_NAMES = {**vars(model), **vars(launch), **vars(policy), **vars(outcome), **vars(record)}
"""Where the fields' types are looked up: a module of the core imports some of them for the type checker alone."""

_NO_TABLES: Tables = MappingProxyType({})


def plain(value: object) -> dict[str, Any]:
    """One of the core's values, as far down as JSON needs it. For `json.dumps`: its `default`. Raises TypeError."""
    return asdict(value)  # type: ignore[arg-type]  # what is no Struct is refused there


def decoded(  # noqa: PLR0911 - one a kind of type
    kind: Any,  # noqa: ANN401 - a type of whatever form
    value: object,
    where: str = "",
    tables: Tables = _NO_TABLES,
) -> Any:  # noqa: ANN401 - a value of that type
    """The value of that type that `value` is the JSON of. Raises ValueError.

    A type that has a table is told by a number in that.
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _one_of(get_args(kind), value, where, tables)
    if origin is tuple:
        return _sequence(get_args(kind), value, where, tables)
    if kind in tables:
        return _from_table(tables[kind], value, where)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _object(kind, value, where, tables)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)  # a ValueError says which word it does not know
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where or 'it'} is {value!r}, and not {getattr(kind, '__name__', kind)}")
    return value


def _one_of(kinds: tuple[Any, ...], value: object, where: str, tables: Tables) -> Any:  # noqa: ANN401 - a value of whatever type is asked for
    if value is None and NoneType in kinds:
        return None
    *most, last = (each for each in kinds if each is not NoneType)
    for each in most:
        try:
            return decoded(each, value, where, tables)
        except ValueError:
            continue
    return decoded(last, value, where, tables)


def _from_table(table: Sequence[Any], value: object, where: str) -> Any:  # noqa: ANN401 - a value of whatever type is asked for
    if type(value) is not int or not 0 <= value < len(table):
        raise ValueError(f"{where} is {value!r}, and no number of {len(table)}")
    return table[value]


def _sequence(kinds: tuple[Any, ...], value: object, where: str, tables: Tables) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is {value!r}, and not a list")  # noqa: TRY004 - of a file, and not of a caller
    if kinds[-1] is Ellipsis:
        return tuple(decoded(kinds[0], each, where, tables) for each in value)
    if len(kinds) != len(value):
        raise ValueError(f"{where} has {len(value)} items, and not {len(kinds)}")
    return tuple(decoded(kind, each, where, tables) for kind, each in zip(kinds, value, strict=True))


def _object(kind: Any, value: object, where: str, tables: Tables) -> Any:  # noqa: ANN401 - a value of whatever type is asked for
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}, and not an object")  # noqa: TRY004 - of a file, and not of a caller
    types = _types(kind)
    unknown = sorted(value.keys() - types.keys())
    if unknown:
        raise ValueError(f"{where or kind.__name__}.{unknown[0]} is of a version that this one does not know")
    missing = [name for name in _required(kind) if name not in value]
    if missing:
        raise ValueError(f"{where or kind.__name__}.{missing[0]} is missing")
    inside = {name: f"{where}.{name}".lstrip(".") for name in value}
    return kind(**{name: decoded(types[name], each, inside[name], tables) for name, each in value.items()})


@cache
def _required(kind: type[Struct]) -> tuple[str, ...]:
    """The fields that have no default. The defaults are told of the last fields (msgspec, `__struct_defaults__`)."""
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    last = dict(zip(reversed(names), reversed(defaults), strict=False))
    return tuple(name for name in names if last.get(name, NODEFAULT) is NODEFAULT)


@cache
def _types(kind: type[Struct]) -> dict[str, Any]:
    hints = get_type_hints(kind, localns=_NAMES)
    return {name: hints[name] for name in kind.__struct_fields__}
