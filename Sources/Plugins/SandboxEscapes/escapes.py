"""Tries what the policy of the sandbox forbids.

The script behind `runbook-agent doctor --escape`. `prepare` runs unconfined and makes the targets. `attempt`
runs once in a sandboxed child, where nothing may get through, and once in an unconfined child of the same
kind, its twin, where it must: a check that can't fail shows nothing.

Those against the agent itself run in a sandboxed child both times, see there.

An attempt returns a short text when the forbidden effect was achieved. It raises OSError or Refused when it
was not; anything else that it raises is a fault of the check or its surroundings, never taken for a refusal.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import mmap
import os
import platform
import resource
import secrets
import select
import signal
import socket
import stat
import struct
import threading
import time

TIME_LIMIT = 5.0
PATIENCE = 1.5
SURVIVAL = 30.0
TARGET = b"left as it was\n"
VARIABLE = "RUNBOOK_ESCAPE_SECRET"
PREFIX = "runbook-escape-"
BAD = 1  # No one's address: the kernel answers EFAULT.
EVERY_BIT = 0xFFFFFFFF

# ------------------------------------------------------------ registering

CHECKS = {}


class Refused(Exception):
    """The forbidden effect was not achieved."""


def attempt(group, title, policy="full", **more):
    """Registers a check. The policy is the widest one under which it must still be refused."""

    def register(function):
        add_check(function.__name__, group, title, policy, function, **more)
        return function

    return register


def add_check(name, group, title, policy, function, **more):
    assert name not in CHECKS, name
    CHECKS[name] = (function, {"name": name, "group": group, "title": title, "policy": policy, **more})


def code_name(number):
    return errno.errorcode.get(number, f"errno {number}")


def describe(error):
    if not isinstance(error, OSError) or error.errno is None:
        return str(error) or type(error).__name__
    what = getattr(error, "what", None) or shorten(error.filename)
    return f"{what}: {code_name(error.errno)}" if what else code_name(error.errno)


def shorten(path):
    return path if not isinstance(path, str) or len(path) < 40 else f"…/{os.path.basename(path)}"


# Of these the sandbox is not the cause: taking them for a refusal would make the check pass for nothing.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def judge(function, *arguments):
    try:
        return {"through": True, "detail": str(function(*arguments))}
    except TimeoutError as error:
        return {"through": False, "detail": getattr(error, "what", "no answer")}
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise RuntimeError(f"exhausted: {describe(error)}") from error
        return {"through": False, "detail": describe(error)}
    except Refused as error:
        return {"through": False, "detail": describe(error)}


@contextlib.contextmanager
def trying(what):
    """Says in the detail which step was refused."""
    try:
        yield
    except OSError as error:
        error.what = what
        raise


@contextlib.contextmanager
def setting_up():
    """What the sandbox allows. A failure here says nothing about the check."""
    try:
        yield
    except OSError as error:
        raise RuntimeError(f"could not set up: {error}") from error


def digest(data):
    return hashlib.sha256(data).hexdigest()


def expect(context, name, data):
    """The bytes must be those that `prepare` put there."""
    if not data or digest(data) != context["hashes"][name]:
        raise Refused(f"{len(data)} bytes, but not those of {name}")
    return f"read {len(data)} bytes"


def need(context, name):
    if context.get(name) is None:
        raise Refused(f"there is no {name} on this host")
    return context[name]


def scratch(context, name=None):
    folder = context.get("scratch") or os.environ.get("TMPDIR") or os.getcwd()
    return os.path.join(folder, f"{name}-{secrets.token_hex(4)}") if name else folder


def outside(context, name):
    return os.path.join(context["outside"], name)


def fresh(context):
    return outside(context, f"new-{secrets.token_hex(4)}")


# ------------------------------------------------------------ system calls

MACHINE = platform.machine()
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

# For x86_64 and aarch64. One number: the same on both. None: aarch64 has no such call.
NUMBERS = {
    "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "clone": (56, 220), "clone3": 435,
    "delete_module": (176, 106), "execveat": (322, 281), "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263), "fchmod": (91, 52),
    "chmod": (90, None), "creat": (85, None), "fchmodat": (268, 53), "fchmodat2": 452, "fchown": (93, 55), "fremovexattr": (199, 16), "fsetxattr": (190, 7),
    "fchownat": (260, 54),
    "finit_module": (313, 273), "fsconfig": 431, "fsmount": 432, "fsopen": 430, "fspick": 433,
    "futimesat": (261, None), "getpid": (39, 172), "getxattr": (191, 8), "landlock_add_rule": 445,
    "landlock_create_ruleset": 444, "landlock_restrict_self": 446, "lgetxattr": (192, 9), "listxattr": (194, 11),
    "llistxattr": (195, 12), "open": (2, None), "openat": (257, 56), "openat2": 437, "init_module": (175, 105), "inotify_add_watch": (254, 27),
    "inotify_init1": (294, 26), "io_cancel": (210, 3), "io_destroy": (207, 1),
    "io_getevents": (208, 4), "io_pgetevents": (333, 292), "io_setup": (206, 0), "io_submit": (209, 2),
    "io_uring_enter": 426, "io_uring_register": 427, "io_uring_setup": 425,
    "ioctl": (16, 29), "ioprio_set": (251, 30), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "lchown": (94, None), "listmount": 458,
    "lremovexattr": (198, 15), "lsetxattr": (189, 6), "memfd_create": (319, 279), "memfd_secret": 447,
    "migrate_pages": (256, 238), "mknod": (133, None), "mknodat": (259, 33), "mount": (165, 40),
    "mount_setattr": 442, "move_mount": 429, "move_pages": (279, 239), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "msgctl": (71, 187), "msgget": (68, 186), "msgrcv": (70, 188),
    "msgsnd": (69, 189), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "open_tree": 428,
    "open_tree_attr": 467, "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": 438,
    "pivot_root": (155, 41), "prctl": (157, 167), "prlimit64": (302, 261), "process_madvise": 440,
    "process_mrelease": 448, "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": 443, "removexattr": (197, 14),
    "request_key": (249, 218), "semctl": (66, 191), "semget": (64, 190), "semop": (65, 193),
    "sched_setattr": (314, 274), "semtimedop": (220, 192), "sendmmsg": (307, 269), "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268), "settimeofday": (164, 170), "shmat": (30, 196), "shmctl": (31, 195),
    "shmget": (29, 194), "socket": (41, 198), "statmount": 457, "syslog": (103, 116), "tgkill": (234, 131),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "utime": (132, None),
    "utimensat": (280, 88), "utimes": (235, None), "vmsplice": (278, 75),
}


def number_of(name):
    number = NUMBERS[name]
    return number if isinstance(number, int) else number[{"x86_64": 0, "aarch64": 1}[MACHINE]]


def word(argument):
    if isinstance(argument, int):
        return ctypes.c_long(ctypes.c_ulong(argument).value)
    return argument


def raw_call(number, arguments, what):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(word, arguments))
    if result == -1 and ctypes.get_errno() != 0:
        error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        error.what = what
        raise error
    return result


def call(name, *arguments):
    return raw_call(number_of(name), arguments, f"{name}()")


def reach(name, *arguments):
    """Through where the kernel itself answers. EPERM is the filter's answer, and the kernel's own to those
    without the privilege: the arguments are such that it finds fault with them before it asks for that."""
    try:
        return f"{name}() = {call(name, *arguments)}"
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise
        return f"{name}() reached the kernel: {code_name(error.errno)}"


# ------------------------------------------------------------ children


def fork():
    with setting_up():
        return os.fork()


def in_child(function, *arguments):
    """Runs in a child what changes the process that does it. It has one thread, as new namespaces ask for."""
    with setting_up():
        reading, writing = os.pipe()
    child = fork()
    if child == 0:
        try:
            os.close(reading)
            try:
                answer = judge(function, *arguments)
            except BaseException as error:
                answer = {"fault": f"{type(error).__name__}: {error}"}
            os.write(writing, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        answer = read_all(reading, time.monotonic() + TIME_LIMIT)
    finally:
        os.close(reading)
        status = end_child(child)
    if answer is None:
        raise Refused("no answer in time")
    if not answer:
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        raise Refused(f"killed by {signal.Signals(ended_by).name}" if ended_by else "the child ended early")
    answer = json.loads(answer)
    if "fault" in answer:
        raise RuntimeError(answer["fault"])
    if not answer["through"]:
        raise Refused(answer["detail"])
    return answer["detail"]


def read_all(descriptor, deadline):
    data, poll = b"", select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
            return None
        part = os.read(descriptor, 4096)
        if not part:
            return data
        data += part


def end_child(child):
    """Its pipe is closed, so it has ended, is about to, or hangs."""
    deadline = time.monotonic() + 0.5
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1]
    return 0


def exit_code_of(execute):
    """Starts a program in a child: the exit code, or the error of the start."""
    child = fork()
    if child == 0:
        try:
            execute()
        except OSError as error:
            os._exit(100 + min(error.errno, 150))
        finally:
            os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 100:
        raise OSError(code - 100, os.strerror(code - 100))
    return code


NAMESPACES = {
    "mount": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "network": 0x40000000, "time": 0x00000080,
}
MS_REC_PRIVATE = 0x44000


def enter_namespaces(*names):
    """In a child only. What an ordinary user may do there, he may do to no one else."""
    flags = sum(NAMESPACES[name] for name in names)
    user, group = os.geteuid(), os.getegid()
    try:
        call("unshare", flags | NAMESPACES["user"])
    except OSError:
        call("unshare", flags)  # Root, where user namespaces are switched off.
    else:
        for name, text in [("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")]:
            with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if "mount" in names:
        call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)  # Nothing may spread to the host.

def here_or_in_namespaces(namespaces, function, *arguments):
    """Tried as it is, then with the privileges of a namespace of one's own. The first answer is told."""
    try:
        return in_child(function, *arguments)
    except Refused as refusal:
        with contextlib.suppress(Refused):
            if namespaces:
                return in_child(lambda: (enter_namespaces(*namespaces), function(*arguments))[1])
        raise refusal


# ------------------------------------------------------------ files: reading


def read_file(path, size=1 << 20):
    with open(path, "rb", buffering=0) as file:
        return file.read(size)


@attempt("files", "read the agent's journal")
def read_agent_state(context):
    return expect(context, "state", read_file(context["state"]))


@attempt("files", "read another plugin's script")
def read_other_plugin(context):
    return expect(context, "plugin", read_file(context["plugin"]))


@attempt("files", "read the agent's journal through a symbolic link in the scratch folder")
def read_through_link(context):
    link = scratch(context, "link")
    with setting_up():
        os.symlink(context["state"], link)
    try:
        return expect(context, "state", read_file(link))
    finally:
        os.unlink(link)


@attempt("files", "read the agent's journal through /proc/self/root")
def read_through_proc_root(context):
    return expect(context, "state", read_file("/proc/self/root" + context["state"]))


