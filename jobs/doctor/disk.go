package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const disk = "disk"

// diskChecks looks at the folders that a run fills: the temporary one, where
// the database spills and indexes are built, and the cache.
func diskChecks(cache string) []Check {
	return []Check{
		folderCheck("temporary files", os.TempDir(), "free some space, or name a folder on a larger disk with TMPDIR"),
		folderCheck("cache", cache, "free some space, or name a folder on a larger disk with --cache or WINNOW_CACHE"),
	}
}

// cacheFolder is where copies of remote files go; see workspace.Open.
func cacheFolder(flag string) string {
	if flag != "" {
		return flag
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "winnow")
}

func folderCheck(name, dir, fix string) Check {
	at := existing(dir)
	if st, err := os.Stat(at); err == nil && !st.IsDir() {
		return fail(disk, name, fix, "%s is no folder", at)
	}
	if err := tryWrite(at); err != nil {
		return fail(disk, name, fix, "%s cannot be written: %v", dir, err)
	}
	free, err := freeSpace(at)
	if err != nil {
		return warn(disk, name, "", "%s: its free space is not known: %v", dir, err)
	}
	return judgeSpace(name, dir, free, fix)
}

func judgeSpace(name, dir string, free uint64, fix string) Check {
	switch what := fmt.Sprintf("%s, %s free", dir, size(free)); {
	case free < 256<<20:
		return fail(disk, name, fix, "%s", what)
	case free < 4<<30:
		return warn(disk, name, fix, "%s: large runs may need more", what)
	default:
		return ok(disk, name, "%s", what)
	}
}

// existing is dir, or the nearest folder above it that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return dir
		}
		dir = up
	}
}

// tryWrite makes and removes a file: permissions alone do not tell of read-only
// disks.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".winnow-doctor-")
	if err != nil {
		return err
	}
	_, err = f.WriteString("probe\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if rerr := os.Remove(f.Name()); err == nil {
		err = rerr
	}
	return err
}

// freeSpace is the number of bytes that this user may still write below dir.
func freeSpace(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
