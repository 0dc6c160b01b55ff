#ifndef RUNBOOK_PROGRAMS_H
#define RUNBOOK_PROGRAMS_H

#include <stddef.h>
#include <sys/types.h>

// The environment variable that names the run which started a program.
#define RB_PROGRAM_MARK "RUNBOOK_RUN_ID"

// A pipe that programs don't inherit by themselves. Returns 0, or an errno.
int rb_open_pipe(int ends[2]);

// Which processes are meant.
struct rb_programs {
    // What the variable must be, or end with where `is_suffix` is set.
    const char *mark;
    int is_suffix;
    // 0, or the process that they must descend from.
    pid_t ancestor;
    // A process that isn't meant although it descends from that one, such as the interpreter; 0 for none.
    pid_t spared;
    // Whether descendants of `ancestor` are meant as well that don't have the variable.
    int takes_unmarked;
};

// Ends them and what descends from them: SIGTERM, and SIGKILL when `grace` milliseconds have passed, over and over until
// none is left or `limit` milliseconds have passed. Returns how many are left.
size_t rb_end_programs(const struct rb_programs *programs, int grace, int limit);

// Fills in the marks of all processes whose mark begins with `prefix`, each ended by a line end, and cut to whole lines
// where there are more than fit. Zombies don't count. Returns the length.
size_t rb_list_program_marks(const char *prefix, char *buffer, size_t size);

#endif
