#pragma once

#include <stdint.h>
#include <sys/types.h>

struct rb_path;

/// A descriptor that only names the path (open(2), `O_PATH`), or -1.
int rb_open_path(const struct rb_path *rule);

/// A user namespace in which the process keeps its own user (user_namespaces(7)), or is `nobody` where its user has no
/// name: programs look their user up. `own_folder` is that of the process in /proc. Returns 0, or an errno.
int rb_enter_user_namespace(int own_folder);
/// Keeps what happens to the mounts of this namespace from the host. Returns 0, or an errno.
int rb_detach_mounts(void);
/// Returns 0, or an errno.
int rb_make_everything_read_only(void);
/// A filesystem in memory over a folder. Returns 0, or an errno.
int rb_mount_memory(const char *path, uint64_t size, uid_t user, gid_t group, unsigned long more_flags);

/// Puts a /proc of the process namespace that this process is in over the one that is there, to be read only, with nothing
/// in it but processes and some files that say how the machine is doing (proc(5)). Where the kernel refuses it the old one
/// stays. Returns 0, or an errno.
int rb_mount_own_proc(void);

void rb_notify(int supervision, int32_t kind, int32_t value);

/// Blocks the signals that the supervisor reads. Returns the descriptor it reads them from.
int rb_prepare_supervision(int owns_processes);
/// Gives the child its signals back.
void rb_leave_supervision(void);
_Noreturn void rb_supervise(int supervision, int signals, pid_t child, int owns_processes);
