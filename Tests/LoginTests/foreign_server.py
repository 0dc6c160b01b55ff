"""An authorization server that is not ours (Authlib), with an API behind it that speaks the contract's first part.

    python foreign_server.py CERTIFICATE KEY [access-token lifetime]

Prints the port it listens on. Whoever tests approves, denies and looks through /test/.
"""

import json
import secrets
import sys
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.errors import OAuth2Error
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc8628 import (
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
    DeviceCredentialDict,
)
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

LIFETIME = int(sys.argv[3]) if len(sys.argv) > 3 else 3600

app = Flask(__name__)
codes, approvals, last_polls = {}, {}, {}
tokens = []
results, runs = [], []
intervals = {"code": 1, "lifetime": 600}
state = {"refreshes": 0, "reused": 0}


class Client:
    client_id = "a-foreign-client"

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return scope or ""

    def check_client_secret(self, secret):
        return False

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "none"

    def check_grant_type(self, grant_type):
        return True


class Token(dict):
    def __init__(self, values, user):
        super().__init__(values)
        self.user = user
        self.issued = time.time()
        self.revoked = False
        self.rotated = False

    def check_client(self, client):
        return True

    def get_scope(self):
        return self.get("scope", "")

    def get_expires_in(self):
        return self["expires_in"]

    def is_expired(self):
        return self.issued + self["expires_in"] < time.time()

    def is_revoked(self):
        return self.revoked


def save_token(values, oauth_request):
    tokens.append(Token(values, oauth_request.user))


def query_client(client_id):
    return Client() if client_id == Client.client_id else None


class DeviceEndpoint(DeviceAuthorizationEndpoint):
    CLIENT_AUTH_METHODS = ["none"]

    @property
    def EXPIRES_IN(self):
        return intervals["lifetime"]

    @property
    def INTERVAL(self):
        return intervals["code"]

    def get_verification_uri(self):
        return request.host_url + "approve" + "x" * intervals.get("padding", 0)

    def save_device_credential(self, client_id, scope, data):
        credential = DeviceCredentialDict(data, client_id=client_id, scope=scope)
        credential["expires_at"] = time.time() + data["expires_in"]
        codes[data["device_code"]] = credential


class Grant(DeviceCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

    def query_device_credential(self, device_code):
        return codes.get(device_code)

    def query_user_grant(self, user_code):
        return approvals.get(user_code)

    def should_slow_down(self, credential):
        last, now = last_polls.get(credential["device_code"], 0), time.time()
        last_polls[credential["device_code"]] = now
        return now - last < intervals["code"] * 0.9


class Refresh(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        for token in tokens:
            if token.get("refresh_token") == refresh_token:
                if token.rotated:
                    # As RFC 9700 has it: somebody has a token twice, so nobody may go on with it.
                    state["reused"] += 1
                    for other in tokens:
                        other.revoked = True
                    return None
                return None if token.revoked else token

    def authenticate_user(self, refresh_token):
        return refresh_token.user

    def revoke_old_credential(self, refresh_token):
        state["refreshes"] += 1
        refresh_token.rotated = True
        refresh_token.revoked = True


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = ["none"]

    def query_token(self, text, hint):
        for token in tokens:
            if text in (token.get("refresh_token"), token["access_token"]):
                return token

    def revoke_token(self, token, request):
        token.revoked = True


def generate_token(client, grant_type, user=None, scope=None, expires_in=None, include_refresh_token=True):
    return {
        "token_type": "Bearer",
        "access_token": "fa-" + secrets.token_urlsafe(32),
        "refresh_token": "fr-" + secrets.token_urlsafe(32),
        "expires_in": LIFETIME,
        "scope": scope or "",
    }


server = AuthorizationServer(app, query_client=query_client, save_token=save_token)
server.register_token_generator("default", generate_token)
server.register_grant(Grant)
server.register_grant(Refresh)
server.register_endpoint(DeviceEndpoint)
server.register_endpoint(Revocation)


@app.post("/oauth/device/code")
def device_code():
    return server.create_endpoint_response(DeviceEndpoint.ENDPOINT_NAME)


@app.post("/oauth/token")
def token():
    return server.create_token_response()


@app.post("/oauth/revoke")
def revoke():
    return server.create_endpoint_response(Revocation.ENDPOINT_NAME)


def is_authorized():
    field = request.headers.get("Authorization", "")
    return any(
        field == "Bearer " + token["access_token"] and not token.revoked and not token.is_expired()
        for token in tokens
    )


@app.before_request
def guard():
    if request.path.startswith("/api/") and not is_authorized():
        return jsonify({"message": "log in"}), 401


@app.get("/api/agent")
def agent():
    return jsonify({"data": {"id": "foreign-1", "name": "Foreign host", "team_id": "t", "plugins": [PLUGIN["id"]]}})


@app.get("/api/agent/plugin/<plugin>")
def plugin(plugin):
    return jsonify({"data": PLUGIN})


@app.get("/api/agent/tasks")
def tasks():
    listed = [{"id": "t1", "command": "fp.hello", "cron": None, "arguments": "{}"}]
    if intervals.get("schedule"):
        listed.append({"id": "t2", "command": "fp.hello", "cron": "* * * * * *", "arguments": "{}"})
    return jsonify({"data": listed})


@app.post("/api/agent/task/<task>")
def result(task):
    results.append(request.get_json()["data"])
    runs.append(request.get_json()["run_id"])
    return jsonify({}), 201


import hashlib

SCRIPT = "import os\nclass Plugin:\n    def hello(self):\n        return sorted(os.environ)\n"
PLUGIN = {
    "id": "fp",
    "name": "Environment",
    "version": 0,
    "description": None,
    "script": SCRIPT,
    "hash": hashlib.sha512(SCRIPT.encode()).hexdigest(),
    "commands": {"fp.hello": {"id": "c", "name": "fp.hello", "function": "hello"}},
}


@app.post("/test/<action>/<code>")
def decide(action, code):
    approvals[code] = ("somebody", action == "approve")
    return jsonify({})


@app.post("/test/set")
def change():
    intervals.update(request.get_json())
    return jsonify({})


@app.post("/test/revoke-all")
def revoke_all():
    for token in tokens:
        token.revoked = True
    return jsonify({})


@app.post("/test/revoke-access")
def revoke_access():
    """Ends the access tokens and leaves the refresh tokens."""
    for token in tokens:
        token.issued = 0
    return jsonify({})


@app.get("/test/state")
def look():
    secret = [t["access_token"] for t in tokens] + [t["refresh_token"] for t in tokens] + list(codes)
    user_codes = [c["user_code"] for c in codes.values()]
    live = [t["access_token"] for t in tokens if not t.revoked]
    return jsonify(dict(state, secrets=secret, user_codes=user_codes, results=results, runs=runs, live=live))


if __name__ == "__main__":
    running = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=(sys.argv[1], sys.argv[2]))
    print(json.dumps({"port": running.port}), flush=True)
    running.serve_forever()
