"""The backend's page for codes in a real browser."""

import base64
import http.client
import json
import os
import pathlib
import urllib.parse

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from conftest import LIMIT


def text(browser) -> str:
    return browser.execute_script("return document.querySelector('main')?.innerText ?? ''")


def wait_until(browser, condition, problem: str):
    # Asked of whole pages and never of elements that were found before: those may go while they are looked at.
    WebDriverWait(browser, LIMIT, 0.1, ignored_exceptions=[WebDriverException]).until(condition, problem)


def wait_for(browser, fragment: str):
    wait_until(browser, lambda browser: fragment in text(browser), f"{fragment!r} never came")


def press(browser, label: str):
    """Presses a button that sends a form, and returns when the answer is there."""
    browser.execute_script("window.isBefore = true")
    browser.find_element(By.XPATH, f"//button[normalize-space()='{label}']").click()
    wait_until(
        browser, lambda browser: browser.execute_script("return !window.isBefore && document.readyState === 'complete'"),
        f"nothing came of {label!r}")


def log_in(browser, backend, address: str | None = None):
    browser.get(address or backend.url + "/device")
    browser.find_element(By.ID, "token").send_keys(backend.token)
    press(browser, "Log in")
    wait_for(browser, "Enter the code")


def enter(browser, code: str):
    field = browser.find_element(By.ID, "user_code")
    field.clear()
    field.send_keys(code)
    press(browser, "Continue")


