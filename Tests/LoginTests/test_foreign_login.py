"""The agent's login against an authorization server that is not ours, over TLS with a private CA."""

import fcntl
import json
import os
import pathlib
import pty
import re
import signal
import ssl
import struct
import subprocess
import sys
import termios
import time
import urllib.request

import numpy
import pytest
import zxingcpp

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def binaries():
    """The folder of the built programs."""
    return pathlib.Path(os.environ.get("RUNBOOK_BIN") or HERE.parents[1] / ".build/debug")


@pytest.fixture
def authority(tmp_path):
    """A private CA and a certificate of it for 127.0.0.1."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=test CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *curve, "-subj", "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr")
    (tmp_path / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
        "-extfile", "extensions", "-out", "server.pem",
    )
    return tmp_path


class Foreign:
    """The foreign server, and agents that log in at it."""

    def __init__(self, folder, binaries, lifetime=3600):
        self.folder, self.binaries = folder, binaries
        self.log = open(folder / "server.log", "w")
        self.process = subprocess.Popen(
            [sys.executable, HERE / "foreign_server.py", "server.pem", "server.key", str(lifetime)],
            cwd=folder, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )
        self.url = "https://127.0.0.1:%d" % json.loads(self.process.stdout.readline())["port"]
        self.context = ssl.create_default_context(cafile=folder / "ca.pem")
        self.agents = []
        (folder / "config.ini").write_text(
            # As the first agent wrote it, and where to find the CA.
            f"[agent]\nserver_url={self.url}/\nclient_id=a-foreign-client\nauth=True\nforce_redownload=False\n"
            f"plugin_directory=plugins\nca_file=ca.pem\npoll_interval=0.3\n"
        )

    def call(self, path, body=None, method="POST"):
        data = json.dumps(body).encode() if body is not None else (b"" if method == "POST" else None)
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, context=self.context) as answer:
            return json.load(answer)

    def state(self):
        return self.call("/test/state", method="GET")

    def wait(self, what, seconds=60):
        """Asks until there is an answer. For what other processes do at a time of their own."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if answer := what():
                return answer
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come true: {self.text()}")

    def agent(self, *arguments, check=True, **options):
        result = subprocess.run(
            [self.binaries / "runbook-agent", *arguments, "--config", "config.ini"],
            cwd=self.folder, capture_output=True, text=True, timeout=120, **options)
        with open(self.folder / "commands.log", "a") as log:
            log.write(result.stdout + result.stderr)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def daemon(self, *arguments, name="agent", **options):
        log = open(self.folder / f"{name}.log", "a")
        process = subprocess.Popen(
            [self.binaries / "runbook-agent", "run", "--log-level", "debug", *arguments, "--config", "config.ini"],
            cwd=self.folder, stdout=log, stderr=log, **options)
        self.agents.append(process)
        return process

    def text(self, name="agent"):
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def codes(self, name="agent"):
        return re.findall(r"enter the code (\S+)", self.text(name))

    def stop(self):
        for process in self.agents + [self.process]:
            process.terminate()
            process.wait(60)


@pytest.fixture
def foreign(authority, binaries):
    server = Foreign(authority, binaries)
    yield server
    server.stop()


def test_the_whole_life_of_a_login(foreign):
    credentials = foreign.folder / "credentials"
    credentials.mkdir(mode=0o700)
    key = "%064x" % 0x1234567890ABCDEF1234567890ABCDEF
    (credentials / "runbook-agent.key").write_text(key)
    (credentials / "runbook-agent.key").chmod(0o400)
    environment = dict(os.environ, CREDENTIALS_DIRECTORY=str(credentials))
    agent = foreign.daemon(env=environment)

    code = foreign.wait(foreign.codes)[0]
    foreign.call(f"/test/approve/{code}")
    environ = foreign.wait(lambda: foreign.state()["results"])[0]
    assert foreign.codes() == [code], "a code is said once"
    assert "CREDENTIALS_DIRECTORY" not in environ and "PATH" in environ
    assert not (foreign.folder / "login.key").exists()
    arguments = pathlib.Path(f"/proc/{agent.pid}/cmdline").read_bytes()
    limits = pathlib.Path(f"/proc/{agent.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 ", limits)

    # The access token ends: one refresh, nobody is asked.
    foreign.call("/test/revoke-access")
    before = foreign.state()["refreshes"]
    foreign.wait(lambda: foreign.state()["refreshes"] > before, 90)
    time.sleep(1.5)
    assert foreign.state()["refreshes"] == before + 1 and foreign.codes() == [code]

    # Everything is revoked: another code, and the agent goes on once it is approved.
    foreign.call("/test/revoke-all")
    second = foreign.wait(lambda: foreign.codes()[1:], 120)[0]
    # It exits with 1 where anything is wrong.
    status = foreign.agent("status", "--json", env=environment, check=False)
    assert json.loads(status.stdout)["login"]["user_code"] == second
    foreign.call(f"/test/approve/{second}")
    foreign.wait(lambda: "the agent is logged in" in foreign.text().split(second)[-1])
    status = foreign.agent("status", env=environment, check=False).stdout
    assert "logged in since" in status
    foreign.agent("login", env=environment)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(60) == 0
    assert "logged in since" in foreign.agent("status", env=environment, check=False).stdout

    # No secret in anything that was written, nor on a command line.
    secrets = foreign.state()["secrets"] + [key]
    assert len(secrets) >= 8
    everything = arguments + b"".join(
        path.read_bytes() for path in foreign.folder.rglob("*")
        if path.is_file() and path.name not in ("runbook-agent.key", "server.log"))
    for secret in secrets:
        assert secret.encode() not in everything
    assert b"a-foreign-client" not in foreign.text().encode()

    foreign.agent("logout", env=environment)
    assert foreign.state()["live"] == []
    assert foreign.agent("run", "--once", check=False, env=environment).returncode == 77


