package manifest

import (
	"context"
	"net/url"
	"strings"
)

// Limits of one import into Label Studio, as its settings have them
// (TASKS_MAX_NUMBER, TASKS_MAX_FILE_SIZE).
const (
	labelStudioMaxTasks = 1_000_000
	labelStudioMaxBytes = 250<<20 - 1
)

const (
	noContent       = "no_content"
	noPicture       = "no_picture"
	unreadableURI   = "unreadable_uri"
	localFiles      = "local_files"
	labelStudioFile = "/data/local-files/?d="
)

// emitLabelStudio writes label-studio/tasks.json, the tasks that a project
// imports: data has the asset under image, text, audio, video, html or pdf, and
// beside it asset_id, caption, rank, reason, score_F of every function, and the
// metadata. Files of this machine go through Label Studio's local file serving,
// buckets through its cloud storage connections.
func emitLabelStudio(ctx context.Context, b *batch) error {
	taken := map[string]bool{"asset_id": true, "caption": true, "rank": true, "reason": true, "$undefined$": true,
		"image": true, "text": true, "audio": true, "video": true, "html": true, "pdf": true}
	for _, f := range b.Info.Functions {
		taken["score_"+f.Name] = true
	}
	names := b.fieldNames(taken, nil)
	t := &tool{folder: "label-studio", file: "tasks", ext: ".json", tail: "\n", noNUL: true,
		maxRows: labelStudioMaxTasks, maxBytes: labelStudioMaxBytes,
		row: func(r *BatchRow) toolRow { return labelStudioTask(b, r, names) },
		help: map[string]string{
			noContent:     "the asset has neither a URI nor a text",
			unreadableURI: "Label Studio reads https, http, s3, gs and azblob addresses and local files; give a uri_rewrite rule",
		},
		notes: map[string]string{
			localFiles: "with a file of this machine: start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=/, or give a uri_rewrite rule",
		},
	}
	return t.emit(ctx, b)
}

func labelStudioTask(b *batch, r *BatchRow, names map[string]string) toolRow {
	key, value := mediaKind(r), validUTF8(r.Text)
	switch key {
	case "image", "text", "audio", "video", "html", "pdf":
	default:
		key = "image"
	}
	var out toolRow
	if r.URI != "" {
		var local, ok bool
		uri := b.uri(r)
		if value, local, ok = labelStudioURI(uri); !ok {
			return leftOut(unreadableURI, uri)
		}
		if local {
			out.notes = append(out.notes, localFiles)
		}
	} else if value == "" {
		return leftOut(noContent, "")
	}
	data := object{{key, value}, {"asset_id", validUTF8(r.AssetID)}}
	data.add("caption", r.Caption)
	data = append(data, member{"rank", r.Rank})
	data.add("reason", r.Reason)
	for i, s := range r.Scores {
		if s.Has() {
			data = append(data, member{"score_" + b.Info.Functions[i].Name, s.Score})
		}
	}
	for _, m := range r.Metadata {
		if v := metaValue(m.Value); v != nil {
			data = append(data, member{names[m.Name], jsonMeta(v)})
		}
	}
	out.data = object{{"data", data}, {"meta", object{{"batch", validUTF8(b.Info.Name)}, {"slot", validUTF8(b.Info.Slot)}}}}
	return out
}

// labelStudioURI is an address as Label Studio's storages know it.
func labelStudioURI(uri string) (value string, local, ok bool) {
	if strings.HasPrefix(uri, labelStudioFile) {
		return uri, false, true
	}
	s, ok := addressOf(uri)
	if !ok {
		return "", false, false
	}
	switch s.scheme {
	case "http", "https", "s3", "gs":
		return uri, false, true
	case "azblob":
		return "azure-blob" + strings.TrimPrefix(uri, "azblob"), false, true
	case "file":
		escaped := strings.NewReplacer("%2F", "/", "+", "%20").Replace(url.QueryEscape(s.name)) // its SDK takes no + for a space
		return labelStudioFile + escaped, true, true
	}
	return "", false, false
}
