"""Tests of the agent's own Python that need nothing of the agent. Its folder is the first argument."""

import datetime
import decimal
import enum
import json
import logging
import os
import sys
import threading
import time
import types
import unittest
import uuid

FOLDER = sys.argv.pop(1)


def find_modules():
    """Makes `_runbook` a package of that folder. Of what Swift gives, only what no module does without."""
    package = types.ModuleType("_runbook")
    package.__path__ = [FOLDER]
    host = types.ModuleType("_runbook.host")
    host.emitted = []
    host.emit = lambda *arguments: host.emitted.append(arguments)
    host.piped = b""
    host.take_output = take_output
    sys.modules.update({"_runbook": package, "_runbook.host": host})


def take_output(pipe):
    """What a program has written since it was asked last."""
    host = sys.modules["_runbook.host"]
    data, host.piped = host.piped, b""
    return data


find_modules()

from _runbook import contract, exceptions, output, plugins, programs, results, stacks, threads  # noqa: E402


class ProgramCaptureTests(unittest.TestCase):
    def setUp(self):
        self.capture = programs.ProgramCapture(output.Capture(100), 1)
        self.host = sys.modules["_runbook.host"]

    def test_what_programs_wrote_comes_before_the_plugins_next_line(self):
        self.host.piped = b"program\n"
        self.capture.write("plugin\n")
        self.assertEqual(self.capture.encoded(), b"program\nplugin\n")

    def test_the_host_takes_over_what_programs_wrote(self):
        self.host.piped = "ä".encode()[:1]
        self.capture.relay()
        self.host.piped = "ä".encode()[1:]
        self.capture.relay()
        self.assertEqual(self.capture.capture.kept.getvalue(), "ä")

    def test_the_host_leaves_it_to_a_plugin_that_writes(self):
        self.host.piped = b"program\n"
        self.capture.writers = 1
        self.capture.relay()
        self.assertEqual(self.capture.capture.kept.getvalue(), "")

    def test_a_forked_process_does_not_wait_for_its_parents_host(self):
        self.capture.relaying = os.getpid() + 1
        self.capture.write("child\n")
        self.assertEqual(self.capture.encoded(), b"child\n")

    def test_the_end_of_a_call_waits_for_what_the_host_has_taken(self):
        self.capture.relaying = os.getpid()

        def finish():
            time.sleep(0.2)
            self.capture.capture.write("taken\n")
            self.capture.relaying = 0

        host = threading.Thread(target=finish)
        host.start()
        self.assertEqual(self.capture.encoded(), b"taken\n")
        host.join()


class StackTests(unittest.TestCase):
    def test_frames_that_return_meanwhile_are_not_given_back_here(self):
        given_back_by = []

        class Watched:
            def __del__(self):
                given_back_by.append(threading.get_ident())

        def work(begun, end):
            watched = Watched()
            begun.set()
            end.wait()
            return watched is None

        begun, end = threading.Event(), threading.Event()
        thread = threading.Thread(target=work, args=(begun, end))
        thread.start()
        begun.wait()
        text, held = stacks.describe_call(output.Call(), thread.ident)
        self.assertIn("in work", text)
        end.set()
        thread.join()
        # Its frame is still held: whoever lets go of it runs what the object says.
        self.assertEqual(given_back_by, [])
        del held
        self.assertEqual(given_back_by, [threading.get_ident()])


class CaptureTests(unittest.TestCase):
    def test_text_is_kept_up_to_the_limit(self):
        capture = output.Capture(5)
        for part in ("abc", "def", "ghi"):
            capture.write(part)
        self.assertEqual(capture.encoded(), b"abcde\n[output cut after 5 bytes]\n")

    def test_what_is_kept_is_told_as_it_comes(self):
        capture = output.Capture(5, tap=7, stream=output.ERRORS)
        for part in ("abc", "def", "ghi"):
            capture.write(part)
        self.assertEqual(output.host.emitted, [(7, 2, 0, "abc"), (7, 2, 3, "def")])

    def test_a_cut_splits_no_character(self):
        capture = output.Capture(4)
        capture.write("aäöü")
        self.assertEqual(capture.encoded(), "aä\n[output cut after 4 bytes]\n".encode())

    def test_bytes_of_one_character_may_come_apart(self):
        capture = output.Capture(100)
        for byte in "ä€".encode():
            capture.write_bytes(bytes([byte]))
        self.assertEqual(capture.encoded(), "ä€".encode())

    def test_a_flood_is_stopped(self):
        capture = output.Capture(10)
        with self.assertRaises(output.OutputLimitExceeded):
            for _ in range(10 * output.FLOOD):
                capture.write("xx")


