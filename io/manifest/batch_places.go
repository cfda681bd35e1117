package manifest

import (
	"context"
	"net/url"
	"path"
	"strings"
)

// address is where a picture lies, for tools that name files relative to a folder.
type address struct {
	scheme string // file, s3, gs, azblob, https, …
	place  string // scheme and bucket or host, such as s3://bucket; file:// for local files
	name   string // the rest, not escaped, without the slash between
}

// addressOf takes a URI, or a local path, apart.
func addressOf(uri string) (address, bool) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		if strings.HasPrefix(uri, "/") {
			return address{"file", "file://", uri[1:]}, uri != "/"
		}
		return address{}, false
	}
	s := address{scheme: strings.ToLower(scheme)}
	switch s.scheme {
	case "file":
		p, ok := filePath(uri)
		s.place, s.name = "file://", strings.TrimPrefix(p, "/")
		return s, ok && s.name != ""
	case "http", "https":
		u, err := url.Parse(uri)
		if err != nil || u.Host == "" {
			return s, false
		}
		s.place, s.name = s.scheme+"://"+u.Host, strings.TrimPrefix(u.Path, "/")
	default:
		bucket, key, _ := strings.Cut(withoutQuery(rest), "/")
		s.place, s.name = s.scheme+"://"+bucket, key
	}
	return s, s.name != ""
}

// plainURI is a URI of a bucket without the parameters that reach it, which only
// winnow understands.
func plainURI(uri string) string {
	switch scheme, _, _ := strings.Cut(uri, "://"); strings.ToLower(scheme) {
	case "s3", "gs", "azblob":
		return withoutQuery(uri)
	}
	return uri
}

// local is the path of an address on this machine.
func (s address) local() (string, bool) { return "/" + s.name, s.scheme == "file" }

// splitExt cuts a name as Python's splitext does: dots at the beginning of the
// last part are no extension.
func splitExt(name string) (stem, ext string) {
	base := path.Base(name)
	if strings.HasSuffix(name, "/") {
		return name, ""
	}
	ext = path.Ext(strings.TrimLeft(base, "."))
	return strings.TrimSuffix(name, ext), ext
}

// mediaKind is what an asset is, in one word: image, text, audio, video, html,
// pdf, or what the manifest calls it. Without a word, what has a URI is an image.
func mediaKind(r *BatchRow) string {
	media := strings.ToLower(validUTF8(r.MediaType))
	kind, sub, _ := strings.Cut(media, "/")
	switch {
	case sub == "html" || kind == "html":
		return "html"
	case sub == "pdf" || kind == "pdf":
		return "pdf"
	case kind != "" && kind != "application":
		return kind
	case r.URI == "":
		return "text"
	}
	return "image"
}

// whereabouts says where the pictures of a batch lie.
type whereabouts struct {
	rows map[string]int64  // pictures by place
	dirs map[string]string // their longest common folder, "" or ending in a slash
	main string            // the place of most pictures; of equals the first by name
}

// placesOf looks at all pictures, after uri_rewrite.
func (b *batch) placesOf(ctx context.Context) (*whereabouts, error) {
	if b.placed != nil {
		return b.placed, nil
	}
	p := &whereabouts{rows: map[string]int64{}, dirs: map[string]string{}}
	err := b.each(ctx, func(r *BatchRow) error {
		s, ok := b.picture(r)
		if !ok {
			return nil
		}
		dir := s.name[:strings.LastIndexByte(s.name, '/')+1]
		if p.rows[s.place] > 0 {
			dir = commonFolder(p.dirs[s.place], dir)
		}
		p.rows[s.place]++
		p.dirs[s.place] = dir
		return nil
	})
	if err != nil {
		return nil, err
	}
	for place, n := range p.rows {
		if most := p.rows[p.main]; n > most || n == most && place < p.main {
			p.main = place
		}
	}
	b.placed = p
	return p, nil
}

// picture is the place of a row's picture, after uri_rewrite.
func (b *batch) picture(r *BatchRow) (address, bool) {
	if r.URI == "" || mediaKind(r) != "image" {
		return address{}, false
	}
	return addressOf(b.uri(r))
}

// uri is a row's URI as the tools shall see it: rewritten, valid UTF-8.
func (b *batch) uri(r *BatchRow) string {
	return rewriteURI(b.URIRewrite, plainURI(validUTF8(r.URI)))
}

// root is the folder that the names of file are relative to.
func (p *whereabouts) root() string {
	switch len(p.rows) {
	case 0:
		return ""
	case 1:
		return p.folder(p.main)
	}
	return "the folder that has one folder for each of the buckets or hosts"
}

// folder is the common folder of all pictures of a place, as a URI or path.
func (p *whereabouts) folder(place string) string {
	if place == "file://" {
		return "/" + p.dirs[place]
	}
	return place + "/" + p.dirs[place]
}

// file is a picture's name relative to root.
func (p *whereabouts) file(s address) string {
	if len(p.rows) == 1 {
		return strings.TrimPrefix(s.name, p.dirs[s.place])
	}
	_, host, _ := strings.Cut(s.place, "://")
	if host == "" {
		host = "local"
	}
	return host + "/" + s.name
}

// commonFolder is the longest folder that begins both.
func commonFolder(a, b string) string {
	n := 0
	for i := 0; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == '/' {
			n = i + 1
		}
	}
	return a[:n]
}
