"""The modules that existing scripts import, but for what the `api` object does.

It needs nothing of the agent: processes that plugins start with `multiprocessing` have it too.
"""

import sys
import types


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


def install_modules(api, stop_requested):
    """Puts the modules that scripts import into `sys.modules`."""

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
    root.agent = module("runbooksolutions.agent", stop_requested=stop_requested, TimeLimitExceeded=TimeLimitExceeded)
    root.agent.__path__ = []
    root.agent.Task = module("runbooksolutions.agent.Task", Task=Task)
    root.agent.API = module(
        "runbooksolutions.agent.API",
        API=api,
        APIError=APIError,
        AgentDetails=AgentDetails,
        AgentTasks=AgentTasks,
    )
