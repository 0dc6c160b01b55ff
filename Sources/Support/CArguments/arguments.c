#include "arguments.h"

#include <stddef.h>
#include <sys/auxv.h>

static int count;
static char *const *arguments;

// The C library gives constructors what it gives `main`.
__attribute__((constructor)) static void keep(int argc, char **argv) {
    count = argc;
    arguments = argv;
}

int rb_argument_count(void) { return count; }

char *const *rb_arguments(void) { return arguments; }

const char *rb_executed_file(void) { return (const char *)getauxval(AT_EXECFN); }
