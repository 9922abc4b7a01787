// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The sensor: programs started, ended and forked, connections, standard streams made to lead to
 * sockets, pseudo-terminals opened. It only tells what happened; judging is user space's work.
 *
 * Two rings, so that a flood of one class cannot push out the other: `critical` (exec, redirect,
 * outbound connection, pty) wakes the reader, `bulk` (fork, exit, accepted connections) is
 * fetched when the reader comes by. Every class counts what was seen and what found no room.
 *
 * System calls are looked at on exit only: their arguments still stand in the saved registers,
 * and an exit hook alone costs each unrelated call half of what enter and exit together cost.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>
#include "../abi/event.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFCHR 0020000
#define S_IFIFO 0010000

#define MAJOR(device) ((device) >> 20)
#define DEVICE(major, minor) (((major) << 20) | (minor))
#define TTY_AUX_MAJOR 5
#define PTY_SLAVE_MAJOR 136
#define PTMX DEVICE(TTY_AUX_MAJOR, 2)

#define OVERLAYFS_MAGIC 0x794c7630
#define PIPEFS_MAGIC 0x50495045
#define SIGNAL_GROUP_EXIT 4
#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} critical SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} bulk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CLASS_COUNT);
	__type(key, __u32);
	__type(value, struct class_count);
} counts SEC(".maps");

/* An exec record is built here, because it is too large for the stack and of varying length. The
 * kernel does not run one program twice at a time on one CPU, so nothing else writes to it. */
struct exec_scratch {
	struct event_exec exec;
	char text[FILENAME_BYTES_MAX + ARGS_BYTES_MAX];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_scratch);
} scratch SEC(".maps");

/* Who called connect, from the first packet until the answer: the answer comes in by interrupt,
 * when some other task is the current one. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct event_header);
} connecting SEC(".maps");

/* Who began each TCP connection, by the address of its socket. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, __u8);
} directions SEC(".maps");

/* Set by the loader. */
const volatile __u8 interest[2 * SYSCALLS_MAX] = {};
const volatile __u64 self_pid_ns_device = 0;
const volatile __u64 self_pid_ns_inode = 0;
const volatile __u32 self_pid = 0;

static __always_inline void count_seen(__u32 class)
{
	struct class_count *count = bpf_map_lookup_elem(&counts, &class);
	if (count)
		count->seen++;
}

static __always_inline void count_dropped(__u32 class)
{
	struct class_count *count = bpf_map_lookup_elem(&counts, &class);
	if (count)
		count->dropped++;
}

/* Whether the current task belongs to the reader: asked in the reader's own pid namespace, as it
 * may not know its number in the host's. */
static __always_inline bool is_self(void)
{
	struct bpf_pidns_info id = {};
	if (!self_pid)
		return false;
	if (bpf_get_ns_current_pid_tgid(self_pid_ns_device, self_pid_ns_inode, &id, sizeof(id)))
		return false;
	return id.tgid == self_pid;
}

static __always_inline __u64 memory_cgroup_id(struct task_struct *task)
{
	__u32 index = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *state = 0;
	struct cgroup *cgroup;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return 0;
	bpf_probe_read_kernel(&state, sizeof(state),
			      (char *)set + bpf_core_field_offset(struct css_set, subsys) +
				      index * sizeof(void *));
	cgroup = BPF_CORE_READ(state, cgroup);
	/* Hierarchy 0 is the v2 one, whose id stands in cgroup_id. */
	if (!cgroup || BPF_CORE_READ(cgroup, root, hierarchy_id) == 0)
		return 0;
	return BPF_CORE_READ(cgroup, kn, id);
}

