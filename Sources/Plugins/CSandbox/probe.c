#define _GNU_SOURCE
#include "sandbox.h"
#include "internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYS_RB_PIDFD_OPEN 434

static int try_in_child(int (*attempt)(int), int argument) {
    // The caller has threads: only what is safe in a signal handler may follow (fork(2)).
    pid_t child = fork();
    if (child < 0) return errno;
    if (child == 0) _exit(attempt(argument));
    int status;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return errno;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static int mount_own_proc(int unused) {
    (void)unused;
    return rb_mount_own_proc();
}

/// As a child does it, and what it does in them: some hosts give a namespace and refuse its use.
static int use_namespaces(int namespaces) {
    if (namespaces & RB_TRY_USER) {
        int folder = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int error = folder < 0 ? errno : rb_enter_user_namespace(folder);
        if (error != 0) return error;
    }
    int flags = 0, error = 0;
    if (namespaces & RB_TRY_PID) flags |= CLONE_NEWPID;
    if (namespaces & (RB_TRY_MOUNT | RB_TRY_READ_ONLY | RB_TRY_PROC)) flags |= CLONE_NEWNS;
    if (namespaces & RB_TRY_IPC) flags |= CLONE_NEWIPC;
    if (namespaces & RB_TRY_NETWORK) flags |= CLONE_NEWNET;
    if (flags != 0 && unshare(flags) != 0) return errno;
    if (flags & CLONE_NEWNS) error = rb_detach_mounts();
    if (error == 0 && namespaces & RB_TRY_READ_ONLY) error = rb_make_everything_read_only();
    if (error == 0 && namespaces & RB_TRY_PROC) error = try_in_child(mount_own_proc, 0);
    if (error == 0 && namespaces & RB_TRY_MOUNT) error = rb_mount_memory("/dev/shm", 4096, geteuid(), getegid(), 0);
    return error;
}

int rb_try_namespaces(int namespaces) { return try_in_child(use_namespaces, namespaces); }

static int lower_limits(int unused) {
    (void)unused;
    struct rlimit none = {0};
    if (setrlimit(RLIMIT_MSGQUEUE, &none) != 0 || setrlimit(RLIMIT_CORE, &none) != 0) return errno;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno;
}

int rb_try_limits(void) { return try_in_child(lower_limits, 0); }

const char *rb_signal_name(int number) { return sigabbrev_np(number); }

void rb_enlarge_buffer(int socket, int bytes) {
    if (setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void rb_tune_allocator(void) {
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
}

int rb_thread_count(void) {
    DIR *folder = opendir("/proc/self/task");
    if (folder == NULL) return 0;
    int count = 0;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

int rb_pipe(int descriptors[2]) { return pipe2(descriptors, O_CLOEXEC) == 0 ? 0 : errno; }

const int rb_set_pipe_size = F_SETPIPE_SZ;

static int64_t milliseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int rb_reap(pid_t child, int milliseconds, int *status) {
    int64_t deadline = milliseconds_now() + milliseconds;
    // Before Linux 5.3 there are none: then it is looked at again and again.
    int ends = (int)syscall(SYS_RB_PIDFD_OPEN, child, 0);
    pid_t reaped;
    while ((reaped = waitpid(child, status, WNOHANG)) == 0 || (reaped < 0 && errno == EINTR)) {
        int64_t left = deadline - milliseconds_now();
        if (left <= 0) break;
        struct pollfd end = {.fd = ends, .events = POLLIN};
        poll(&end, 1, ends >= 0 || left < 5 ? (int)left : 5);
    }
    if (ends >= 0) close(ends);
    // One that isn't a child of this process has been reaped before.
    return reaped == child || (reaped < 0 && errno == ECHILD);
}

static int install_empty_plan(int unused) {
    (void)unused;
    struct rb_plan plan = {.network = RB_NETWORK_FULL, .may_start_programs = 1};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    return rb_install_filter(&plan, 0);
}

int rb_try_seccomp(void) { return try_in_child(install_empty_plan, 0); }

static int connects(uint16_t port) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int result = connect(descriptor, (struct sockaddr *)&address, sizeof address);
    int is_refused = result != 0 && (errno == EACCES || errno == ENETUNREACH || errno == EPERM);
    close(descriptor);
    return !is_refused;
}

static int allows_port(const struct rb_plan *plan, uint16_t port) {
    for (size_t index = 0; index < plan->port_count; index++)
        if (plan->ports[index].first <= port && port <= plan->ports[index].last) return 1;
    return 0;
}

/// Whether that gave a descriptor, which is closed.
static int came(int descriptor) { return descriptor >= 0 && close(descriptor) == 0; }

/// What Landlock must refuse.
static const char *try_files(int has_proc) {
    if (!has_proc && came(open("/proc/self/status", O_RDONLY | O_CLOEXEC))) return "opening /proc/self/status";
    if (came(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC))) return "listing /";
    if (!came(open("/etc/runbook-agent-probe", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600))) return NULL;
    unlink("/etc/runbook-agent-probe");
    return "writing to /etc";
}

static int makes_socket(int family, int type, int protocol) {
    return came(socket(family, type | SOCK_CLOEXEC, protocol));
}

static int makes_pair(int type) {
    int pair[2];
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0 && came(pair[0]) && came(pair[1]);
}

/// What seccomp must refuse.
static const char *try_calls(const struct rb_plan *plan) {
    if (makes_socket(AF_UNIX, SOCK_STREAM, 0)) return "making a path socket";
    if (makes_pair(SOCK_DGRAM)) return "making a pair of datagram sockets";
    if (makes_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)) return "making a raw socket";
    if (plan->network == RB_NETWORK_NONE && makes_socket(AF_INET, SOCK_STREAM, 0)) return "making a TCP socket";
    if (plan->network != RB_NETWORK_FULL && makes_socket(AF_INET, SOCK_DGRAM, 0)) return "making a UDP socket";
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0) return "being traced";
    if (unshare(CLONE_NEWUSER) == 0) return "making a user namespace";
    if (kill(-1, 0) == 0) return "signalling every process";
    return NULL;
}

