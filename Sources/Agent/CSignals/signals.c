#define _GNU_SOURCE
#include "signals.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// A semaphore and not a pipe: plugin code may close descriptors that it doesn't know.
static sem_t arrivals;
// The process that installed the handler.
static pid_t owner;
// The signal that asked for the end; 0 while none has.
static int stop_signal;
static int has_hangup;
static int is_stop_reported;

// Runs on any thread, also on one that runs a plugin: it calls nothing but what is safe there (signal-safety(7)).
static void handle(int signal) {
    int saved = errno;
    if (getpid() != owner) {
        // A child that a plugin has forked, between fork(2) and execve(2) or for good: the agent isn't meant.
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigaction(signal, &action, NULL);
        raise(signal);
    } else if (signal == SIGHUP) {
        __atomic_store_n(&has_hangup, 1, __ATOMIC_RELEASE);
        sem_post(&arrivals);
    } else {
        int none = 0;
        // Not _exit(2), which would note that the plugin whose thread this is ended the process.
        if (!__atomic_compare_exchange_n(&stop_signal, &none, signal, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            syscall(SYS_exit_group, 128 + signal);
        sem_post(&arrivals);
    }
    errno = saved;
}

static const int handled[] = {SIGTERM, SIGINT, SIGHUP};
#define HANDLED (sizeof handled / sizeof handled[0])

static void fill(sigset_t *set) {
    sigemptyset(set);
    for (size_t index = 0; index < HANDLED; index++) sigaddset(set, handled[index]);
}

int rb_signals_install(void) {
    if (sem_init(&arrivals, 0, 0) != 0) return errno;
    owner = getpid();
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    fill(&action.sa_mask);
    for (size_t index = 0; index < HANDLED; index++) {
        if (sigaction(handled[index], &action, NULL) != 0) return errno;
    }
    return 0;
}

int rb_signals_wait(void) {
    // There is always one thread that they can be delivered to, whatever the others block.
    sigset_t set;
    fill(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    for (;;) {
        while (sem_wait(&arrivals) != 0) {}
        if (__atomic_exchange_n(&has_hangup, 0, __ATOMIC_ACQ_REL)) return SIGHUP;
        int signal = __atomic_load_n(&stop_signal, __ATOMIC_ACQUIRE);
        if (signal != 0 && !is_stop_reported) {
            is_stop_reported = 1;
            return signal;
        }
    }
}
