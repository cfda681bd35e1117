package manifest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"winnow/pipeline"
)

// SizeFunc gives the width and height of a row's picture in pixels, as it stands
// after the EXIF orientation. A fault of the picture is a *pipeline.RowError; one
// that may pass, and any other error, stops the emission. It is called from
// several goroutines at once, only for rows with a picture.
type SizeFunc func(ctx context.Context, row *BatchRow) (width, height int, err error)

// pixels is the size of one picture; 0 × 0 when it is not known.
type pixels struct{ w, h int32 }

// sizes are the sizes of the batch's pictures by rank, 8 bytes each.
type sizes struct {
	of  []pixels
	why string // what was wrong with the first picture, by rank, that could not be read
}

func (s *sizes) row(r *BatchRow) pixels { return s.of[r.Rank-1] }

// sizesOf reads the headers of all pictures, once for all emitters.
func (b *batch) sizesOf(ctx context.Context) (*sizes, error) {
	if b.measured != nil {
		return b.measured, nil
	}
	s := &sizes{of: make([]pixels, b.rows)}
	if b.Size == nil {
		s.why = "nothing here reads pictures"
		b.measured = s
		return s, nil
	}
	if err := s.measure(ctx, b); err != nil {
		return nil, err
	}
	b.measured = s
	return s, nil
}

func (s *sizes) measure(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rows := make(chan *BatchRow)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first int64                       // rank of the row that why is about
	for range 4 * runtime.GOMAXPROCS(0) { // they wait for storage more than they work
		wg.Go(func() {
			for r := range rows {
				px, err := measureOne(ctx, b.Size, r)
				var row *pipeline.RowError
				switch {
				case err == nil:
					s.of[r.Rank-1] = px
				case errors.As(err, &row) && !row.Transient:
					mu.Lock()
					if first == 0 || r.Rank < first {
						first, s.why = r.Rank, clip(validUTF8(err.Error()), 300)
					}
					mu.Unlock()
				default:
					cancel(fmt.Errorf("size of the picture of asset %q: %w", r.AssetID, err))
				}
			}
		})
	}
	err := b.each(ctx, func(r *BatchRow) error {
		if r.URI == "" || mediaKind(r) != "image" {
			return nil
		}
		select {
		case rows <- r:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(rows)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// measureOne turns a panic of a decoder, and sizes that are none, into a fault of
// the picture.
func measureOne(ctx context.Context, size SizeFunc, r *BatchRow) (px pixels, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = pipeline.Rowf(pipeline.ReasonCorrupt, "size: %v", p)
		}
	}()
	w, h, err := size(ctx, r)
	if err != nil {
		return pixels{}, err
	}
	const most = 1 << 30
	if w < 1 || h < 1 || w > most || h > most {
		return pixels{}, pipeline.Rowf(pipeline.ReasonNoPixels, "a picture of %d × %d", w, h)
	}
	return pixels{int32(w), int32(h)}, nil
}
