#include "descriptors.h"

#include <linux/magic.h>
#include <pthread.h>
#include <sys/vfs.h>
#include <unistd.h>

#define RB_DESCRIPTORS 64

// The descriptor and one; 0 where the place is free.
static int descriptors[RB_DESCRIPTORS];
static pthread_once_t registering = PTHREAD_ONCE_INIT;

// In the child of a process with many threads only what a signal handler may do is allowed: close(2) is.
static void close_all(void) {
    for (int index = 0; index < RB_DESCRIPTORS; index++) {
        int descriptor = __atomic_exchange_n(&descriptors[index], 0, __ATOMIC_ACQ_REL);
        if (descriptor > 0) close(descriptor - 1);
    }
}

static void register_handler(void) { pthread_atfork(NULL, NULL, close_all); }

void rb_close_in_children(int descriptor) {
    pthread_once(&registering, register_handler);
    for (int index = 0; index < RB_DESCRIPTORS; index++) {
        int free = 0;
        if (__atomic_compare_exchange_n(
                &descriptors[index], &free, descriptor + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            return;
        }
    }
}

void rb_keep_in_children(int descriptor) {
    for (int index = 0; index < RB_DESCRIPTORS; index++) {
        int taken = descriptor + 1;
        if (__atomic_compare_exchange_n(&descriptors[index], &taken, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            return;
        }
    }
}

int rb_is_in_memory(int descriptor) {
    struct statfs status;
    return fstatfs(descriptor, &status) == 0 && status.f_type == TMPFS_MAGIC;
}
