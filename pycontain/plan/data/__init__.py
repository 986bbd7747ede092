"""Facts that the plan looks up: system call numbers and Docker's default seccomp profile. Data only. [lean]"""
