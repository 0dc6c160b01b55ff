#ifndef RB_DESCRIPTORS_H
#define RB_DESCRIPTORS_H

/// Closes a descriptor in every child that is forked from now on (pthread_atfork(3)). Close-on-exec isn't enough for a
/// child that runs no other program. At most 64 descriptors at a time; those beyond are inherited.
void rb_close_in_children(int descriptor);

/// Forgets a descriptor, before it is closed.
void rb_keep_in_children(int descriptor);

/// Whether a file is in the host's memory (tmpfs), by statfs(2), which Swift doesn't import.
int rb_is_in_memory(int descriptor);

#endif
