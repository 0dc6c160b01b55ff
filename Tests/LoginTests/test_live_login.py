"""The agent's login against our own backend, each a process as it is installed."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import time

import pytest

LIMIT = 120


class Host:
    """An agent with folders of its own."""

    def __init__(self, folder: pathlib.Path, backend):
        self.folder, self.backend = folder, backend
        folder.mkdir()
        (folder / "config.ini").write_text(
            f"[agent]\nserver_url={backend.url}\nclient_id=a-host\nauth=True\npoll_interval=0.3\n")
        self.program = pathlib.Path(os.environ["RUNBOOK_BIN"]) / "runbook-agent"

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.program, *arguments, "--config", "config.ini"], cwd=self.folder, capture_output=True, text=True,
            timeout=LIMIT)

    def start(self) -> subprocess.Popen:
        log = open(self.folder / "log", "a")
        return subprocess.Popen(
            [self.program, "run", "--log-level", "debug", "--config", "config.ini"], cwd=self.folder, stdout=log,
            stderr=log)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def code(self, number: int) -> str:
        """The code that the agent says as its number-th one."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            codes = [line.split("enter the code ")[1].split()[0] for line in self.log().splitlines()
                     if "enter the code " in line]
            if len(codes) >= number:
                return codes[number - 1]
            time.sleep(0.1)
        raise AssertionError("the code never came: " + self.log())

    def wait_for(self, text: str, count: int = 1):
        end = time.monotonic() + LIMIT
        while self.log().count(text) < count:
            assert time.monotonic() < end, f"{text} never came: " + self.log()
            time.sleep(0.1)

    def log_in(self, name: str):
        line = self.run("login", "--no-wait", "--json").stdout.splitlines()[0]
        approved = self.backend.run("device", "approve", json.loads(line)["user_code"], "--name", name)
        assert approved.returncode == 0, approved.stderr
        result = self.run("login")
        assert result.returncode == 0 and name in result.stdout, result.stdout + result.stderr


@pytest.fixture
def start_host(tmp_path):
    return lambda backend: Host(tmp_path / "host", backend)


def test_login_end_and_new_login_of_a_running_agent(backend, start_host):
    host = start_host(backend)
    agent = host.start()
    try:
        code = host.code(1)
        assert backend.run("device", "approve", code, "--name", "cellar").returncode == 0
        host.wait_for("identified by the backend")
        assert '"cellar"' in host.log() or "name=cellar" in host.log()
        # Another process ends the login, and the agent asks for the next one.
        assert host.run("logout").stdout == "Logged out.\n"
        second = host.code(2)
        assert second != code
        assert backend.run("device", "approve", second, "--name", "attic").returncode == 0
        host.wait_for("the agent is logged in", 2)
        status = json.loads(host.run("status", "--json").stdout)
        assert status["login"]["state"] == "logged in"
    finally:
        agent.terminate()
        assert agent.wait(LIMIT) == 0


def test_an_agent_whose_tokens_an_administrator_ends_logs_in_anew_as_itself(backend, start_host):
    host = start_host(backend)
    agent = host.start()
    try:
        assert backend.run("device", "approve", host.code(1), "--name", "cellar").returncode == 0
        host.wait_for("the agent is logged in")
        known = backend.administer("GET", "/agents")
        assert len(known) == 1
        backend.administer("DELETE", f"/agents/{known[0]['id']}/tokens")
        assert backend.run("device", "approve", host.code(2), "--agent", known[0]["id"]).returncode == 0
        host.wait_for("the agent is logged in", 2)
        assert [one["id"] for one in backend.administer("GET", "/agents")] == [known[0]["id"]]
    finally:
        agent.terminate()
        assert agent.wait(LIMIT) == 0


def test_access_tokens_that_end_are_renewed(start_backend, start_host):
    backend = start_backend("--access-token-lifetime", "2")
    host = start_host(backend)
    host.log_in("cellar")
    agent = host.start()
    try:
        # A request that waits needs no token; a change ends it, and the next one needs one.
        identity = backend.administer("GET", "/agents")[0]["id"]
        end = time.monotonic() + LIMIT
        while host.log().count("access token renewed") < 3:
            assert time.monotonic() < end, host.log()
            backend.administer("PATCH", f"/agents/{identity}", {"name": f"cellar {time.monotonic()}"})
            time.sleep(0.3)
        assert "enter the code" not in host.log()
    finally:
        agent.terminate()
        assert agent.wait(LIMIT) == 0


def test_processes_that_renew_together_do_not_end_the_login(start_backend, start_host):
    backend = start_backend("--access-token-lifetime", "1")
    host = start_host(backend)
    host.log_in("cellar")
    for _ in range(5):
        # Longer than a token lasts, so that each of them finds one that has ended.
        time.sleep(1.2)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for result in pool.map(lambda _: host.run("login"), range(4)):
                assert result.returncode == 0 and "cellar" in result.stdout, result.stdout + result.stderr


def test_what_an_administrator_denies_is_denied(backend, start_host):
    host = start_host(backend)
    line = host.run("login", "--no-wait", "--json").stdout.splitlines()[0]
    assert backend.run("device", "deny", json.loads(line)["user_code"]).returncode == 0
    result = host.run("login")
    assert result.returncode == 1 and "login.denied" in result.stderr
