// Package s3test runs a real S3 service for tests: versitygw over a temporary
// directory.
package s3test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const (
	bucket = "winnow-test"
	access = "winnowtest"
	secret = "winnowtestsecret"
)

// StartS3 starts an S3 service that lives as long as t and returns the URL of
// an empty bucket in it, with the parameters that reach it. It puts the
// credentials into the environment. Without the versitygw binary, which `make
// setup` installs, it skips t.
func StartS3(t testing.TB) string {
	t.Helper()
	u, _ := Start(t)
	return u
}

// Start is StartS3 that also returns the directory in which the service keeps
// the bucket, so that a test can look behind it.
func Start(t testing.TB) (url, dir string) {
	t.Helper()
	bin := binary(t)
	credentials(t)
	dir = filepath.Join(t.TempDir(), "data")
	side := filepath.Join(t.TempDir(), "meta") // not every file system has extended attributes
	for _, d := range []string{filepath.Join(dir, bucket), side} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	var failure error
	for range 3 { // another process may take the free port first
		addr := freeAddress(t)
		if failure = launch(t, bin, addr, side, dir); failure == nil {
			return fmt.Sprintf("s3://%s?endpoint=http://%s&region=us-east-1&use_path_style=true", bucket, addr), filepath.Join(dir, bucket)
		}
	}
	t.Fatalf("versitygw does not start: %v", failure)
	return "", ""
}

func binary(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's directory")
		}
	}
	bin := filepath.Join(dir, ".deps", "bin", "versitygw")
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	if bin, err := exec.LookPath("versitygw"); err == nil {
		return bin
	}
	t.Skipf("SKIPPED, S3 IS NOT TESTED: %s is missing; run `make setup`", bin)
	return ""
}

var once sync.Once

// credentials sets the environment once: all services of a process share it.
func credentials(t testing.TB) {
	once.Do(func() {
		for k, v := range map[string]string{
			"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "",
			"AWS_PROFILE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		} {
			if err := os.Setenv(k, v); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// launch starts the service under a shell that kills it when its input ends,
// so that it does not outlive a test process that dies.
func launch(t testing.TB, bin, addr, side, dir string) error {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `"$@" & pid=$!; cat >/dev/null; kill -9 $pid; wait $pid`, "sh",
		bin, "--quiet", "--port", addr, "--access", access, "--secret", secret, "posix", "--sidecar", side, dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// Some flags have names in the environment that the caller must not set.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := func() {
		stdin.Close()
		cmd.Wait()
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			t.Cleanup(stop)
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	return fmt.Errorf("nothing listens on %s: %s", addr, out.Bytes())
}
