package store

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// renameNew renames temp to target unless target exists, without hard links.
func renameNew(temp, target string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, target, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return errExists
	}
	return fmt.Errorf("this file system can neither link(2) nor rename without replacing (%w); put the workspace on another one or in a bucket", err)
}
