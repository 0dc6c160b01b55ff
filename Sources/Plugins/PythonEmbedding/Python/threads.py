"""Threads that run plugins, and those that plugins start: their context, and where they may be interrupted."""

import contextvars
import functools
import importlib
import logging
import os
import sys
import threading

from _runbook import host
from _runbook.contract import TimeLimitExceeded


def carry_context_into_threads():
    """Threads started by a call write into that call's output (the default from Python 3.14 on)."""
    original_start = threading.Thread.start

    def running_in(context, thread, run):
        own = thread.__dict__.get("run")
        owner = host.thread_owner()

        def run_in_context():
            # The thread would hold itself.
            if own is None:
                del thread.run
            else:
                thread.run = own
            host.thread_began(owner, str(thread.name))
            try:
                context.run(run)
            finally:
                host.thread_ended()

        run_in_context.runbook_context = context
        return run_in_context

    def start(self):
        # Anything else is an error that the original reports.
        if getattr(self, "_initialized", False) and not self._started.is_set():
            run = self.run
            if not hasattr(run, "runbook_context"):
                self._runbook_context = contextvars.copy_context()
                self.run = running_in(self._runbook_context, self, run)
        return original_start(self)

    start.__doc__ = original_start.__doc__
    threading.Thread.start = start
    report = threading.excepthook

    def report_in_context(args):
        # It is called when the thread has left the context that it ran in.
        context = getattr(args.thread, "_runbook_context", None)
        if context is None:
            report(args)
        else:
            context.run(report, args)

    threading.excepthook = report_in_context


def uninterruptible():
    """In which functions no exception may be injected: by the file of their code, their names, or None for all.

    These take or give back a lock that more than one plugin uses, in a Python function of its own: an
    exception that is raised between the lock and the `try` behind it leaves the lock held. What is raised in
    any other place meets a `try` or a `with`, or nothing that is shared. The injection waits until such a
    function has returned.
    """
    locks = frozenset(("acquire", "release", "__enter__", "__exit__", "_acquire_restore", "_release_save"))
    logging_file = logging.Handler.acquire.__code__.co_filename
    library = os.path.dirname(os.path.dirname(logging_file))
    return {
        # `_clear_cache` has no `try` behind its lock.
        logging_file: locks | {"_acquireLock", "_releaseLock", "_clear_cache", "handle"},
        threading.Condition.wait.__code__.co_filename: locks,
        # These take a lock and do more than that.
        f"{library}/tempfile.py": frozenset(("_get_candidate_names", "_gettempdir")),
        # What it leaves behind keeps a set of weak references from being cleared up.
        f"{library}/_weakrefset.py": locks,
        # The lock of a module that is being imported, and the one of all imports.
        "<frozen importlib._bootstrap>": None,
        # Of our own: what gives back a lock, what starts a thread, and what enters a module and takes it away.
        __file__: frozenset(("give_back", "start", "running_in", "run_in_context")),
        f"{os.path.dirname(__file__)}/plugins.py": frozenset(("load_plugin", "put_back")),
    }


# Threads, by their number, whose call was in such a function when an exception was injected.
waiting_injections = {}


def raise_waiting_injection():
    if waiting_injections.pop(threading.get_ident(), None) is not None:
        raise TimeLimitExceeded()


def raising_afterwards(release):
    """Has a function that gives a lock back raise the exception that waited for that.

    A call that does nothing but take locks is at hardly any other place where it may be raised.
    """

    def give_back(*arguments, **keywords):
        result = release(*arguments, **keywords)
        if waiting_injections:
            raise_waiting_injection()
        return result

    return functools.wraps(release)(give_back)


def raise_injections_where_locks_are_given_back():
    # Python 3.13 takes the lock of the module logging with `with`, which calls no Python function.
    if hasattr(logging, "_releaseLock"):
        logging._releaseLock = raising_afterwards(logging._releaseLock)
    for owner, name in (
        (logging.Handler, "release"),
        (threading.Condition, "__exit__"),
        (importlib._bootstrap._ModuleLockManager, "__exit__"),
    ):
        setattr(owner, name, raising_afterwards(getattr(owner, name)))


def reset_thread():
    """Takes away what another plugin left on this thread: the event loop of asyncio."""
    events = sys.modules.get("asyncio.events")
    try:
        if events is not None:
            events._set_running_loop(None)
            local = getattr(getattr(events, "_event_loop_policy", None), "_local", None)
            if local is not None:
                local.__dict__.clear()
    except Exception:
        # A policy of somebody else's making.
        pass
