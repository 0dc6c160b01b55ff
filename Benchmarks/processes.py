#!/usr/bin/env python3
"""Measures what only whole processes show, each beside a reference from the same run.

    Benchmarks/processes.py FOLDER OUTPUT [ROW...]

FOLDER has the built runbook-agent, runbook-backend and runbook. OUTPUT gets a line "name value" for each figure: times
in nanoseconds, memory in bytes. ROW limits it to some of the rows.
"""

import contextlib
import datetime
import hashlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SCRIPT = """
import time
class Plugin:
    def square(self, number): return number ** 2
    def talk(self):
        print(time.time_ns(), flush=True)
        time.sleep(0.2)
    def burn(self, count):
        total = 0
        for number in range(count): total += number * number
        return total
"""
FUNCTIONS = {"square": "square", "talk": "talk", "burn": "burn"}
# The system's, whatever the path has in front of it.
PYTHON = "/usr/bin/python3"


class Backend:
    """A backend of ours on a free port, with the agent of 127.0.0.1 registered."""

    def __init__(self, folder, binaries, *arguments):
        self.folder = folder
        self.log = os.path.join(folder, "backend.log")
        self.process = subprocess.Popen(
            [os.path.join(binaries, "runbook-backend"), "serve", "--init", "--auth", "none", "--listen", "127.0.0.1:0"]
            + ["--data", os.path.join(folder, "data"), *arguments],
            stdout=open(self.log, "wb"),
            stderr=subprocess.STDOUT,
        )
        text = self.wait_for(r"listens on http://127\.0\.0\.1:(\d+)")
        self.port = int(text)
        self.token = self.wait_for(r"(rba_[0-9a-f]+)")
        self.url = f"http://127.0.0.1:{self.port}"
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)

    def wait_for(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, open(self.log, encoding="utf-8").read())
            if found:
                return found[1]
            time.sleep(0.01)
        raise TimeoutError(f"no {pattern} in {self.log}")

    def api(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        text = json.dumps(body) if body is not None else None
        try:
            self.connection.request(method, "/admin/api" + path, text, headers)
        except OSError:
            # It has been idle for too long.
            self.connection.close()
            self.connection.request(method, "/admin/api" + path, text, headers)
        response = self.connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:300]}")
        return json.loads(text)["data"] if text else None

    def agent(self):
        # Whoever asks from an address is the agent of that address.
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/api/agent")
        return json.loads(connection.getresponse().read())["data"]["id"]

    def publish(self, agent, name):
        plugin = self.api("POST", "/plugins", {"name": name, "script": SCRIPT, "commands": FUNCTIONS})["id"]
        self.api("PUT", f"/agents/{agent}/plugins/{plugin}")
        return plugin

    def create(self, agent, command, arguments=None, **fields):
        body = {"agent_id": agent, "command": command, "arguments": arguments or {}, **fields}
        return self.api("POST", "/tasks", body)["id"]

    def ended(self, task, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            view = self.api("GET", f"/tasks/{task}/run?wait=30&state=running")
            if view["state"] == "ended":
                return view["run"]
        raise TimeoutError(task)

    def stored(self):
        database = sqlite3.connect(f"file:{self.folder}/data/backend.sqlite?mode=ro", uri=True, timeout=30)
        with contextlib.closing(database):
            return database.execute("SELECT COUNT(*) FROM run").fetchone()[0]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Agent:
    def __init__(self, folder, binaries, url, *settings):
        self.process = subprocess.Popen(
            [os.path.join(binaries, "runbook-agent"), "run", "--log-level", "error"]
            + [part for setting in (f"server_url={url}", "auth=False", *settings) for part in ("--set", setting)]
            + ["--set", f"plugin_directory={folder}/plugins", "--set", f"state_directory={folder}/state"],
            stdin=subprocess.DEVNULL,
            cwd=folder,
        )

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextlib.contextmanager
def host(binaries, *settings, backend_arguments=()):
    folder = tempfile.mkdtemp(prefix="runbook-bench-")
    backend = Backend(folder, binaries, *backend_arguments)
    agent = Agent(folder, binaries, backend.url, *settings)
    try:
        yield backend, agent, folder
    finally:
        if agent.process.poll() is None:
            agent.stop()
        backend.stop()
        shutil.rmtree(folder, ignore_errors=True)


def processor_time(process):
    """Nanoseconds that all threads were on a processor, those that have ended included (proc(5), `stat`)."""
    fields = open(f"/proc/{process}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def wake_ups(process):
    """How often each thread has waited for something (proc(5), `status`)."""
    counts = {}
    for thread in os.listdir(f"/proc/{process}/task"):
        status = open(f"/proc/{process}/task/{thread}/status", encoding="utf-8").read()
        counts[thread] = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[1])
    return counts


def private_bytes(process):
    text = open(f"/proc/{process}/smaps_rollup", encoding="ascii").read()
    return 1024 * sum(int(number) for number in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.M))


