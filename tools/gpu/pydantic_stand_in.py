"""Pydantic's names for a machine without it: reads the files of this repository, and checks nothing.

A machine that is lent for minutes may have PyTorch and no pydantic, and specvit's readers are made of it. What they read
during a visit comes with the checkout, and the tests have read it with pydantic; here it is only put into the same
classes. `tests/gpu` compares the worlds that both give, number by number. Never use it on a file of anybody else.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import importlib.machinery
import json
import sys
import types
import typing
from typing import Annotated, Any, Literal, get_args, get_origin

MISSING = object()


class FieldInfo:
    """What a model knows of one of its fields."""

    def __init__(self, default: Any = MISSING, *, default_factory: Any = None, **_: Any) -> None:
        self.default, self.default_factory = default, default_factory
        self.annotation: Any = None
        self.metadata: list[Any] = []

    def get_default(self) -> Any:
        """Return the default, as `value` does: what pydantic calls it."""
        return self.value()

    def value(self) -> Any:
        """Return the default."""
        if self.default_factory is not None:
            return self.default_factory()
        if self.default is MISSING:
            raise ValueError("has no default")
        return self.default


class _Fields:
    """`model_fields`, found when first asked for: annotations may name classes that come later."""

    def __get__(self, instance: Any, owner: Any) -> dict[str, FieldInfo]:
        if "_found" not in owner.__dict__:
            owner._found = _fields_of(owner)
        return owner._found


def _fields_of(model: type) -> dict[str, FieldInfo]:
    found = {}
    for name, hint in typing.get_type_hints(model, include_extras=True).items():
        if name in ("model_config", "model_fields") or get_origin(hint) is typing.ClassVar:
            continue
        stated = getattr(model, name, MISSING)
        info = copy.copy(stated) if isinstance(stated, FieldInfo) else FieldInfo(stated)
        annotated = get_origin(hint) is Annotated
        info.annotation = get_args(hint)[0] if annotated else hint
        info.metadata = list(hint.__metadata__) if annotated else []
        found[name] = info
    return found


class BaseModel:
    """A record of its annotated fields."""

    model_fields = _Fields()

    def __init__(self, **values: Any) -> None:
        self.model_fields_set = set(values)
        for name, info in type(self).model_fields.items():
            given = _converted(info.annotation, values[name]) if name in values else info.value()
            setattr(self, name, given)

    @classmethod
    def model_validate(cls, values: Any) -> Any:
        """Return the record of some tables."""
        return values if isinstance(values, cls) else cls(**values)

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Return the record as plain values, by the serializer of its class if it has one."""
        serializers = [
            v for kind in type(self).__mro__ for v in vars(kind).values() if hasattr(v, "_serializes")
        ]
        dumped: dict[str, Any] = (
            serializers[0](self, _fields_as_plain) if serializers else _fields_as_plain(self)
        )
        return dumped

    def model_copy(self, *, update: dict[str, Any] | None = None) -> Any:
        """Return a copy with fields replaced, as they are given."""
        copied = copy.copy(self)
        for name, value in (update or {}).items():
            setattr(copied, name, value)
        copied.model_fields_set = self.model_fields_set | set(update or {})
        return copied

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)


def _fields_as_plain(record: BaseModel) -> dict[str, Any]:
    return {name: _plain(getattr(record, name)) for name in type(record).model_fields}


def _serializer(*_: Any, **__: Any) -> Any:
    """Return a decorator that marks the method by which `model_dump` is made."""

    def mark(method: Any) -> Any:
        method._serializes = True
        return method

    return mark


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _converted(hint: Any, value: Any) -> Any:
    """Return a value that a document holds as what the annotation says."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _converted(parts[0], value)
    if origin in (typing.Union, types.UnionType):
        return _of_union(parts, value)
    if origin is list:
        return [_converted(parts[0], part) for part in value]
    if origin is tuple:
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(_converted(kind, part) for kind, part in zip(kinds, value, strict=True))
    if hint is float:
        return float(value)
    if isinstance(hint, type) and isinstance(value, dict):
        if issubclass(hint, BaseModel):
            return hint(**value)
        if dataclasses.is_dataclass(hint):
            hints = typing.get_type_hints(hint, include_extras=True)
            return hint(**{name: _converted(hints[name], part) for name, part in value.items()})
    return value


def _of_union(parts: tuple[Any, ...], value: Any) -> Any:
    plain = list(_members(parts))
    if value is None and type(None) in plain:
        return None
    models = [part for part in plain if isinstance(part, type) and issubclass(part, BaseModel)]
    if isinstance(value, dict) and models:
        return next(model for model in models if _fits(model, value))(**value)
    if isinstance(value, int | float) and not isinstance(value, bool) and float in plain:
        return float(value)
    lists = [part for part in plain if get_origin(part) in (list, tuple)]
    return _converted(lists[0], value) if isinstance(value, list) and lists else value


def _members(parts: tuple[Any, ...]) -> typing.Iterator[Any]:
    """Yield the members of a union, and of unions among them, without what is noted beside them."""
    for part in parts:
        bare = get_args(part)[0] if get_origin(part) is Annotated else part
        if get_origin(bare) in (typing.Union, types.UnionType):
            yield from _members(get_args(bare))
        else:
            yield bare


def _fits(model: Any, values: dict[str, Any]) -> bool:
    fields = model.model_fields
    chosen = all(
        values.get(name) in get_args(info.annotation)
        for name, info in fields.items()
        if name == "kind" and get_origin(info.annotation) is Literal
    )
    return chosen and set(values) <= set(fields)


class TypeAdapter:
    """Reads plain values into any annotation."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def validate_json(self, text: str, **_: Any) -> Any:
        """Return what a JSON document says."""
        return _converted(self.kind, json.loads(text))

    def validate_python(self, values: Any, **_: Any) -> Any:
        """Return what plain values say."""
        return _converted(self.kind, values)


class ValidationError(ValueError):
    """Never raised: nothing is checked."""


def _left_alone(*_: Any, **__: Any) -> Any:
    """Return a decorator that changes nothing: checks of whole models are not made."""
    return lambda function: function


class _Note:
    """What an annotation carries along for pydantic alone."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


def _modules() -> dict[str, types.ModuleType]:
    stand_in, core = types.ModuleType("pydantic"), types.ModuleType("pydantic_core")
    for module in (stand_in, core):
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        module.__doc__ = __doc__
    core.CoreSchema = Any  # type: ignore[attr-defined]
    names = {
        "BaseModel": BaseModel, "Field": FieldInfo, "TypeAdapter": TypeAdapter, "ValidationError": ValidationError,
        "ConfigDict": dict, "AfterValidator": _Note, "BeforeValidator": _Note, "Discriminator": _Note,
        "Tag": _Note, "GetCoreSchemaHandler": Any, "SerializerFunctionWrapHandler": Any, "model_serializer": _serializer, "model_validator": _left_alone, "field_validator": _left_alone,
    }  # fmt: skip
    vars(stand_in).update(names)
    return {"pydantic": stand_in, "pydantic_core": core}


def install_if_missing() -> bool:
    """Let `import pydantic` find this where there is no pydantic; return whether it does."""
    try:
        importlib.import_module("pydantic")
    except ImportError:
        sys.modules.update(_modules())
        return True
    return False
