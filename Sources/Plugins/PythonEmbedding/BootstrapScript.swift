import Diagnostics

/// The agent's own Python: what a plugin sees of its host, and what can't be said through the C API in fewer words.
///
/// It runs once, in a module of its own that plugins can't reach by name. The names it leaves behind are looked up
/// in ``Bootstrap``.
enum BootstrapScript {
    static let fileName = "<runbook-agent>"

    static let source = #"""
        import codecs
        import contextvars
        import enum
        import functools
        import importlib.machinery
        import io
        import json
        import linecache
        import logging
        import os
        # Not used: its first import takes SIGINT over, and here that is undone.
        import signal
        import sys
        import threading
        import traceback
        import types
        import warnings

        # --- output and logging, kept for the call that made them ---------------------------------------------

        current_call = contextvars.ContextVar("runbook_call")

        # So many times as much as is kept may be written before a run is stopped.
        FLOOD = 64


        class OutputLimitExceeded(BaseException):
            """Raised in a plugin's code when its run has written far more than is kept of it."""


        class Capture:
            """What one call wrote to one stream, up to a limit of UTF-8 bytes."""

            __slots__ = ("kept", "size", "limit", "decoder", "echo")

            def __init__(self, limit, echo=-1):
                # One object however many writes there are, empty ones included.
                self.kept = io.StringIO()
                self.size = 0
                self.limit = limit
                self.decoder = None
                # A descriptor that it is written to at once as well; -1 in the agent.
                self.echo = echo

            def write(self, text):
                # Characters are counted: no text has fewer bytes than that. `encoded` cuts to bytes.
                room = self.limit + 1 - self.size
                self.size += len(text)
                if room > 0:
                    part = text if len(text) <= room else text[:room]
                    self.kept.write(part)
                    if self.echo >= 0:
                        write_at_once(self.echo, part)
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


        def write_at_once(descriptor, text):
            """What `plugin call` shows while the call runs: for a terminal without what would move its cursor."""
            if os.isatty(descriptor):
                text = text.translate(CONTROL_CHARACTERS)
            data = text.encode("utf-8", "replace")
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
            except OSError:
                # Nobody reads any more; what is kept is kept.
                pass


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
                self.echo = echo_out if name == "stdout" else echo_err
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
                    capture = call.__dict__.setdefault(self.attribute, Capture(call.limit, self.echo))
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


        def carry_context_into_threads():
            """Threads started by a call write into that call's output (the default from Python 3.14 on)."""
            original_start = threading.Thread.start

            def running_in(context, thread, run):
                own = thread.__dict__.get("run")
                owner = host_thread_owner()

                def run_in_context():
                    # The thread would hold itself.
                    if own is None:
                        del thread.run
                    else:
                        thread.run = own
                    host_thread_began(owner, str(thread.name))
                    try:
                        context.run(run)
                    finally:
                        host_thread_ended()

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


        # --- what must not be interrupted, and what a call leaves behind on its thread ------------------------------

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
                # Of our own: what a module is entered under and taken away from, and what gives back a lock.
                __file__: frozenset(
                    ("load_plugin", "put_back", "start", "running_in", "run_in_context", "give_back")
                ),
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


        # --- results as JSON ----------------------------------------------------------------------------------


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


        def make_encoder():
            """An encoder for one thread, the table in which it remembers what it is inside of, and the list whose one
            item is how many bytes there is room for in what `encode_other` makes."""
            inside = {}
            room = [0]

            def encode_bounded(value):
                made = encode_other(value, room[0])
                left = host_measure(made, room[0])
                if left < 0:
                    raise ResultTooLarge()
                room[0] = left
                return made

            if json.encoder.c_make_encoder is None:
                encoder = json.JSONEncoder(default=encode_bounded, allow_nan=False)
                return (lambda value, level: tuple(encoder.iterencode(value))), inside, room
            return (
                json.encoder.c_make_encoder(
                    inside, encode_bounded, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, False
                ),
                inside,
                room,
            )


        def refuse_constant(name):
            raise ValueError(f"{name} is not JSON")


        scan_json = json.JSONDecoder(parse_constant=refuse_constant).scan_once


        # --- what an exception says ---------------------------------------------------------------------------


        def describe_type(exception):
            kind = type(exception)
            return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


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


        def describe(exception):
            trace = exception.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                trace = trace.tb_next
            kind = guarded(lambda: describe_type(exception), "Exception")
            message = guarded(lambda: str(exception), "(the exception's text could not be made)")
            try:
                text = format_traceback(exception, trace).encode("utf-8", "replace").decode("utf-8")
            except BaseException:
                text = "(the traceback could not be formatted)"
            return kind[:1024], message, text, trace is not None, isinstance(exception, MemoryError)


        """# + "\n\n" + modules + "\n\n" + #"""

            # --- plugins ------------------------------------------------------------------------------------------


