#define _GNU_SOURCE
#include "call_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// More than there can be workers; calls beyond it run without a trace.
#define RB_TRACE_SLOTS 512

struct rb_trace_slot {
    /// 0 free, 1 being written, 2 inside of plugin code.
    uint32_t state;
    char run[RB_TRACE_RUN_SIZE];
    char plugin[132];
    char hash[132];
};

struct rb_trace {
    char magic[8];
    uint32_t size;
    /// The process that writes it: children that a plugin forks share the memory and must not.
    int32_t process;
    char boot[40];
    char session[40];
    /// Set once, by the thread that ended the process.
    uint32_t cause;
    /// The signal's number or the exit status.
    int32_t number;
    /// The slot of the thread that ended the process.
    int32_t slot;
    struct rb_trace_slot slots[RB_TRACE_SLOTS];
    /// Set where a run began and no entry was free: then nothing is said of which runs began.
    uint32_t overflowed;
    /// Runs that have begun, each at least until its end is in the journal. Empty texts have never been used.
    char begun[RB_TRACE_RUNS][RB_TRACE_RUN_SIZE];
};

// Where the calling thread is. In the thread's static storage, which a signal handler may touch.
static __thread struct rb_trace *current_trace __attribute__((tls_model("initial-exec")));
static __thread int current_slot __attribute__((tls_model("initial-exec")));
static __thread int has_alternate_stack __attribute__((tls_model("initial-exec")));
// The handler's stack where a recursion has used up the thread's own.
static __thread char alternate_stack[16384] __attribute__((aligned(16)));

struct rb_trace *rb_trace_create(const char *path, const char *boot, const char *session) {
    unlink(path);
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return NULL;
    // Writing to a page without a block on a full disk would be a SIGBUS.
    int error = posix_fallocate(file, 0, sizeof(struct rb_trace));
    if (error != 0) {
        close(file);
        unlink(path);
        errno = error;
        return NULL;
    }
    struct rb_trace *trace = mmap(NULL, sizeof *trace, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    error = errno;
    close(file);
    if (trace == MAP_FAILED) {
        unlink(path);
        errno = error;
        return NULL;
    }
    memcpy(trace->magic, "RBTRACE2", sizeof trace->magic);
    trace->size = sizeof *trace;
    trace->process = getpid();
    strncpy(trace->boot, boot, sizeof trace->boot - 1);
    strncpy(trace->session, session, sizeof trace->session - 1);
    return trace;
}

// The trace in a file, to be freed; NULL where there is none of this boot of the host.
static struct rb_trace *load(const char *path, const char *boot) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return NULL;
    struct rb_trace *trace = malloc(sizeof *trace);
    ssize_t length = trace ? read(file, trace, sizeof *trace) : -1;
    close(file);
    if (length == (ssize_t)sizeof *trace && memcmp(trace->magic, "RBTRACE2", sizeof trace->magic) == 0 &&
        trace->size == sizeof *trace && strncmp(trace->boot, boot, sizeof trace->boot) == 0) {
        return trace;
    }
    free(trace);
    return NULL;
}

int rb_trace_read(const char *path, const char *boot, struct rb_trace_end *end) {
    struct rb_trace *trace = load(path, boot);
    if (!trace) return 0;
    int found = trace->cause != RB_CAUSE_NONE && trace->slot >= 0 && trace->slot < RB_TRACE_SLOTS &&
                trace->slots[trace->slot].state == 2;
    if (found) {
        struct rb_trace_slot *slot = &trace->slots[trace->slot];
        memset(end, 0, sizeof *end);
        end->cause = trace->cause;
        end->number = trace->number;
        memcpy(end->session, trace->session, sizeof end->session - 1);
        memcpy(end->run, slot->run, sizeof end->run - 1);
        memcpy(end->plugin, slot->plugin, sizeof end->plugin - 1);
        memcpy(end->hash, slot->hash, sizeof end->hash - 1);
    }
    free(trace);
    return found;
}

char (*rb_trace_begun(const char *path, const char *boot, int *count))[RB_TRACE_RUN_SIZE] {
    struct rb_trace *trace = load(path, boot);
    char (*runs)[RB_TRACE_RUN_SIZE] = NULL;
    *count = 0;
    if (trace && !trace->overflowed) runs = calloc(RB_TRACE_RUNS, RB_TRACE_RUN_SIZE);
    for (int index = 0; runs && index < RB_TRACE_RUNS; index++) {
        if (trace->begun[index][0] == 0) continue;
        memcpy(runs[*count], trace->begun[index], RB_TRACE_RUN_SIZE - 1);
        *count += 1;
    }
    free(trace);
    return runs;
}

