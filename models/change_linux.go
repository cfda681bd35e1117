package models

import (
	"io/fs"
	"syscall"
)

// changeOf is when a file was last changed in any way, which cannot be dated back,
// and which file it is.
func changeOf(info fs.FileInfo) (nanoseconds int64, inode uint64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ctim.Nano(), st.Ino
	}
	return 0, 0
}