# What things are compared with


class BareServer:
    """Answers any request with the same bytes, in a process of its own."""

    ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{"data":{"id":"1"}}'

    def __init__(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.process = os.fork()
        if self.process == 0:
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()
        listener.close()

    def serve(self, connection):
        while connection.recv(65536):
            connection.sendall(self.ANSWER)

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def stop(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


POST = (
    b"POST /api/agent/task/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)


def two_round_trips(repetitions=500):
    server = BareServer()
    connection = server.connect()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter_ns()
        for _ in range(2):
            connection.sendall(POST % (2, b"{}"))
            connection.recv(4096)
        times.append(time.perf_counter_ns() - start)
    server.stop()
    return statistics.median(times)


def bare_delivery(folder, count=5000):
    """Processor time of one bare POST, of one row's share in transactions of 100 rows, and of one bare call."""
    server = BareServer()
    body = json.dumps({"data": "4", "run_id": "0" * 36, "status": "succeeded", "stdout": "", "stderr": ""}).encode()
    connection = server.connect()
    start = time.thread_time_ns()
    for _ in range(count):
        connection.sendall(POST % (len(body), body))
        connection.recv(4096)
    post = (time.thread_time_ns() - start) / count
    server.stop()
    database = sqlite3.connect(os.path.join(folder, "bare.sqlite"), isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE run (id TEXT PRIMARY KEY, task TEXT, status TEXT, data BLOB)")
    start = time.thread_time_ns()
    for first in range(0, count, 100):
        database.execute("BEGIN")
        for number in range(first, first + 100):
            database.execute("INSERT INTO run VALUES (?, ?, ?, ?)", (f"{number:036}", "task", "succeeded", body))
        database.execute("COMMIT")
    row = (time.thread_time_ns() - start) / count
    square = {}
    exec(SCRIPT, square)
    method = square["Plugin"]().square
    start = time.thread_time_ns()
    for _ in range(count):
        json.dumps(method(**json.loads('{"number": 2}')))
    return post + row + (time.thread_time_ns() - start) / count


# Rows


def measure_first_line(binaries, put):
    put("first_line_reference", two_round_trips())
    with host(binaries) as (backend, _, folder):
        agent = backend.agent()
        plugin = backend.publish(agent, "talker")
        backend.ended(backend.create(agent, f"{plugin}.square", {"number": 2}))
        environment = {"RUNBOOK_URL": backend.url, "RUNBOOK_TOKEN": backend.token, "HOME": folder}
        times = []
        for _ in range(15):
            command = [os.path.join(binaries, "runbook"), "run", agent, "talk"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, bufsize=0) as client:
                line = client.stdout.readline()
                times.append(time.time_ns() - int(line))
                client.stdout.read()
        put("first_line", statistics.median(times))


def measure_start(binaries, put):
    bare = """
import http.client, os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("CREATE TABLE IF NOT EXISTS run (id TEXT)")
database.execute("INSERT INTO run VALUES ('1')")
database.commit()
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]))
for _ in range(2):
    connection.request("GET", "/")
    connection.getresponse().read()
"""
    server = BareServer()
    with tempfile.TemporaryDirectory() as folder:
        times = []
        for number in range(7):
            start = time.perf_counter_ns()
            subprocess.run(
                [PYTHON, "-I", "-c", bare, os.path.join(folder, f"{number}.sqlite"), str(server.port)], check=True
            )
            times.append(time.perf_counter_ns() - start)
    server.stop()
    put("start_reference", statistics.median(times))
    with host(binaries) as (backend, first, folder):
        agent = backend.agent()
        plugin = backend.publish(agent, "starter")
        backend.ended(backend.create(agent, f"{plugin}.square", {"number": 2}))
        first.stop()
        times = []
        for _ in range(7):
            task = backend.create(agent, f"{plugin}.square", {"number": 2})
            start = time.perf_counter_ns()
            again = Agent(folder, binaries, backend.url)
            backend.ended(task)
            times.append(time.perf_counter_ns() - start)
            again.stop()
        put("start", statistics.median(times))


def measure_idle(binaries, put, seconds=20):
    bare = (
        "import ctypes, ctypes.util, sqlite3, sys, time\n"
        "curl = ctypes.CDLL('libcurl.so.4'); curl.curl_global_init(3)\n"
        "sqlite3.connect(sys.argv[1]).execute('CREATE TABLE t (x)')\nprint(flush=True)\ntime.sleep(600)\n"
    )
    with host(binaries) as (backend, agent, folder):
        command = [PYTHON, "-I", "-c", bare, folder + "/bare.sqlite"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            put("idle_memory_reference", private_bytes(process.pid))
            process.kill()
        id = backend.agent()
        plugin = backend.publish(id, "idler")
        backend.create(id, f"{plugin}.square", {"number": 2}, cron="0 0 1 1 *")
        backend.ended(backend.create(id, f"{plugin}.square", {"number": 2}))
        time.sleep(3)
        before = processor_time(agent.process.pid), wake_ups(agent.process.pid)
        time.sleep(seconds)
        after = processor_time(agent.process.pid), wake_ups(agent.process.pid)
        put("idle_processor_share", (after[0] - before[0]) / seconds / 1e9)
        # Threads that have ended meanwhile are left out.
        put("idle_wake_ups", sum(count - before[1].get(thread, 0) for thread, count in after[1].items()) / seconds)
        put("idle_memory", private_bytes(agent.process.pid))


def measure_cost(binaries, put, count=20_000):
    with tempfile.TemporaryDirectory() as seed:
        put("cost_reference", bare_delivery(seed))
        plugin = {
            "id": "cost",
            "name": "cost",
            "version": "1",
            "description": None,
            "script": SCRIPT,
            "hash": hashlib.sha512(SCRIPT.encode()).hexdigest(),
            "commands": {"cost.square": {"id": "1", "name": "square", "function": "square"}},
        }
        tasks = [
            {"id": f"task-{number}", "command": "cost.square", "cron": None, "arguments": '{"number": 2}'}
            for number in range(count)
        ]
        for name, data in (
            ("agent.json", {"id": "cost-agent", "name": "cost", "team_id": None, "plugins": ["cost"]}),
            ("plugin-cost.json", plugin),
            ("tasks.json", tasks),
        ):
            with open(os.path.join(seed, name), "w", encoding="utf-8") as file:
                json.dump({"data": data}, file)
        folder = tempfile.mkdtemp(prefix="runbook-bench-")
        backend = Backend(folder, binaries, "--seed", seed)
        agent = Agent(folder, binaries, backend.url)
        start = time.perf_counter_ns()
        # What it took to come up is not the runs'.
        before = None
        try:
            while backend.stored() < count:
                if before is None and backend.stored() > 0:
                    before = processor_time(agent.process.pid)
                time.sleep(0.05)
            put("cost", (processor_time(agent.process.pid) - (before or 0)) / count)
            put("cost_rate", count / ((time.perf_counter_ns() - start) / 1e9))
        finally:
            agent.stop()
            backend.stop()
            shutil.rmtree(folder, ignore_errors=True)


def measure_waiting(binaries, put, count=5000):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    folder = tempfile.mkdtemp(prefix="runbook-bench-")
    backend = Backend(folder, binaries, "--max-connections", str(2 * count + 100))

    def address(number):
        return f"127.1.{number // 250}.{number % 250 + 1}"

    def ask(connection, path, *headers):
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def answer(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int((re.search(rb"(?i)content-length: *(\d+)", head) or [0, 0])[1])
        while len(body) < length:
            body += connection.recv(65536)
        return head.decode(), body

    def wait(number):
        """An agent that has its list and waits for another, and its id."""
        connection = socket.create_connection(("127.0.0.1", backend.port), source_address=(address(number), 0))
        ask(connection, "/api/agent")
        id = json.loads(answer(connection)[1])["data"]["id"]
        ask(connection, "/api/agent/tasks")
        tag = re.search(r'(?i)etag: *("[^"]*")', answer(connection)[0])[1]
        ask(connection, "/api/agent/tasks", f"If-None-Match: {tag}", "Prefer: wait=300")
        return connection, id

    def task_time(connection, id, plugin, repetitions=40):
        """From the request that creates a task to its agent's answer, median."""
        times = []
        for _ in range(repetitions):
            start = time.perf_counter_ns()
            backend.create(id, f"{plugin}.square", {"number": 2})
            head = answer(connection)[0]
            times.append(time.perf_counter_ns() - start)
            tag = re.search(r'(?i)etag: *("[^"]*")', head)[1]
            ask(connection, "/api/agent/tasks", f"If-None-Match: {tag}", "Prefer: wait=300")
            time.sleep(0.03)
        return statistics.median(times)

    try:
        one, id = wait(0)
        plugin = backend.publish(id, "waiter")
        # The assignment has ended its wait.
        tag = re.search(r'(?i)etag: *("[^"]*")', answer(one)[0])[1]
        ask(one, "/api/agent/tasks", f"If-None-Match: {tag}", "Prefer: wait=300")
        task_time(one, id, plugin, 20)
        put("waiting_one", task_time(one, id, plugin))
        before = private_bytes(backend.process.pid)
        others = [wait(number) for number in range(1, count)]
        time.sleep(1)
        put("waiting_bytes", (private_bytes(backend.process.pid) - before) / (count - 1))
        put("waiting_many", task_time(one, id, plugin))
        assert len(others) == count - 1
    finally:
        backend.process.kill()
        backend.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def measure_side_by_side(binaries, put, callers=8, count=3_000_000):
    def bare(processes):
        start = time.perf_counter_ns()
        code = SCRIPT + f"\nPlugin().burn({count})\n"
        running = [subprocess.Popen([PYTHON, "-I", "-c", code]) for _ in range(processes)]
        for process in running:
            process.wait()
        return (time.perf_counter_ns() - start) / processes

    put("side_by_side_reference", statistics.median(bare(1) / bare(2) for _ in range(5)))
    with host(binaries, "isolation=sandbox", f"workers={callers}") as (backend, _, _):
        agent = backend.agent()
        plugins = [backend.publish(agent, f"burner-{number}") for number in range(callers)]

        def run(names):
            """From the first start to the last end, for each."""
            tasks = [backend.create(agent, f"{name}.burn", {"count": count}) for name in names]
            runs = [backend.ended(task) for task in tasks]
            assert all(run["status"] == "succeeded" for run in runs), runs
            times = [(moment(run["started_at"]), moment(run["finished_at"])) for run in runs]
            return (max(end for _, end in times) - min(start for start, _ in times)) / len(names)

        def moment(text):
            return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()

        run(plugins)
        put("side_by_side", statistics.median(run(plugins[:1]) / run(plugins) for _ in range(3)))


def measure_celery(_, put, repetitions=300):
    imports = subprocess.run([PYTHON, "-c", "import celery, redis"], stderr=subprocess.DEVNULL)
    if imports.returncode != 0 or shutil.which("redis-server") is None:
        print("processes.py: without redis-server, python3-celery and python3-redis there is no row for Celery")
        return
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        code = (
            "import celery\n"
            f"app = celery.Celery('tasks', broker='redis://127.0.0.1:{port}/0', backend='redis://127.0.0.1:{port}/1')\n"
            "@app.task\ndef square(number): return number ** 2\n"
        )
        with open(os.path.join(folder, "tasks.py"), "w", encoding="utf-8") as file:
            file.write(code)
        redis = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        worker = subprocess.Popen(
            [PYTHON, "-m", "celery", "-A", "tasks", "worker", "-c", "1", "-l", "ERROR"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "C_FORCE_ROOT": "1"},
        )
        client = (
            "import statistics, time, tasks\n"
            "for _ in range(20): tasks.square.delay(2).get(timeout=60)\n"
            "times = []\n"
            f"for _ in range({repetitions}):\n"
            "    start = time.perf_counter_ns()\n"
            "    assert tasks.square.delay(2).get(timeout=60) == 4\n"
            "    times.append(time.perf_counter_ns() - start)\n"
            "print(statistics.median(times))\n"
        )
        try:
            output = subprocess.run(
                [PYTHON, "-c", client], cwd=folder, check=True, capture_output=True, timeout=120
            ).stdout
            put("celery", float(output))
        finally:
            worker.terminate()
            worker.wait()
            redis.kill()
            redis.wait()


ROWS = {
    "first_line": measure_first_line,
    "start": measure_start,
    "idle": measure_idle,
    "cost": measure_cost,
    "waiting": measure_waiting,
    "side_by_side": measure_side_by_side,
    "celery": measure_celery,
}


def main():
    binaries, output, *rows = sys.argv[1:]
    with open(output, "a", encoding="ascii") as file:

        def put(name, value):
            print(name, value, file=file, flush=True)

        for name in rows or ROWS:
            ROWS[name](binaries, put)


if __name__ == "__main__":
    main()
