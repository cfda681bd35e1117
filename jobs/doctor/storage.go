package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/gcerrors"

	"winnow/io/store"
)

const (
	storage    = "storage"
	placeLimit = 40 * time.Second // for one place, all its calls together
)

// openPlace opens a store that gives up soon: a doctor says what is wrong now.
func openPlace(ctx context.Context, url string) (*store.Store, error) {
	return store.OpenWith(ctx, url, store.Options{Timeout: 10 * time.Second, Attempts: 2})
}

// workspaceChecks tries on a probe of its own what a run does to a workspace:
// write, read, put-if-absent, list, delete. Nothing of it stays.
func workspaceChecks(ctx context.Context, url string) []Check {
	s, err := openPlace(ctx, url)
	if err != nil {
		return []Check{fail(storage, "workspace", placeFix(url, err, true), "%v", err)}
	}
	defer s.Close()
	defer forget(s)()
	return tryWorkspace(ctx, s)
}

func tryWorkspace(ctx context.Context, s *store.Store) []Check {
	p := &prober{s: s, dir: "runs/.doctor-" + strings.ToLower(rand.Text()[:10])}
	done, err := p.run(ctx)
	if cerr := p.clean(context.WithoutCancel(ctx)); err == nil {
		err = cerr
	}
	if err != nil {
		c := fail(storage, "workspace", placeFix(s.URL(), err, true), "%v", err)
		if len(done) > 0 {
			c.What += "\nwhat worked: " + strings.Join(done, ", ")
		}
		return []Check{c}
	}
	return []Check{
		ok(storage, "workspace", "%s: %s", s.URL(), strings.Join(append(done, "delete"), ", ")),
		judgeSkew(p.skew),
	}
}

// forget remembers which local folders are missing, and returns a function that
// removes them again: a doctor leaves no empty workspace behind.
func forget(s *store.Store) func() {
	root, local := s.Path("runs")
	if !local {
		return func() {}
	}
	var missing []string // the deepest first
	for dir := root; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		missing = append(missing, dir)
	}
	return func() {
		for _, dir := range missing {
			if os.Remove(dir) != nil { // not empty: a run has begun meanwhile
				return
			}
		}
	}
}

// prober does what a run does, below a folder of its own.
type prober struct {
	s       *store.Store
	dir     string
	written []string
	skew    time.Duration
}

// run returns the names of the steps that worked.
func (p *prober) run(ctx context.Context) (done []string, err error) {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"write", p.write}, {"read", p.read}, {"put-if-absent", p.create}, {"list", p.list},
	} {
		if err := step.do(ctx); err != nil {
			return done, err
		}
		done = append(done, step.name)
	}
	return done, nil
}

var probeData = []byte("winnow doctor was here, and this should be gone\n")

func (p *prober) write(ctx context.Context) error {
	key := p.dir + "/probe"
	before := time.Now()
	p.written = append(p.written, key)
	if err := p.s.WriteAll(ctx, key, probeData); err != nil {
		return err
	}
	after := time.Now()
	o, err := p.s.Stat(ctx, key)
	if err != nil {
		return err
	}
	if o.Size != int64(len(probeData)) {
		return fmt.Errorf("%s has %d bytes, %d were written", key, o.Size, len(probeData))
	}
	p.skew = skewOf(o.ModTime, before, after)
	return nil
}

func (p *prober) read(ctx context.Context) error {
	key := p.dir + "/probe"
	data, err := p.s.Read(ctx, key, 1<<20)
	if err == nil && !bytes.Equal(data, probeData) {
		err = fmt.Errorf("%s holds other bytes than were written", key)
	}
	return err
}

// errNotAbsent says that a store lets two writers win.
var errNotAbsent = errors.New("the second of two conditional writes was not refused, so two runs could overwrite each other's work")

