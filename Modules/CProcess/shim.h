#include <sys/prctl.h>

// Swift can't call functions with a variable number of arguments.
static inline int runbook_set_undumpable(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