static const char *try_ports(const struct rb_plan *plan) {
    for (uint16_t port = 1; port < 1024; port++) {
        if (allows_port(plan, port)) continue;
        return connects(port) ? "connecting to a port that isn't allowed" : NULL;
    }
    return NULL;
}

const char *rb_try_forbidden(const struct rb_plan *plan, const struct rb_report *report) {
    const char *through = NULL;
    if (report->reached & 1U << RB_LANDLOCK_FILES) through = try_files(report->reached >> RB_OWN_PROC & 1);
    if (through == NULL && report->reached & 1U << RB_SECCOMP) through = try_calls(plan);
    if (through == NULL && plan->network == RB_NETWORK_PORTS && report->reached & 1U << RB_LANDLOCK_NETWORK)
        through = try_ports(plan);
    if (through == NULL && geteuid() != 0 && report->reached & 1U << RB_NO_NEW_PRIVILEGES && setuid(0) == 0)
        through = "becoming root";
    return through;
}

pid_t rb_spawn(const char *program, char *const arguments[], char *const environment[], const int *descriptors,
               size_t count) {
    int copies[1024];
    if (count > sizeof copies / sizeof copies[0]) return -E2BIG;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int error = 0;
    size_t made = 0;
    // Above the numbers they shall have, or one would take another's place before that is copied.
    for (; made < count && error == 0; made++) {
        copies[made] = fcntl(descriptors[made], F_DUPFD_CLOEXEC, (int)count);
        if (copies[made] < 0) {
            error = errno;
            break;
        }
        error = posix_spawn_file_actions_adddup2(&actions, copies[made], (int)made);
    }
    pid_t child = -1;
    if (error == 0) {
        sigset_t all, none;
        sigfillset(&all);
        sigemptyset(&none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
        error = posix_spawn(&child, program, &actions, &attributes, arguments, environment);
    }
    for (size_t index = 0; index < made; index++) close(copies[index]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error == 0 ? child : -error;
}

struct library {
    const char *name;
    char *file;
    size_t size;
};

static int find_library(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    struct library *library = context;
    const char *base = strrchr(info->dlpi_name, '/');
    if (base == NULL || strcmp(base + 1, library->name) != 0 || strlen(info->dlpi_name) >= library->size) return 0;
    strcpy(library->file, info->dlpi_name);
    return 1;
}

int rb_loaded_library(const char *name, char *file, size_t size) {
    struct library library = {name, file, size};
    return dl_iterate_phdr(find_library, &library);
}
