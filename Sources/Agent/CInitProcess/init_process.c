#define _GNU_SOURCE
#include "init_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// What is neither passed on nor taken: faults of this process itself, and what stops a job of a terminal.
static const int own_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGTSTP, SIGTTIN, SIGTTOU};

// Waits for every child that has ended. Returns when there is none left that has.
static void reap(pid_t agent) {
    int status;
    pid_t ended;
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
        if (ended != agent) continue;
        if (WIFSIGNALED(status)) _exit(128 + WTERMSIG(status));
        _exit(WEXITSTATUS(status));
    }
    // Without a child there is nothing to stay for.
    if (ended < 0 && errno == ECHILD) _exit(1);
}

static _Noreturn void be_init(pid_t agent, const sigset_t *signals) {
    prctl(PR_SET_NAME, "runbook-init");
    for (;;) {
        siginfo_t info;
        int signal = sigwaitinfo(signals, &info);
        if (signal < 0) continue; // EINTR: stopped and continued
        if (signal == SIGCHLD) {
            reap(agent);
        } else if (info.si_code != SI_KERNEL) {
            // Ctrl-C at a terminal comes from the kernel, and has gone to the agent too: both are of one process group.
            kill(agent, signal);
        }
    }
}

void rb_init_process_if_first(void) {
    if (getpid() != 1) return;
    sigset_t signals, before;
    sigfillset(&signals);
    for (size_t i = 0; i < sizeof own_signals / sizeof *own_signals; i++) sigdelset(&signals, own_signals[i]);
    // Blocked, or the kernel drops what process 1 has no handler for.
    sigprocmask(SIG_BLOCK, &signals, &before);
    // Ignored, its children would be gone before they can be waited for.
    signal(SIGCHLD, SIG_DFL);
    pid_t child = fork();
    if (child < 0) {
        // The agent works without, and leaves zombies.
        fprintf(stderr, "warning: no init process could be made: %s\n", strerror(errno));
        sigprocmask(SIG_SETMASK, &before, NULL);
        return;
    }
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        return;
    }
    be_init(child, &signals);
}