static __noinline void fill_header(struct event_header *header, __u8 kind)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct task_struct *parent = BPF_CORE_READ(task, real_parent, group_leader);
	struct nsproxy *ns = BPF_CORE_READ(task, nsproxy);
	__u64 id = bpf_get_current_pid_tgid();

	header->kind = kind;
	__builtin_memset(header->reserved, 0, sizeof(header->reserved));
	header->tid = (__u32)id;
	header->pid = id >> 32;
	header->parent_pid = BPF_CORE_READ(parent, tgid);
	header->uid = (__u32)bpf_get_current_uid_gid();
	header->mount_ns = BPF_CORE_READ(ns, mnt_ns, ns.inum);
	header->pid_ns = BPF_CORE_READ(ns, pid_ns_for_children, ns.inum);
	header->net_ns = BPF_CORE_READ(ns, net_ns, ns.inum);
	header->time_ns = bpf_ktime_get_boot_ns();
	header->cgroup_id = bpf_get_current_cgroup_id();
	header->memory_cgroup_id = memory_cgroup_id(task);
	header->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	header->parent_start_ns = BPF_CORE_READ(parent, start_boottime);
	bpf_get_current_comm(header->comm, sizeof(header->comm));
}

static __always_inline struct file *file_of(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file *file = 0;

	if (!table || fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), BPF_CORE_READ(table, fd) + fd);
	return file;
}

/* Addresses, ports, protocol and direction of an inet socket. False when it has no peer. */
static __noinline bool fill_inet(struct stream *to, const struct sock *sk)
{
	__u64 key = (__u64)sk;
	__u8 *direction;

	to->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	to->protocol = BPF_CORE_READ(sk, sk_protocol);
	to->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	to->peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (to->family == AF_INET) {
		__be32 local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		__be32 peer = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		__builtin_memcpy(to->local, &local, sizeof(local));
		__builtin_memcpy(to->peer, &peer, sizeof(peer));
	} else if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		BPF_CORE_READ_INTO(&to->local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&to->peer, sk, __sk_common.skc_v6_daddr);
	}
	if (to->protocol == IPPROTO_UDP) {
		/* A datagram socket has a peer only because connect was called on it. */
		to->direction = DIRECTION_OUTBOUND;
	} else {
		direction = bpf_map_lookup_elem(&directions, &key);
		to->direction = direction ? *direction : DIRECTION_UNKNOWN;
	}
	return to->peer_port != 0;
}

/* Both ends of a connected pair get the same number, as both ends of a pipe have. */
static __always_inline __u64 unix_pair_inode(struct sock *sk, __u64 own)
{
	struct sock *peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
	struct socket *socket = BPF_CORE_READ(peer, sk_socket);
	__u64 other;

	if (!peer || !socket)
		return own;
	other = BPF_CORE_READ((struct socket_alloc *)socket, vfs_inode.i_ino);
	return other && other < own ? other : own;
}

static __noinline void fill_stream(struct stream *to, struct task_struct *task, __u32 fd)
{
	struct file *file = file_of(task, fd);
	struct inode *inode;
	__u32 mode, device;

	__builtin_memset(to, 0, sizeof(*to));
	if (!file)
		return;
	inode = BPF_CORE_READ(file, f_inode);
	mode = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	to->inode = BPF_CORE_READ(inode, i_ino);
	if (mode == S_IFREG) {
		to->kind = STREAM_FILE;
	} else if (mode == S_IFCHR) {
		device = BPF_CORE_READ(inode, i_rdev);
		to->kind = STREAM_DEVICE;
		/* /dev/tty stands for the controlling terminal, so ask the terminal, not the node. */
		if (MAJOR(device) == PTY_SLAVE_MAJOR || MAJOR(device) == TTY_AUX_MAJOR) {
			struct tty_file_private *private = BPF_CORE_READ(file, private_data);
			struct tty_struct *tty = BPF_CORE_READ(private, tty);
			if (BPF_CORE_READ(tty, driver, major) == PTY_SLAVE_MAJOR) {
				to->kind = STREAM_PTY;
				to->number = BPF_CORE_READ(tty, index);
			} else {
				to->kind = STREAM_OTHER;
			}
		}
	} else if (mode == S_IFIFO) {
		to->kind = STREAM_PIPE;
		if (BPF_CORE_READ(inode, i_sb, s_magic) != PIPEFS_MAGIC) {
			to->kind = STREAM_NAMED_PIPE;
			to->number = BPF_CORE_READ(inode, i_sb, s_dev);
		}
	} else if (mode == S_IFSOCK) {
		struct socket *socket = BPF_CORE_READ(file, private_data);
		struct sock *sk = BPF_CORE_READ(socket, sk);
		__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

		to->kind = STREAM_OTHER_SOCKET;
		if (family == AF_INET || family == AF_INET6) {
			if (fill_inet(to, sk))
				to->kind = STREAM_INET_SOCKET;
		} else if (family == AF_UNIX) {
			to->inode = unix_pair_inode(sk, to->inode);
		}
	}
}