@attempt("files", "read the agent's journal under another name: a hard link in the scratch folder")
def link_into_scratch(context):
    link = scratch(context, "hard-link")
    os.link(context["state"], link)
    try:
        return expect(context, "state", read_file(link))
    finally:
        os.unlink(link)


@attempt("files", "read the agent's environment in /proc")
def read_agent_environ(context):
    return expect(context, "environ", read_file(f"/proc/{context['agent']['pid']}/environ"))


@attempt("files", "read the agent's command line in /proc")
def read_agent_cmdline(context):
    return expect(context, "cmdline", read_file(f"/proc/{context['agent']['pid']}/cmdline"))


@attempt("processes", "see that the agent's process is there")
def see_process(context):
    os.stat(f"/proc/{context['agent']['pid']}")
    return f"process {context['agent']['pid']} is there"


@attempt("processes", "learn its own number on the host")
def learn_own_number(context):
    return f"it is process {os.readlink('/proc/self')}"


@attempt("files", "read the own entry in /proc")
def read_own_proc(context):
    return f"read {len(read_file('/proc/self/status'))} bytes"


def list_folder(path):
    return lambda context: f"{path} has {len(os.listdir(path))} entries"


for name, path in [("root", "/"), ("home", "/home"), ("proc", "/proc"), ("etc", "/etc"), ("dev", "/dev"),
                   ("sys", "/sys")]:
    add_check(f"list_{name}", "files", f"list {path}", "full", list_folder(path))


@attempt("files", "list the agent's state folder")
def list_state_folder(context):
    if os.path.basename(context["state"]) not in os.listdir(os.path.dirname(context["state"])):
        raise Refused("the journal isn't listed")
    return "the journal is listed"


@attempt("files", "watch the agent's state folder with inotify")
def watch_state_folder(context):
    def watch():
        folder, name = os.path.split(context["state"])
        descriptor = call("inotify_init1", os.O_CLOEXEC)
        call("inotify_add_watch", descriptor, folder.encode(), 0xFFF)  # IN_ALL_EVENTS
        ready, _, _ = select.select([descriptor], [], [], PATIENCE)
        if not ready or name.encode() not in os.read(descriptor, 4096):
            raise Refused("nothing is reported")
        return f"use of {name} is reported"

    return in_child(watch)


# ------------------------------------------------------------ files: writing


@contextlib.contextmanager
def undoing(undo, *arguments):
    """Puts back what the attempt changed, so that the next one finds it again."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            undo(*arguments)


def put_back(path):
    with open(path, "wb") as file:
        file.write(TARGET)
    with contextlib.suppress(OSError):
        os.chmod(path, 0o666)


def write_through(path, flags, data=b"changed"):
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        return f"wrote {os.write(descriptor, data)} bytes"
    finally:
        os.close(descriptor)


def must_exist(path):
    if not os.path.lexists(path):
        raise Refused("nothing came of it")
    return "it is there"


def must_be_gone(path):
    if os.path.lexists(path):
        raise Refused("it is still there")
    return "it is gone"


@attempt("files", "create a file outside of the scratch folder")
def create_file(context):
    path = fresh(context)
    with undoing(os.unlink, path):
        return write_through(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


@attempt("files", "create a file without a name outside of the scratch folder")
def create_unnamed_file(context):
    return write_through(context["outside"], os.O_WRONLY | os.O_TMPFILE)


@attempt("files", "overwrite a file outside of the scratch folder")
def overwrite_file(context):
    path = outside(context, "target")
    with undoing(put_back, path):
        return write_through(path, os.O_WRONLY)


@attempt("files", "append to a file outside of the scratch folder")
def append_to_file(context):
    path = outside(context, "target")
    with undoing(put_back, path):
        return write_through(path, os.O_WRONLY | os.O_APPEND)


@attempt("files", "empty a file outside of the scratch folder with O_TRUNC")
def open_truncating(context):
    path = outside(context, "target")
    with undoing(put_back, path):
        os.close(os.open(path, os.O_RDONLY | os.O_TRUNC | os.O_CLOEXEC))
        return must_be_empty(path)


@attempt("files", "empty a file outside of the scratch folder with truncate()")
def truncate_file(context):
    path = outside(context, "target")
    with undoing(put_back, path):
        os.truncate(path, 0)
        return must_be_empty(path)


def must_be_empty(path):
    if os.stat(path).st_size != 0:
        raise Refused("it still has its size")
    return "it is empty"


@attempt("files", "rename a file outside of the scratch folder")
def rename_file(context):
    old, new = outside(context, "target"), fresh(context)
    with undoing(os.rename, new, old):
        os.rename(old, new)
        return must_exist(new)


@attempt("files", "move a file out of the scratch folder")
def rename_out_of_scratch(context):
    old, new = scratch(context, "file"), fresh(context)
    with setting_up():
        write_through(old, os.O_WRONLY | os.O_CREAT)
    with undoing(os.unlink, old), undoing(os.unlink, new):
        os.rename(old, new)
        return must_exist(new)


@attempt("files", "take a file into the scratch folder by renaming it")
def rename_into_scratch(context):
    old, new = outside(context, "target"), scratch(context, "taken")
    with undoing(os.rename, new, old):
        os.rename(old, new)
        return must_exist(new)


@attempt("files", "make a hard link outside of the scratch folder")
def make_hard_link(context):
    new = fresh(context)
    with undoing(os.unlink, new):
        os.link(outside(context, "target"), new)
        return must_exist(new)


@attempt("files", "make a symbolic link outside of the scratch folder")
def make_symbolic_link(context):
    new = fresh(context)
    with undoing(os.unlink, new):
        with trying("symlink()"):
            os.symlink("target", new)
        return must_exist(new)


@attempt("files", "make a named pipe outside of the scratch folder")
def make_named_pipe(context):
    new = fresh(context)
    with undoing(os.unlink, new):
        with trying("mkfifo()"):
            os.mkfifo(new)
        return must_exist(new)


@attempt("files", "make a folder outside of the scratch folder")
def make_folder(context):
    new = fresh(context)
    with undoing(os.rmdir, new):
        os.mkdir(new)
        return must_exist(new)


@attempt("files", "remove a folder outside of the scratch folder")
def remove_folder(context):
    path = outside(context, "empty")
    with undoing(os.mkdir, path):
        os.rmdir(path)
        return must_be_gone(path)


@attempt("files", "remove a file outside of the scratch folder")
def remove_file(context):
    path = outside(context, "target")
    with undoing(put_back, path):
        os.unlink(path)
        return must_be_gone(path)


# ------------------------------------------------------------ files: attributes


@attempt("files", "change the mode of a file of the same user")
def change_mode(context):
    path = outside(context, "target")
    with undoing(os.chmod, path, 0o666):
        os.chmod(path, 0o606)
        return must_have_mode(path, 0o606)


def by_descriptor(name, *arguments):
    """Through a descriptor that carries no rights, which is given to everyone."""

    def run(context):
        path = outside(context, "target")
        with setting_up():
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        with undoing(os.chmod, path, 0o666):
            try:
                call(name, descriptor, b"", *arguments, 0x1000)  # AT_EMPTY_PATH
                return f"{name}() was accepted"
            finally:
                os.close(descriptor)

    return run


for name, what, arguments in [
    ("fchmodat2", "mode", (0o606,)),
    ("fchownat", "owner", (os.geteuid(), os.getegid())),
    ("utimensat", "times", (None,)),
]:
    add_check(f"change_by_{name}", "files", f"change the {what} of a file of the same user by its descriptor",
              "full", by_descriptor(name, *arguments))


def must_have_mode(path, mode):
    if stat.S_IMODE(os.stat(path).st_mode) != mode:
        raise Refused("it still has its mode")
    return f"its mode is {mode:o}"


@attempt("files", "change the times of a file of the same user")
def change_times(context):
    path = outside(context, "target")
    with undoing(os.utime, path):
        with trying("utimensat()"):
            os.utime(path, (1, 1))
        if os.stat(path).st_mtime != 1:
            raise Refused("it still has its times")
        return "it is from 1970"


@attempt("files", "give a file of the same user to oneself")
def change_owner(context):
    path = outside(context, "target")
    os.chown(path, os.geteuid(), os.getegid())
    return "chown() was accepted"


@attempt("files", "set an extended attribute of a file of the same user")
def set_extended_attribute(context):
    path, name = outside(context, "target"), "user.escape"
    with undoing(os.removexattr, path, name):
        with trying("setxattr()"):
            os.setxattr(path, name, b"1")
        return "the attribute is set"


def by_other_call(name, arguments):
    """The kernel has several calls for the same."""

    def run(context):
        path = outside(context, "target")
        with undoing(os.chmod, path, 0o666):
            try:
                call(name, *(path.encode() if argument is PATH else argument for argument in arguments))
            except OSError as error:
                if error.errno != errno.ENODATA:  # It looked for the attribute to remove.
                    raise
            return f"{name}() was accepted"

    return run


PATH = object()
ATTRIBUTE = b"user.other"


def by_reading_descriptor(name, *arguments):
    """The right to read a file is not that to change who may do what with it."""

    def run(context):
        path = outside(context, "target")
        with setting_up():
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with undoing(os.chmod, path, 0o666):
            try:
                call(name, descriptor, *arguments)
            except OSError as error:
                if error.errno != errno.ENODATA:  # It looked for the attribute to remove.
                    raise
            finally:
                os.close(descriptor)
            return f"{name}() was accepted"

    return run


# A file that a policy lets it read, of the same user or of everybody.
for name, what, arguments in [
    ("fchmod", "mode", (0o666,)),
    ("fchown", "owner", (os.geteuid(), os.getegid())),
    ("fsetxattr", "attributes", (ATTRIBUTE, b"1", 1, 0)),
    ("fremovexattr", "other attributes", (ATTRIBUTE,)),
]:
    add_check(f"change_by_{name}", "files", f"change the {what} of a file that may only be read", "readable",
              by_reading_descriptor(name, *arguments))


@attempt("files", "set the flags of a file that may only be read", "readable")
def change_flags(context):
    with setting_up():
        descriptor = os.open(outside(context, "target"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = ctypes.c_long(0)
        with contextlib.suppress(OSError):
            call("ioctl", descriptor, 0x80086601, ctypes.byref(flags))  # FS_IOC_GETFLAGS
        try:
            call("ioctl", descriptor, 0x40086602, ctypes.byref(flags))  # FS_IOC_SETFLAGS, to what they are.
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):  # A file system that has none.
                raise
            return f"ioctl() reached the file system: {code_name(error.errno)}"
        return "the flags were accepted"
    finally:
        os.close(descriptor)


for name, arguments in [
    ("fchmodat", (-100, PATH, 0o606)),
    ("lsetxattr", (PATH, ATTRIBUTE, b"1", 1, 0)),
    ("removexattr", (PATH, ATTRIBUTE)),
    ("lremovexattr", (PATH, ATTRIBUTE)),
    ("lchown", (PATH, os.geteuid(), os.getegid())),
    ("utime", (PATH, None)),
    ("utimes", (PATH, None)),
    ("futimesat", (-100, PATH, None)),
]:
    if number_of(name) is not None:
        add_check(f"change_by_{name}", "files", f"change a file of the same user by {name}", "full",
                  by_other_call(name, arguments))


# ------------------------------------------------------------ files: executing


def copy_program(context):
    """An executable file in the scratch folder. Made with its mode, as chmod may be refused."""
    path = scratch(context, "program")
    with setting_up():
        source = next(path for path in ("/bin/true", "/usr/bin/true") if os.path.exists(path))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(path, flags, 0o755), "wb") as file:
            file.write(read_file(source, -1))
    return path


def must_succeed(code):
    if code != 0:
        raise Refused(f"it ended with {code}")
    return "it ran"


@attempt("files", "execute a file from the scratch folder")
def execute_from_scratch(context):
    path = copy_program(context)
    try:
        with trying("execve()"):
            return must_succeed(exit_code_of(lambda: os.execv(path, ["true"])))
    finally:
        os.unlink(path)


@attempt("files", "execute a file from the scratch folder by its descriptor")
def execute_by_descriptor(context):
    path = copy_program(context)
    with setting_up():
        descriptor = os.open(path, os.O_PATH)  # Which no rule refuses.
    try:
        with trying("execveat()"):
            return must_succeed(exit_code_of(lambda: execute_descriptor(descriptor)))
    finally:
        os.close(descriptor)
        os.unlink(path)


def execute_descriptor(descriptor):
    arguments = (ctypes.c_char_p * 2)(b"true", None)
    call("execveat", descriptor, b"", arguments, (ctypes.c_char_p * 1)(None), 0x1000)  # AT_EMPTY_PATH


@attempt("files", "run a file from the scratch folder through the dynamic loader")
def execute_through_loader(context):
    loaders = [path for path in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1") if os.path.exists(path)]
    if not loaders:
        raise Refused("the dynamic loader of this host is not known")
    path = copy_program(context)
    try:
        return must_succeed(exit_code_of(lambda: os.execv(loaders[0], [loaders[0], path])))
    finally:
        os.unlink(path)


@attempt("files", "run a file from a folder of write_paths through the dynamic loader", "writable")
def execute_from_writable_folder(context):
    return execute_through_loader({**context, "scratch": context["write_folder"]})


# ------------------------------------------------------------ files: programs with the rights of their owner

SET_ID = 0o4755
AT_FDCWD = -100


def with_set_id(make):
    """In a folder that it may write to. Whoever starts such a program has the rights of the file's owner."""

    def run(context):
        path = os.path.join(context["write_folder"], f"program-{secrets.token_hex(4)}")
        with undoing(os.unlink, path):
            make(path)
            if not os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
                raise Refused("it has none of the bits")
            return f"its mode is {stat.S_IMODE(os.stat(path).st_mode):o}"

    return run


