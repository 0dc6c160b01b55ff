#define _GNU_SOURCE
#include "stacks.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int rb_stack_signal(void) { return SIGRTMAX - 3; }

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
    raise(number);
    for (;;) syscall(SYS_exit_group, 0);
}

int rb_signal_copy(int number, int milliseconds) {
    // Without what others do at a fork(2), such as taking locks that a thread may hold.
    pid_t copy = _Fork();
    if (copy < 0) return -1;
    if (copy == 0) handle(number);
    struct timespec pause = {0, 1000000};
    for (int waited = 0;; waited++) {
        int status = 0;
        pid_t ended = waitpid(copy, &status, WNOHANG);
        // Somebody else may have waited for it.
        if (ended == copy || (ended < 0 && errno == ECHILD)) return 0;
        if (waited == milliseconds) kill(copy, SIGKILL);
        // What has been killed is left to the kernel where even that takes long.
        if (waited == 2 * milliseconds) return -1;
        nanosleep(&pause, NULL);
    }
}
