package manifest

import "context"

// emitCOCO writes coco/images.json: COCO's info and images, with no annotations
// yet. An image has id (its rank), file_name, width and height, coco_url where it
// lies on the web, and what winnow knows in winnow, which readers of COCO skip.
// info.images_root is the folder that file_name is relative to.
func emitCOCO(ctx context.Context, b *batch) error {
	p, err := b.placesOf(ctx)
	if err != nil {
		return err
	}
	px, err := b.sizesOf(ctx)
	if err != nil {
		return err
	}
	info := object{{"description", validUTF8("winnow batch " + b.title())}, {"version", "1.0"}}
	info.add("images_root", p.root())
	head, err := encodeJSON(info)
	if err != nil {
		return err
	}
	t := &tool{folder: "coco", file: "images", ext: ".json",
		head: "{\"info\": " + string(head) + ",\n\"licenses\": [],\n\"images\": ",
		tail: ",\n\"annotations\": [],\n\"categories\": []}\n",
		row:  func(r *BatchRow) toolRow { return cocoImage(b, r, p, px) },
		help: map[string]string{
			noPicture:     "COCO lists pictures",
			noSize:        "the size of the picture is not known" + unlessEmpty(px.why),
			unreadableURI: "the address has no file name",
		},
	}
	return t.emit(ctx, b)
}

func cocoImage(b *batch, r *BatchRow, p *whereabouts, px *sizes) toolRow {
	s, ok := b.picture(r)
	switch {
	case r.URI == "" || mediaKind(r) != "image":
		return leftOut(noPicture, "")
	case !ok:
		return leftOut(unreadableURI, b.uri(r))
	case px.row(r) == pixels{}:
		return leftOut(noSize, b.uri(r))
	}
	o := object{{"id", r.Rank}, {"file_name", p.file(s)}, {"width", px.row(r).w}, {"height", px.row(r).h}}
	if s.scheme == "http" || s.scheme == "https" {
		o.add("coco_url", b.uri(r))
	}
	return toolRow{data: append(o, member{"winnow", b.about(r)})}
}