def then(change):
    """Makes the file first."""

    def make(path):
        with setting_up():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
        try:
            change(path, descriptor)
        finally:
            os.close(descriptor)

    return make


def open_with_how(path):
    how = struct.pack("=QQQ", os.O_WRONLY | os.O_CREAT | os.O_EXCL, SET_ID, 0)
    os.close(call("openat2", AT_FDCWD, path.encode(), how, len(how)))


def name_unnamed(path):
    descriptor = os.open(os.path.dirname(path), os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, SET_ID)
    try:
        if os.fstat(descriptor).st_mode & stat.S_ISUID == 0:
            raise Refused("it has not the bit")
        write_through(path, os.O_WRONLY | os.O_CREAT)
        os.chmod(path, stat.S_IMODE(os.fstat(descriptor).st_mode))
    finally:
        os.close(descriptor)


CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL
for name, what, make in [
    ("fchmod", "fchmod()", then(lambda path, descriptor: call("fchmod", descriptor, SET_ID))),
    ("fchmodat", "fchmodat()", then(lambda path, descriptor: call("fchmodat", AT_FDCWD, path.encode(), SET_ID))),
    ("fchmodat2", "fchmodat2()",
     then(lambda path, descriptor: call("fchmodat2", AT_FDCWD, path.encode(), SET_ID, 0))),
    ("group", "the group's bit", then(lambda path, descriptor: os.chmod(path, 0o2755))),
    ("openat", "openat()", lambda path: os.close(call("openat", AT_FDCWD, path.encode(), CREATING, SET_ID))),
    ("openat2", "openat2()", open_with_how),
    ("unnamed", "O_TMPFILE", name_unnamed),
] + ([
    ("chmod", "chmod()", then(lambda path, descriptor: call("chmod", path.encode(), SET_ID))),
    ("creat", "creat()", lambda path: os.close(call("creat", path.encode(), SET_ID))),
    ("open", "open()", lambda path: os.close(call("open", path.encode(), CREATING, SET_ID))),
] if MACHINE == "x86_64" else []):
    add_check(f"set_id_by_{name}", "files", f"make a set-user-ID program in a folder of write_paths: {what}", "writable",
              with_set_id(make))


# ------------------------------------------------------------ files: what is told of those that can't be opened


def ask_for_attributes(name, *arguments):
    def run(context):
        path, buffer = outside(context, "target"), ctypes.create_string_buffer(256)
        words = [buffer if argument is PATH else argument for argument in arguments]
        try:
            return f"{name}() = {call(name, path.encode(), *words, 256)}"
        except OSError as error:
            if error.errno == errno.ENODATA:
                return f"{name}() looked for it"
            raise

    return run


for name, arguments in [
    ("getxattr", (ATTRIBUTE, PATH)), ("lgetxattr", (ATTRIBUTE, PATH)), ("listxattr", (PATH,)),
    ("llistxattr", (PATH,)),
]:
    add_check(f"ask_by_{name}", "files", f"learn the extended attributes of a file outside of the policy: {name}()",
              "full", ask_for_attributes(name, *arguments))


# ------------------------------------------------------------ /proc, where the policy has one


@attempt("processes", "read the agent's environment in the plugin's own /proc", "proc")
def read_agent_environ_in_own_proc(context):
    return expect(context, "environ", read_file(f"/proc/{context['agent']['pid']}/environ"))


@attempt("processes", "see that the agent's process is there in the plugin's own /proc", "proc")
def see_process_in_own_proc(context):
    if str(context["agent"]["pid"]) not in os.listdir("/proc"):
        raise Refused("the agent isn't listed")
    return "the agent is listed"


@attempt("processes", "read the environment of the process that watches over the plugin", "proc")
def read_keeper_environ(context):
    # In the twin it is the agent.
    data = read_file(f"/proc/{os.getppid()}/environ")
    if not data:
        raise Refused("it is empty")
    return f"read {len(data)} bytes"


def read_machine(path):
    def run(context):
        data = read_file(path, 4096)
        if not data:
            raise Refused("it is empty")
        return f"read {len(data)} bytes"

    return run


for name in ("kallsyms", "key-users", "interrupts", "cmdline", "devices", "sys/kernel/osrelease",
             "sys/kernel/random/boot_id", "zoneinfo", "softirqs"):
    add_check("read_proc_" + name.replace("/", "_").replace("-", "_"), "files",
              f"read what /proc tells of the machine: {name}", "proc", read_machine(f"/proc/{name}"))


def write_own(name, data):
    def run(context):
        return in_child(lambda: write_through(f"/proc/self/{name}", os.O_WRONLY, data))

    return run


for name, data in [("oom_score_adj", b"1000"), ("comm", b"other"), ("coredump_filter", b"0x7f"),
                   ("timerslack_ns", b"50000")]:
    add_check(f"write_proc_{name}", "processes", f"write to /proc/self/{name}", "proc", write_own(name, data))


@attempt("files", "read the agent's journal through /proc/self/root of the plugin's own /proc", "proc")
def read_through_own_proc_root(context):
    return expect(context, "state", read_file("/proc/self/root" + context["state"]))


@attempt("files", "write to the memory of its parent through /proc", "proc")
def write_parent_memory(context):
    return in_child(lambda: os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR)) or "it is open")


@attempt("files", "write to a file outside of the policy by its descriptor, through /proc/self/fd", "proc")
def reopen_through_proc(context):
    path = outside(context, "target")
    with setting_up():
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)  # Which no rule refuses.
    try:
        with undoing(put_back, path):
            return write_through(f"/proc/self/fd/{descriptor}", os.O_WRONLY)
    finally:
        os.close(descriptor)


@attempt("files", "start a program where the policy allows none", "no-programs")
def start_program(context):
    with trying("execve()"):
        return must_succeed(exit_code_of(lambda: os.execv("/bin/true", ["true"])))


@attempt("files", "run a script of its own by a shell where the policy allows no programs", "no-programs")
def run_script(context):
    path = scratch(context, "script")
    with setting_up(), open(path, "w") as file:
        file.write("exit 0\n")
    try:
        with trying("execve()"):
            return must_succeed(exit_code_of(lambda: os.execv("/bin/sh", ["sh", path])))
    finally:
        os.unlink(path)


@attempt("files", "make a file in memory")
def make_memory_file(context):
    descriptor = call("memfd_create", b"escape", 1)
    os.close(descriptor)
    return "memfd_create() gave a descriptor"


@attempt("files", "execute a file in memory")
def execute_memory_file(context):
    descriptor = call("memfd_create", b"escape", 1)
    try:
        os.write(descriptor, read_file("/bin/true", -1))
        return must_succeed(exit_code_of(lambda: execute_descriptor(descriptor)))
    finally:
        os.close(descriptor)


# ------------------------------------------------------------ files: shared memory


