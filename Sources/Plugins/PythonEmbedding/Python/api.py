"""The `api` object: the backend, with the credentials of the agent."""

import json

from _runbook import host
from _runbook.contract import AgentDetails, AgentTasks, APIError, Task
from _runbook.output import current_call
from _runbook.results import encode_other, result_text


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
        status, text, code = host.request(self._plugin_id, method, prefix + path, body)
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
