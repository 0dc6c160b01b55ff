"""What calls write, kept for the call that made it: standard output, standard error and log records."""

import codecs
import contextvars
import io
import logging
import sys

from _runbook import host

current_call = contextvars.ContextVar("runbook_call")

# So many times as much as is kept may be written before a run is stopped.
FLOOD = 64

# The streams, numbered as their descriptors.
OUTPUT = 1
ERRORS = 2


class OutputLimitExceeded(BaseException):
    """Raised in a plugin's code when its run has written far more than is kept of it."""


class Capture:
    """What one call wrote to one stream, up to a limit of UTF-8 bytes."""

    __slots__ = ("kept", "size", "limit", "decoder", "tap", "stream")

    def __init__(self, limit, tap=0, stream=OUTPUT):
        # One object however many writes there are, empty ones included.
        self.kept = io.StringIO()
        self.size = 0
        self.limit = limit
        self.decoder = None
        # Who is told of it at once as well; 0 for nobody.
        self.tap = tap
        self.stream = stream

    def write(self, text):
        # Characters are counted: no text has fewer bytes than that. `encoded` cuts to bytes.
        room = self.limit + 1 - self.size
        self.size += len(text)
        if room > 0:
            part = text if len(text) <= room else text[:room]
            start = self.size - len(text)
            self.kept.write(part)
            # Bytes may be a part of a character, or none.
            if self.tap and part:
                host.emit(self.tap, self.stream, start, part)
        elif self.size > FLOOD * self.limit:
            # It would go on until its time limit.
            raise OutputLimitExceeded(f"{FLOOD * self.limit} characters")

    def write_bytes(self, data):
        # A character may come in pieces, one a write.
        if self.decoder is None:
            self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.write(self.decoder.decode(data))

    def encoded(self):
        if self.decoder is not None:
            self.kept.write(self.decoder.decode(b"", True))
        data = self.kept.getvalue().encode("utf-8", "replace")
        if len(data) <= self.limit:
            return data
        kept = data[: self.limit].decode("utf-8", "ignore").encode("utf-8")
        return kept + f"\n[output cut after {self.limit} bytes]\n".encode()


class Call:
    # Most calls write nothing: the captures are made when they are first written to.
    out = None
    err = None
    limit = 1 << 20
    # Names who is told what it writes while it runs; 0 for nobody.
    tap = 0
    finished = False
    stop_requested = False
    # The module of the plugin whose call it is.
    plugin = None


# As `withoutControlCharacters` of AgentModel: what the direction of writing is reversed by too.
CONTROL_CHARACTERS = {
    number: "\ufffd"
    for number in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(number) not in "\n\t"
}


class CapturedBuffer(io.RawIOBase):
    """The `buffer` of a captured stream, for plugins that write bytes."""

    def __init__(self, stream):
        self.stream = stream

    def writable(self):
        return True

    def write(self, data):
        data = bytes(data)
        capture = self.stream.capture()
        if capture is None:
            self.stream.write_to_host(data.decode("utf-8", "replace"))
        else:
            capture.write_bytes(data)
        return len(data)

    def close(self):
        # A TextIOWrapper that a plugin put around it closes it when it goes away.
        pass


class CapturedStream(io.TextIOBase):
    """Stands in for `sys.stdout` and `sys.stderr` for good and finds out whose output it is."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, name, host_stream):
        self.attribute = "out" if name == "stdout" else "err"
        self.stream = OUTPUT if name == "stdout" else ERRORS
        self.host_stream = host_stream
        self.name = f"<{name}>"
        self.buffer = CapturedBuffer(self)

    def writable(self):
        return True

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not text:
            # `print("", end="")` comes here twice.
            return 0
        capture = self.capture()
        if capture is None:
            self.write_to_host(text)
        else:
            capture.write(text)
        return len(text)

    def capture(self):
        """That of the call this code runs for; None where there is no call, or where it has ended."""
        call = current_call.get(None)
        if call is None or call.finished:
            return None
        capture = getattr(call, self.attribute)
        if capture is None:
            # One step, so that two threads of the call never make one each.
            capture = call.__dict__.setdefault(self.attribute, Capture(call.limit, call.tap, self.stream))
        return capture

    def write_to_host(self, text):
        # A thread that outlived its call: the host's own standard error is all that is left. It may be a
        # terminal, which control characters would move.
        if self.host_stream is not None:
            self.host_stream.write(text.translate(CONTROL_CHARACTERS))

    def reconfigure(self, **options):
        # Scripts ask for UTF-8 or for line buffering: they have both.
        pass

    def close(self):
        # A plugin that closes its standard output must not close everybody's.
        pass


class NoLock:
    """Stands where a log handler has its lock."""

    def acquire(self, *arguments, **keywords):
        return True

    def release(self):
        pass

    def __enter__(self):
        return True

    def __exit__(self, *exception):
        pass

    def _at_fork_reinit(self):
        pass


class CallLogHandler(logging.Handler):
    """Puts log records on the standard error of the call they belong to.

    It has no lock: each call has a capture of its own, and an exception that is injected just after a lock was
    taken leaves it held for good, for every plugin that logs.
    """

    def createLock(self):
        self.lock = NoLock()

    def handle(self, record):
        # As the original (`Handler.handle`) without its lock.
        kept = self.filter(record)
        if isinstance(kept, logging.LogRecord):
            record = kept
        if kept:
            self.emit(record)
        return kept

    def emit(self, record):
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def install_streams():
    host_stream = sys.__stderr__
    sys.stdout = sys.__stdout__ = CapturedStream("stdout", host_stream)
    sys.stderr = sys.__stderr__ = CapturedStream("stderr", host_stream)
    sys.stdin = sys.__stdin__ = io.StringIO("")
    handler = CallLogHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)


def attach(call, tap):
    """Has a running call told from here on what it writes, and returns what it has written to each stream.

    What is written meanwhile may be told and be in what is returned: its place in the stream shows that.
    """
    call.tap = tap
    texts = []
    for capture in (call.out, call.err):
        if capture is None:
            texts.append("")
        else:
            # Of a call that has started programs: the one that those write into too.
            capture = getattr(capture, "capture", capture)
            capture.tap = tap
            texts.append(capture.kept.getvalue())
    return tuple(texts)


def finish_output(call):
    """The UTF-8 bytes of both streams."""
    out, err = call.out, call.err
    return (out.encoded() if out is not None else b"", err.encoded() if err is not None else b"")
