package manifest

import (
	"context"
	"fmt"
)

// Reach looks a manifest up without reading it: it returns the address of the
// first file and the number of files. Of a glob of pictures or texts, which may
// match millions, it looks for the first only. That the manifest does not exist
// is a *pipeline.UsageError; that a glob of pictures matches nothing is none.
func (r *Reader) Reach(ctx context.Context, src Source) (first string, files int, err error) {
	f, err := r.find(ctx, src)
	if err != nil {
		return "", 0, err
	}
	if f.glob == nil {
		first, err = f.uri(f.files[0].Key)
		return first, len(f.files), err
	}
	for o, err := range f.match(ctx) {
		if err != nil {
			return "", 0, fmt.Errorf("manifest: %w", err)
		}
		first, err = f.uri(o.Key)
		return first, 1, err
	}
	return "", 0, nil
}
