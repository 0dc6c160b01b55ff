extension CallCase {
    private static func writing(
        _ name: String, _ body: String, stdout: String = "", stderr: String = "", value: String? = nil, top: String = ""
    ) -> CallCase {
        CallCase(
            name: name, script: plugin("", body, top: top), expectation: .value(value), stdout: stdout, stderr: stderr)
    }

    public static let output: [CallCase] = [
        writing("nothing", "pass"),
        writing("print", "print('a', 'b')\nprint('ü')", stdout: "a b\nü\n"),
        writing("standard error", "import sys; print('e', file=sys.stderr)", stderr: "e\n"),
        writing(
            "log records", "import logging; logging.getLogger('part').info('n %d', 3); logging.debug('no')",
            stderr: "INFO part: n 3\n"),
        writing("bytes", "import sys; sys.stdout.buffer.write('ü'.encode())", stdout: "ü"),
        writing(
            "a character in two writes",
            "import sys\nsys.stdout.buffer.write(b'\\xc3')\nsys.stdout.buffer.write(b'\\xbc')\nreturn None",
            stdout: "ü"),
        writing(
            "half a character", "import sys\nsys.stdout.buffer.write(b'\\xc3')\nreturn None", stdout: "\u{FFFD}"),
        writing("lone surrogate", "print('\\ud800')", stdout: "?\n"),
        writing("close", "import sys; sys.stdout.close(); print('on')", stdout: "on\n"),
        writing(
            "a wrapper around the buffer",
            "import io, sys\nwrapper = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nwrapper.write('a')\n"
                + "del wrapper\nio.TextIOWrapper(sys.stdout.buffer).write('b')\nreturn None", stdout: "ab"),
        writing("reconfigure", "import sys; sys.stdout.reconfigure(line_buffering=True); print(1)", stdout: "1\n"),
        writing("standard input is empty", "import sys; return repr(sys.stdin.read())", value: "''"),
        CallCase(
            name: "input()", script: plugin("", "return input()"), expectation: .raised("EOFError")),
        writing(
            "a thread of the call",
            "t = threading.Thread(target=lambda: print('in thread')); t.start(); t.join()", stdout: "in thread\n",
            top: "import threading"),
        writing(
            "a Thread with run of its own", "t = T(); t.start(); t.join(); print('run' in t.__dict__)",
            stdout: "own\nFalse\n",
            top: "import threading\nclass T(threading.Thread):\n    def run(self): print('own')"),
        writing(
            "a Thread with start of its own", "t = T(); t.start(); t.join()", stdout: "start\nown\n",
            top: "import threading\nclass T(threading.Thread):\n"
                + "    def start(self):\n        print('start')\n        super().start()\n"
                + "    def run(self): print('own')"),
        writing(
            "run set on the instance",
            "t = threading.Thread(); t.run = lambda: print('set'); t.start(); t.join()", stdout: "set\n",
            top: "import threading"),
        writing(
            "a Thread started twice",
            "t = threading.Thread(target=lambda: print('x')); t.start(); t.join()\n"
                + "try: t.start()\nexcept RuntimeError as error: print(error)",
            stdout: "x\nthreads can only be started once\n", top: "import threading"),
        writing(
            "a Thread that was not initialised",
            "try: T().start()\nexcept RuntimeError as error: print(error)",
            stdout: "thread.__init__() not called\n",
            top: "import threading\nclass T(threading.Thread):\n    def __init__(self): pass"),
        writing(
            "a pool of threads",
            "with concurrent.futures.ThreadPoolExecutor(2) as pool: list(pool.map(lambda n: print('p'), range(2)))",
            stdout: "p\np\n", top: "import concurrent.futures"),
        writing(
            "asyncio", "import asyncio\nasync def main(): print('a')\nasyncio.run(main())\nreturn None", stdout: "a\n"),
    ]
}
