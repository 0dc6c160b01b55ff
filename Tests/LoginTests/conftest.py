"""What the tests of the login share: a backend of their own and a browser."""

import json
import os
import pathlib
import select
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# Ends a wait for something that never comes; nothing is timed with it.
LIMIT = 120


class Backend:
    """A `runbook-backend serve` process on a port that the system chose."""

    def __init__(self, folder: pathlib.Path, *options: str):
        self.binary = pathlib.Path(os.environ["RUNBOOK_BIN"]) / "runbook-backend"
        self.data = folder / "data"
        self.errors = open(folder / "stderr", "wb")
        self.process = subprocess.Popen(
            [self.binary, "serve", "--init", "--listen", "127.0.0.1:0", "--data", self.data, *options],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.token = self.url = None
        for line in self.process.stdout:
            last = line.split()[-1]
            if line.startswith("administration token"):
                self.token = last
            if line.startswith("runbook-backend listens on"):
                self.url = last
                return
        raise AssertionError("the backend never listened: " + (folder / "stderr").read_text())

    def stop(self):
        self.process.terminate()
        self.process.wait(LIMIT)
        self.process.stdout.close()
        self.errors.close()

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.binary, *arguments, "--data", self.data], capture_output=True, text=True, timeout=LIMIT)

    def post(self, path: str, **fields: str) -> tuple[int, dict]:
        body = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(self.url + path, body, timeout=LIMIT) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def administer(self, method: str, path: str, body: dict | None = None):
        """A request to the administration API; its data, where there is any."""
        request = urllib.request.Request(
            self.url + "/admin/api" + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Bearer " + self.token, "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            body = answer.read()
        return json.loads(body)["data"] if body else None

    def begin_login(self, client_id: str = "browser-test", scope: str = "agent") -> dict:
        status, codes = self.post("/oauth/device/code", client_id=client_id, scope=scope)
        assert status == 200
        return codes

    def poll(self, codes: dict, client_id: str = "browser-test") -> tuple[int, dict]:
        return self.post(
            "/oauth/token", grant_type=DEVICE_CODE_GRANT, client_id=client_id, device_code=codes["device_code"])

    def poll_until(self, codes: dict, error: str):
        end = time.monotonic() + LIMIT
        while True:
            _, answer = self.poll(codes)
            if answer.get("error") == error:
                return
            assert time.monotonic() < end, f"{error} never came; the last answer was {answer.get('error')}"
            select.select([], [], [], 0.1)

    def agent(self, access_token: str) -> dict:
        request = urllib.request.Request(
            self.url + "/api/agent", headers={"Authorization": "Bearer " + access_token})
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return json.load(answer)["data"]


@pytest.fixture
def start_backend(tmp_path):
    """Starts backends with options; they are stopped at the end of the test."""
    started = []

    def start(*options: str) -> Backend:
        folder = tmp_path / f"backend-{len(started)}"
        folder.mkdir()
        backend = Backend(folder, *options)
        started.append(backend)
        return backend

    yield start
    for backend in started:
        backend.stop()


@pytest.fixture
def backend(start_backend) -> Backend:
    return start_backend()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.add_argument("--headless=new")
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    # Chromium's sandbox refuses to run as root, and containers of CI have no other user.
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """A browser that nobody is logged in with, at the width of a phone."""
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 320, "height": 640, "deviceScaleFactor": 2, "mobile": True})
    chromium.get_log("browser")
    return chromium
