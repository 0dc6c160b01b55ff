#ifndef RB_CALL_TRACE_H
#define RB_CALL_TRACE_H

#include <stdint.h>

// A file in memory that says which thread is inside which plugin's code, and how the process ended if one of these
// threads ended it. It is in C because a signal handler may run none of Swift's runtime.

/// Bytes of a run's id and its NUL.
#define RB_TRACE_RUN_SIZE 40
/// Entries for runs that have begun and whose end isn't in the journal yet.
#define RB_TRACE_RUNS 2048

enum { RB_CAUSE_NONE = 0, RB_CAUSE_SIGNAL = 1, RB_CAUSE_EXIT = 2 };

struct rb_trace;

/// How the process that wrote a trace ended, where one of its threads ended it from inside of plugin code.
struct rb_trace_end {
    uint32_t cause;
    /// The signal's number or the exit status; -1 for a status that isn't known.
    int32_t number;
    /// Texts that end at their NUL; empty where there is none.
    char session[40];
    char run[40];
    char plugin[132];
    char hash[132];
};

/// Makes a file of the trace's size at a path, all zero and with every block allocated, and maps it. NULL with errno
/// where that fails. The mapping stays for the life of the process.
struct rb_trace *_Nullable rb_trace_create(
    const char *_Nonnull path, const char *_Nonnull boot, const char *_Nonnull session);

/// Reads the file of an earlier process. 0 where there is none, where it is no trace of this boot of the host, or
/// where it doesn't say that plugin code ended the process.
int rb_trace_read(const char *_Nonnull path, const char *_Nonnull boot, struct rb_trace_end *_Nonnull end);

/// The ids of the runs that had begun, to be freed; NULL where nothing can be said of that: no trace, another boot of
/// the host, or more runs than there are entries.
char (*_Nullable rb_trace_begun(const char *_Nonnull path, const char *_Nonnull boot, int *_Nonnull count))
    [RB_TRACE_RUN_SIZE];

/// Writes into a free entry that a run begins now. An entry below 0 says that none was free.
void rb_trace_begin(struct rb_trace *_Nonnull trace, int entry, const char *_Nonnull run);

/// Puts handlers before those of the fatal signals that a faulting thread gets itself. Once a process.
void rb_trace_watch_signals(void);

/// The calling thread is about to run code of a plugin. Not to be nested. False where all slots are taken.
int rb_trace_enter(
    struct rb_trace *_Nonnull trace, const char *_Nonnull run, const char *_Nonnull plugin,
    const char *_Nonnull hash);

/// The calling thread is back from it.
void rb_trace_leave(void);

#endif
