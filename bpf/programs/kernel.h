/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * The parts of the kernel's structures that the programs read. Only names and types matter: the
 * loader finds the offsets in the running kernel's BTF (CO-RE), so no vmlinux.h is needed.
 */
#ifndef VEDETTE_KERNEL_H
#define VEDETTE_KERNEL_H

/* libbpf's headers ask for the kernel's integer types and nothing else. */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
enum { false, true };

enum {
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0 };
enum { BPF_RB_NO_WAKEUP = 1 };

struct bpf_pidns_info {
	__u32 pid;
	__u32 tgid;
};

#define RELOCATED __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} RELOCATED;
struct mnt_namespace {
	struct ns_common ns;
} RELOCATED;
struct net {
	struct ns_common ns;
} RELOCATED;
struct pid_namespace {
	struct ns_common ns;
} RELOCATED;
struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
} RELOCATED;

struct super_block {
	unsigned int s_dev;
	unsigned long s_magic;
} RELOCATED;
struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	unsigned int i_rdev;
} RELOCATED;
struct dentry {
	struct inode *d_inode;
} RELOCATED;
struct file {
	struct inode *f_inode;
	void *private_data;
} RELOCATED;
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
} RELOCATED;
struct files_struct {
	struct fdtable *fdt;
} RELOCATED;

struct tty_driver {
	int major;
} RELOCATED;
struct tty_struct {
	int index;
	struct tty_driver *driver;
} RELOCATED;
struct tty_file_private {
	struct tty_struct *tty;
} RELOCATED;

struct kernfs_node {
	__u64 id;
} RELOCATED;
struct cgroup_root {
	int hierarchy_id;
} RELOCATED;
struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
} RELOCATED;
struct cgroup_subsys_state {
	struct cgroup *cgroup;
} RELOCATED;
struct css_set {
	struct cgroup_subsys_state *subsys[16];
} RELOCATED;
/* The value is relocated by name; the one here is a placeholder. */
enum cgroup_subsys_id {
	memory_cgrp_id = 4,
};

typedef struct {
	int counter;
} atomic_t;
struct signal_struct {
	atomic_t live;
	unsigned int flags;
	int group_exit_code;
} RELOCATED;
struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
} RELOCATED;
struct thread_info {
	unsigned long flags;
	__u32 status;
} RELOCATED;
struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct nsproxy *nsproxy;
	struct files_struct *files;
	struct css_set *cgroups;
	struct signal_struct *signal;
	struct mm_struct *mm;
	__u64 start_boottime;
	int exit_code;
} RELOCATED;
struct linux_binprm {
	struct file *file;
	const char *filename;
} RELOCATED;

struct in6_addr {
	__u8 bytes[16];
};
struct sock_common {
	unsigned short skc_family;
	volatile unsigned char skc_state;
	__u16 skc_num;
	__be16 skc_dport;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} RELOCATED;
struct socket;
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	struct socket *sk_socket;
} RELOCATED;
struct socket {
	short type;
	struct sock *sk;
} RELOCATED;
struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
} RELOCATED;
struct unix_sock {
	struct sock *peer;
} RELOCATED;

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di, si, cx, bx, orig_ax;
} RELOCATED;
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	unsigned long long regs[31];
	unsigned long long orig_x0;
	int syscallno;
} RELOCATED;
#else
#error "no register layout for this architecture"
#endif

#endif
