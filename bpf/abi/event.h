/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Records that the sensor writes into its rings, and what user space (crates/ebpf/src/abi.rs)
 * reads from them. Invariant: no implicit padding, every size stated and asserted on both sides,
 * byte order that of the machine. A change here is a change there, in the same commit.
 */
#ifndef VEDETTE_ABI_EVENT_H
#define VEDETTE_ABI_EVENT_H

enum event_kind {
	EVENT_EXEC = 1,
	EVENT_FORK = 2,
	EVENT_EXIT = 3,
	EVENT_CONNECTION = 4,
	EVENT_REDIRECT = 5,
	EVENT_PTY_OPEN = 6,
};

/* What is counted apart: what was seen, and what found no room in its ring. */
enum event_class {
	CLASS_EXEC = 0,
	CLASS_FORK = 1,
	CLASS_EXIT = 2,
	CLASS_CONNECT = 3,
	CLASS_ACCEPT = 4,
	CLASS_REDIRECT = 5,
	CLASS_PTY_OPEN = 6,
	CLASS_COUNT = 7,
};

/* What a system call's exit is looked at for; values of the table `interest`. */
enum interest_kind {
	INTEREST_NONE = 0,
	INTEREST_DUP = 1,
	INTEREST_FCNTL = 2,
	INTEREST_ACCEPT = 3,
	INTEREST_CONNECT = 4,
	INTEREST_OPEN = 5,
};

/* System calls per table; the first table is the native one, the second that of 32-bit programs. */
#define SYSCALLS_MAX 512

enum stream_kind {
	STREAM_OTHER = 0,
	STREAM_FILE = 1,
	STREAM_DEVICE = 2,
	STREAM_PTY = 3,
	STREAM_PIPE = 4,
	STREAM_NAMED_PIPE = 5,
	STREAM_INET_SOCKET = 6,
	STREAM_OTHER_SOCKET = 7,
};

enum direction {
	DIRECTION_UNKNOWN = 0,
	DIRECTION_OUTBOUND = 1,
	DIRECTION_INBOUND = 2,
};

#define EXEC_UPPER_LAYER 1
#define EXEC_UNLINKED 2
#define EXEC_ARGS_CUT 4

#define FILENAME_BYTES_MAX 256
#define ARGS_BYTES_MAX 2048

/* Who did it: the current task, seen from the host's namespaces. */
struct event_header {
	__u8 kind;
	__u8 reserved[3];
	__u32 tid;
	__u32 pid;
	__u32 parent_pid;
	__u32 uid;
	__u32 mount_ns;
	__u32 pid_ns;
	__u32 net_ns;
	__u64 time_ns;		/* since boot, suspension included */
	__u64 cgroup_id;	/* in the v2 hierarchy */
	__u64 memory_cgroup_id; /* in the v1 memory hierarchy, 0 where there is none */
	__u64 start_ns;		/* of the process, since boot */
	__u64 parent_start_ns;
	char comm[16];
};
_Static_assert(sizeof(struct event_header) == 88, "event_header");

/* What a file descriptor leads to. Addresses and ports only for inet sockets with a peer. */
struct stream {
	__u8 kind;
	__u8 protocol; /* IPPROTO_* */
	__u8 direction;
	__u8 family; /* AF_* */
	__u32 number; /* of a pty; device of a named pipe's file system */
	__u64 inode;
	__u8 local[16];
	__u8 peer[16];
	__u16 local_port;
	__u16 peer_port;
	__u32 reserved;
};
_Static_assert(sizeof(struct stream) == 56, "stream");

/* Followed by the file name's bytes, then the arguments', each argument ended by a zero byte. */
struct event_exec {
	struct event_header header;
	struct stream streams[3];
	__u64 executable_inode;
	__u32 flags;
	__u16 filename_bytes;
	__u16 args_bytes;
};
_Static_assert(sizeof(struct event_exec) == 272, "event_exec");

struct event_fork {
	struct event_header header;
	__u64 child_start_ns;
	__u32 child_pid;
	__u32 reserved;
};
_Static_assert(sizeof(struct event_fork) == 104, "event_fork");

struct event_exit {
	struct event_header header;
	__u32 status; /* as wait(2) gives it */
	__u32 reserved;
};
_Static_assert(sizeof(struct event_exit) == 96, "event_exit");

struct event_connection {
	struct event_header header;
	struct stream socket;
};
_Static_assert(sizeof(struct event_connection) == 144, "event_connection");

struct event_redirect {
	struct event_header header;
	struct stream target;
	__u32 fd;
	__u32 reserved;
};
_Static_assert(sizeof(struct event_redirect) == 152, "event_redirect");

struct event_pty_open {
	struct event_header header;
	__u32 number;
	__u32 reserved;
};
_Static_assert(sizeof(struct event_pty_open) == 96, "event_pty_open");

/* One entry of the counters, per CPU. */
struct class_count {
	__u64 seen;
	__u64 dropped;
};
_Static_assert(sizeof(struct class_count) == 16, "class_count");

#endif
