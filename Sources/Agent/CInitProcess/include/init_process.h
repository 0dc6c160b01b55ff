#ifndef RB_INIT_PROCESS_H
#define RB_INIT_PROCESS_H

/// Where this process is the first of its pid namespace, as in a container: forks, stays behind as an init process and
/// lets the child go on as the agent. Everywhere else it does nothing.
///
/// The kernel gives every orphan to process 1, which has to wait for it (pid_namespaces(7)). The agent can't do that
/// itself: waiting for any child would take the exit statuses of the programs that its plugins started. The init
/// process passes signals on, waits for every child, and ends with the agent's exit status, or with 128 and the number
/// of the signal that ended the agent. With it the kernel ends whatever is left in the namespace.
///
/// To be called before there is a second thread. Returns in the agent only.
void rb_init_process_if_first(void);

#endif
