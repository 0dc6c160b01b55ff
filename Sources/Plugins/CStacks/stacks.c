#define _GNU_SOURCE
#include "stacks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int rb_stack_signal(void) { return SIGRTMAX - 3; }

int rb_open_stack_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
    // As much as the host allows.
    fcntl(ends[1], F_SETPIPE_SZ, 512 << 10);
    return 0;
}

static struct sigaction handler;

static void do_nothing(int number) { (void)number; }

void rb_keep_stack_handler(void) {
    struct sigaction nothing = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
    sigaction(rb_stack_signal(), &nothing, &handler);
}

// In the copy. Whatever this process has for a crash must not take the copy's for one of its own.
static _Noreturn void handle(int number) {
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t index = 0; index < sizeof crashes / sizeof *crashes; index++) signal(crashes[index], SIG_DFL);
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, number);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
    sigaction(number, &handler, NULL);
    // Not raise(3): the C library knows this thread by its number in the original.
    syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), number);
    for (;;) syscall(SYS_exit_group, 0);
}

// Copies that were killed and have not been waited for.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t unreaped[16];

static void reap_late(pid_t another) {
    pthread_mutex_lock(&mutex);
    for (size_t index = 0; index < sizeof unreaped / sizeof *unreaped; index++) {
        if (unreaped[index] != 0 && waitpid(unreaped[index], NULL, WNOHANG | __WALL) != 0) unreaped[index] = 0;
        if (unreaped[index] == 0) {
            unreaped[index] = another;
            another = 0;
        }
    }
    pthread_mutex_unlock(&mutex);
}

int rb_signal_copy(int number, int milliseconds) {
    reap_late(0);
    // Without what others do at a fork(2), such as taking locks that a thread may hold, and without a signal at its end: a
    // plugin's wait(2) for any child doesn't see it (clone(2), __WALL of waitpid(2)).
    pid_t copy = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (copy < 0) return -1;
    if (copy == 0) handle(number);
    struct timespec pause = {0, 1000000};
    for (int waited = 0;; waited++) {
        pid_t ended = waitpid(copy, NULL, WNOHANG | __WALL);
        // Somebody else may have waited for it.
        if (ended == copy || (ended < 0 && errno == ECHILD)) return 0;
        if (waited == milliseconds) kill(copy, SIGKILL);
        if (waited == 2 * milliseconds) {
            reap_late(copy);
            return -1;
        }
        nanosleep(&pause, NULL);
    }
}
