package store

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"winnow/pipeline"
)

// dialCheck looks at the address that is about to be dialled, after name
// resolution.
type dialCheck func(network, address string, _ syscall.RawConn) error

// webClient returns a client that dials only what check lets through. It uses
// no proxy, which would dial for it, and asks for no compression, which could
// unpack beyond the byte limit.
func (f *Fetcher) webClient(check dialCheck) *http.Client {
	dialer := &net.Dialer{Timeout: min(f.timeout, 10*time.Second), Control: check}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			loc, err := parseLocation(req.URL.String())
			switch {
			case err != nil || f.match(loc) == nil:
				return pipeline.Rowf(pipeline.ReasonOutsideAllow, "%s redirects to %s, outside the source's allow list", via[0].URL.Redacted(), req.URL.Redacted())
			case len(via) >= 5:
				return fmt.Errorf("more than %d redirects", len(via))
			}
			return nil
		},
	}
}

func (f *Fetcher) fetchWeb(ctx context.Context, loc location) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, loc.String(), nil)
	if err != nil {
		return nil, pipeline.Rowf(pipeline.ReasonOutsideAllow, "URI %s: %w", loc.child(""), err)
	}
	req.Header.Set("User-Agent", "winnow")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, hideURL(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%w: %w", ErrNotFound, statusError{code: resp.StatusCode})
	default:
		err := statusError{code: resp.StatusCode}
		if transientStatus(err.code) {
			if werr := retryAfter(ctx, resp.Header); werr != nil {
				return nil, werr
			}
		}
		return nil, err
	}
	return readLimited(resp.Body, resp.ContentLength, f.maxBytes)
}

// hideURL drops the address that net/http puts before its errors: a signed
// query is a credential.
func hideURL(err error) error {
	if u, ok := err.(*url.Error); ok {
		err = u.Err
	}
	if err == io.EOF { // the server hung up before it answered
		return io.ErrUnexpectedEOF
	}
	return err
}

// retryAfter waits as long as the server asks, up to 10 s, before the usual
// pause.
func retryAfter(ctx context.Context, h http.Header) error {
	secs, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || secs <= 0 {
		return nil
	}
	return pause(ctx, min(time.Duration(secs)*time.Second, 10*time.Second))
}

// refusePrivate lets only public addresses through, so that a manifest cannot
// make winnow read from the machine's own network or the cloud's metadata
// service.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return pipeline.Rowf(pipeline.ReasonOutsideAllow, "cannot tell whether the address %q is public", address)
	}
	if !isPublic(ap.Addr()) {
		return pipeline.Rowf(pipeline.ReasonOutsideAllow, "the host has the address %s, which is private; winnow reads web assets from public addresses only", ap.Addr())
	}
	return nil
}

// reserved are the networks beyond those that netip knows by name.
var reserved = prefixes(
	"0.0.0.0/8",       // this network
	"100.64.0.0/10",   // carrier NAT; some clouds' metadata
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // 6to4 relays
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"240.0.0.0/4",     // reserved, broadcast
	"::/96",           // IPv4-compatible
	"64:ff9b:1::/48",  // local NAT64
	"100::/64",        // discard
	"2001::/23",       // protocol assignments, Teredo
	"2001:db8::/32",   // documentation
	"fec0::/10",       // site-local
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixToV4 = netip.MustParsePrefix("2002::/16")
)

func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	// Addresses that carry an IPv4 address reach that one.
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return isPublic(netip.AddrFrom4([4]byte(b[12:16])))
	case sixToV4.Contains(a):
		return isPublic(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return true
}