class ResultTests(unittest.TestCase):
    def test_values_that_json_does_not_know(self):
        class Colour(enum.Enum):
            RED = "red"

        key = uuid.UUID(int=1)
        for value, expected in (
            (datetime.date(2026, 1, 2), "2026-01-02"),
            (datetime.timedelta(minutes=1), 60.0),
            (decimal.Decimal("1.50"), "1.50"),
            (key, str(key)),
            (Colour.RED, "red"),
            (b"\xff\x41", "\ufffdA"),
            ({3, 1, 2}, [1, 2, 3]),
        ):
            with self.subTest(value=value):
                self.assertEqual(json.loads(results.result_text([value])), [expected])

    def test_what_is_too_large_is_not_made(self):
        with self.assertRaises(results.ResultTooLarge):
            results.encode_other(bytes(1000), room=999)
        with self.assertRaises(results.ResultTooLarge):
            results.encode_other(set(range(1000)), room=2999)

    def test_text_is_taken_as_it_is(self):
        self.assertIsNone(results.result_text(None))
        self.assertEqual(results.result_text("a\ud800"), "a?")


class DescriptionTests(unittest.TestCase):
    def test_kind_message_and_place(self):
        try:
            json.loads("{")
        except ValueError as error:
            description = exceptions.describe(error)
        self.assertEqual(description.type, "json.decoder.JSONDecodeError")
        self.assertIn("property name", description.message)
        self.assertIn("test_embedded.py", description.traceback)
        self.assertTrue(description.raised_inside)

    def test_an_exception_that_can_not_be_shown(self):
        class Broken(Exception):
            def __str__(self):
                raise KeyError("x")

        description = exceptions.describe(Broken())
        self.assertEqual(description.message, "(the exception's text could not be made)")
        self.assertFalse(description.raised_inside)

    def test_a_long_traceback_loses_its_middle(self):
        def fall(depth):
            return fall(depth - 1) + depth if depth % 2 else {"x" * 3000: fall(depth - 1)} if depth else 1 // depth

        try:
            fall(400)
        except ZeroDivisionError as error:
            error.add_note("y" * 200000)
            text = exceptions.describe(error).traceback
        self.assertLessEqual(len(text), exceptions.TEXT_LIMIT + 100)
        self.assertIn("[traceback cut]", text)


class MethodTests(unittest.TestCase):
    def test_properties_are_not_called(self):
        class Plugin:
            @property
            def trap(self):
                raise AssertionError("it was called")

            def run(self):
                pass

            number = 3

        plugin = Plugin()
        plugin.other = print
        self.assertTrue(plugins.has_method(plugin, "run"))
        self.assertTrue(plugins.has_method(plugin, "trap"))
        self.assertTrue(plugins.has_method(plugin, "other"))
        self.assertFalse(plugins.has_method(plugin, "number"))
        self.assertFalse(plugins.has_method(plugin, "missing"))


class RecordTests(unittest.TestCase):
    def test_fields_are_attributes(self):
        task = contract.Task({"id": "7"})
        self.assertEqual(task.id, "7")
        with self.assertRaises(AttributeError):
            task.missing  # noqa: B018


class InterruptionTests(unittest.TestCase):
    def test_the_functions_that_lock_are_those_of_this_python(self):
        """Each file is one of the standard library, or a module that is frozen into it, or our own."""
        for file, names in threads.uninterruptible().items():
            if file.startswith(("<frozen", os.path.dirname(threads.__file__))):
                continue
            with open(file, encoding="utf-8") as source:
                text = source.read()
            # Of the names that locks have in general each file has some.
            self.assertTrue(any(f"def {name}(" in text for name in names), file)
        specific = threads.uninterruptible()[logging.Handler.acquire.__code__.co_filename]
        self.assertIn("_clear_cache", specific)

    def test_what_gives_a_lock_back_raises_what_waits(self):
        given_back = []
        release = threads.raising_afterwards(lambda: given_back.append(1))
        release()
        threads.waiting_injections[threads.threading.get_ident()] = True
        with self.assertRaises(contract.TimeLimitExceeded):
            release()
        self.assertEqual(given_back, [1, 1])
        self.assertEqual(threads.waiting_injections, {})


if __name__ == "__main__":
    unittest.main()
