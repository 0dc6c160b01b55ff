#define _GNU_SOURCE
#include "call_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// What stands in the file.
struct rb_trace_record {
    char magic[8];
    uint32_t size;
    char boot[40];
    struct rb_trace_end end;
};

struct rb_trace {
    int file;
    dev_t device;
    ino_t inode;
    /// The process that writes it: children that a plugin forks must not.
    pid_t process;
    /// Set once, by the thread that ends the process.
    uint32_t is_marked;
    struct rb_trace_record record;
};

static const char magic[8] = "RBTRACE3";

// Where the calling thread is. In the thread's static storage, which a signal handler may touch.
static __thread struct rb_trace *current_trace __attribute__((tls_model("initial-exec")));
static __thread char current_run[RB_TRACE_TEXT_SIZE] __attribute__((tls_model("initial-exec")));
static __thread char current_plugin[RB_TRACE_TEXT_SIZE] __attribute__((tls_model("initial-exec")));
static __thread char current_hash[RB_TRACE_TEXT_SIZE] __attribute__((tls_model("initial-exec")));
static __thread int has_alternate_stack __attribute__((tls_model("initial-exec")));
// The handler's stack where a recursion has used up the thread's own.
static __thread char alternate_stack[16384] __attribute__((aligned(16)));

struct rb_trace *rb_trace_create(const char *path, const char *boot, const char *session) {
    struct rb_trace *trace = calloc(1, sizeof *trace);
    if (!trace) return NULL;
    memcpy(trace->record.magic, magic, sizeof magic);
    trace->record.size = sizeof trace->record;
    strncpy(trace->record.boot, boot, sizeof trace->record.boot - 1);
    strncpy(trace->record.end.session, session, sizeof trace->record.end.session - 1);
    trace->process = getpid();
    unlink(path);
    trace->file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat status;
    if (trace->file >= 0) {
        ssize_t length = pwrite(trace->file, &trace->record, sizeof trace->record, 0);
        if (length == (ssize_t)sizeof trace->record && fsync(trace->file) == 0 && fstat(trace->file, &status) == 0) {
            trace->device = status.st_dev;
            trace->inode = status.st_ino;
            return trace;
        }
        int error = length >= 0 && length < (ssize_t)sizeof trace->record ? ENOSPC : errno;
        close(trace->file);
        unlink(path);
        errno = error;
    }
    int error = errno;
    free(trace);
    errno = error;
    return NULL;
}

void rb_trace_close(struct rb_trace *trace) {
    int file = __atomic_exchange_n(&trace->file, -1, __ATOMIC_ACQ_REL);
    if (file >= 0) close(file);
}

int rb_trace_read(const char *path, const char *boot, struct rb_trace_end *end) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return 0;
    struct rb_trace_record record;
    ssize_t length = read(file, &record, sizeof record);
    close(file);
    if (length != (ssize_t)sizeof record || memcmp(record.magic, magic, sizeof magic) != 0 ||
        record.size != sizeof record || strncmp(record.boot, boot, sizeof record.boot) != 0) {
        return 0;
    }
    *end = record.end;
    return 1;
}

static void use_alternate_stack(void) {
    has_alternate_stack = 1;
    stack_t present;
    // One that somebody else has set up is as good.
    if (sigaltstack(NULL, &present) != 0 || !(present.ss_flags & SS_DISABLE)) return;
    stack_t stack = {.ss_sp = alternate_stack, .ss_size = sizeof alternate_stack};
    sigaltstack(&stack, NULL);
}

void rb_trace_enter(struct rb_trace *trace, const char *run, const char *plugin, const char *hash) {
    if (!has_alternate_stack) use_alternate_stack();
    // Fills up with zeros; the last byte of each stays one.
    strncpy(current_run, run, sizeof current_run - 1);
    strncpy(current_plugin, plugin, sizeof current_plugin - 1);
    strncpy(current_hash, hash, sizeof current_hash - 1);
    // The handler that reads them runs on this thread.
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    current_trace = trace;
}

void rb_trace_leave(void) { current_trace = NULL; }

// Says that the calling thread ends the process from inside of plugin code; the first one counts. Calls nothing that
// isn't allowed in a signal handler.
static void mark(uint32_t cause, int number) {
    struct rb_trace *trace = current_trace;
    if (!trace || trace->process != getpid()) return;
    if (__atomic_exchange_n(&trace->is_marked, 1, __ATOMIC_ACQ_REL) != 0) return;
    struct rb_trace_end *end = &trace->record.end;
    end->cause = cause;
    end->number = number;
    memcpy(end->run, current_run, sizeof end->run);
    memcpy(end->plugin, current_plugin, sizeof end->plugin);
    memcpy(end->hash, current_hash, sizeof end->hash);
    // Plugin code may have closed the descriptor, and another file may be open under its number.
    struct stat status;
    int file = __atomic_load_n(&trace->file, __ATOMIC_ACQUIRE);
    if (fstat(file, &status) != 0 || status.st_dev != trace->device || status.st_ino != trace->inode) return;
    if (pwrite(file, &trace->record, sizeof trace->record, 0) < 0) return;
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
