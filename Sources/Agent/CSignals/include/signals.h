#ifndef CSIGNALS_H
#define CSIGNALS_H

#include <signal.h>
#include <stdbool.h>

/// Takes over SIGTERM, SIGINT and SIGHUP. A second SIGTERM or SIGINT ends the process at once, with the status 128 and
/// the signal's number, whatever its threads do. Once.
///
/// Returns 0 or an errno.
int rb_signals_install(void);

/// Waits for a signal and returns its number: the first SIGTERM or SIGINT once, SIGHUP whenever it has come since the
/// last time. Several SIGHUP that come before they are waited for are one.
int rb_signals_wait(void);

static inline bool rb_is_ignored(const struct sigaction *action) { return action->sa_handler == SIG_IGN; }

#endif
