package manifest

import (
	"context"
	"strings"
)

// Limits of an input manifest of SageMaker Ground Truth, from its documentation
// ("Input manifest files", "Input data quotas").
const (
	groundTruthMaxRows  = 100_000 // objects of a labeling job; 20,000 for semantic segmentation
	groundTruthMaxLine  = 100_000 // characters of a line
	groundTruthMaxValue = 20_000  // characters of one attribute
)

const (
	notS3    = "not_s3"
	tooLong  = "text_too_long"
	dropped  = "dropped"
	fromText = "text"
)

// emitGroundTruth writes ground-truth/input.manifest, an input manifest of
// SageMaker Ground Truth: source-ref for an object in S3, or source for a text,
// then asset_id, rank, caption, reason, scores and metadata, which a job hands on
// to its lambdas and its output.
func emitGroundTruth(ctx context.Context, b *batch) error {
	t := &tool{folder: "ground-truth", file: "input", ext: ".manifest", lines: true, maxRows: groundTruthMaxRows,
		row: func(r *BatchRow) toolRow { return groundTruthObject(b, r) },
		help: map[string]string{
			noContent: "the asset has neither a URI nor a text",
			notS3:     "Ground Truth reads s3:// addresses; give a uri_rewrite rule",
			tooLong:   "Ground Truth takes at most 20,000 characters of text; store the text as a file in S3",
		},
		notes: map[string]string{
			dropped: "with a caption or metadata over 20,000 characters, which is left out of the manifest",
		},
	}
	var texts, refs int64
	err := b.each(ctx, func(r *BatchRow) error {
		if r.URI == "" {
			texts++
		} else {
			refs++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if texts > 0 && refs > 0 {
		b.warn(0, nil, "the batch mixes %d texts and %d files; a labeling job of Ground Truth takes one kind", texts, refs)
	}
	return t.emit(ctx, b)
}

func groundTruthObject(b *batch, r *BatchRow) toolRow {
	var o object
	switch uri := b.uri(r); {
	case r.URI == "" && r.Text == "":
		return leftOut(noContent, "")
	case r.URI == "" && utf16Len(validUTF8(r.Text)) > groundTruthMaxValue:
		return leftOut(tooLong, validUTF8(r.Text))
	case r.URI == "":
		o.add("source", r.Text)
	case !strings.HasPrefix(uri, "s3://"), utf16Len(uri) > groundTruthMaxValue:
		return leftOut(notS3, uri)
	default:
		o.add("source-ref", uri)
	}
	out := toolRow{}
	left := groundTruthMaxLine - 1000 // for the keys
	put := func(key string, value any) {
		raw, err := encodeJSON(value)
		n := utf16Len(string(raw))
		if err != nil || n > groundTruthMaxValue || n > left {
			if len(out.notes) == 0 {
				out.notes = append(out.notes, dropped)
			}
			return
		}
		left -= n
		o.add(key, value)
	}
	put("asset_id", validUTF8(r.AssetID))
	put("rank", r.Rank)
	put("scores", b.scores(r))
	put("reason", validUTF8(r.Reason))
	put("caption", validUTF8(r.Caption))
	put("metadata", metadata(r))
	out.data = o
	return out
}
