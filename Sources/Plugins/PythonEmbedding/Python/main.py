"""Makes the interpreter what plugins find. It runs once, after all other modules of this folder."""

# Not used: its first import takes SIGINT over, and here that is undone.
import signal  # noqa: F401
import sys
import warnings  # noqa: F401

from _runbook import api, contract, output, processes, programs, threads

output.install_streams()
threads.carry_context_into_threads()
threads.raise_injections_where_locks_are_given_back()
contract.install_modules(api.API, api.stop_requested)
sys.meta_path.insert(0, processes.SpawnFinder)
programs.wrap_what_starts_programs()