void rb_trace_begin(struct rb_trace *trace, int entry, const char *run) {
    if (entry < 0 || entry >= RB_TRACE_RUNS) {
        __atomic_store_n(&trace->overflowed, 1, __ATOMIC_SEQ_CST);
        return;
    }
    // Fills up with zeros.
    strncpy(trace->begun[entry], run, RB_TRACE_RUN_SIZE - 1);
    // The process may be killed at the next instruction, which is the plugin's.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void use_alternate_stack(void) {
    has_alternate_stack = 1;
    stack_t present;
    // One that somebody else has set up is as good.
    if (sigaltstack(NULL, &present) != 0 || !(present.ss_flags & SS_DISABLE)) return;
    stack_t stack = {.ss_sp = alternate_stack, .ss_size = sizeof alternate_stack};
    sigaltstack(&stack, NULL);
}

int rb_trace_enter(struct rb_trace *trace, const char *run, const char *plugin, const char *hash) {
    if (!has_alternate_stack) use_alternate_stack();
    // Mostly its last one is free.
    for (int tried = 0; tried < RB_TRACE_SLOTS; tried++) {
        int index = (current_slot + tried) % RB_TRACE_SLOTS;
        struct rb_trace_slot *slot = &trace->slots[index];
        uint32_t free = 0;
        if (!__atomic_compare_exchange_n(&slot->state, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) continue;
        strncpy(slot->run, run, sizeof slot->run - 1);
        strncpy(slot->plugin, plugin, sizeof slot->plugin - 1);
        strncpy(slot->hash, hash, sizeof slot->hash - 1);
        __atomic_store_n(&slot->state, 2, __ATOMIC_RELEASE);
        current_slot = index;
        current_trace = trace;
        return 1;
    }
    return 0;
}

void rb_trace_leave(void) {
    struct rb_trace *trace = current_trace;
    if (!trace) return;
    current_trace = NULL;
    __atomic_store_n(&trace->slots[current_slot].state, 0, __ATOMIC_RELEASE);
}

// Says that the calling thread ends the process from inside of plugin code; the first one counts.
static void mark(uint32_t cause, int number) {
    struct rb_trace *trace = current_trace;
    if (!trace || trace->process != getpid()) return;
    uint32_t none = RB_CAUSE_NONE;
    // Written before the cause: whoever reads a cause finds them. Two threads at once is the same end of both.
    if (__atomic_load_n(&trace->cause, __ATOMIC_ACQUIRE) != none) return;
    trace->number = number;
    trace->slot = current_slot;
    __atomic_compare_exchange_n(&trace->cause, &none, cause, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

// MARK: Signals

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define FATAL_SIGNALS (sizeof fatal_signals / sizeof fatal_signals[0])
static struct sigaction previous[FATAL_SIGNALS];
static pthread_once_t watching = PTHREAD_ONCE_INIT;

static void handle(int signal, siginfo_t *info, void *context) {
    (void)context;
    int saved = errno;
    // A fault of this thread's, or one that this process sent: abort(3). What another process sends hits any thread.
    if (info->si_code > 0 || info->si_pid == getpid()) mark(RB_CAUSE_SIGNAL, signal);
    for (size_t index = 0; index < FATAL_SIGNALS; index++) {
        if (fatal_signals[index] == signal) sigaction(signal, &previous[index], NULL);
    }
    // A fault comes again when the instruction is run again, and finds the handler that was there before.
    if (info->si_code <= 0) raise(signal);
    errno = saved;
}

static void leave_through_exit(void) {
    // exit(3), by which C code of a plugin ends the process. Its status isn't known here.
    mark(RB_CAUSE_EXIT, -1);
}

static void watch(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (size_t index = 0; index < FATAL_SIGNALS; index++) {
        sigaction(fatal_signals[index], &action, &previous[index]);
    }
    atexit(leave_through_exit);
}

void rb_trace_watch_signals(void) { pthread_once(&watching, watch); }

// MARK: _exit

// In place of the C library's, for every library of this process: `os._exit` in a plugin leaves no other trace, and
// nothing else tells it from a SIGKILL that hit the process while the plugin happened to run.
__attribute__((visibility("default"))) void _exit(int status) {
    mark(RB_CAUSE_EXIT, status & 0xFF);
    while (1) syscall(SYS_exit_group, status);
}

__attribute__((visibility("default"))) void _Exit(int status) { _exit(status); }
