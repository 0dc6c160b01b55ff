"""What an exception says to people."""

import os
import traceback
from collections import namedtuple


def describe_type(exception):
    kind = type(exception)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


OWN_FILES = os.path.dirname(__file__) + "/"

# Characters of an exception's text and of its traceback that are kept.
TEXT_LIMIT = 65536


def guarded(function, fallback):
    # `str` and the traceback's formatting run the plugin's own code, which may raise anything.
    try:
        # Cut before it is copied: it may be as long as memory allows.
        return str(function())[:TEXT_LIMIT].encode("utf-8", "replace").decode("utf-8")
    except BaseException:
        return fallback


def format_traceback(exception, trace):
    """The traceback as Python writes it, made piece by piece, with its middle cut where it is long."""
    report = traceback.TracebackException(type(exception), exception, trace, compact=True)
    waiting = [report]
    while waiting:
        each = waiting.pop()
        text = getattr(each, "_str", None)
        if isinstance(text, str) and len(text) > TEXT_LIMIT:
            each._str = text[:TEXT_LIMIT]
        others = (each.__cause__, each.__context__, *(getattr(each, "exceptions", None) or ()))
        waiting += [other for other in others if other is not None]
    half = TEXT_LIMIT // 2
    head = tail = ""
    is_cut = False
    for piece in report.format():
        room = 0 if tail else half - len(head)
        head += piece[:room]
        tail += piece[room:][-half:]
        if len(piece) - room > half or len(tail) > half:
            is_cut = True
            tail = tail[-half:]
    return head + ("\n[traceback cut]\n" if is_cut else "") + tail


# What of an exception goes into a result. `raised_inside`: it came from the plugin's code or from what that called.
Description = namedtuple("Description", "type message traceback raised_inside is_memory_error")


def describe(exception):
    trace = exception.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OWN_FILES):
        trace = trace.tb_next
    kind = guarded(lambda: describe_type(exception), "Exception")
    message = guarded(lambda: str(exception), "(the exception's text could not be made)")
    try:
        text = format_traceback(exception, trace).encode("utf-8", "replace").decode("utf-8")
    except BaseException:
        text = "(the traceback could not be formatted)"
    return Description(kind[:1024], message, text, trace is not None, isinstance(exception, MemoryError))
