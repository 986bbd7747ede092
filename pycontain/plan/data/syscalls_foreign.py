"""Names of system calls that only other architectures have: skipped in a profile without a warning. [lean]

Written by tools/syscall_tables.py from the tables of the Linux kernel; do not edit.
"""

NAMES = (
    "arc_gettls arc_settls arc_usr_cmpxchg atomic_barrier atomic_cmpxchg_32 cachectl getpagesize llseek "
    "multiplexer or1k_atomic riscv_flush_icache riscv_hwprobe rtas s390_guarded_storage "
    "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr s390_sthyi spu_create spu_run subpage_prot "
    "swapcontext switch_endian sync_file_range2 sys_debug_setcontext syscall sysmips timerfd utimesat"
)
