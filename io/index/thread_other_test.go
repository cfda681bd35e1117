//go:build !linux

package index

func threadID() int { return 0 }