def is_as_wide_as_the_screen(browser) -> bool:
    return browser.execute_script(
        "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        " && document.documentElement.clientWidth === 320")


def picture(browser, name: str):
    """Keeps what is shown where RUNBOOK_PICTURES names a folder, for people to look at."""
    if folder := os.environ.get("RUNBOOK_PICTURES"):
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (pathlib.Path(folder) / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def test_a_right_code_is_approved_and_gives_tokens(browser, backend):
    codes = backend.begin_login()
    log_in(browser, backend)
    enter(browser, codes["user_code"].lower().replace("-", ""))
    wait_for(browser, codes["user_code"])
    picture(browser, "decision")
    assert "browser-test" in text(browser) and "127.0.0.1" in text(browser)
    assert backend.poll(codes)[1]["error"] == "authorization_pending"
    browser.find_element(By.ID, "name").send_keys("Kitchen")
    press(browser, "Approve")
    wait_for(browser, "Approved")
    status, tokens = backend.poll(codes)
    assert status == 200
    assert backend.agent(tokens["access_token"])["name"] == "Kitchen"


def test_the_complete_link_fills_the_code_in_and_no_more(browser, backend):
    codes = backend.begin_login()
    log_in(browser, backend, codes["verification_uri_complete"])
    assert browser.find_element(By.ID, "user_code").get_attribute("value") == codes["user_code"]
    assert backend.poll(codes)[1]["error"] == "authorization_pending"
    press(browser, "Continue")
    wait_for(browser, "The host is")
    assert backend.poll(codes)[1]["error"] in ("authorization_pending", "slow_down")
    press(browser, "Approve")
    wait_for(browser, "Approved")
    assert backend.poll(codes)[0] == 200


def test_a_wrong_code_is_refused_and_another_may_be_entered(browser, backend):
    codes = backend.begin_login()
    log_in(browser, backend)
    enter(browser, "BBBB-BBBB")
    wait_for(browser, "No host shows the code")
    enter(browser, codes["user_code"])
    wait_for(browser, "The host is")


def test_a_denied_host_is_told_so(browser, backend):
    codes = backend.begin_login()
    log_in(browser, backend)
    enter(browser, codes["user_code"])
    wait_for(browser, "The host is")
    press(browser, "Deny")
    wait_for(browser, "Denied")
    assert backend.poll(codes)[1]["error"] == "access_denied"


def test_an_expired_code_is_refused(browser, start_backend):
    backend = start_backend("--code-lifetime", "1")
    codes = backend.begin_login()
    backend.poll_until(codes, "expired_token")
    log_in(browser, backend)
    enter(browser, codes["user_code"])
    wait_for(browser, "expired before anybody decided")


def test_a_wrong_administration_token_is_refused(browser, backend):
    browser.get(backend.url + "/device")
    browser.find_element(By.ID, "token").send_keys("rba_wrong")
    press(browser, "Log in")
    wait_for(browser, "This is not the administration token.")
    assert not browser.find_elements(By.ID, "user_code")
    assert browser.get_cookies() == []


def test_a_host_becomes_an_agent_that_is_there(browser, backend):
    first = backend.begin_login()
    assert backend.run("device", "approve", first["user_code"], "--name", "Cellar").returncode == 0
    agent = backend.agent(backend.poll(first)[1]["access_token"])["id"]
    codes = backend.begin_login()
    log_in(browser, backend)
    enter(browser, codes["user_code"])
    wait_for(browser, "The host is")
    browser.find_element(By.ID, "existing").click()
    Select(browser.find_element(By.NAME, "agent_id")).select_by_visible_text("Cellar")
    press(browser, "Approve")
    wait_for(browser, "Cellar")
    assert backend.agent(backend.poll(codes)[1]["access_token"])["id"] == agent


def test_logging_out_ends_the_session(browser, backend):
    log_in(browser, backend)
    press(browser, "Log out")
    wait_for(browser, "log in as administrator first")
    browser.get(backend.url + "/device")
    assert browser.find_elements(By.ID, "token")


def test_what_a_client_calls_itself_is_text(browser, backend):
    name = "\"><img src=x onerror=\"document.title='taken'\"><b>bold</b>"
    codes = backend.begin_login(client_id=name)
    log_in(browser, backend)
    enter(browser, codes["user_code"])
    wait_for(browser, name)
    assert browser.title.startswith("Let a host in")
    assert not browser.find_elements(By.TAG_NAME, "img")


def test_a_foreign_page_can_neither_frame_nor_post(browser, backend, tmp_path):
    codes = backend.begin_login()
    log_in(browser, backend)
    fields = {"step": "decision", "user_code": codes["user_code"], "decision": "approve", "agent": "new"}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    page = tmp_path / "foreign.html"
    page.write_text(
        f'<iframe src="{backend.url}/device"></iframe>'
        f'<form method="post" action="{backend.url}/device">{inputs}<button>Win</button></form>')
    browser.get(page.as_uri())
    frame = browser.find_element(By.TAG_NAME, "iframe")
    browser.switch_to.frame(frame)
    assert not browser.find_elements(By.ID, "user_code") and not browser.find_elements(By.ID, "token")
    browser.switch_to.default_content()
    press(browser, "Win")
    wait_for(browser, "was not sent from the backend's own page")
    assert backend.poll(codes)[1]["error"] == "authorization_pending"


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_every_step_fits_a_phone(browser, backend, is_dark):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]})
    suffix = "dark" if is_dark else "light"
    other = backend.begin_login()
    assert backend.run("device", "approve", other["user_code"], "--name", "An agent " + "x" * 150).returncode == 0
    codes = backend.begin_login(client_id="c" * 200, scope="s" * 200)
    browser.get(backend.url + "/device")
    picture(browser, f"login-{suffix}")
    assert is_as_wide_as_the_screen(browser)
    log_in(browser, backend)
    picture(browser, f"code-{suffix}")
    assert is_as_wide_as_the_screen(browser)
    enter(browser, codes["user_code"])
    wait_for(browser, "The host is")
    picture(browser, f"decision-{suffix}")
    assert is_as_wide_as_the_screen(browser)
    press(browser, "Approve")
    wait_for(browser, "Approved")
    picture(browser, f"approved-{suffix}")
    assert is_as_wide_as_the_screen(browser)
    # The policy would have the browser complain if anything but the one style sheet were in the page.
    complaints = [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]]
    assert complaints == []
    assert browser.execute_script("return getComputedStyle(document.querySelector('main')).borderRadius") == "12px"


@pytest.mark.parametrize("public_url", [None, "https://backend.example.com"], ids=["http", "https"])
def test_the_session_is_kept_from_scripts_and_other_sites(start_backend, public_url):
    backend = start_backend(*(["--public-url", public_url] if public_url else []))
    address = urllib.parse.urlsplit(backend.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=LIMIT)
    connection.request(
        "POST", "/device", urllib.parse.urlencode({"step": "login", "token": backend.token}),
        {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    assert answer.status == 303 and answer.getheader("Location") == "/device"
    assert answer.getheader("Cache-Control") == "no-store"
    value, *attributes = answer.getheader("Set-Cookie").split("; ")
    expected = {"HttpOnly", "SameSite=Strict", "Path=/device", "Max-Age=3600"}
    assert set(attributes) == expected | ({"Secure"} if public_url else set())
    secret = value.partition("=")[2]
    assert len(secret) >= 64
    stored = b"".join(file.read_bytes() for file in backend.data.iterdir())
    assert secret.partition("_")[2].encode() not in stored
    connection.close()


def test_the_list_for_scripts_is_json(backend):
    codes = backend.begin_login()
    listed = json.loads(backend.run("device", "list", "--json").stdout)
    assert [login["user_code"] for login in listed] == [codes["user_code"]]
