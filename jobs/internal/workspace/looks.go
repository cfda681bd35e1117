package workspace

import (
	"context"

	"winnow/io/table"
	modelimage "winnow/models/image"
)

// LooksRoot is the table of what pictures look like: a cache, by asset and version.
const LooksRoot = "looks"

// LookRow is a row of the looks table.
type LookRow struct {
	AssetID string `parquet:"asset_id,zstd"`
	Version string `parquet:"version,zstd"`
	DHash   int64  `parquet:"dhash"` // 64 bits
	Width   int64  `parquet:"width"`
	Height  int64  `parquet:"height"`
}

// LooksSchema describes the looks table.
var LooksSchema = table.Schema{
	{Name: "asset_id", Type: table.String, Nullable: true}, {Name: "version", Type: table.String, Nullable: true},
	{Name: "dhash", Type: table.Long, Nullable: true}, {Name: "width", Type: table.Long, Nullable: true}, {Name: "height", Type: table.Long, Nullable: true},
}

// The picture that a difference hash looks at.
const (
	lookWidth  = 9
	lookHeight = 8
)

// Looker tells what pictures look like. Several goroutines may use it.
type Looker struct {
	w       *Workspace
	decoder *modelimage.Decoder
}

// NewLooker returns a Looker within the config's limits.
func (w *Workspace) NewLooker() (*Looker, error) {
	d, err := modelimage.NewDecoder(modelimage.Options{Width: lookWidth, Height: lookHeight, Filter: modelimage.Bicubic, EXIF: true, Fast: true}, w.imageLimits())
	if err != nil {
		return nil, err
	}
	return &Looker{w, d}, nil
}

// Look fetches a picture and returns its difference hash and size. The hash has
// a bit for each pair of neighbours in a row of the picture at 9 × 8 grey
// pixels: whether the right one is brighter (dHash, N. Krawetz 2013). Copies
// that were scaled, recompressed or a little brightened differ in few bits.
func (l *Looker) Look(ctx context.Context, uri string) (hash uint64, width, height int, err error) {
	data, err := l.w.Fetcher().Fetch(ctx, uri)
	if err != nil {
		return 0, 0, 0, err
	}
	if width, height, err = modelimage.Size(data, l.w.imageLimits()); err != nil {
		return 0, 0, 0, err
	}
	rgb := make([]byte, l.decoder.Size())
	if err := l.decoder.Decode(ctx, data, rgb); err != nil {
		return 0, 0, 0, err
	}
	grey := func(at int) int { return 299*int(rgb[3*at]) + 587*int(rgb[3*at+1]) + 114*int(rgb[3*at+2]) }
	for y := range lookHeight {
		for x := range lookWidth - 1 {
			hash <<= 1
			if at := y*lookWidth + x; grey(at+1) > grey(at) {
				hash |= 1
			}
		}
	}
	return hash, width, height, nil
}
