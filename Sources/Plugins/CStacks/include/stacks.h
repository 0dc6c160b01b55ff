#ifndef RUNBOOK_STACKS_H
#define RUNBOOK_STACKS_H

// A pipe that programs don't inherit, whose ends never wait, and which takes the stacks of many threads. Returns 0, or an errno.
int rb_open_stack_pipe(int ends[2]);

// The signal's handler as it is now is for copies alone: in this process the signal does nothing from here on.
void rb_keep_stack_handler(void);

// Has a copy of this process (fork(2)) handle a signal on the calling thread and end, and waits for that. A fault of the
// handler ends the copy alone. Returns 0, or -1 where no copy could be made or it has not ended in time.
int rb_signal_copy(int signal, int milliseconds);

// The signal that has Python write where its threads are: one that nothing else uses.
int rb_stack_signal(void);

#endif