def test_what_runs_while_logged_out_is_kept_and_goes_out(foreign):
    foreign.call("/test/set", {"schedule": True})
    foreign.daemon()
    code = foreign.wait(foreign.codes)[0]
    foreign.call(f"/test/approve/{code}")
    foreign.wait(lambda: len(foreign.state()["runs"]) >= 2)
    foreign.call("/test/revoke-all")
    second = foreign.wait(lambda: foreign.codes()[1:], 120)[0]
    arrived = set(foreign.state()["runs"])

    def ended():
        # Nothing reaches the backend, and the schedule goes on.
        return set(re.findall(r"run ended .* run_id=(\S+)", foreign.text())) - arrived

    foreign.wait(lambda: len(ended()) >= 3)
    kept = ended()
    assert set(foreign.state()["runs"]) == arrived
    foreign.call(f"/test/approve/{second}")
    foreign.wait(lambda: kept <= set(foreign.state()["runs"]))
    # Of one look: the schedule goes on.
    runs = foreign.state()["runs"]
    assert len(runs) == len(set(runs))


def test_two_processes_share_one_rotation(foreign):
    code = json.loads(foreign.agent("login", "--no-wait", "--json").stdout.splitlines()[0])["user_code"]
    foreign.call(f"/test/approve/{code}")
    assert "Foreign host" in foreign.agent("login").stdout
    for round in range(5):
        foreign.call("/test/revoke-access")
        commands = [
            subprocess.Popen(
                [foreign.binaries / "runbook-agent", "login", "--config", "config.ini"], cwd=foreign.folder,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(4)
        ]
        for command in commands:
            output = command.communicate(timeout=60)[0]
            assert command.returncode == 0 and "Foreign host" in output, output
        state = foreign.state()
        assert state["refreshes"] == round + 1 and state["reused"] == 0


# Symbols of the versions 3 to 10, with both levels of correction.
@pytest.mark.parametrize("padding", [0, 15, 35, 60, 85, 110, 130, 155, 190, 215])
def test_a_terminal_shows_a_code_that_a_phone_reads(foreign, padding):
    foreign.call("/test/set", {"padding": padding})
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(foreign.folder)
        os.execv(foreign.binaries / "runbook-agent", ["runbook-agent", "login", "--config", "config.ini"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 80, 120, 0, 0))
    shown = b""
    while b"left" not in shown:
        shown += os.read(terminal, 65536)
    text = shown.decode()
    code = foreign.state()["user_codes"][0]
    assert code in text and "/approve" in text
    rows = []
    for line in re.findall(r"\x1b\[97;40m(.*?)\x1b\[0m", text):
        rows.append([c in "█▀" for c in line])
        rows.append([c in "█▄" for c in line])
    image = numpy.kron(numpy.array(rows, dtype=numpy.uint8) * 255, numpy.ones((4, 4), dtype=numpy.uint8))
    assert [found.text for found in zxingcpp.read_barcodes(image)] == [
        f"{foreign.url}/approve{'x' * padding}?user_code={code}"]
    foreign.call(f"/test/approve/{code}")
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:
        pass  # The terminal's other side is closed.
    assert os.waitpid(child, 0)[1] == 0 and b"Foreign host" in shown


def test_a_denied_login_ends(foreign):
    code = json.loads(foreign.agent("login", "--no-wait", "--json").stdout.splitlines()[0])["user_code"]
    foreign.call(f"/test/deny/{code}")
    result = foreign.agent("login", check=False)
    assert result.returncode == 1 and "login.denied" in result.stderr


def test_an_expired_code_is_followed_by_another(foreign):
    foreign.call("/test/set", {"lifetime": 2})
    foreign.daemon()
    foreign.wait(lambda: len(foreign.codes()) >= 2)
    foreign.call("/test/set", {"lifetime": 600})
    count = len(foreign.codes())
    code = foreign.wait(lambda: foreign.codes()[count:])[0]
    foreign.call(f"/test/approve/{code}")
    foreign.wait(lambda: foreign.state()["results"])


def test_a_token_from_elsewhere(foreign):
    code = json.loads(foreign.agent("login", "--no-wait", "--json").stdout.splitlines()[0])["user_code"]
    foreign.call(f"/test/approve/{code}")
    foreign.agent("login")
    token = foreign.state()["live"][0]
    (foreign.folder / "state/login.sealed").unlink()
    output = foreign.agent("login", "--token-file", "-", "--json", input=token).stdout
    assert json.loads(output)["agent"]["name"] == "Foreign host"
    wide = foreign.folder / "token"
    wide.write_text(token)
    wide.chmod(0o644)
    result = foreign.agent("login", "--token-file", "token", check=False)
    assert result.returncode == 1 and "login.unsafe_file" in result.stderr
    wide.unlink()


def test_another_ca_is_refused(foreign):
    (foreign.folder / "config.ini").write_text(f"[agent]\nserver_url={foreign.url}\n")
    result = foreign.agent("login", "--no-wait", check=False)
    assert result.returncode == 1 and "http.tls" in result.stderr

