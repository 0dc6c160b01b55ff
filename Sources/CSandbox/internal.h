#pragma once

#include <stdint.h>
#include <sys/types.h>

struct rb_path;

/// A descriptor that only names the path (open(2), `O_PATH`), or -1.
int rb_open_path(const struct rb_path *rule);

void rb_notify(int supervision, int32_t kind, int32_t value);

/// Blocks the signals that the supervisor reads. Returns the descriptor it reads them from.
int rb_prepare_supervision(int owns_processes);
/// Gives the child its signals back.
void rb_leave_supervision(void);
_Noreturn void rb_supervise(int supervision, int signals, pid_t child, int owns_processes);
