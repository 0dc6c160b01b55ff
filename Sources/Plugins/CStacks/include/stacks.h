#ifndef RUNBOOK_STACKS_H
#define RUNBOOK_STACKS_H

// Has a copy of this process (fork(2)) handle a signal on the calling thread and end, and waits for that. A fault of the
// handler ends the copy alone. Returns 0, or -1 where no copy could be made or it has not ended in time.
int rb_signal_copy(int signal, int milliseconds);

// The signal that has Python write where its threads are: one that nothing else uses.
int rb_stack_signal(void);

#endif
