"""One wrapper per system call, named as its man page; no policy, no logging, no paths of ours."""
