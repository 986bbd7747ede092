"""Where x32 differs from x86_64: numbers of its own (without the x32 bit), calls that it lacks. [lean]

Written by tools/syscall_tables.py from the tables of the Linux kernel; do not edit.
"""

RUNS: tuple[tuple[int, str], ...] = (
    (
        512,
        (
            "rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace rt_sigpending "
            "rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid set_robust_list "
            "get_robust_list vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg "
            "process_vm_readv process_vm_writev setsockopt getsockopt io_setup io_submit execveat preadv2 "
            "pwritev2"
        ),
    ),
)
ABSENT = (
    "_sysctl create_module epoll_ctl_old epoll_wait_old get_kernel_syms get_thread_area nfsservctl "
    "query_module set_thread_area uselib vserver"
)
