package manifest

import "context"

const (
	noSize     = "no_size"
	elsewhere  = "elsewhere"
	cvatHeader = "{\"version\":\"1.1\"}\n{\"type\":\"images\"}\n"
)

// emitCVAT writes cvat/manifest.jsonl, a dataset manifest of CVAT (version 1.1,
// type images): name and extension relative to the folder that the manifest must
// lie in, width and height as the EXIF orientation leaves them, and what winnow
// knows in meta. CVAT reads one cloud storage or share a task.
func emitCVAT(ctx context.Context, b *batch) error {
	p, err := b.placesOf(ctx)
	if err != nil {
		return err
	}
	px, err := b.sizesOf(ctx)
	if err != nil {
		return err
	}
	main, why := cvatPlace(p), unlessEmpty(px.why)
	t := &tool{folder: "cvat", file: "manifest", ext: ".jsonl", lines: true, head: cvatHeader,
		row: func(r *BatchRow) toolRow { return cvatImage(b, r, p, px, main) },
		help: map[string]string{
			noPicture:     "a manifest of CVAT lists pictures",
			noSize:        "the size of the picture is not known" + why,
			unreadableURI: "CVAT reads pictures from S3, Google Cloud Storage, Azure or a share; give a uri_rewrite rule",
			elsewhere:     "a task of CVAT reads one storage, and most pictures lie in " + main + "; give a uri_rewrite rule, or make a batch of each",
		},
	}
	if main != "" {
		b.warn(0, nil, "names are relative to %s: CVAT wants manifest.jsonl there", p.folder(main))
	}
	return t.emit(ctx, b)
}

// cvatPlace is the storage with most pictures that CVAT can read.
func cvatPlace(p *whereabouts) string {
	main := ""
	for place, n := range p.rows {
		s, _ := addressOf(place + "/x")
		if most := p.rows[main]; cvatReads(s.scheme) && (n > most || n == most && place < main) {
			main = place
		}
	}
	return main
}

func cvatReads(scheme string) bool {
	return scheme == "s3" || scheme == "gs" || scheme == "azblob" || scheme == "file"
}

func cvatImage(b *batch, r *BatchRow, p *whereabouts, px *sizes, main string) toolRow {
	s, ok := b.picture(r)
	switch {
	case r.URI == "" || mediaKind(r) != "image":
		return leftOut(noPicture, "")
	case !ok || !cvatReads(s.scheme):
		return leftOut(unreadableURI, b.uri(r))
	case s.place != main:
		return leftOut(elsewhere, b.uri(r))
	case px.row(r) == pixels{}:
		return leftOut(noSize, b.uri(r))
	}
	name, ext := splitExt(s.name[len(p.dirs[main]):])
	return toolRow{data: object{{"name", name}, {"extension", ext},
		{"width", px.row(r).w}, {"height", px.row(r).h}, {"meta", b.about(r)}}}
}

// about is what winnow knows of a row, for tools that keep an object of the
// user's beside each picture.
func (b *batch) about(r *BatchRow) object {
	o := object{{"asset_id", validUTF8(r.AssetID)}, {"rank", r.Rank}}
	o.add("caption", r.Caption)
	o.add("reason", r.Reason)
	o.add("scores", b.scores(r))
	o.add("metadata", metadata(r))
	return o
}

func unlessEmpty(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}