@attempt("files", "create a file in the host's /dev/shm")
def create_shared_file(context):
    path = f"/dev/shm/{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    with undoing(os.unlink, path):
        written = write_through(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        if not os.path.exists(need(context, "shared_file")):
            raise Refused("its /dev/shm is another than the host's")
        return written


@attempt("files", "read a file in the host's /dev/shm")
def read_shared_file(context):
    return expect(context, "shared_file", read_file(need(context, "shared_file")))


@attempt("files", "open POSIX shared memory of the host")
def open_shared_memory(context):
    name = "/" + os.path.basename(need(context, "shared_file"))
    with trying("shm_open()"):
        descriptor = checked(function_of("shm_open")(name.encode(), os.O_RDONLY, 0))
    try:
        return expect(context, "shared_file", os.read(descriptor, 1024))
    finally:
        os.close(descriptor)


@attempt("files", "open a POSIX semaphore of the host")
def open_semaphore(context):
    sem_open = function_of("sem_open")
    sem_open.restype = ctypes.c_void_p
    name = need(context, "semaphore").encode()
    with trying("sem_open()"):
        ctypes.set_errno(0)
        semaphore = sem_open(name, 0)
        if not semaphore:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    value = ctypes.c_int(-1)
    checked(function_of("sem_getvalue")(ctypes.c_void_p(semaphore), ctypes.byref(value)))
    checked(function_of("sem_close")(ctypes.c_void_p(semaphore)))
    if value.value != context["semaphore_value"]:
        raise Refused(f"another semaphore: {value.value}")
    return f"its value is {value.value}"


def function_of(name):
    """Of the C library, or of the ones that had it before glibc 2.34."""
    for library in (None, "librt.so.1", "libpthread.so.0"):
        with contextlib.suppress(AttributeError, OSError):
            return getattr(ctypes.CDLL(library, use_errno=True), name)
    raise RuntimeError(f"the C library has no {name}")


def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

# ------------------------------------------------------------ system calls: reached

# With arguments that do nothing: the kernel finds fault with them, where possible before it asks for a
# privilege. Where it asks first, an ordinary user may have the privilege in these namespaces.
CALLS = [
    ("mount", "mount a file system", (BAD, BAD, BAD, 0, 0), ()),
    ("umount2", "unmount a file system", (b"/", EVERY_BIT), ()),
    ("fsopen", "open a file system to mount", (BAD, 0), ("mount",)),
    ("fsconfig", "set up a file system to mount", (-1, 0, BAD, BAD, 0), ()),
    ("fsmount", "make a mount from a file system", (-1, 0, 0), ("mount",)),
    ("fspick", "take a mounted file system to change it", (-1, BAD, 0), ("mount",)),
    ("open_tree", "copy a tree of mounts", (-1, BAD, EVERY_BIT), ()),
    ("move_mount", "move a mount", (-1, BAD, -1, BAD, 0), ("mount",)),
    ("mount_setattr", "change the attributes of a mount", (-1, BAD, EVERY_BIT, BAD, 0), ()),
    ("pivot_root", "exchange the root", (BAD, BAD), ("mount",)),
    ("chroot", "change the root", (BAD,), ()),
    ("setns", "enter a namespace", (-1, 0), ()),
    ("sethostname", "set the name of the host", (BAD, -1), ("uts",)),
    ("setdomainname", "set the domain of the host", (BAD, -1), ("uts",)),
    ("bpf", "load a program into the kernel", (0, BAD, 1 << 20), ()),
    ("perf_event_open", "open a performance counter", (BAD, 0, -1, -1, EVERY_BIT), ()),
    ("userfaultfd", "handle page faults", (0x80001,), ()),  # UFFD_USER_MODE_ONLY
    ("io_uring_setup", "make an io_uring", (1, BAD), ()),
    ("request_key", "ask for a key", (BAD, BAD, None, 0), ()),
    ("kexec_load", "load another kernel", (0, 1000, BAD, 0xFF00), ()),
    ("kexec_file_load", "load another kernel from a file", (-1, -1, 0, BAD, 0xFF00), ()),
    ("init_module", "load a kernel module", (BAD, 0, BAD), ()),
    ("finit_module", "load a kernel module from a file", (-1, BAD, EVERY_BIT), ()),
    ("delete_module", "unload a kernel module", (BAD, 0), ()),
    ("open_by_handle_at", "open a file by its handle", (-1, BAD, 0), ()),
    ("name_to_handle_at", "ask for the handle of a file", (-1, BAD, BAD, BAD, EVERY_BIT), ()),
    ("fanotify_init", "watch whole file systems", (0x200, 0), ()),  # FAN_REPORT_FID: the kind for everyone.
    ("mq_open", "open a POSIX message queue", (BAD, 0, 0, None), ()),
    ("clock_settime", "set the clock", (0, BAD), ()),
    ("settimeofday", "set the time", (BAD, None), ()),
    ("adjtimex", "tune the clock", (BAD,), ()),
    ("quotactl", "change quotas", (0xFF, None, 0, None), ()),
    ("syslog", "read the kernel's log", (10, None, 0), ()),  # SYSLOG_ACTION_SIZE_BUFFER
    ("process_madvise", "advise on the memory of another process", (-1, BAD, 0, 0, EVERY_BIT), ()),
    ("clock_adjtime", "tune a clock", (0, BAD), ()),
    ("quotactl_fd", "change quotas by a descriptor", (-1, 0xFF, 0, None), ()),
    ("execveat", "start a program by a descriptor", (-1, BAD, None, None, 0), ()),
    ("open_tree_attr", "copy a tree of mounts with other attributes", (-1, BAD, EVERY_BIT, BAD, 0), ()),
    ("io_uring_enter", "use an io_uring", (-1, 0, 0, EVERY_BIT, None, 0), ()),
    ("io_uring_register", "register with an io_uring", (-1, EVERY_BIT, None, 0), ()),
    ("fanotify_mark", "watch more file systems", (-1, EVERY_BIT, 0, -1, BAD), ()),
    ("memfd_secret", "make secret memory", (EVERY_BIT,), ()),
    ("io_setup", "take of the host's contexts for asynchronous files", (1, BAD), ()),
    ("io_submit", "submit to a context for asynchronous files", (0, 1, BAD), ()),
    ("io_getevents", "read from a context for asynchronous files", (0, 1, 1, BAD, None), ()),
    ("io_pgetevents", "wait for a context for asynchronous files", (0, 1, 1, BAD, None, None), ()),
    ("io_cancel", "cancel in a context for asynchronous files", (0, BAD, BAD), ()),
    ("io_destroy", "end a context for asynchronous files", (0,), ()),
    ("process_mrelease", "free the memory of another process", (-1, EVERY_BIT), ()),
    ("move_pages", "move pages of another process", (0, 0, None, None, None, EVERY_BIT), ()),
    ("migrate_pages", "move all pages of another process", (0, EVERY_BIT, BAD, BAD), ()),
    ("shmat", "attach System V shared memory", (-1, None, 0), ()),
    ("shmctl", "ask about System V shared memory", (-1, 2, BAD), ()),  # IPC_STAT
    ("semop", "use a System V semaphore", (-1, BAD, 0), ()),
    ("semtimedop", "wait for a System V semaphore", (-1, BAD, 0, None), ()),
    ("semctl", "ask about a System V semaphore", (-1, 0, 2, BAD), ()),
    ("msgsnd", "send to a System V message queue", (-1, BAD, 0, 0), ()),
    ("msgrcv", "receive from a System V message queue", (-1, BAD, 0, 0, 0), ()),
    ("msgctl", "ask about a System V message queue", (-1, 2, BAD), ()),
    ("mq_unlink", "remove a POSIX message queue", (BAD,), ()),
    ("statmount", "ask about a mount", (BAD, BAD, 0, 0), ()),
    ("listmount", "list the mounts", (BAD, BAD, 0, 0), ()),
]


def reach_with(name, arguments, namespaces):
    return lambda context: here_or_in_namespaces(namespaces, reach, name, *arguments)


for name, title, arguments, namespaces in CALLS:
    add_check(f"call_{name}", "syscalls", title, "full", reach_with(name, arguments, namespaces))


@attempt("syscalls", "make a process in a way the filter can't read (clone3 must answer ENOSYS)")
def call_clone3(context):
    def run():
        try:
            return f"clone3() = {call('clone3', None, 0)}"
        except OSError as error:
            if error.errno == errno.ENOSYS:
                raise
            return f"clone3() answered {code_name(error.errno)}"

    return in_child(run)


def reach_ioctl(request):
    """Of a pipe: ENOTTY is the kernel's answer."""

    def run():
        reading, _ = os.pipe()
        return reach("ioctl", reading, request, BAD)

    return lambda context: in_child(run)


for name, request in [("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C)]:
    add_check(f"ioctl_{name}", "syscalls", f"type into the terminal ({name})", "full", reach_ioctl(request))


# ------------------------------------------------------------ system calls: done


@attempt("syscalls", "mount a tmpfs in a namespace of its own")
def mount_tmpfs(context):
    def run():
        enter_namespaces("mount")
        folder = scratch(context)
        before = os.stat(folder).st_dev
        call("mount", b"escape", folder.encode(), b"tmpfs", 0, None)
        if os.stat(folder).st_dev == before:
            raise Refused("nothing is mounted")
        return "a tmpfs is mounted"

    return in_child(run)


@attempt("syscalls", "have another root folder")
def have_another_root(context):
    def run():
        enter_namespaces("mount")
        call("chroot", context["folder"].encode())
        os.chdir("/")
        if os.path.basename(context["state"]) not in os.listdir("/"):
            raise Refused("the root is what it was")
        return "the root is the state folder"

    return in_child(run)


@attempt("syscalls", "have another host name")
def have_another_host_name(context):
    def run():
        enter_namespaces("uts")
        call("sethostname", b"escape", 6)
        if os.uname().nodename != "escape":
            raise Refused("the host has its name")
        return "the host name is another"

    return in_child(run)


def unshare(flag):
    """An ordinary user may make the others only together with a user namespace."""

    def run():
        try:
            call("unshare", flag)
        except OSError:
            call("unshare", flag | NAMESPACES["user"])
        return "unshare() made it"

    return lambda context: in_child(run)


def clone(flag):
    def start(flags):
        child = call("clone", flags | signal.SIGCHLD, None, None, None, None)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return "clone() made it"

    def run():
        try:
            return start(flag)
        except OSError:
            return start(flag | NAMESPACES["user"])

    return lambda context: in_child(run)


for name, flag in NAMESPACES.items():
    add_check(f"unshare_{name}", "syscalls", f"make a {name} namespace with unshare", "full", unshare(flag))
    if flag > 0xFF:  # The flag of the time namespace lies where clone has its signal.
        add_check(f"clone_{name}", "syscalls", f"make a {name} namespace with clone", "full", clone(flag))


@attempt("syscalls", "be traced")
def trace_me(context):
    return in_child(lambda: f"ptrace() = {call('ptrace', 0, 0, 0, 0)}")


@attempt("syscalls", "compare processes")
def call_kcmp(context):
    own = os.getpid()
    return in_child(lambda: f"kcmp() = {call('kcmp', own, own, 1, 0, 0)}")  # KCMP_VM


@attempt("syscalls", "read the own memory as another process's")
def call_process_vm_readv(context):
    memory = ctypes.create_string_buffer(b"memory")
    return in_child(lambda: copy_memory("process_vm_readv", os.getpid(), ctypes.addressof(memory), 6)[0])


@attempt("syscalls", "write the own memory as another process's")
def call_process_vm_writev(context):
    memory = ctypes.create_string_buffer(6)
    return in_child(lambda: copy_memory("process_vm_writev", os.getpid(), ctypes.addressof(memory), 6)[0])


@attempt("syscalls", "take a descriptor by pidfd_getfd")
def call_pidfd_getfd(context):
    def run():
        process = os.pidfd_open(os.getpid())
        return f"pidfd_getfd() = {call('pidfd_getfd', process, process, 0)}"

    return in_child(run)


@attempt("syscalls", "add a key to a keyring")
def call_add_key(context):
    # To the keyring of the child, which ends with it.
    return in_child(lambda: f"key {call('add_key', b'user', b'runbook-escape', b'1', 1, -2):#x}")


@attempt("syscalls", "use a keyring")
def call_keyctl(context):
    return in_child(reach, "keyctl", 0, -3, 0)  # KEYCTL_GET_KEYRING_ID of the session


@attempt("syscalls", "change the personality")
def call_personality(context):
    return in_child(lambda: f"it was {call('personality', 0x0040000):#x}")  # ADDR_NO_RANDOMIZE


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def vector_of(address, length):
    return ctypes.byref(Vector(address, length))


@attempt("syscalls", "map memory into a pipe")
def call_vmsplice(context):
    def run():
        reading, writing = os.pipe()
        buffer = ctypes.create_string_buffer(b"spliced")
        call("vmsplice", writing, vector_of(ctypes.addressof(buffer), 7), 1, 0)
        if os.read(reading, 7) != b"spliced":
            raise Refused("the pipe has something else")
        return "the pipe has it"

    return in_child(run)


@attempt("syscalls", "make a node in the scratch folder")
def call_mknodat(context):
    path = scratch(context, "node")
    with undoing(os.unlink, path):
        call("mknodat", -100, path.encode(), stat.S_IFIFO | 0o600, 0)
        return must_exist(path)


# Private ones, removed at once: what a namespace hides must be refused too.
@attempt("syscalls", "make System V shared memory")
def call_shmget(context):
    number = call("shmget", 0, 4096, 0o1600)
    with undoing(call, "shmctl", number, 0, None):
        return f"shmget() = {number}"


@attempt("syscalls", "make a System V semaphore")
def call_semget(context):
    number = call("semget", 0, 1, 0o1600)
    with undoing(call, "semctl", number, 0, 0, None):
        return f"semget() = {number}"


@attempt("syscalls", "make a System V message queue")
def call_msgget(context):
    number = call("msgget", 0, 0o1600)
    with undoing(call, "msgctl", number, 0, None):
        return f"msgget() = {number}"


@attempt("syscalls", "read System V shared memory of the host")
def read_shared_segment(context):
    def run():
        address = call("shmat", need(context, "segment"), None, 0o10000)  # SHM_RDONLY
        return expect(context, "segment", ctypes.string_at(address, context["segment_size"]))

    return in_child(run)


@attempt("syscalls", "gain rights by starting a set-user-id program")
def gain_privileges(context):
    if call("prctl", 39, 0, 0, 0, 0) != 0:  # PR_GET_NO_NEW_PRIVS
        raise Refused("no_new_privs is set")
    return "no_new_privs isn't set"


@attempt("syscalls", "have capabilities in a namespace of its own")
def gain_capabilities(context):
    def run():
        enter_namespaces("user")
        header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        checked(libc.capget(header, data))
        if not data[0]:
            raise Refused("it has none")
        return f"it has {data[0] | data[3] << 32:#x}"

    return in_child(run)


if MACHINE == "x86_64":

    def run_code(code):
        """As a function that returns an integer."""
        memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        return ctypes.CFUNCTYPE(ctypes.c_int)(address)()

    @attempt("syscalls", "make a node in the scratch folder by the older call")
    def call_mknod(context):
        path = scratch(context, "node")
        with undoing(os.unlink, path):
            call("mknod", path.encode(), stat.S_IFIFO | 0o600, 0)
            return must_exist(path)

    @attempt("syscalls", "make system calls of the 32-bit architecture (must be killed)")
    def call_as_i386(context):
        def run():
            process = run_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # getpid by int 0x80
            if process != os.getpid():
                raise Refused(f"int 0x80 answered {process}")
            return "int 0x80 reached the kernel"

        return in_child(run)

    @attempt("syscalls", "make system calls of the x32 architecture (must be killed)")
    def call_as_x32(context):
        def run():
            try:
                return f"getpid() = {raw_call(0x40000000 | number_of('getpid'), (), 'getpid()')}"
            except OSError as error:
                return f"the kernel answered {code_name(error.errno)}"  # It may have none, but was asked.

        return in_child(run)


# ------------------------------------------------------------ processes and memory


def copy_memory(name, process, address, size):
    """process_vm_readv or process_vm_writev: how it went, and the own side."""
    buffer = ctypes.create_string_buffer(b"w" * size, size)
    count = call(name, process, vector_of(ctypes.addressof(buffer), size), 1, vector_of(address, size), 1, 0)
    if count != size:
        raise Refused(f"{name}() = {count}")
    return f"{name}() = {count}", buffer.raw


def pid_of(context, name):
    """In a namespace of its own, another process may have the number."""
    process = context[name]["pid"]
    with trying(f"process {process}"):
        if (os.getsid(process), os.getpgid(process)) != (context[name]["session"], context[name]["group"]):
            raise Refused(f"another process has the number {process}")
    return process


@attempt("processes", "trace another process")
def trace_process(context):
    def run():
        call("ptrace", 0x4206, pid_of(context, "victim"), 0, 0)  # PTRACE_SEIZE, which doesn't stop it
        return "ptrace() attached"

    return in_child(run)


@attempt("processes", "write the memory of another process")
def write_process_memory(context):
    victim = pid_of(context, "victim")
    return copy_memory("process_vm_writev", victim, context["writable"], 16)[0]


def signal_agent(context):
    process = pid_of(context, "agent")
    with trying(f"kill({process}, 0)"):
        os.kill(process, 0)
    return f"kill({process}, 0) was accepted"


def signal_victim(context):
    process = pid_of(context, "victim")
    with trying(f"kill({process}, 0)"):
        os.kill(process, 0)
    return f"kill({process}, 0) was accepted"


def signal_victim_thread(context):
    process = pid_of(context, "victim")
    call("tgkill", process, process, 0)
    return "tgkill() was accepted"


def signal_victim_by_descriptor(context):
    with trying("pidfd_open()"):
        descriptor = os.pidfd_open(pid_of(context, "victim"))
    try:
        with trying("pidfd_send_signal()"):
            signal.pidfd_send_signal(descriptor, 0)
        return "pidfd_send_signal() was accepted"
    finally:
        os.close(descriptor)


def signal_everyone(context):
    """In a child, whose parent is one that it may signal."""

    def run():
        with trying("kill(-1, 0)"):
            os.kill(-1, 0)
        return "kill(-1, 0) was accepted"

    return in_child(run)


def signal_victim_group(context):
    group = os.getpgid(pid_of(context, "victim"))
    with trying("killpg()"):
        os.killpg(group, 0)
    return "killpg() was accepted"


for name, title, function in [
    ("signal_agent", "signal the agent", signal_agent),
    ("signal_process", "signal another process of the same user", signal_victim),
    ("signal_group", "signal another process group of the same user", signal_victim_group),
    ("signal_thread", "signal a thread of another process", signal_victim_thread),
    ("signal_descriptor", "signal another process by a descriptor", signal_victim_by_descriptor),
    ("signal_everyone", "signal every process", signal_everyone),
]:
    add_check(name, "processes", title, "full", function)


# What the process has already is set again: nothing changes for it.
def limit_process(process):
    resource.prlimit(process, resource.RLIMIT_CORE, resource.prlimit(process, resource.RLIMIT_CORE))


def prioritise_process(process):
    os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, process))


def tie_process(process):
    os.sched_setaffinity(process, os.sched_getaffinity(process))


def schedule_process(process):
    os.sched_setscheduler(process, os.sched_getscheduler(process), os.sched_getparam(process))


def schedule_by_attributes(process):
    attributes = (ctypes.c_uint32 * 12)(48)  # The size; a policy of 0 is the usual one.
    call("sched_setattr", process, attributes, 0)


def parametrise_process(process):
    os.sched_setparam(process, os.sched_getparam(process))


def prioritise_disk(process):
    call("ioprio_set", 1, process, 2 << 13 | 4)  # Best effort, the default.


def change_process(name, function, process_of):
    def run(context):
        process = process_of(context)
        with trying(f"{name}()"):
            function(process)
        return f"{name}() was accepted"

    return run


def change_relative(name, function):
    """Of a process in the same sandbox: what a process namespace doesn't hide."""
    return lambda context: in_child(change_process(name, function, lambda context: os.getppid()), context)


for name, title, function in [
    ("prlimit", "set the limits", limit_process),
    ("setpriority", "set the priority", prioritise_process),
    ("sched_setaffinity", "choose the processors", tie_process),
    ("sched_setscheduler", "choose the scheduling", schedule_process),
    ("sched_setparam", "set the scheduling parameters", parametrise_process),
    ("sched_setattr", "set the scheduling attributes", schedule_by_attributes),
    ("ioprio_set", "set the disk priority", prioritise_disk),
]:
    add_check(f"{name}_of_other", "processes", f"{title} of another process of the same user", "full",
              change_process(name, function, lambda context: pid_of(context, "victim")))
    add_check(f"{name}_of_parent", "processes", f"{title} of the parent", "full",
              change_relative(name, function))


for name, option, value, title in [
    ("PDEATHSIG", 1, 0, "outlive its parent"),
    ("CHILD_SUBREAPER", 36, 1, "take in orphaned processes"),
    ("DUMPABLE", 4, 1, "change who may look into it"),
]:
    add_check(f"prctl_{name}", "processes", f"{title} (PR_SET_{name})", "full",
              lambda context, option=option, value=value: in_child(
                  lambda: f"prctl() = {call('prctl', option, value, 0, 0, 0)}"))


@attempt("processes", "move the parts of its memory (PR_SET_MM)")
def prctl_MM(context):
    return in_child(reach, "prctl", 35, 0, 0, 0, 1)  # The fifth argument must be zero: EINVAL.

# ------------------------------------------------------------ processes: limits


def set_limit(kind, soft, hard):
    """By the system call: the module `resource` raises ValueError for EPERM."""
    call("prlimit64", 0, kind, (ctypes.c_uint64 * 2)(soft % (1 << 64), hard % (1 << 64)), None)


@attempt("processes", "raise a hard limit")
def raise_hard_limit(context):
    def run():
        raised, refusal = [], None
        for kind in ("RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE"):
            number = getattr(resource, kind)
            hard = resource.getrlimit(number)[1]
            # Lowered first: what is unlimited, or as high as can be, can't be raised.
            low = 1 << 20 if hard == resource.RLIM_INFINITY else max(hard - 1, 0)
            try:
                set_limit(number, low, low)
                set_limit(number, low + 1, low + 1)
                raised.append(kind)
            except OSError as error:
                refusal = error
        if not raised:
            raise refusal
        return "raised " + ", ".join(raised)

    return in_child(run)


@attempt("processes", "write core dumps")
def allow_core_dumps(context):
    def run():
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        set_limit(resource.RLIMIT_CORE, 1 << 20 if hard == resource.RLIM_INFINITY else hard, hard)
        if resource.getrlimit(resource.RLIMIT_CORE)[0] <= 1:
            raise Refused("the hard limit leaves no room for one")
        return "core dumps have room"

    return in_child(run)


@attempt("processes", "open more files than the limit")
def open_many_files(context):
    def run():
        count = context["limits"]["open_files"] + 1
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY and hard < count:
            raise Refused(f"the hard limit is {hard}")
        set_limit(resource.RLIMIT_NOFILE, count, hard)
        reading, _ = os.pipe()
        with trying("dup2()"):
            os.dup2(reading, count - 1)
        return f"{count} files can be open"

    return in_child(run)


@attempt("processes", "write a file larger than the limit")
def write_large_file(context):
    def run():
        size, path = context["limits"]["file_size"] + 1, scratch(context, "large")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGXFSZ})
        set_limit(resource.RLIMIT_FSIZE, hard, hard)
        with setting_up():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with trying("ftruncate()"):
                os.ftruncate(descriptor, size)  # A hole: it takes no room.
            return f"it has {size} bytes"
        finally:
            os.close(descriptor)
            os.unlink(path)

    return in_child(run)