            def make_plugin(plugin_class, plugin_id):
                """Its instance, with the `api` object if the constructor has a parameter of that name."""
                initializer = plugin_class.__init__
                while hasattr(initializer, "__wrapped__"):
                    initializer = initializer.__wrapped__
                code = getattr(initializer, "__code__", None)
                if code is None or "api" not in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
                    return plugin_class()
                # Those before a "/" can't be named; `self` is the first of them.
                if code.co_posonlyargcount > 1 and code.co_varnames[1] == "api":
                    return plugin_class(API(plugin_id))
                return plugin_class(api=API(plugin_id))


            # What stands for a plugin in `sys.modules` by our doing: a script may put something else there.
            plugin_modules = {}

            # Paths and bytes of these scripts, for the processes that they start.
            plugin_sources = {}


            def load_plugin(module_name, path, source, plugin_id):
                """Compiles and runs a script and makes its Plugin. Returns a stage, and its result or exception."""
                try:
                    code = compile(source, path, "exec", dont_inherit=True)
                except BaseException as exception:
                    return "compile", None, None, exception
                previous_lines = linecache.cache.get(path)
                text = source.decode("utf-8", "replace")
                linecache.cache[path] = (len(source), None, text.splitlines(True), path)
                module = types.ModuleType(module_name)
                module.__file__ = path
                previous = sys.modules.get(module_name)
                # Before the code runs: dataclasses and pickle look their module up by name.
                sys.modules[module_name] = module
                previous_source = plugin_sources.get(module_name)
                plugin_sources[module_name] = (path, source)
                call = current_call.get(None)
                if call is not None:
                    call.plugin = module
                stage = "execute"
                try:
                    exec(code, module.__dict__)
                    stage = "class"
                    plugin_class = module.__dict__.get("Plugin")
                    if not isinstance(plugin_class, type):
                        raise AttributeError("the script defines no class Plugin")
                    stage = "construct"
                    instance = make_plugin(plugin_class, plugin_id)
                    plugin_modules[module_name] = module
                    return "loaded", module, instance, None
                except BaseException as exception:
                    put_back(sys.modules, module_name, previous)
                    put_back(plugin_sources, module_name, previous_source)
                    # Made into text before the lines are taken away that it shows.
                    description = describe(exception)
                    put_back(linecache.cache, path, previous_lines)
                    return stage, description, None, exception


            def put_back(table, key, value):
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value


            def shut_down(instance):
                """Calls the plugin's optional shutdown()."""
                method = getattr(instance, "shutdown", None)
                if callable(method):
                    method()


            def forget_plugin(module_name, path, module, successor):
                """Takes a module out of service, unless another version of the script has taken its place."""
                if plugin_modules.get(module_name) is not module:
                    return
                if successor is not None:
                    plugin_modules[module_name] = sys.modules[module_name] = successor
                    return
                del plugin_modules[module_name]
                plugin_sources.pop(module_name, None)
                sys.modules.pop(module_name, None)
                linecache.cache.pop(path, None)


            def has_method(instance, name):
                """Whether an attribute is there that may be called. Runs none of the plugin's code."""
                for kind in type(instance).__mro__:
                    if name in kind.__dict__:
                        attribute = kind.__dict__[name]
                        break
                else:
                    try:
                        attribute = object.__getattribute__(instance, "__dict__")[name]
                    except (AttributeError, KeyError):
                        return hasattr(type(instance), "__getattr__")
                # What a descriptor gives is known only once it is asked.
                return callable(attribute) or hasattr(type(attribute), "__get__")


            def finish_output(call):
                """The UTF-8 bytes of both streams."""
                out, err = call.out, call.err
                return (out.encoded() if out is not None else b"", err.encoded() if err is not None else b"")


            # --- processes that a plugin starts with multiprocessing ------------------------------------------------


            class PluginForProcess:
                """Part of what such a process is sent first: it makes the plugin's module known there.

                Functions and objects of a script are sent by the name of its module, which no file has.
                """

                def __init__(self, module_name):
                    self.module_name = module_name

                def __reduce__(self):
                    known = {"plugins": {self.module_name: plugin_sources[self.module_name]}}
                    return exec, (spawned_source, known)


            def send_plugin_along(spawn):
                original = spawn.get_preparation_data

                def get_preparation_data(name):
                    data = original(name)
                    call = current_call.get(None)
                    module_name = getattr(getattr(call, "plugin", None), "__name__", None)
                    if module_name in plugin_sources:
                        data["runbook_plugin"] = PluginForProcess(module_name)
                    return data

                spawn.get_preparation_data = get_preparation_data


            class SpawnFinder:
                """Has `multiprocessing` changed when it is imported: importing it here would cost every start."""

                @staticmethod
                def find_spec(name, path=None, target=None):
                    if name != "multiprocessing.spawn":
                        return None
                    spec = importlib.machinery.PathFinder.find_spec(name, path, target)
                    if spec is not None and spec.loader is not None:
                        execute = spec.loader.exec_module

                        def exec_module(module):
                            execute(module)
                            send_plugin_along(module)

                        spec.loader.exec_module = exec_module
                    return spec


