"""Processes that plugins start with `multiprocessing`: they are sent the script of their plugin."""

import importlib.machinery

from _runbook import host
from _runbook.output import current_call
from _runbook.plugins import plugin_sources


class PluginForProcess:
    """Part of what such a process is sent first: it makes the plugin's module known there.

    Functions and objects of a script are sent by the name of its module, which no file has.
    """

    def __init__(self, module_name):
        self.module_name = module_name

    def __reduce__(self):
        known = {
            "contract_source": host.sources["contract"],
            "plugins": {self.module_name: plugin_sources[self.module_name]},
        }
        return exec, (host.sources["spawned"], known)


def send_plugin_along(spawn):
    original = spawn.get_preparation_data

    def get_preparation_data(name):
        data = original(name)
        call = current_call.get(None)
        module_name = getattr(getattr(call, "plugin", None), "__name__", None)
        if module_name in plugin_sources:
            data["runbook_plugin"] = PluginForProcess(module_name)
        return data

    spawn.get_preparation_data = get_preparation_data


class SpawnFinder:
    """Has `multiprocessing` changed when it is imported: importing it here would cost every start."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "multiprocessing.spawn":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                send_plugin_along(module)

            spec.loader.exec_module = exec_module
        return spec