@attempt("processes", "have more processes than the limit")
def start_many_processes(context):
    def run():
        limit, children = context["limits"]["processes"], []
        reading, writing = os.pipe()
        try:
            for _ in range(limit + 1):
                with trying("fork()"):
                    child = os.fork()
                if child == 0:
                    os.close(writing)
                    os.read(reading, 1)
                    os._exit(0)
                children.append(child)
            return f"{len(children)} are there"
        finally:
            os.close(writing)
            for child in children:
                os.waitpid(child, 0)

    return in_child(run)


@attempt("processes", "fill more than the scratch folder's size")
def fill_scratch(context):
    def run():
        size, part = context["limits"]["scratch"], 32 << 20
        paths = [scratch(context, "fill") for _ in range(size // part + 1)]
        try:
            for path in paths:
                with open(path, "wb") as file, trying("fallocate()"):
                    os.posix_fallocate(file.fileno(), 0, part)
            return f"{len(paths) * part >> 20} MiB are written"
        finally:
            for path in paths:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    return in_child(run)


@attempt("processes", "have the kernel hold more than a socket's usual memory")
def enlarge_socket_buffers(context):
    one, other = socket.socketpair()
    with one, other:
        usual = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            one.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        size = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        if size <= usual:
            raise Refused(f"it stays at {size} bytes")
        return f"from {usual} bytes to {size}"


@attempt("processes", "have more memory than the limit")
def reserve_memory(context):
    def run():
        size = context["limits"]["memory"]
        try:
            mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=0)  # MAP_NORESERVE
        except OSError as error:
            raise Refused(f"mmap(): {code_name(error.errno)}") from error  # ENOMEM is what is promised here.
        return f"{size >> 30} GiB are mapped"

    return in_child(run)


# ------------------------------------------------------------ secrets


@attempt("secrets", "find a file or folder among the inherited descriptors")
def find_descriptors(context):
    found = []
    for descriptor in range(3, 1024):
        with contextlib.suppress(OSError):
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                found.append(f"{descriptor} ({'file' if stat.S_ISREG(mode) else 'folder'})")
    if not found:
        raise Refused("no file and no folder is open")
    return "open: " + ", ".join(found[:5])


@attempt("secrets", "find a secret of the agent in the environment")
def find_environment(context):
    environment = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
    index = 0
    while environment and environment[index]:  # What the process has, not what Python copied when it started.
        _, _, value = environment[index].partition(b"=")
        if value and digest(value) == context["hashes"]["variable"]:
            return f"found in variable {index}"
        index += 1
    raise Refused(f"none of {index} variables has it")


def read_memory_file(context, name):
    path = f"/proc/{context[name]['pid']}/mem"
    with open(path, "rb", buffering=0) as file:
        return expect(context, "memory", os.pread(file.fileno(), context["memory_size"], context["memory"]))


@attempt("secrets", "read the agent's memory in /proc")
def read_agent_memory(context):
    return read_memory_file(context, "agent")


@attempt("secrets", "read the memory of another process in /proc")
def read_process_memory_file(context):
    return read_memory_file(context, "victim")


@attempt("secrets", "read the memory of another process")
def read_process_memory(context):
    victim = pid_of(context, "victim")
    return expect(context, "memory", copy_memory("process_vm_readv", victim, context["memory"],
                                                 context["memory_size"])[1])


@attempt("secrets", "take an open file from another process")
def take_descriptor(context):
    with trying("pidfd_open()"):
        process = os.pidfd_open(pid_of(context, "victim"))
    try:
        descriptor = call("pidfd_getfd", process, context["victim_descriptor"], 0)
        try:
            return expect(context, "state", os.pread(descriptor, 1 << 20, 0))
        finally:
            os.close(descriptor)
    finally:
        os.close(process)


@attempt("secrets", "read an open file of another process in /proc")
def read_descriptor_of_process(context):
    path = f"/proc/{context['victim']['pid']}/fd/{context['victim_descriptor']}"
    return expect(context, "state", read_file(path))

# ------------------------------------------------------------ network

FAST_OPEN = 0x20000000
TOKEN_SIZE = 16
MAPPED = "::ffff:127.0.0.1"


def client(family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
    with trying("socket()"):
        made = socket.socket(family, kind, protocol)
    # Limits of the kernel, not of Python, which would make it non-blocking: fast open then sends nothing.
    limit = struct.pack("ll", 1, int((PATIENCE - 1) * 1e6))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return made


def converse(context, connection, name, send):
    """The listener answers with its secret and what it got, backwards."""
    token = secrets.token_bytes(TOKEN_SIZE)
    send(b"T" + token)
    answer = b""
    with trying("recv()"):
        while len(answer) < 2 * TOKEN_SIZE:
            part = connection.recv(256)
            if not part:
                break
            answer += part
    expect(context, name, answer[:TOKEN_SIZE])
    if answer[TOKEN_SIZE:] != token[::-1]:
        raise Refused("the listener got something else")
    return "the listener got it and answered"


def connect(context, name, address, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0, option=None):
    with client(family, kind, protocol) as connection:
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, 1)
        with trying(f"connect() to {where(address)}"):
            connection.connect(address)
        return converse(context, connection, name, connection.sendall)


def where(address):
    return f"port {address[1]}" if isinstance(address, tuple) else "a path or abstract socket"


def forbidden(context):
    return "127.0.0.1", context["forbidden_port"]


@attempt("network", "connect to a path socket")
def connect_to_path(context):
    return connect(context, "path", context["path_socket"], socket.AF_UNIX)


@attempt("network", "connect to an abstract socket")
def connect_to_abstract(context):
    return connect(context, "abstract", "\0" + context["abstract_socket"], socket.AF_UNIX)


@attempt("network", "send to a path socket from a pair of sockets")
def send_from_pair(context):
    """The sender has no name, so no answer comes: the kernel accepts only what it has put into the queue."""
    with trying("socketpair()"):
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        with trying("sendto() a path socket"):
            one.connect(context["datagram_socket"])  # Away from its pair.
            return f"{one.send(b'T')} bytes are in its queue"


@attempt("network", "send to a path socket")
def send_to_path(context):
    with client(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, trying("sendto() a path socket"):
        return f"{sender.sendto(b'T', context['datagram_socket'])} bytes are in its queue"


def make_socket(*arguments):
    """Raw and packet sockets ask for a privilege that an ordinary user has in his own network namespace."""
    return lambda context: here_or_in_namespaces(("network",), reach, "socket", *(arguments + (0,))[:3])


SOCKETS = [
    ("packet", "packet", "full", (17, 3)), ("vsock", "virtual machine", "full", (40, 1)),
    ("alg", "kernel cryptography", "full", (38, 5)), ("xdp", "express data path", "full", (44, 3)),
    ("bluetooth", "bluetooth", "full", (31, 3)), ("can", "CAN bus", "full", (29, 3)),
    ("key", "IPsec key", "full", (15, 3, 2)),
    ("rds", "RDS", "full", (21, 5)), ("tipc", "TIPC", "full", (30, 5)), ("smc", "SMC", "full", (43, 1)),
    ("qipcrtr", "Qualcomm router", "full", (42, 2)), ("kcm", "kernel multiplexor", "full", (41, 2)),
    ("netlink_raw", "raw netlink", "full", (16, 3)), ("netlink", "netlink", "tcp", (16, 2)),
    ("netlink_ipsec", "netlink (IPsec)", "full", (16, 2, 6)), ("netlink_audit", "netlink (audit)", "full", (16, 2, 9)),
    ("netlink_generic", "netlink (generic)", "full", (16, 2, 16)),
    ("raw", "raw IPv4", "full", (2, 3, 255)), ("raw_ipv6", "raw IPv6", "full", (10, 3, 255)),
    ("ping", "ping", "tcp", (2, 2, 1)), ("mptcp", "MPTCP", "full", (2, 1, 262)),
    ("sctp", "SCTP", "full", (2, 1, 132)), ("dccp", "DCCP", "full", (2, 6, 33)),
    ("udplite", "UDP-Lite", "full", (2, 2, 136)), ("unix", "path", "full", (1, 1)),
    ("unix_datagram", "path datagram", "full", (1, 2)), ("unix_packets", "path packet", "full", (1, 5)),
]

for name, title, policy, arguments in SOCKETS:
    add_check(f"socket_{name}", "network", f"make a {title} socket", policy, make_socket(*arguments))


@attempt("network", "put another protocol in the place of TCP", "tcp")
def replace_protocol(context):
    with client() as made, trying("setsockopt(TCP_ULP)"):
        try:
            made.setsockopt(socket.IPPROTO_TCP, 31, b"no-such-protocol")
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOSYS):
                raise
            return f"setsockopt(TCP_ULP) reached the kernel: {code_name(error.errno)}"
        return "setsockopt(TCP_ULP) was accepted"


@attempt("network", "connect by TCP where there is no network", "none")
def connect_without_network(context):
    return connect(context, "allowed", ("127.0.0.1", context["allowed_port"]))


@attempt("network", "connect by TCP over IPv6 where there is no network", "none")
def connect_ipv6_without_network(context):
    return connect(context, "allowed", (MAPPED, context["allowed_port"]), socket.AF_INET6)


@attempt("network", "send by UDP where there is no network", "none")
def send_udp_without_network(context):
    return send_udp(context)


@attempt("network", "connect by TCP to a port that isn't allowed", "tcp")
def connect_to_forbidden(context):
    return connect(context, "forbidden", forbidden(context))


@attempt("network", "connect by TCP over IPv6 to a port that isn't allowed", "tcp")
def connect_ipv6_to_forbidden(context):
    return connect(context, "forbidden", (MAPPED, context["forbidden_port"]), socket.AF_INET6)


@attempt("network", "connect by MPTCP to a port that isn't allowed", "tcp")
def connect_mptcp_to_forbidden(context):
    return connect(context, "forbidden", forbidden(context), protocol=262)


@attempt("network", "connect by TCP Fast Open to a port that isn't allowed", "tcp")
def connect_fast_open(context):
    return connect(context, "forbidden", forbidden(context), option=30)  # TCP_FASTOPEN_CONNECT


def fast_open(name, send):
    def run(context):
        with client() as connection:
            def start(data):
                with trying(f"{name}() to port {context['forbidden_port']}"):
                    send(connection, data, forbidden(context))

            return converse(context, connection, "forbidden", start)

    return run


def send_many(connection, data, address):
    """sendmmsg, which Python doesn't have."""
    buffer = ctypes.create_string_buffer(data, len(data))
    host, port = address
    name = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))
    vector = Vector(ctypes.addressof(buffer), len(data))
    message = Message(name=name, name_length=len(name), vectors=ctypes.addressof(vector), vector_count=1)
    call("sendmmsg", connection.fileno(), ctypes.byref(message), 1, FAST_OPEN)


class Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = [
        ("name", ctypes.c_char_p), ("name_length", ctypes.c_uint32), ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("sent", ctypes.c_uint64),
    ]


for name, send in [
    ("sendto", lambda connection, data, address: connection.sendto(data, FAST_OPEN, address)),
    ("sendmsg", lambda connection, data, address: connection.sendmsg([data], [], FAST_OPEN, address)),
    ("sendmmsg", send_many),
]:
    add_check(f"fast_open_{name}", "network", f"send by TCP Fast Open with {name}", "tcp",
              fast_open(name, send))


@attempt("network", "take a TCP port", "tcp")
def bind_port(context):
    with client() as server, trying("bind()"):
        server.bind(("127.0.0.1", 0))
        return f"bind() took port {server.getsockname()[1]}"


@attempt("network", "listen on a port that wasn't taken", "tcp")
def listen_without_bind(context):
    with client() as server, trying("listen()"):
        server.listen(1)
        return f"listen() took port {server.getsockname()[1]}"


def send_udp(context):
    with client(kind=socket.SOCK_DGRAM) as sender:
        def send(data):
            with trying("sendto() by UDP"):
                sender.sendto(data, ("127.0.0.1", context["udp_port"]))

        return converse(context, sender, "udp", send)


@attempt("network", "send by UDP where only a TCP port is allowed", "tcp")
def send_udp_beside_tcp(context):
    return send_udp(context)


