"""Loads plugins, finds their methods, and takes them out of service."""

import linecache
import sys
import types
from collections import namedtuple

from _runbook.api import API
from _runbook.exceptions import describe
from _runbook.output import current_call


def make_plugin(plugin_class, plugin_id):
    """Its instance, with the `api` object if the constructor has a parameter of that name."""
    initializer = plugin_class.__init__
    while hasattr(initializer, "__wrapped__"):
        initializer = initializer.__wrapped__
    code = getattr(initializer, "__code__", None)
    if code is None or "api" not in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        return plugin_class()
    # Those before a "/" can't be named; `self` is the first of them.
    if code.co_posonlyargcount > 1 and code.co_varnames[1] == "api":
        return plugin_class(API(plugin_id))
    return plugin_class(api=API(plugin_id))


# What stands for a plugin in `sys.modules` by our doing: a script may put something else there.
plugin_modules = {}

# Paths and bytes of these scripts, for the processes that they start.
plugin_sources = {}


# `result` is the module where `stage` is "loaded", otherwise the description of `exception`, or None.
LoadedScript = namedtuple("LoadedScript", "stage result instance exception")


def load_plugin(module_name, path, source, plugin_id):
    """Compiles and runs a script and makes its Plugin."""
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except BaseException as exception:
        return LoadedScript("compile", None, None, exception)
    previous_lines = linecache.cache.get(path)
    text = source.decode("utf-8", "replace")
    linecache.cache[path] = (len(source), None, text.splitlines(True), path)
    module = types.ModuleType(module_name)
    module.__file__ = path
    previous = sys.modules.get(module_name)
    # Before the code runs: dataclasses and pickle look their module up by name.
    sys.modules[module_name] = module
    previous_source = plugin_sources.get(module_name)
    plugin_sources[module_name] = (path, source)
    call = current_call.get(None)
    if call is not None:
        call.plugin = module
    stage = "execute"
    try:
        exec(code, module.__dict__)
        stage = "class"
        plugin_class = module.__dict__.get("Plugin")
        if not isinstance(plugin_class, type):
            raise AttributeError("the script defines no class Plugin")
        stage = "construct"
        instance = make_plugin(plugin_class, plugin_id)
        plugin_modules[module_name] = module
        return LoadedScript("loaded", module, instance, None)
    except BaseException as exception:
        put_back(sys.modules, module_name, previous)
        put_back(plugin_sources, module_name, previous_source)
        # Made into text before the lines are taken away that it shows.
        description = describe(exception)
        put_back(linecache.cache, path, previous_lines)
        return LoadedScript(stage, description, None, exception)


def put_back(table, key, value):
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def shut_down(instance):
    """Calls the plugin's optional shutdown()."""
    method = getattr(instance, "shutdown", None)
    if callable(method):
        method()


def forget_plugin(module_name, path, module, successor):
    """Takes a module out of service, unless another version of the script has taken its place."""
    if plugin_modules.get(module_name) is not module:
        return
    if successor is not None:
        plugin_modules[module_name] = sys.modules[module_name] = successor
        return
    del plugin_modules[module_name]
    plugin_sources.pop(module_name, None)
    sys.modules.pop(module_name, None)
    linecache.cache.pop(path, None)


def has_method(instance, name):
    """Whether an attribute is there that may be called. Runs none of the plugin's code."""
    for kind in type(instance).__mro__:
        if name in kind.__dict__:
            attribute = kind.__dict__[name]
            break
    else:
        try:
            attribute = object.__getattribute__(instance, "__dict__")[name]
        except (AttributeError, KeyError):
            return hasattr(type(instance), "__getattr__")
    # What a descriptor gives is known only once it is asked.
    return callable(attribute) or hasattr(type(attribute), "__get__")
