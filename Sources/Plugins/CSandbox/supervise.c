#define _GNU_SOURCE
#include "sandbox.h"
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYS_RB_CLOSE_RANGE 436

void rb_notify(int supervision, int32_t kind, int32_t value) {
    struct rb_notice notice = {.kind = kind, .value = value};
    while (send(supervision, &notice, sizeof notice, MSG_NOSIGNAL) < 0 && errno == EINTR) {}
}

int rb_prepare_supervision(int owns_processes) {
    // In a namespace of its own the kernel ends everything with this process. Otherwise it has to do that itself, and
    // the end of the agent, which closes the supervision socket, must not end it before.
    prctl(PR_SET_PDEATHSIG, owns_processes ? SIGKILL : 0, 0, 0, 0);
    if (!owns_processes) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void rb_leave_supervision(void) {
    sigset_t set;
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
}

struct process {
    pid_t id;
    pid_t parent;
    int is_descendant;
    /// Tells it from another that got the same id later.
    unsigned long long start;
    /// Clock ticks of its own, and those of children it has waited for.
    unsigned long ticks;
    unsigned long waited_ticks;
};

static int read_process(long id, struct process *process) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%ld/stat", id);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return 0;
    ssize_t length = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    if (length <= 0) return 0;
    text[length] = 0;
    // The name in parentheses may hold anything, parentheses included.
    char *rest = strrchr(text, ')');
    int parent;
    unsigned long user, system;
    long waited_user, waited_system;
    unsigned long long start;
    if (rest == NULL
        || sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %*d %*d %llu", &parent,
                  &user, &system, &waited_user, &waited_system, &start) != 6)
        return 0;
    *process = (struct process){
        .id = (pid_t)id, .parent = parent, .start = start, .ticks = user + system,
        .waited_ticks = (unsigned long)waited_user + (unsigned long)waited_system};
    return 1;
}

static int compare_ids(const void *left, const void *right) {
    pid_t first = ((const struct process *)left)->id, second = ((const struct process *)right)->id;
    return (first > second) - (first < second);
}

/// Fills in the processes of the machine (proc(5)), in the order of their ids. Returns how many.
static size_t list_processes(struct process *processes, size_t capacity) {
    DIR *folder = opendir("/proc");
    if (folder == NULL) return 0;
    size_t count = 0;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL && count < capacity) {
        char *end;
        long id = strtol(entry->d_name, &end, 10);
        if (*end == 0 && id > 0) count += (size_t)read_process(id, &processes[count]);
    }
    closedir(folder);
    qsort(processes, count, sizeof *processes, compare_ids);
    return count;
}

static struct process *find_process(struct process *processes, size_t count, pid_t id) {
    struct process wanted = {.id = id};
    return bsearch(&wanted, processes, count, sizeof *processes, compare_ids);
}

/// Marks what descends from a process. Returns how many that are.
static size_t mark_descendants(struct process *processes, size_t count, pid_t ancestor) {
    size_t found = 0;
    for (size_t index = 0; index < count; index++) {
        struct process *above = &processes[index];
        // The list was read while processes came and went: it may hold a circle.
        for (size_t steps = 0; above != NULL && steps < count; steps++) {
            if (above->parent == ancestor || above->is_descendant) {
                processes[index].is_descendant = 1;
                found++;
                break;
            }
            above = find_process(processes, count, above->parent);
        }
    }
    return found;
}

#define MOST_PROCESSES 65536

/// Sends a signal to everything that descends from this process. Returns how many there were.
static size_t signal_descendants(int number) {
    static struct process processes[MOST_PROCESSES];
    size_t count = list_processes(processes, MOST_PROCESSES);
    size_t found = mark_descendants(processes, count, getpid());
    for (size_t index = 0; index < count; index++)
        if (processes[index].is_descendant) kill(processes[index].id, number);
    return found;
}

struct rb_meter {
    pid_t ancestor;
    /// The ancestor and its descendants as they were at the last reading.
    struct process *known;
    size_t count;
    /// Of the time since the start.
    unsigned long ticks;
};

/// Fills in a process and its descendants, in the order of their ids. Returns nil where memory runs out.
static struct process *read_family(pid_t ancestor, size_t *count) {
    struct process *processes = malloc(MOST_PROCESSES * sizeof *processes);
    if (processes == NULL) return NULL;
    size_t all = list_processes(processes, MOST_PROCESSES), kept = 0;
    mark_descendants(processes, all, ancestor);
    for (size_t index = 0; index < all; index++)
        if (processes[index].is_descendant || processes[index].id == ancestor) processes[kept++] = processes[index];
    *count = kept;
    struct process *family = realloc(processes, (kept == 0 ? 1 : kept) * sizeof *processes);
    return family == NULL ? processes : family;
}