/* The upper dentry stands right behind the inode in overlayfs' own structure (since Linux 4.13);
 * a file that has one was written inside the container, or copied up by writing to it. */
static __always_inline bool is_in_upper_layer(struct inode *inode)
{
	struct dentry *upper = 0;

	if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_MAGIC)
		return false;
	bpf_probe_read_kernel(&upper, sizeof(upper), (char *)inode + bpf_core_type_size(struct inode));
	return upper && BPF_CORE_READ(upper, d_inode);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *unused, int old_pid, struct linux_binprm *bprm)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct exec_scratch *record;
	struct inode *inode;
	unsigned long start, end;
	__u64 wanted;
	__u32 zero = 0;
	long filename_bytes, args_bytes = 0;

	count_seen(CLASS_EXEC);
	record = bpf_map_lookup_elem(&scratch, &zero);
	if (!record)
		return 0;
	fill_header(&record->exec.header, EVENT_EXEC);
	fill_stream(&record->exec.streams[0], task, 0);
	fill_stream(&record->exec.streams[1], task, 1);
	fill_stream(&record->exec.streams[2], task, 2);
	inode = BPF_CORE_READ(bprm, file, f_inode);
	record->exec.executable_inode = BPF_CORE_READ(inode, i_ino);
	record->exec.flags = 0;
	if (is_in_upper_layer(inode))
		record->exec.flags |= EXEC_UPPER_LAYER;
	if (BPF_CORE_READ(inode, i_nlink) == 0)
		record->exec.flags |= EXEC_UNLINKED;

	filename_bytes = bpf_probe_read_kernel_str(record->text, FILENAME_BYTES_MAX,
						   BPF_CORE_READ(bprm, filename));
	if (filename_bytes < 0 || filename_bytes > FILENAME_BYTES_MAX)
		filename_bytes = 0;

	start = BPF_CORE_READ(task, mm, arg_start);
	end = BPF_CORE_READ(task, mm, arg_end);
	wanted = end - start;
	if (wanted >= ARGS_BYTES_MAX) {
		wanted = ARGS_BYTES_MAX - 1;
		record->exec.flags |= EXEC_ARGS_CUT;
	}
	/* The verifier must see the bound on the very register that is used. */
	asm volatile("%0 &= %1" : "+r"(wanted) : "i"(ARGS_BYTES_MAX - 1));
	if (bpf_probe_read_user(record->text + filename_bytes, wanted, (void *)start) == 0)
		args_bytes = wanted;
	else
		record->exec.flags |= EXEC_ARGS_CUT;
	record->exec.filename_bytes = filename_bytes;
	record->exec.args_bytes = args_bytes;

	wanted = sizeof(record->exec) + filename_bytes + args_bytes;
	if (wanted > sizeof(*record))
		return 0;
	if (bpf_ringbuf_output(&critical, record, wanted, 0))
		count_dropped(CLASS_EXEC);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct event_fork *event;
	__u32 pid = BPF_CORE_READ(child, tgid);

	/* A new thread is not a new process. */
	if (BPF_CORE_READ(child, pid) != pid)
		return 0;
	count_seen(CLASS_FORK);
	event = bpf_ringbuf_reserve(&bulk, sizeof(*event), 0);
	if (!event) {
		count_dropped(CLASS_FORK);
		return 0;
	}
	fill_header(&event->header, EVENT_FORK);
	event->child_start_ns = BPF_CORE_READ(child, start_boottime);
	event->child_pid = pid;
	event->reserved = 0;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *unused)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct event_exit *event;

	/* The process is over when its last thread is, whichever that is. */
	if (BPF_CORE_READ(signal, live.counter) > 0)
		return 0;
	count_seen(CLASS_EXIT);
	event = bpf_ringbuf_reserve(&bulk, sizeof(*event), 0);
	if (!event) {
		count_dropped(CLASS_EXIT);
		return 0;
	}
	fill_header(&event->header, EVENT_EXIT);
	event->status = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT ?
				BPF_CORE_READ(signal, group_exit_code) :
				BPF_CORE_READ(task, exit_code);
	event->reserved = 0;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

