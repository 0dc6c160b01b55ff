#define _GNU_SOURCE
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/// What stays of the files beside those of processes. Everything else is the machine's: its memory, keys, addresses of the
/// kernel, settings, and what later kernels add.
static const char *const kept[] = {
    "self", "thread-self", "mounts", "net", "cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "uptime", "version",
    "vmstat", ".", "..",
};

static int is_kept(const char *name) {
    if (name[0] >= '0' && name[0] <= '9') return 1;
    for (size_t index = 0; index < sizeof kept / sizeof kept[0]; index++)
        if (strcmp(name, kept[index]) == 0) return 1;
    return 0;
}

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

/// Covers one entry: a folder with an empty one, which the first is made for, and anything else with /dev/null.
static int cover(const char *name, int is_folder, char *empty, size_t size) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%s", name);
    if (!is_folder) return mount("/dev/null", path, NULL, MS_BIND, NULL) == 0 ? 0 : errno;
    if (empty[0] != 0) return mount(empty, path, NULL, MS_BIND, NULL) == 0 ? 0 : errno;
    snprintf(empty, size, "%s", path);
    return rb_mount_memory(path, 4096, geteuid(), getegid(), MS_RDONLY);
}

/// Reads the folder by system calls: a child of a process that has threads may not do more (fork(2)).
static int cover_entries(int folder) {
    _Alignas(struct entry) char buffer[4096];
    char empty[300] = "";
    for (;;) {
        long length = syscall(SYS_getdents64, folder, buffer, sizeof buffer);
        if (length <= 0) return length < 0 ? errno : 0;
        for (long place = 0; place < length;) {
            const struct entry *entry = (const struct entry *)(buffer + place);
            place += entry->length;
            if (is_kept(entry->name)) continue;
            int error = cover(entry->name, entry->type == DT_DIR, empty, sizeof empty);
            if (error != 0) return error;
        }
    }
}

int rb_mount_own_proc(void) {
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) != 0) return errno;
    int folder = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = folder < 0 ? errno : cover_entries(folder);
    if (folder >= 0) close(folder);
    if (error != 0) umount2("/proc", MNT_DETACH);
    return error;
}