func (p *prober) create(ctx context.Context) error {
	key := p.dir + "/once"
	p.written = append(p.written, key)
	for i, want := range []bool{true, false} {
		created, err := p.s.CreateAll(ctx, key, probeData)
		switch {
		case err != nil:
			return err
		case created && !want:
			return errNotAbsent
		case !created && want && i == 0:
			return fmt.Errorf("%s exists already, says the store, and it does not", key)
		}
	}
	return nil
}

func (p *prober) list(ctx context.Context) error {
	var got []string
	for o, err := range p.s.List(ctx, p.dir+"/") {
		if err != nil {
			return err
		}
		got = append(got, strings.TrimPrefix(o.Key, p.dir+"/"))
	}
	if strings.Join(got, " ") != "once probe" {
		return fmt.Errorf("the list of %s shows %q, written were once and probe", p.dir, got)
	}
	return nil
}

// clean deletes the probe, and checks that it is gone.
func (p *prober) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, placeLimit)
	defer cancel()
	var errs []error
	for _, key := range p.written {
		errs = append(errs, p.s.Delete(ctx, key))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if dir, local := p.s.Path(p.dir); local {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for o, err := range p.s.List(ctx, p.dir+"/") {
		if err != nil {
			return nil // the list has said so before
		}
		return fmt.Errorf("%s is still listed", o.Key)
	}
	return nil
}

// skewOf is how far the store's clock is ahead of ours, as far as one write
// tells. Stores keep whole seconds.
func skewOf(modified, before, after time.Time) time.Duration {
	switch {
	case modified.After(after):
		return modified.Sub(after)
	case modified.Before(before.Add(-time.Second)):
		return modified.Sub(before)
	}
	return 0
}

func judgeSkew(skew time.Duration) Check {
	skew = skew.Round(time.Second)
	if skew.Abs() < 30*time.Second {
		return ok(storage, "clock", "the store and this machine agree")
	}
	which := "ahead of"
	if skew < 0 {
		which = "behind"
	}
	return warn(storage, "clock", "let this machine's clock be set by NTP; from a quarter of an hour on, clouds refuse requests",
		"the store's clock is %v %s this machine's", skew.Abs(), which)
}

// placeFix says what to do about a place that cannot be reached.
func placeFix(url string, err error, writing bool) string {
	scheme, _, _ := strings.Cut(url, "://")
	local := scheme == url || scheme == "file"
	switch {
	case errors.Is(err, errNotAbsent):
		return "keep the workspace in a store that honours If-None-Match (S3, Google Cloud Storage, Azure, MinIO, Ceph from 2025 on), or in a folder"
	case local && errors.Is(err, fs.ErrPermission):
		if writing {
			return "let this user write there, or name another folder"
		}
		return "let this user read there"
	case local && errors.Is(err, fs.ErrNotExist), local && errors.Is(err, store.ErrNotFound):
		return "correct the path in the config"
	case local:
		return "look at the folder: its disk, its owner, its permissions"
	case gcerrors.Code(err) == gcerrors.NotFound || strings.Contains(err.Error(), "NoSuchBucket"):
		return "create the bucket, or correct its name, region and endpoint in the config"
	case store.IsTransient(err) || errors.Is(err, context.DeadlineExceeded):
		return "can this machine reach it? Look at the endpoint and region in the address, the proxy, the firewall"
	}
	return credentials(scheme, writing)
}

// credentials says where a cloud's client looks for them, and what is needed.
func credentials(scheme string, writing bool) string {
	switch scheme {
	case "s3":
		rights := "s3:GetObject and s3:ListBucket"
		if writing {
			rights = "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
		}
		return "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role, with " + rights + "; and the bucket's region"
	case "gs":
		role := "Storage Object Viewer"
		if writing {
			role = "Storage Object Admin"
		}
		return "give GOOGLE_APPLICATION_CREDENTIALS, or a service account, with the role " + role
	case "azblob":
		role := "Storage Blob Data Reader"
		if writing {
			role = "Storage Blob Data Contributor"
		}
		return "give AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or an identity with the role " + role
	}
	return "correct the address in the config"
}
