#ifndef RUNBOOK_ARGUMENTS_H
#define RUNBOOK_ARGUMENTS_H

// The arguments of this process, as `main` was given them. Swift's `CommandLine` reads /proc/self/cmdline, which a process
// in the sandbox doesn't have.
int rb_argument_count(void);
char *const *rb_arguments(void);

// The file that was executed, as it was named (AT_EXECFN, getauxval(3)); NULL if unknown.
const char *rb_executed_file(void);

#endif
