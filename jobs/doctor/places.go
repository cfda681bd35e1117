package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/pipeline"
)

// place is an address of the config that must be reachable.
type place struct {
	name  string
	check func(ctx context.Context) Check
}

// placeChecks looks up every manifest and every allowed place, several at once.
func placeChecks(ctx context.Context, cfg *configs.Config) []Check {
	places := placesOf(cfg)
	out := make([]Check, len(places))
	var g errgroup.Group
	g.SetLimit(8)
	for i, p := range places {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, placeLimit)
			defer cancel()
			out[i] = p.check(ctx)
			return nil
		})
	}
	_ = g.Wait() // the checks carry their errors
	return out
}

func placesOf(cfg *configs.Config) (out []place) {
	manifests := func(name, address string) {
		out = append(out, place{name, func(ctx context.Context) Check { return manifestCheck(ctx, name, address) }})
	}
	seen := map[string]bool{}
	for _, s := range cfg.Sources {
		manifests("source "+shown(s.Name, s.Manifest), s.Manifest)
		for _, a := range s.Allow {
			if seen[a] {
				continue
			}
			seen[a] = true
			out = append(out, place{"allow", func(ctx context.Context) Check { return allowCheck(ctx, a) }})
		}
	}
	for _, l := range cfg.Labels {
		manifests("labels", l.Manifest)
	}
	for _, p := range cfg.Predictions {
		manifests("predictions "+p.Model, p.Manifest)
	}
	return out
}

// shown is a source's name, unless it is its address.
func shown(name, address string) string {
	if name == address || strings.Contains(name, "/") {
		return ""
	}
	return name
}

func manifestCheck(ctx context.Context, name, address string) Check {
	name = strings.TrimSpace(name)
	r := manifest.NewReader(nil, "")
	defer r.Close()
	first, n, err := r.Reach(ctx, manifest.Source{Manifest: address})
	var usage *pipeline.UsageError
	switch {
	case errors.As(err, &usage):
		return failed(storage, name, err, "correct the manifest in the config")
	case err != nil:
		return fail(storage, name, placeFix(address, err, false), "%v", err)
	case n == 0:
		return warn(storage, name, "correct the pattern, or wait for the first files", "%s matches nothing yet", address)
	case n == 1 && strings.TrimPrefix(first, "file://") == strings.TrimPrefix(address, "file://"):
		return ok(storage, name, "%s", first)
	case n == 1:
		return ok(storage, name, "%s: found %s", address, first)
	}
	return ok(storage, name, "%s: %d files, the first is %s", address, n, first)
}

// allowCheck lists a place that assets may be read from.
func allowCheck(ctx context.Context, address string) Check {
	const name = "allow"
	if scheme, _, _ := strings.Cut(address, "://"); scheme == "http" || scheme == "https" {
		return webCheck(ctx, name, address)
	}
	s, err := openPlace(ctx, address)
	if err != nil {
		return fail(storage, name, placeFix(address, err, false), "%v", err)
	}
	defer s.Close()
	if dir, local := s.Path("x"); local {
		return folderReadable(name, filepath.Dir(dir))
	}
	for _, err := range s.ListDir(ctx, "") {
		if err != nil {
			return fail(storage, name, placeFix(address, err, false), "%v", err)
		}
		return ok(storage, name, "%s can be listed", s.URL())
	}
	return warn(storage, name, "correct the address, or wait for the first assets", "%s: nothing lies there", s.URL())
}

// folderReadable looks at a local place: a folder or a single file.
func folderReadable(name, dir string) Check {
	st, err := os.Stat(dir)
	if err == nil && st.IsDir() {
		_, err = os.ReadDir(dir)
	} else if err == nil {
		var f *os.File
		if f, err = os.Open(dir); err == nil {
			err = f.Close()
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(storage, name, "correct the path in the config", "%s does not exist", dir)
	case err != nil:
		return fail(storage, name, placeFix(dir, err, false), "%v", err)
	}
	return ok(storage, name, "%s can be read", dir)
}

// webCheck asks a web server for the head of an allowed place. Any reply will
// do: a place need not be a page.
func webCheck(ctx context.Context, name, address string) Check {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return fail(storage, name, "write https://host/path/", "%q is no web address", address)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return fail(storage, name, "correct the host in the config, or look at this machine's DNS", "%v", err)
	}
	for _, a := range addrs {
		if !public(a) {
			return fail(storage, name, "serve the assets from a bucket or a folder: web assets are read from public addresses only",
				"%s is the private address %s, which winnow never reads from", u.Hostname(), a.Unmap())
		}
	}
	client := &http.Client{
		Timeout:       15 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return fail(storage, name, "write https://host/path/", "%v", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fail(storage, name, "can this machine reach it? Web assets are fetched without a proxy", "%v", err)
	}
	resp.Body.Close()
	if resp.StatusCode >= 500 {
		return warn(storage, name, "ask whoever runs it", "%s answers %s", u.Host, resp.Status)
	}
	return ok(storage, name, "%s answers", u.Host)
}

// public tells addresses that the fetcher may dial; see store's own rule.
func public(a netip.Addr) bool {
	a = a.Unmap()
	return !(a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() || a.IsInterfaceLocalMulticast())
}
