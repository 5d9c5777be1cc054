"""Every error of a file, where msgspec stops at the first one."""

import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

__all__ = ["every_error"]

Hook = Callable[[type, object], object]


def every_error(
    raw: Any,  # noqa: ANN401 - TOML
    kind: Any,  # noqa: ANN401 - a type
    decode: Hook,
    path: str = "",
) -> Iterator[str]:
    """The errors of a value, in the words of msgspec, each with the path to it.

    Tables and lists are converted part by part: one error hides no other one in another part.

    Args:
        raw: the value, as TOML has it.
        kind: the type that it should have: a Struct, a tuple of one type, or any other type, which
            is converted as a whole.
        decode: msgspec's hook for types of our own.
        path: where the value is, such as `.peers[0]`.
    """
    try:
        msgspec.convert(raw, kind, dec_hook=decode)
    except msgspec.ValidationError as error:
        text, _, inner = str(error).partition(" - at `$")
        whole = f"{text} - at `${path}{inner.rstrip('`')}`"
    else:
        return
    parts = list(_of_the_parts(raw, _chosen(raw, kind), decode, path))
    yield from parts or [whole]


def _of_the_parts(
    raw: Any,  # noqa: ANN401 - TOML
    kind: Any,  # noqa: ANN401 - a type
    decode: Hook,
    path: str,
) -> Iterator[str]:
    if isinstance(raw, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for key in raw:
            if key not in fields and key != kind.__struct_config__.tag_field:
                yield f"Object contains unknown field `{key}` - at `${path}`"
        for key, field in fields.items():
            if key in raw:
                yield from every_error(raw[key], field.type, decode, f"{path}.{key}")
            elif field.required:
                yield f"Object missing required field `{key}` - at `${path}`"
    elif isinstance(raw, list) and get_origin(kind) is tuple:
        for i, each in enumerate(raw):
            yield from every_error(each, get_args(kind)[0], decode, f"{path}[{i}]")


def _chosen(raw: Any, kind: Any) -> Any:  # noqa: ANN401 - TOML, and a type
    """A type without its annotations; of a union, the member that the value is meant to be."""
    if get_origin(kind) is Annotated:
        return _chosen(raw, get_args(kind)[0])
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    members = [each for each in get_args(kind) if each is not type(None)]
    tag = raw.get("type") if isinstance(raw, dict) else None
    tagged = (each for each in members if hasattr(each, "__struct_config__"))
    named = next((each for each in tagged if tag and each.__struct_config__.tag == tag), None)
    return _chosen(raw, members[0]) if len(members) == 1 else named
