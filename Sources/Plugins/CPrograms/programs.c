#define _GNU_SOURCE
#include "programs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SYS_RB_PIDFD_SEND_SIGNAL 424
#define SYS_RB_PIDFD_OPEN 434
#define MOST_ENVIRONMENT (8 << 20)

int rb_open_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno; }

struct process {
    pid_t id;
    pid_t parent;
    // Tells it from another that got the same id later.
    unsigned long long start;
    int is_meant;
};

// Everything of the machine, in the order of the ids.
struct table {
    struct process *processes;
    size_t count;
    size_t capacity;
};

static int read_process(long id, struct process *process) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", id);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return 0;
    ssize_t length = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    if (length <= 0) return 0;
    text[length] = 0;
    // The name in parentheses may hold anything, parentheses included.
    char *rest = strrchr(text, ')');
    char state;
    int parent;
    unsigned long long start;
    if (rest == NULL
        || sscanf(rest + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
                  &parent, &start) != 3)
        return 0;
    if (state == 'Z' || state == 'X') return 0;
    *process = (struct process){.id = (pid_t)id, .parent = parent, .start = start};
    return 1;
}

static int compare_ids(const void *left, const void *right) {
    pid_t first = ((const struct process *)left)->id, second = ((const struct process *)right)->id;
    return (first > second) - (first < second);
}

static struct process *find_process(const struct table *table, pid_t id) {
    struct process wanted = {.id = id};
    if (table->count == 0) return NULL;
    return bsearch(&wanted, table->processes, table->count, sizeof wanted, compare_ids);
}

static void read_table(struct table *table) {
    *table = (struct table){0};
    DIR *folder = opendir("/proc");
    if (folder == NULL) return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char *end;
        long id = strtol(entry->d_name, &end, 10);
        if (*end != 0 || id <= 0) continue;
        if (table->count == table->capacity) {
            size_t capacity = table->capacity == 0 ? 512 : 2 * table->capacity;
            struct process *larger = realloc(table->processes, capacity * sizeof *larger);
            if (larger == NULL) break;
            table->processes = larger;
            table->capacity = capacity;
        }
        table->count += (size_t)read_process(id, &table->processes[table->count]);
    }
    closedir(folder);
    if (table->count > 0) qsort(table->processes, table->count, sizeof *table->processes, compare_ids);
}

// What the program's variable is when it was started (proc(5)), allocated; NULL where it has none, or may not be asked.
// `is_empty`: it has no environment at all.
static char *read_mark(pid_t id, int *is_empty) {
    *is_empty = 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)id);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return NULL;
    size_t length = 0, capacity = 16 << 10;
    char *text = malloc(capacity + 1);
    while (text != NULL) {
        ssize_t count = read(descriptor, text + length, capacity - length);
        if (count <= 0) break;
        length += (size_t)count;
        if (length < capacity) continue;
        if (capacity >= MOST_ENVIRONMENT) break;
        char *larger = realloc(text, 2 * capacity + 1);
        if (larger == NULL) break;
        text = larger;
        capacity *= 2;
    }
    close(descriptor);
    if (text == NULL) return NULL;
    text[length] = 0;
    *is_empty = length == 0;
    const size_t name = sizeof RB_PROGRAM_MARK "=" - 1;
    char *mark = NULL;
    for (char *entry = text; entry < text + length; entry += strlen(entry) + 1) {
        if (strncmp(entry, RB_PROGRAM_MARK "=", name) != 0) continue;
        mark = strdup(entry + name);
        break;
    }
    free(text);
    return mark;
}

// Whether a process was started within the last second or so.
static int is_young(const struct process *process) {
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0) return 1;
    unsigned long long ticks = (unsigned long long)sysconf(_SC_CLK_TCK);
    return process->start + ticks >= (unsigned long long)now.tv_sec * ticks;
}

// A program that has just taken its process over (execve(2)) shows no environment for a moment, while whoever started it
// goes on already: it is asked again, in steps of 0.2 ms, of which `patience` are left for all together. One that really has
// none takes no more than a few of them.
static char *read_settled_mark(const struct process *process, int *patience) {
    for (int tries = 0;; tries++) {
        int is_empty;
        char *mark = read_mark(process->id, &is_empty);
        if (mark != NULL || !is_empty || tries == 10 || *patience <= 0 || !is_young(process)) return mark;
        *patience -= 1;
        struct timespec pause = {.tv_nsec = 200000};
        nanosleep(&pause, NULL);
    }
}

