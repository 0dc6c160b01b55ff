#define _GNU_SOURCE
#include "sandbox.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

static int make_namespaces(int flags) { return unshare(flags) == 0 ? 0 : errno; }

int rb_try_namespaces(int namespaces) {
    int flags = 0;
    if (namespaces & RB_TRY_USER) flags |= CLONE_NEWUSER;
    if (namespaces & RB_TRY_PID) flags |= CLONE_NEWPID;
    if (namespaces & RB_TRY_MOUNT) flags |= CLONE_NEWNS;
    if (namespaces & RB_TRY_IPC) flags |= CLONE_NEWIPC;
    if (namespaces & RB_TRY_NETWORK) flags |= CLONE_NEWNET;
    return try_in_child(make_namespaces, flags);
}

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

const char *rb_try_forbidden(const struct rb_plan *plan) {
    int descriptor = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) return "opening /proc/self/status";
    descriptor = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) return "listing /";
    descriptor = open("/etc/runbook-agent-probe", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor >= 0) {
        unlink("/etc/runbook-agent-probe");
        return "writing to /etc";
    }
    if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0) return "making a path socket";
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0) return "making a pair of datagram sockets";
    if (socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0) return "making a raw socket";
    if (plan->network == RB_NETWORK_NONE && socket(AF_INET, SOCK_STREAM, 0) >= 0) return "making a TCP socket";
    if (plan->network != RB_NETWORK_FULL) {
        if (socket(AF_INET, SOCK_DGRAM, 0) >= 0) return "making a UDP socket";
        for (uint16_t port = 1; plan->network == RB_NETWORK_PORTS && port < 1024; port++) {
            if (allows_port(plan, port)) continue;
            if (connects(port)) return "connecting to a port that isn't allowed";
            break;
        }
    }
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0) return "being traced";
    if (unshare(CLONE_NEWUSER) == 0) return "making a user namespace";
    if (kill(-1, 0) == 0) return "signalling every process";
    if (setuid(0) == 0 && geteuid() == 0) return "becoming root";
    return NULL;
}

pid_t rb_spawn(const char *program, char *const arguments[], char *const environment[], const int *descriptors,
               size_t count) {
    int copies[64];
    if (count > sizeof copies / sizeof copies[0]) return -E2BIG;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int error = 0;
    size_t made = 0;
    // Above the numbers they shall have, or one would take another's place before that is copied.
    for (; made < count && error == 0; made++) {
        copies[made] = fcntl(descriptors[made], F_DUPFD_CLOEXEC, 64);
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
