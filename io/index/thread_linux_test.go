package index

import "syscall"

func threadID() int { return syscall.Gettid() }