struct rb_meter *rb_meter_start(pid_t ancestor) {
    struct rb_meter *meter = calloc(1, sizeof *meter);
    if (meter == NULL) return NULL;
    meter->ancestor = ancestor;
    meter->known = read_family(ancestor, &meter->count);
    if (meter->known != NULL) return meter;
    free(meter);
    return NULL;
}

static struct process *find_same(struct process *processes, size_t count, const struct process *process) {
    struct process *found = find_process(processes, count, process->id);
    return found != NULL && found->start == process->start ? found : NULL;
}

double rb_meter_read(struct rb_meter *meter) {
    size_t count;
    struct process *now = read_family(meter->ancestor, &count);
    if (now != NULL) {
        unsigned long waited = 0, ended = 0;
        for (size_t index = 0; index < count; index++) {
            struct process *before = find_same(meter->known, meter->count, &now[index]);
            meter->ticks += now[index].ticks - (before == NULL ? 0 : before->ticks);
            waited += now[index].waited_ticks - (before == NULL ? 0 : before->waited_ticks);
        }
        for (size_t index = 0; index < meter->count; index++)
            if (find_same(now, count, &meter->known[index]) == NULL)
                ended += meter->known[index].ticks + meter->known[index].waited_ticks;
        // What has ended was counted as far as it was seen. The rest of it is there where someone waited for it.
        if (waited > ended) meter->ticks += waited - ended;
        free(meter->known);
        meter->known = now;
        meter->count = count;
    }
    return (double)meter->ticks / (double)sysconf(_SC_CLK_TCK);
}

void rb_meter_free(struct rb_meter *meter) {
    if (meter != NULL) free(meter->known);
    free(meter);
}

/// Reaps what has ended. Returns whether anything is left.
static int reap(void) {
    pid_t reaped;
    while ((reaped = waitpid(-1, NULL, WNOHANG | __WALL)) > 0 || (reaped < 0 && errno == EINTR)) {}
    return reaped == 0;
}

/// Ends the children of this process that there are now. Microseconds, where a look at all processes takes
/// milliseconds: whatever forks and ends, over and over, would always be gone by the time it is found there.
static void kill_children(int list) {
    char text[4096];
    ssize_t length = pread(list, text, sizeof text - 1, 0);
    if (length <= 0) return;
    text[length] = 0;
    // The last one may have been cut: it is read again as one of fewer.
    if (length == (ssize_t)sizeof text - 1) *strrchr(text, ' ') = 0;
    char *rest = text, *end;
    for (long id; (id = strtol(rest, &end, 10)) > 0 && end != rest; rest = end) kill((pid_t)id, SIGKILL);
}

/// Ends everything the child left, sessions of its own and double forks included: as the nearest subreaper this
/// process is the parent of whatever lost its own.
static void sweep(int signals) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int list = open(path, O_RDONLY | O_CLOEXEC);
    for (;;) {
        // Stopped first, all of them, so that none starts another while they are ended one by one.
        size_t stopped = 0, now;
        while ((now = signal_descendants(SIGSTOP)) > stopped) stopped = now;
        signal_descendants(SIGKILL);
        for (int round = 0; round < 1000; round++) {
            if (!reap()) return;
            if (list >= 0) kill_children(list);
        }
        // What the kernel holds up for a while, such as a write to a slow disk.
        struct pollfd ended = {.fd = signals, .events = POLLIN};
        struct signalfd_siginfo information;
        poll(&ended, 1, 10);
        while (read(signals, &information, sizeof information) > 0) {}
    }
}

void rb_supervise(int supervision, int signals, pid_t child, int owns_processes) {
    // The child's end must close its sockets. What else was inherited is none of this process's business.
    if (supervision > 0) syscall(SYS_RB_CLOSE_RANGE, 0, supervision - 1, 0);
    if (signals > supervision + 1) syscall(SYS_RB_CLOSE_RANGE, supervision + 1, signals - 1, 0);
    if (signals > supervision) syscall(SYS_RB_CLOSE_RANGE, signals + 1, ~0U, 0);
    prctl(PR_SET_NAME, "runbook-keeper", 0, 0, 0);
    int status = 0, has_ended = 0;
    while (!has_ended) {
        struct pollfd descriptors[] = {
            {.fd = supervision, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (poll(descriptors, 2, -1) < 0 && errno != EINTR) break;
        if (descriptors[1].revents != 0) {
            struct signalfd_siginfo information;
            while (read(signals, &information, sizeof information) > 0) {}
            int ended;
            pid_t reaped;
            while ((reaped = waitpid(-1, &ended, WNOHANG | __WALL)) > 0) {
                if (reaped != child) continue;
                status = ended;
                has_ended = 1;
            }
        }
        // Nothing is ever sent to it: the agent is gone, or wants the child gone.
        if (descriptors[0].revents != 0) break;
    }
    if (has_ended) rb_notify(supervision, RB_NOTICE_ENDED, status);
    if (!owns_processes) sweep(signals);
    _exit(0);
}