static int matches(const struct rb_programs *programs, const char *mark) {
    if (!programs->is_suffix) return strcmp(mark, programs->mark) == 0;
    size_t length = strlen(mark), wanted = strlen(programs->mark);
    return length >= wanted && strcmp(mark + length - wanted, programs->mark) == 0;
}

// Whether a process, or one that it descends from, satisfies `test`. The list was read while processes came and went: it
// may hold a circle.
static int any_above(const struct table *table, struct process *process, int (*test)(struct process *, pid_t), pid_t id) {
    for (size_t steps = 0; process != NULL && steps <= table->count; steps++) {
        if (test(process, id)) return 1;
        process = find_process(table, process->parent);
    }
    return 0;
}

static int is_meant(struct process *process, pid_t id) {
    (void)id;
    return process->is_meant;
}

static int has_parent(struct process *process, pid_t id) { return process->parent == id; }

// Marks those that are meant. Returns how many there are.
static size_t choose(const struct rb_programs *programs, struct table *table) {
    pid_t self = getpid();
    int patience = 100;
    for (size_t index = 0; index < table->count; index++) {
        struct process *process = &table->processes[index];
        if (process->id == self || process->id == programs->spared || process->id == programs->ancestor) continue;
        if (programs->ancestor != 0 && !any_above(table, process, has_parent, programs->ancestor)) continue;
        char *mark = read_settled_mark(process, &patience);
        process->is_meant = mark != NULL ? matches(programs, mark) : programs->takes_unmarked;
        free(mark);
    }
    size_t found = 0;
    for (size_t index = 0; index < table->count; index++) {
        struct process *process = &table->processes[index];
        if (process->id == self || process->id == programs->spared || process->id == programs->ancestor) continue;
        if (!any_above(table, process, is_meant, 0)) continue;
        process->is_meant = 1;
        found++;
    }
    return found;
}

// Sends a signal to a process, and not to another that has got its id meanwhile.
static void send_signal(const struct process *process, int number) {
    int descriptor = (int)syscall(SYS_RB_PIDFD_OPEN, process->id, 0);
    struct process now;
    int is_same = read_process(process->id, &now) && now.start == process->start;
    if (is_same && descriptor >= 0) syscall(SYS_RB_PIDFD_SEND_SIGNAL, descriptor, number, NULL, 0);
    else if (is_same && errno != ESRCH) kill(process->id, number);
    if (descriptor >= 0) close(descriptor);
}

// Returns how many there were.
static size_t signal_all(const struct rb_programs *programs, int number) {
    struct table table;
    read_table(&table);
    size_t found = choose(programs, &table);
    for (size_t index = 0; index < table.count && number != 0; index++) {
        if (!table.processes[index].is_meant) continue;
        send_signal(&table.processes[index], number);
        // One that is stopped gets no signal but this and SIGKILL.
        if (number == SIGTERM) send_signal(&table.processes[index], SIGCONT);
    }
    free(table.processes);
    return found;
}

static long long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

size_t rb_end_programs(const struct rb_programs *programs, int grace, int limit) {
    long long start = milliseconds();
    size_t left = signal_all(programs, grace > 0 ? SIGTERM : SIGKILL);
    for (int pause = 1; left > 0; pause = pause < 20 ? pause * 2 : 20) {
        struct timespec time = {.tv_nsec = pause * 1000000L};
        nanosleep(&time, NULL);
        long long passed = milliseconds() - start;
        left = signal_all(programs, passed < grace ? 0 : SIGKILL);
        if (passed >= limit) break;
    }
    return left;
}

size_t rb_list_program_marks(const char *prefix, char *buffer, size_t size) {
    struct table table;
    read_table(&table);
    size_t length = 0;
    for (size_t index = 0; index < table.count; index++) {
        int is_empty;
        char *mark = read_mark(table.processes[index].id, &is_empty);
        if (mark == NULL) continue;
        size_t count = strlen(mark);
        if (strncmp(mark, prefix, strlen(prefix)) == 0 && length + count + 1 <= size) {
            memcpy(buffer + length, mark, count);
            buffer[length + count] = '\n';
            length += count + 1;
        }
        free(mark);
    }
    free(table.processes);
    return length;
}
