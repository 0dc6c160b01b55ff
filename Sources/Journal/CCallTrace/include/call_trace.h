#ifndef RB_CALL_TRACE_H
#define RB_CALL_TRACE_H

#include <stdint.h>

// Says which plugin's code ended the process, in a file that is written at that moment. It is in C because a signal
// handler may run none of Swift's runtime.

/// Bytes of a text and its NUL; longer ones are cut.
#define RB_TRACE_TEXT_SIZE 132

enum { RB_CAUSE_NONE = 0, RB_CAUSE_SIGNAL = 1, RB_CAUSE_EXIT = 2 };

struct rb_trace;

/// How the process that wrote a trace ended. Texts end at their NUL; empty where there is none.
struct rb_trace_end {
    /// The process among those that wrote a trace.
    char session[40];
    /// `RB_CAUSE_NONE` where none of its threads ended it from inside of plugin code.
    uint32_t cause;
    /// The signal's number or the exit status; -1 for a status that isn't known.
    int32_t number;
    char run[RB_TRACE_TEXT_SIZE];
    char plugin[RB_TRACE_TEXT_SIZE];
    char hash[RB_TRACE_TEXT_SIZE];
};

/// Makes a file at a path, synced, that says that nobody has ended the process. NULL with errno where that fails. The
/// value stays for the life of the process: a thread may be inside of it.
struct rb_trace *_Nullable rb_trace_create(
    const char *_Nonnull path, const char *_Nonnull boot, const char *_Nonnull session);

/// Closes the file. What happens from now on is noted nowhere.
void rb_trace_close(struct rb_trace *_Nonnull trace);

/// Reads the file of an earlier process. 0 where there is none, or where it is no trace of this boot of the host.
int rb_trace_read(const char *_Nonnull path, const char *_Nonnull boot, struct rb_trace_end *_Nonnull end);

/// Puts handlers before those of the fatal signals that a faulting thread gets itself. Once a process.
void rb_trace_watch_signals(void);

/// The calling thread is about to run code of a plugin. Not to be nested.
void rb_trace_enter(
    struct rb_trace *_Nonnull trace, const char *_Nonnull run, const char *_Nonnull plugin,
    const char *_Nonnull hash);

/// The calling thread is back from it.
void rb_trace_leave(void);

#endif
