"""Run in a process that a plugin starts with `multiprocessing`, before anything of the plugin is."""

import importlib.machinery
import linecache
import sys
import types

# What whoever runs this has put here: the path and the bytes of the plugin's script by the name of its module, and the
# source of the module `contract`.
plugins = globals()["plugins"]
contract = types.ModuleType("_runbook.contract")
exec(globals()["contract_source"], contract.__dict__)


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
    raise contract.APIError("the api object does not work in a process that a plugin started", code="api.no_agent")


class API:
    """Stands for the `api` object of the agent, so that what refers to it can be sent here."""

    stop_requested = False
    sendRequest = graphQL = getAgentDetails = getAgentTasks = sendTaskResult = unavailable


def stop_requested():
    """Always false: the agent ends such processes with their run."""
    return False


contract.install_modules(API, stop_requested)
sys.meta_path.insert(0, PluginFinder)
