"""Where the threads of a call are in their code, for a run that is to be stopped or that somebody looks at."""

import faulthandler
import linecache
import sys
import threading

from _runbook.exceptions import OWN_FILES, TEXT_LIMIT
from _runbook.output import current_call

# A plugin may put something else in its place.
current_frames = sys._current_frames
get_ident = threading.get_ident

# Frames of a thread, the innermost, and threads beside the call's own.
FRAME_LIMIT = 100
THREAD_LIMIT = 20


def describe_frame(frame):
    """As a traceback has it. Its source line only where that is in memory: no file is waited for."""
    code = frame.f_code
    number = frame.f_lineno
    text = f'  File "{code.co_filename}", line {number}, in {code.co_name}\n'
    try:
        line = linecache.cache[code.co_filename][2][number - 1].strip()
    except Exception:
        line = ""
    return f"{text}    {line}\n" if line else text


def describe_stack(frame, held):
    pieces = []
    while frame is not None and len(pieces) < FRAME_LIMIT:
        held.append(frame)
        if not frame.f_code.co_filename.startswith(OWN_FILES):
            pieces.append(describe_frame(frame))
        frame = frame.f_back
    if frame is not None:
        pieces.append("  [earlier calls left out]\n")
    return "".join(reversed(pieces))


def describe_call(call, number):
    """The stack of the thread that a call runs on, which has that number, and of those that the call has started.

    And all frames that were looked at: one that has returned meanwhile gives its plugin's objects back with us, which
    runs what their `__del__` says.
    """
    frames = current_frames()
    # Its own would hold itself.
    frames.pop(get_ident(), None)
    held = [frames]
    text = "Stack (most recent call last):\n" + describe_stack(frames.get(number), held)
    # Not by `threading.enumerate`, which takes a lock.
    others = [
        (thread.__dict__.get("_name"), frames[each])
        for each, thread in threading._active.copy().items()
        if each in frames and each != number and belongs(thread, call)
    ]
    for name, frame in others[:THREAD_LIMIT]:
        text += f'Thread "{name}" (most recent call last):\n' + describe_stack(frame, held)
    if len(others) > THREAD_LIMIT:
        text += f"[{len(others) - THREAD_LIMIT} more threads]\n"
    return text[:TEXT_LIMIT].encode("utf-8", "replace").decode("utf-8"), held


def belongs(thread, call):
    context = thread.__dict__.get("_runbook_context")
    return context is not None and context.get(current_call) is call


def write_stacks(signal, descriptor):
    """Has a signal write where all threads are, whoever holds the GIL."""
    faulthandler.register(signal, descriptor, all_threads=True)


def write_crashes(descriptor):
    """Has a crash of the process write there where all threads are, and not to standard error."""
    faulthandler.enable(descriptor, all_threads=True)