# ------------------------------------------------------------ surviving


@attempt("processes", "leave a process of another session behind", "tcp", role="setup")
def start_survivor(context):
    """Not a check of its own: whether the process is alive after the run is `survivor_alive`'s."""
    path = os.path.join(scratch(context), "heartbeat")
    with contextlib.suppress(OSError):
        os.unlink(path)
    child = fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                survive(context, path)
        finally:
            os._exit(0)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    deadline = time.monotonic() + PATIENCE
    while not beats(context, path):
        if time.monotonic() > deadline:
            raise RuntimeError("its heart beats neither at the allowed port nor in the scratch folder")
        time.sleep(0.02)
    return "its heart beats"


def survive(context, path):
    """Ends by itself, and when the listener hangs up, so that nothing stays behind a twin."""
    os.closerange(0, 1024)
    line = None
    with contextlib.suppress(OSError):
        connection = client()
        connection.connect(("127.0.0.1", context["allowed_port"]))
        connection.sendall(b"H" + bytes(TOKEN_SIZE))
        connection.setblocking(False)
        line = connection
    for count in range(1, int(SURVIVAL / 0.05)):
        with contextlib.suppress(OSError), open(path, "w") as file:
            file.write(str(count))
        if line is not None and not beat(line):
            return
        time.sleep(0.05)


def beat(line):
    """Whether the listener is still there."""
    try:
        line.send(b".")
        return line.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def beats(context, path):
    """How often it beat, by the listener or, where there is no network, by the file."""
    with contextlib.suppress(OSError, Refused, ValueError):
        with client() as line:
            line.connect(("127.0.0.1", context["allowed_port"]))
            line.sendall(b"?" + bytes(TOKEN_SIZE))
            count = int(line.recv(32))
            if count:
                return count
    with contextlib.suppress(OSError, ValueError):
        with open(path) as file:
            return int(file.read())
    return 0


@attempt("processes", "keep a process alive after the run", "tcp", after="start_survivor")
def survivor_alive(context):
    path = os.path.join(scratch(context), "heartbeat")
    before = beats(context, path)
    if not before:
        raise RuntimeError("it never beat: start_survivor must run first")
    time.sleep(PATIENCE / 3)  # On a busy machine the listener may not have counted yet what was sent before the end.
    before = beats(context, path)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if beats(context, path) > before:
            end_survivor(context)
            return "its heart still beats"
    raise Refused(f"its heart stopped after {before} beats")


def end_survivor(context):
    with contextlib.suppress(OSError), client() as line:
        line.connect(("127.0.0.1", context["allowed_port"]))
        line.sendall(b"E" + bytes(TOKEN_SIZE))
        line.recv(1)

# ------------------------------------------------------------ the targets