/* An outbound connection is told once it stands, in the name of the process that asked for it,
 * whichever system call or ring (io_uring) it asked by. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_socket_state, const struct sock *sk, int old_state, int new_state)
{
	__u64 key = (__u64)sk;
	struct event_connection *event;
	struct event_header *asked_by;
	__u8 direction;

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	if (new_state == TCP_SYN_SENT) {
		struct event_header header;
		direction = DIRECTION_OUTBOUND;
		bpf_map_update_elem(&directions, &key, &direction, BPF_ANY);
		if (is_self())
			return 0;
		fill_header(&header, EVENT_CONNECTION);
		bpf_map_update_elem(&connecting, &key, &header, BPF_ANY);
	} else if (new_state == TCP_ESTABLISHED) {
		asked_by = bpf_map_lookup_elem(&connecting, &key);
		if (!asked_by) {
			if (old_state == TCP_SYN_RECV) {
				direction = DIRECTION_INBOUND;
				bpf_map_update_elem(&directions, &key, &direction, BPF_ANY);
			}
			return 0;
		}
		count_seen(CLASS_CONNECT);
		event = bpf_ringbuf_reserve(&critical, sizeof(*event), 0);
		if (!event) {
			count_dropped(CLASS_CONNECT);
		} else {
			event->header = *asked_by;
			event->header.time_ns = bpf_ktime_get_boot_ns();
			__builtin_memset(&event->socket, 0, sizeof(event->socket));
			fill_inet(&event->socket, sk);
			event->socket.kind = STREAM_INET_SOCKET;
			bpf_ringbuf_submit(event, 0);
		}
		bpf_map_delete_elem(&connecting, &key);
	} else if (new_state == TCP_CLOSE) {
		bpf_map_delete_elem(&connecting, &key);
		bpf_map_delete_elem(&directions, &key);
	}
	return 0;
}

/* dup and its kin put a socket on a standard stream. */
static __always_inline void on_descriptor_copied(struct task_struct *task, long fd)
{
	struct event_redirect *event;
	struct stream target;

	if (fd < 0 || fd > 2)
		return;
	fill_stream(&target, task, fd);
	if (target.kind != STREAM_INET_SOCKET || is_self())
		return;
	count_seen(CLASS_REDIRECT);
	event = bpf_ringbuf_reserve(&critical, sizeof(*event), 0);
	if (!event) {
		count_dropped(CLASS_REDIRECT);
		return;
	}
	fill_header(&event->header, EVENT_REDIRECT);
	event->target = target;
	event->fd = fd;
	event->reserved = 0;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void on_accepted(struct task_struct *task, long fd)
{
	struct event_connection *event;
	struct stream socket;

	if (fd < 0)
		return;
	fill_stream(&socket, task, fd);
	if (socket.kind != STREAM_INET_SOCKET || is_self())
		return;
	count_seen(CLASS_ACCEPT);
	event = bpf_ringbuf_reserve(&bulk, sizeof(*event), 0);
	if (!event) {
		count_dropped(CLASS_ACCEPT);
		return;
	}
	fill_header(&event->header, EVENT_CONNECTION);
	event->socket = socket;
	event->socket.direction = DIRECTION_INBOUND;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

/* TCP tells by its change of state; what is left here is a datagram socket's connect. */
static __always_inline void on_connected(struct task_struct *task, long result, __u32 fd)
{
	struct event_connection *event;
	struct stream socket;

	if (result != 0)
		return;
	fill_stream(&socket, task, fd);
	if (socket.kind != STREAM_INET_SOCKET || socket.protocol != IPPROTO_UDP || is_self())
		return;
	count_seen(CLASS_CONNECT);
	event = bpf_ringbuf_reserve(&bulk, sizeof(*event), 0);
	if (!event) {
		count_dropped(CLASS_CONNECT);
		return;
	}
	fill_header(&event->header, EVENT_CONNECTION);
	event->socket = socket;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

static __always_inline void on_opened(struct task_struct *task, long fd)
{
	struct event_pty_open *event;
	struct tty_file_private *private;
	struct file *file;

	if (fd < 0)
		return;
	file = file_of(task, fd);
	if (!file || BPF_CORE_READ(file, f_inode, i_rdev) != PTMX ||
	    (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFCHR)
		return;
	count_seen(CLASS_PTY_OPEN);
	event = bpf_ringbuf_reserve(&critical, sizeof(*event), 0);
	if (!event) {
		count_dropped(CLASS_PTY_OPEN);
		return;
	}
	private = BPF_CORE_READ(file, private_data);
	fill_header(&event->header, EVENT_PTY_OPEN);
	event->number = BPF_CORE_READ(private, tty, index);
	event->reserved = 0;
	bpf_ringbuf_submit(event, 0);
}

/* What the registers tell of the system call that ends. A 32-bit program has other numbers. */
#if defined(__TARGET_ARCH_x86)
#define TS_COMPAT 2
#define CALL_NUMBER(regs) ((regs)->orig_ax)
static __always_inline bool is_compat(struct task_struct *task)
{
	return BPF_CORE_READ(task, thread_info.status) & TS_COMPAT;
}
static __always_inline __u64 first_argument(struct pt_regs *regs, bool compat)
{
	return compat ? regs->bx : regs->di;
}
static __always_inline __u64 second_argument(struct pt_regs *regs, bool compat)
{
	return compat ? regs->cx : regs->si;
}
#elif defined(__TARGET_ARCH_arm64)
#define TIF_32BIT (1ul << 22)
#define CALL_NUMBER(regs) ((__u32)(regs)->syscallno)
static __always_inline bool is_compat(struct task_struct *task)
{
	return (BPF_CORE_READ(task, thread_info.flags) & TIF_32BIT) != 0;
}
static __always_inline __u64 first_argument(struct pt_regs *regs, bool compat)
{
	return regs->orig_x0;
}
static __always_inline __u64 second_argument(struct pt_regs *regs, bool compat)
{
	return regs->regs[1];
}
#endif

SEC("tp_btf/sys_exit")
int BPF_PROG(on_syscall_exit, struct pt_regs *regs, long result)
{
	__u64 number = CALL_NUMBER(regs);
	struct task_struct *task;
	__u64 command;
	bool compat;

	/* Runs for every system call of the machine: leave before anything costs. */
	if (number >= SYSCALLS_MAX || !(interest[number] | interest[SYSCALLS_MAX + number]))
		return 0;
	task = (struct task_struct *)bpf_get_current_task();
	compat = is_compat(task);
	if (compat)
		number += SYSCALLS_MAX;
	switch (interest[number & (2 * SYSCALLS_MAX - 1)]) {
	case INTEREST_FCNTL:
		command = second_argument(regs, compat);
		if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
			on_descriptor_copied(task, result);
		break;
	case INTEREST_DUP:
		on_descriptor_copied(task, result);
		break;
	case INTEREST_ACCEPT:
		on_accepted(task, result);
		break;
	case INTEREST_CONNECT:
		on_connected(task, result, first_argument(regs, compat));
		break;
	case INTEREST_OPEN:
		on_opened(task, result);
		break;
	}
	return 0;
}