            install_streams()
            carry_context_into_threads()
            raise_injections_where_locks_are_given_back()
            install_modules()
            sys.meta_path.insert(0, SpawnFinder)
            """#

    /// The modules that existing scripts import.
    private static let modules = #"""
        class APIError(Exception):
            """A request to the backend that failed. `status` is None where there was no answer at all."""

            def __init__(self, message, status=None, body=None, code=None):
                super().__init__(message)
                self.status = status
                self.body = body
                self.code = code


        class TimeLimitExceeded(BaseException):
            """Raised in a plugin's code when the time limit of its run has passed."""


        class Record(dict):
            """A JSON object whose fields can also be read as attributes."""

            def __getattr__(self, name):
                try:
                    return self[name]
                except KeyError:
                    raise AttributeError(name) from None


        class Task(Record):
            pass


        class AgentDetails(Record):
            pass


        class AgentTasks(list):
            def getTasks(self):
                return list(self)


        def stop_requested():
            """Whether the time limit of the running call has passed and it is asked to return soon."""
            call = current_call.get(None)
            return call is not None and call.stop_requested


        class API:
            """The backend, with the agent's credentials."""

            def __init__(self, plugin_id):
                self._plugin_id = plugin_id

            def __repr__(self):
                return "<the agent's API>"

            @property
            def stop_requested(self):
                return stop_requested()

            def sendRequest(self, path, method, data=None):
                return self._request("/api", path, method, data)

            def graphQL(self, query, variables=None):
                return self._request("", "/graphql", "POST", {"query": query, "variables": variables or {}})

            def getAgentDetails(self):
                details = AgentDetails(self.sendRequest("/agent", "GET").get("data") or {})
                if details.get("plugins") is None:
                    details["plugins"] = []
                return details

            def getAgentTasks(self):
                return AgentTasks(Task(task) for task in self.sendRequest("/agent/tasks", "GET").get("data") or [])

            def sendTaskResult(self, task, result):
                if isinstance(task, dict):
                    task = task["id"]
                elif not isinstance(task, str):
                    task = task.id
                segment = "".join(
                    chr(byte) if chr(byte).isalnum() and byte < 128 or byte in b"-._~" else f"%{byte:02X}"
                    for byte in task.encode()
                )
                return self.sendRequest(f"/agent/task/{segment}", "POST", {"data": result_text(result)})

            def _request(self, prefix, path, method, data):
                method = method.upper()
                if method not in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
                    raise ValueError(f"{method!r} is not a method of HTTP that can be sent")
                if not path.startswith("/"):
                    path = "/" + path
                body = None if data is None else json.dumps(data, allow_nan=False, default=encode_other)
                status, text, code = host_request(self._plugin_id, method, prefix + path, body)
                if status is None:
                    raise APIError(text, code=code)
                if not 200 <= status < 300:
                    raise APIError(f"{method} {prefix + path} was answered with {status}: {text[:500]}", status, text)
                if not text.strip():
                    return None
                try:
                    return json.loads(text)
                except ValueError:
                    raise APIError(
                        f"{method} {prefix + path} was answered with something else than JSON: {text[:200]}", status, text
                    ) from None


        def install_modules():
            def module(name, **content):
                made = types.ModuleType(name)
                made.__dict__.update(content)
                for value in content.values():
                    if isinstance(value, type) or isinstance(value, types.FunctionType):
                        value.__module__ = name
                sys.modules[name] = made
                return made

            root = module("runbooksolutions")
            root.__path__ = []
            root.agent = module(
                "runbooksolutions.agent", stop_requested=stop_requested, TimeLimitExceeded=TimeLimitExceeded
            )
            root.agent.__path__ = []
            root.agent.Task = module("runbooksolutions.agent.Task", Task=Task)
            root.agent.API = module(
                "runbooksolutions.agent.API",
                API=API,
                APIError=APIError,
                AgentDetails=AgentDetails,
                AgentTasks=AgentTasks,
            )
        """#

    /// Run in a process that a plugin starts with `multiprocessing`, before anything of the plugin is. `plugins` has
    /// the path and the bytes of its script, by the name of its module.
    static let spawnedSource = #"""
        import contextvars
        import importlib.machinery
        import json
        import linecache
        import sys
        import types

        current_call = contextvars.ContextVar("runbook_call")


        """# + modules + #"""


            class PluginLoader:
                @staticmethod
                def create_module(spec):
                    return None

                @staticmethod
                def exec_module(module):
                    path, source = plugins[module.__name__]
                    module.__file__ = path
                    lines = source.decode("utf-8", "replace").splitlines(True)
                    linecache.cache[path] = (len(source), None, lines, path)
                    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)


            class PluginFinder:
                @staticmethod
                def find_spec(name, path=None, target=None):
                    return importlib.machinery.ModuleSpec(name, PluginLoader) if name in plugins else None


            def unavailable(self, *arguments, **keywords):
                raise APIError("the api object does not work in a process that a plugin started", code="api.no_agent")


            for name in ("sendRequest", "graphQL", "getAgentDetails", "getAgentTasks", "sendTaskResult"):
                setattr(API, name, unavailable)
            install_modules()
            sys.meta_path.insert(0, PluginFinder)
            """#
}