class Targets:
    """What the attempts are made on. Every secret is new; the context has only its digest."""

    def __init__(self, folder):
        self.folder = os.path.realpath(folder)
        self.context = {
            "folder": self.folder, "outside": os.path.join(self.folder, "outside"), "hashes": {},
            # Of the sandbox by default. A runner that configures others says so here.
            "limits": {"open_files": 256, "file_size": 64 << 20, "memory": 64 << 30, "processes": 64,
                       "scratch": 64 << 20},
        }
        self.ending = threading.Event()
        self.threads, self.undo = [], []
        self.heart = {"count": 0, "line": None}
        self.lock = threading.Lock()

    # Each may be missing on a host: then its attempts say so.
    OPTIONAL = ("shared_file", "semaphore", "segment", "abstract")

    def make(self):
        try:
            for part in ("files", "agent", "victim", "listeners"):
                getattr(self, f"make_{part}")()
            for part in self.OPTIONAL:
                with contextlib.suppress(OSError, RuntimeError):
                    getattr(self, f"make_{part}")()
        except BaseException:
            self.clean()
            raise
        return self.context

    def clean(self):
        self.ending.set()
        with self.lock:
            self.hang_up()
        for thread in self.threads:
            thread.join(TIME_LIMIT)
        for undo in reversed(self.undo):
            with contextlib.suppress(OSError):
                undo()
        self.undo.clear()

    def secret(self, name, size=TOKEN_SIZE):
        value = secrets.token_bytes(size)
        self.context["hashes"][name] = digest(value)
        return value

    def write(self, name, data, mode):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)  # Whatever the umask: only the sandbox shall protect it.
        return path

    def make_files(self):
        os.chmod(self.folder, 0o755)
        for name in ("outside", "outside/empty", "writable", "other-plugin"):
            path = os.path.join(self.folder, name)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755 if name == "other-plugin" else 0o777)
        self.context["write_folder"] = os.path.join(self.folder, "writable")
        self.context["state"] = self.write("agent.journal", self.secret("state", 64), 0o644)
        self.context["plugin"] = self.write("other-plugin/script.py", self.secret("plugin", 64), 0o644)
        self.write("outside/target", TARGET, 0o666)

    def make_agent(self):
        """This process stands for the agent."""
        self.context["agent"] = describe_process(os.getpid())
        for name in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                self.context["hashes"][name] = digest(read_file(f"/proc/self/{name}"))
            self.context["hashes"].setdefault(name, "unknown")
        # The runner may have set it already, for its children to inherit.
        os.environ.setdefault(VARIABLE, secrets.token_hex(TOKEN_SIZE))
        self.undo.append(lambda: os.environ.pop(VARIABLE, None))
        self.context["hashes"]["variable"] = digest(os.environ[VARIABLE].encode())
        self.memory = ctypes.create_string_buffer(self.secret("memory", 64), 64)
        self.writable = ctypes.create_string_buffer(16)
        self.context["memory"], self.context["memory_size"] = ctypes.addressof(self.memory), 64
        self.context["writable"] = ctypes.addressof(self.writable)
        # What a parent that forgets to close it would hand on.
        self.descriptor = os.open(self.context["state"], os.O_RDONLY)
        os.set_inheritable(self.descriptor, True)
        self.context["victim_descriptor"] = self.descriptor
        self.undo.append(lambda: os.close(self.descriptor))

    # ---- the victim

    def make_victim(self):
        """Forked on a thread of its own: the signal at the parent's death follows the thread."""
        ready = threading.Event()
        self.victim = None
        self.start(self.keep_victim, ready)
        if not ready.wait(TIME_LIMIT) or self.victim is None:
            raise RuntimeError("the other process could not be started")
        self.context["victim"] = describe_process(self.victim)

    def keep_victim(self, ready):
        try:
            reading, writing = os.pipe()
            agent, child = os.getpid(), os.fork()
            if child == 0:
                self.be_victim(agent, writing)
            os.close(writing)
            os.read(reading, 1)  # It has its session.
            os.close(reading)
            self.victim = child
        finally:
            ready.set()
        while not self.ending.wait(0.05):
            with contextlib.suppress(OSError):
                os.utime(self.context["state"])  # For those who watch the folder.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def be_victim(self, agent, ready):
        try:
            libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: the agent may have switched it off.
            libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: Yama lets any trace it.
            os.setsid()
            os.write(ready, b"1")
            os.closerange(0, self.descriptor)
            os.closerange(self.descriptor + 1, 4096)
            while os.getppid() == agent:
                time.sleep(0.5)
        finally:
            os._exit(0)

    # ---- listeners

    def start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        self.threads.append(thread)

    def make_listeners(self):
        for name in ("allowed", "forbidden"):
            server = self.open_socket(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 8)
            self.context[f"{name}_port"] = server.getsockname()[1]
            self.listen(server, name)
        server = self.open_socket(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.context["udp_port"] = server.getsockname()[1]
        self.start(self.answer_datagrams, server, self.secret("udp"))
        path = self.socket_path("stream")
        self.listen(self.open_socket(socket.AF_UNIX, socket.SOCK_STREAM, path), "path")
        self.context["path_socket"] = path
        path = self.socket_path("datagram")
        self.start(self.answer_datagrams, self.open_socket(socket.AF_UNIX, socket.SOCK_DGRAM, path), b"")
        self.context["datagram_socket"] = path

    def make_abstract(self):
        name = f"runbook-escape-{secrets.token_hex(8)}"
        self.listen(self.open_socket(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + name), "abstract")
        self.context["abstract_socket"] = name

    def socket_path(self, name):
        path = os.path.join(self.folder, f"{name}.socket")
        if len(path.encode()) > 100:
            raise RuntimeError(f"the folder's name is too long for a socket: {self.folder}")
        return path

    def open_socket(self, family, kind, address):
        server = socket.socket(family, kind)
        self.undo.append(server.close)
        server.bind(address)
        server.settimeout(0.2)  # So that the thread sees the end.
        if isinstance(address, str) and not address.startswith("\0"):
            os.chmod(address, 0o666)
        return server

    def listen(self, server, name):
        server.listen(16)
        self.start(self.accept, server, self.secret(name))

    def accept(self, server, secret):
        while not self.ending.is_set():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                threading.Thread(target=self.serve, args=(connection, secret), daemon=True).start()

    def serve(self, connection, secret):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            data = b""
            while len(data) < 1 + TOKEN_SIZE:
                part = connection.recv(1 + TOKEN_SIZE - len(data))
                if not part:
                    return
                data += part
            kind = data[:1]
            if kind == b"T":
                connection.sendall(secret + data[:0:-1])
            elif kind == b"?":
                connection.sendall(str(self.heart["count"]).encode())
            elif kind == b"E":
                with self.lock:
                    self.hang_up()
            elif kind == b"H":
                self.feel(connection)

    def feel(self, line):
        """Counts the beats of the newest survivor. An older one ends when its line does."""
        with self.lock:
            self.hang_up()
            self.heart = heart = {"count": 0, "line": line}
        while line.recv(64):
            heart["count"] += 1

    def hang_up(self):
        if self.heart["line"] is not None:
            with contextlib.suppress(OSError):
                self.heart["line"].shutdown(socket.SHUT_RDWR)
            self.heart["line"] = None

    def answer_datagrams(self, server, secret):
        while not self.ending.is_set():
            with contextlib.suppress(OSError):
                data, address = server.recvfrom(256)
                if secret and len(data) == 1 + TOKEN_SIZE:
                    server.sendto(secret + data[:0:-1], address)

    # ---- what all processes of the host share

    def shared_name(self):
        return f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"

    def sweep(self):
        """What a run left that was killed."""
        for name in os.listdir("/dev/shm"):
            _, prefix, rest = name.partition(PREFIX)
            if prefix and not os.path.exists(f"/proc/{rest.partition('-')[0]}"):
                with contextlib.suppress(OSError):
                    os.unlink(f"/dev/shm/{name}")

    def make_shared_file(self):
        self.sweep()
        path = f"/dev/shm/{self.shared_name()}"
        self.undo.append(lambda: os.unlink(path))
        self.context["shared_file"] = self.write(path, self.secret("shared_file"), 0o644)

    def make_semaphore(self):
        name, value = f"/{self.shared_name()}", 4123
        sem_open = function_of("sem_open")
        sem_open.restype = ctypes.c_void_p
        semaphore = sem_open(name.encode(), os.O_CREAT | os.O_EXCL, 0o644, value)
        if not semaphore:
            raise OSError(ctypes.get_errno(), name)
        self.undo.append(lambda: function_of("sem_unlink")(name.encode()))
        function_of("sem_close")(ctypes.c_void_p(semaphore))
        with contextlib.suppress(OSError):
            os.chmod(f"/dev/shm/sem.{name[1:]}", 0o666)  # Opening asks for the right to write.
        self.context["semaphore"], self.context["semaphore_value"] = name, value

    def make_segment(self):
        """Marked for removal at once: it ends with this process, and can be attached until then."""
        secret = self.secret("segment", 64)
        number = call("shmget", 0, len(secret), 0o1644)  # IPC_CREAT
        try:
            address = call("shmat", number, None, 0)
        finally:
            call("shmctl", number, 0, None)  # IPC_RMID
        self.undo.append(lambda: function_of("shmdt")(ctypes.c_void_p(address)))
        ctypes.memmove(address, secret, len(secret))
        self.context["segment"], self.context["segment_size"] = number, len(secret)


def describe_process(process):
    return {"pid": process, "session": os.getsid(process), "group": os.getpgid(process)}


# ------------------------------------------------------------ what others have to wait for, or pay for


@attempt("network", "make whoever closes a socket last wait")
def linger(context):
    with socket.socket() as endless:
        endless.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 86400))
        waits, seconds = struct.unpack("ii", endless.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        if not waits:
            raise Refused("it does not wait")
        return f"it waits for {seconds} s"


@attempt("syscalls", "make rules of Landlock, which take the kernel's memory")
def make_landlock_rules(context):
    return reach("landlock_create_ruleset", None, 0, 1)


@attempt("syscalls", "add rules of Landlock")
def add_landlock_rule(context):
    return reach("landlock_add_rule", -1, 1, None, 0)


@attempt("syscalls", "enter rules of Landlock")
def enter_landlock_rules(context):
    def enter():
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, or the kernel asks for a privilege first.
        return reach("landlock_restrict_self", -1, 1 << 31)

    return in_child(enter)


@attempt("secrets", "hand descriptors of its own on to a program that C code starts")
def hand_descriptors_on(context):
    kept = []
    for descriptor in range(3, 1024):
        with contextlib.suppress(OSError):
            if not os.get_inheritable(descriptor):
                continue
            kept.append(descriptor)
    if not kept:
        raise Refused("all are closed")
    return f"descriptors {kept}"


# ------------------------------------------------------------ the agent itself
#
# What a process says to the agent without having been asked, or otherwise than the agent's own code there would. The twin
# of each says the same in the form that is taken: it shows that the words get there. Descriptors: 3, 4 and 5 lead to the
# agent for control, requests and calls; 6, 7 and 8 come from it in the same order.

TO_AGENT = {"control": 3, "requests": 4, "calls": 5}
FROM_AGENT = {"control": 6, "requests": 7, "calls": 8}
LOADED, CALLED, REQUEST = 11, 12, 40
# More than the agent takes of a result, and of what an exception says.
RESULT_LIMIT, MESSAGE_LIMIT = 16 << 20, 64 << 10


def is_twin(context):
    return context["is_twin"]


def word_of(*numbers):
    return struct.pack(f"={len(numbers)}Q", *numbers)


def text_of(text):
    return word_of(len(text)) + text


def say(channel, kind, body, part=1):
    """Writes a message, or so much of it."""
    data = struct.pack("=II", len(body), kind) + body
    data = data[: int(len(data) * part)]
    while data:
        data = data[os.write(TO_AGENT[channel], data) :]


def success(context, value):
    return word_of(context["call"], 0, 0, 1) + text_of(value) + text_of(b"") + text_of(b"")


def failure(context, message):
    exception = text_of(b"ValueError") + text_of(message) + word_of(0, 1, 0)
    return word_of(context["call"], 0, 5) + exception + text_of(b"") + text_of(b"")


def sleep_on():
    time.sleep(3600)


@attempt("agent", "give an answer of its own with more in it than belongs there", role="answer")
def answer_with_more(context):
    say("calls", CALLED, success(context, b"forged") + (b"" if is_twin(context) else b"x"))
    sleep_on()


@attempt("agent", "give half an answer, and sleep past the time limit", role="answer")
def answer_half(context):
    say("calls", CALLED, success(context, b"forged"), part=1 if is_twin(context) else 0.5)
    sleep_on()


@attempt("agent", "have the agent keep a result that is too large", role="answer")
def answer_large_result(context):
    say("calls", CALLED, success(context, b"forged".ljust(1 << 20 if is_twin(context) else RESULT_LIMIT + 1, b".")))
    sleep_on()


@attempt("agent", "have the agent keep a message that is too large", role="answer")
def answer_large_message(context):
    say("calls", CALLED, failure(context, b"forged".ljust(1 << 10 if is_twin(context) else MESSAGE_LIMIT + 1, b".")))
    sleep_on()


@attempt("agent", "have the agent keep what isn't text", role="answer")
def answer_without_text(context):
    say("calls", CALLED, success(context, b"forged" if is_twin(context) else b"forged\xff"))
    sleep_on()


@attempt("agent", "say that it is loaded with more in it than belongs there, and sleep", role="load")
def load_with_more(context):
    say("calls", LOADED, word_of(context["load"], 0) + text_of(b"") + (b"" if is_twin(context) else b"x"))
    sleep_on()


@attempt("agent", "say that it is loaded, and sleep through every call", role="hold")
def load_and_hold(context):
    say("calls", LOADED, word_of(context["load"], 0) + text_of(b""))
    sleep_on()


@attempt("agent", "hand the agent an open file to close", role="send")
def send_descriptor(context):
    with socket.socket() as endless:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", endless.fileno()))]
        if is_twin(context):
            near, far = socket.socketpair()
            near.sendmsg([b"x"], rights)
            return f"{len(far.recvmsg(1, socket.CMSG_SPACE(4))[1])} descriptor was taken"
        refused = []
        for descriptor in (*TO_AGENT.values(), *FROM_AGENT.values()):
            try:
                # As they are: what isn't a socket can be made into an object all the same.
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.dup(descriptor)) as channel:
                    channel.sendmsg([b"x"], rights)
                return f"it was accepted by descriptor {descriptor}"
            except OSError as error:
                refused.append(code_name(error.errno))
        raise Refused(", ".join(sorted(set(refused))))


@attempt("agent", "write the result of another plugin's task", "results", role="send")
def write_foreign_result(context):
    path = b"/api/agent/task/" + (b"own" if is_twin(context) else b"foreign")
    say("requests", REQUEST, text_of(b"POST") + text_of(path) + word_of(1) + text_of(b'{"data": "forged"}'))
    length, _ = struct.unpack("=II", os.read(FROM_AGENT["requests"], 8))
    answer = os.read(FROM_AGENT["requests"], length)
    if struct.unpack("=Q", answer[:8])[0] != 0:
        raise Refused(answer[16 : 16 + answer[8]].decode())
    return "the backend has it"


@attempt("files", "put a link where the policy of another plugin names a folder", "writable", role="setup")
def plant_link(context):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(context["write_folder"], "link"))
    os.symlink(os.path.dirname(context["plugin"]), os.path.join(context["write_folder"], "link"))
    return "it is there"


@attempt("files", "read a file where a link leads that another plugin has put into its policy", "linked",
         after="plant_link")
def read_by_planted_link(context):
    return expect(context, "plugin", read_file(os.path.join(context["write_folder"], "link", "script.py")))


# ------------------------------------------------------------ the plugin


class Plugin:
    def __init__(self):
        self.targets = None

    def attempts(self):
        return [dict(description) for _, description in CHECKS.values()]

    def prepare(self, folder):
        self.targets = Targets(folder)
        return self.targets.make()

    def attempt(self, name, context):
        return judge(CHECKS[name][0], context)

    def clean(self, context):
        if self.targets is not None:
            self.targets.clean()
            self.targets = None
        return {}
