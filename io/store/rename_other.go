//go:build !linux

package store

import "errors"

func renameNew(temp, target string) error {
	return errors.New("this file system has no link(2), so writers cannot exclude one another; put the workspace on another one or in a bucket")
}
