#include <malloc.h>
#include <sys/prctl.h>

// Swift can't call functions with a variable number of arguments, and Glibc's module leaves malloc.h out.
static inline int runbook_set_undumpable(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
static inline void runbook_tune_allocator(int arenas, int kept) {
    mallopt(M_ARENA_MAX, arenas);
    mallopt(M_TRIM_THRESHOLD, kept);
    mallopt(M_MMAP_THRESHOLD, kept / 2);
}
