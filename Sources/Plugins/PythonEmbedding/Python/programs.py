"""What is wrapped around the functions by which Python starts programs.

Programs write into the output of the call that started them, and carry its mark.
"""

import _posixsubprocess
import codecs
import os
import signal
import sys
from os import getpid
from time import sleep

from _runbook import host
from _runbook.contract import TimeLimitExceeded
from _runbook.output import ERRORS, OUTPUT, Capture, CapturedStream, OutputLimitExceeded, current_call

MARK = "RUNBOOK_RUN_ID"


class ProgramCapture:
    """A capture that programs write into as well, by a pipe: what they have written comes before what is added."""

    __slots__ = ("capture", "pipe", "decoder", "writers", "relaying")

    def __init__(self, capture, pipe):
        self.capture = capture
        self.pipe = pipe
        # Of its own: a character of theirs may not be whole when the plugin writes.
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # Threads of the plugin that are at it, and the process in which the host is: not one that was forked
        # from it. Not a lock: an exception that is injected just after one was taken leaves it held.
        self.writers = 0
        self.relaying = 0

    def pull(self, final=False):
        data = host.take_output(self.pipe)
        if data or final:
            self.capture.write(self.decoder.decode(data, final))

    def write(self, text):
        self.writing(self.capture.write, text)

    def write_bytes(self, data):
        self.writing(self.capture.write_bytes, data)

    def writing(self, write, data):
        self.writers += 1
        try:
            self.let_host_finish()
            self.pull()
            write(data)
        finally:
            self.writers -= 1

    def let_host_finish(self):
        # What it has taken comes first.
        while self.relaying == getpid():
            sleep(0)

    def relay(self):
        """Takes over what programs have written, for who watches. Called by the host; never waits."""
        self.relaying = getpid()
        try:
            # Otherwise the plugin itself does it in this moment.
            if self.writers == 0:
                self.pull()
        except OutputLimitExceeded:
            # The plugin hears of it when it writes, and the call's end shows it.
            pass
        finally:
            self.relaying = 0

    def encoded(self):
        self.let_host_finish()
        try:
            self.pull(True)
        except OutputLimitExceeded:
            # The call has ended; that it wrote too much is seen from the pipe.
            pass
        return self.capture.encoded()


def relay_programs(call):
    for capture in (call.out, call.err):
        if type(capture) is ProgramCapture:
            capture.relay()


def begin_program():
    """The descriptors that a program gets for its output and errors, and its mark; None outside of a call."""
    call = current_call.get(None)
    if call is None or call.finished:
        return None
    answer = host.begin_program(call)
    if answer is None:
        return None
    if answer is False:
        raise TimeLimitExceeded("the run is being stopped and may start no more programs")
    out, err, mark, out_pipe, err_pipe = answer
    if type(call.out) is not ProgramCapture:
        call.out = ProgramCapture(call.out or Capture(call.limit, call.tap, OUTPUT), out_pipe)
        call.err = ProgramCapture(call.err or Capture(call.limit, call.tap, ERRORS), err_pipe)
    return out, err, mark


def marked(environment, mark):
    """An environment for posix_spawn() and execve() with the mark in it."""
    environment = dict(os.environ if environment is None else environment)
    environment.pop(os.fsencode(MARK), None)
    environment[MARK] = mark
    return environment


def program_fork_exec():
    original = _posixsubprocess.fork_exec

    # What subprocess, and with it asyncio and os.popen(), and multiprocessing call. Positions: 5 is the list of
    # the environment, None for our own; 9 and 11 what becomes of standard output and error, -1 to inherit.
    def fork_exec(*arguments):
        started = begin_program()
        if started is None:
            return original(*arguments)
        out, err, mark = started
        arguments = list(arguments)
        environment = arguments[5]
        if environment is None:
            environment = [name + b"=" + value for name, value in os.environb.items()]
        name = os.fsencode(MARK) + b"="
        arguments[5] = [entry for entry in environment if not entry.startswith(name)]
        arguments[5].append(name + os.fsencode(mark))
        ours = {1: out, 2: err}
        for place, inherited in ((9, 1), (11, 2)):
            descriptor = arguments[place]
            arguments[place] = ours.get(inherited if descriptor == -1 else descriptor, descriptor)
        return original(*arguments)

    return fork_exec


def program_spawn(name):
    original = getattr(os, name)

    def posix_spawn(path, argv, env, /, *, file_actions=(), **options):
        started = begin_program()
        if started is None:
            return original(path, argv, env, file_actions=file_actions, **options)
        out, err, mark = started
        # Theirs come after that, and say otherwise where they want to.
        actions = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2), *(file_actions or ())]
        return original(path, argv, marked(env, mark), file_actions=actions, **options)

    posix_spawn.__name__ = posix_spawn.__qualname__ = name
    posix_spawn.__doc__ = original.__doc__
    return posix_spawn


def program_system():
    original = os.system

    def system(command):
        if current_call.get(None) is None:
            return original(command)
        sys.audit("os.system", command)
        command = os.fsencode(command)
        try:
            process = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ)
        except OSError:
            # As system(3) says it.
            return -1
        try:
            return os.waitpid(process, 0)[1]
        except BaseException:
            try:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            except OSError:
                pass
            raise

    system.__doc__ = original.__doc__
    return system


def program_spawnvef():
    original = os._spawnvef

    # What os.spawnl() and its kin come to: it calls `func` in a fork.
    def spawnvef(mode, file, args, env, func):
        started = begin_program()
        if started is None:
            return original(mode, file, args, env, func)
        out, err, mark = started
        searches = func in (os.execvp, os.execvpe)
        environment = marked(env, mark)

        def execute(file, args, *ignored):
            os.dup2(out, 1)
            os.dup2(err, 2)
            (os.execvpe if searches else os.execve)(file, args, environment)

        return original(mode, file, args, env, execute)

    return spawnvef


def wrap_what_starts_programs():
    _posixsubprocess.fork_exec = program_fork_exec()
    os.posix_spawn = program_spawn("posix_spawn")
    os.posix_spawnp = program_spawn("posix_spawnp")
    os.system = program_system()
    os._spawnvef = program_spawnvef()
    if "subprocess" in sys.modules:
        sys.modules["subprocess"]._fork_exec = _posixsubprocess.fork_exec
    # For `stdout=sys.stdout` and `stderr=subprocess.STDOUT`, and for what asks whether it is a terminal.
    CapturedStream.fileno = lambda self: 1 if self.attribute == "out" else 2
