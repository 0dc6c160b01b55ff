"""Results as JSON."""

import enum
import json
import os
import sys
from collections import namedtuple

from _runbook import host


def is_of(value, module, *names):
    # There is no such value where the module was never imported, and importing it costs milliseconds.
    module = sys.modules.get(module)
    return any(isinstance(value, getattr(module, name, ())) for name in names)


class ResultTooLarge(Exception):
    """Raised where the JSON of a result takes more than is allowed."""


def encode_other(value, room=sys.maxsize):
    """What `json` can't encode by itself; the list stands in docs/plugins.md.

    Nothing is made of what is certain to take more than `room` bytes of JSON.
    """
    if is_of(value, "datetime", "datetime", "date", "time"):
        return value.isoformat()
    if is_of(value, "datetime", "timedelta"):
        return value.total_seconds()
    if isinstance(value, os.PathLike) or is_of(value, "decimal", "Decimal") or is_of(value, "uuid", "UUID"):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (bytes, bytearray, memoryview)):
        if memoryview(value).nbytes > room:
            raise ResultTooLarge()
        return str(value if not isinstance(value, memoryview) else bytes(value), "utf-8", "replace")
    if isinstance(value, (set, frozenset)):
        if 3 * len(value) > room:
            # Three bytes for each: a digit, a comma, a space.
            raise ResultTooLarge()
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if hasattr(type(value), "__dataclass_fields__"):
        import dataclasses

        # Not `asdict`, which copies all that is below as well.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"a value of type {type(value).__name__} can't be written as JSON")


def result_text(value):
    """A value as the contract's `data`: text or null."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(value, allow_nan=False, default=encode_other)


Encoder = namedtuple("Encoder", "encode inside room")


def make_encoder():
    """An encoder for one thread, the table in which it remembers what it is inside of, and the list whose one
    item is how many bytes there is room for in what `encode_other` makes."""
    inside = {}
    room = [0]

    def encode_bounded(value):
        made = encode_other(value, room[0])
        left = host.measure(made, room[0])
        if left < 0:
            raise ResultTooLarge()
        room[0] = left
        return made

    if json.encoder.c_make_encoder is None:
        encoder = json.JSONEncoder(default=encode_bounded, allow_nan=False)
        return Encoder(lambda value, level: tuple(encoder.iterencode(value)), inside, room)
    encode = json.encoder.c_make_encoder(
        inside, encode_bounded, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, False
    )
    return Encoder(encode, inside, room)


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


scan_json = json.JSONDecoder(parse_constant=refuse_constant).scan_once
