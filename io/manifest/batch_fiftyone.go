package manifest

import (
	"context"
	"io"
	"strings"
)

const remoteFile = "remote"

// fiftyOneTaken are the fields that a sample of FiftyOne, or this emitter, has
// already; taking another name keeps metadata from hiding them.
var fiftyOneTaken = []string{"id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "media_type", "media_reference",
	"frames", "group", "asset_id", "rank", "caption", "reason", "objective", "in_dataset", "dataset", "filename", "field_names", "dataset_id"}

// emitFiftyOne writes fiftyone/samples.json and fiftyone/metadata.json, a folder
// that Dataset.from_dir reads as fiftyone.types.FiftyOneDataset: one sample a
// picture with fields asset_id, rank, caption, reason, objective, score_F and
// match_F of every function, and the metadata, each of one type.
func emitFiftyOne(ctx context.Context, b *batch) error {
	taken := map[string]bool{}
	for _, n := range fiftyOneTaken {
		taken[n] = true
	}
	for _, f := range b.Info.Functions {
		taken["score_"+f.Name], taken["match_"+f.Name] = true, true
	}
	names := b.fieldNames(taken, fiftyOneName)
	t := &tool{folder: "fiftyone", file: "samples", ext: ".json", head: "{\"samples\": ", tail: "}\n", noNUL: true,
		row: func(r *BatchRow) toolRow { return fiftyOneSample(b, r, names) },
		help: map[string]string{
			noPicture:     "a dataset of FiftyOne has one media type, here pictures",
			unreadableURI: "the address has no file name",
		},
		notes: map[string]string{
			remoteFile: "with a picture that is no file of this machine: FiftyOne's open edition shows local files only; give a uri_rewrite rule to where they are mounted",
		},
	}
	if err := t.emit(ctx, b); err != nil {
		return err
	}
	info := object{{"batch", validUTF8(b.Info.Name)}, {"slot", validUTF8(b.Info.Slot)}, {"functions", b.Info.Functions}}
	if len(b.Info.Functions) == 0 {
		info = info[:2]
	}
	return b.file("fiftyone/metadata.json", func(w io.Writer) error { return writeJSON(w, object{{"info", info}}) })
}

func fiftyOneSample(b *batch, r *BatchRow, names map[string]string) toolRow {
	if r.URI == "" || mediaKind(r) != "image" {
		return leftOut(noPicture, "")
	}
	uri := b.uri(r)
	s, ok := addressOf(uri)
	if !ok {
		return leftOut(unreadableURI, uri)
	}
	var out toolRow
	file, local := s.local()
	if !local {
		file = uri
		out.notes = append(out.notes, remoteFile)
	}
	// Without the type FiftyOne guesses it from the end of the name, and refuses a
	// dataset where it cannot.
	o := object{{"filepath", file}, {"_media_type", "image"}, {"tags", []string{validUTF8(b.Info.Name)}}, {"asset_id", validUTF8(r.AssetID)}, {"rank", r.Rank}}
	o.add("caption", r.Caption)
	o.add("reason", r.Reason)
	o.add("objective", r.Objective)
	for i, sc := range r.Scores {
		name := b.Info.Functions[i].Name
		o = append(o, member{"score_" + name, scoreNumber(sc.Score)}, member{"match_" + name, sc.Match})
	}
	for i, v := range b.typed(r) {
		if v != nil {
			o = append(o, member{names[b.columns[i].Name], v})
		}
	}
	out.data = o
	return out
}

// fiftyOneName makes a field name that FiftyOne and MongoDB take.
func fiftyOneName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '.' || r == '$' || r < ' ' {
			return '_'
		}
		return r
	}, s)
	if s = strings.TrimLeft(s, "_"); s == "" {
		return "field"
	}
	return s
}
