package job

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"go.uber.org/zap"

	"winnow/pipeline"
)

// bars shows progress on a terminal: a bar a stage, with rate and time left.
// Logs are written above the bars.
type bars struct {
	mu     sync.Mutex
	p      *mpb.Progress
	w      io.Writer
	closed bool
}

func newBars(w io.Writer) *bars {
	return &bars{p: mpb.New(mpb.WithOutput(w), mpb.WithWidth(48), mpb.WithRefreshRate(150*time.Millisecond)), w: w}
}

func (b *bars) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.w.Write(p)
	}
	return b.p.Write(p)
}

func (b *bars) close() {
	b.mu.Lock()
	closed := b.closed
	b.closed = true
	b.mu.Unlock()
	if !closed {
		b.p.Wait()
	}
}

func (b *bars) Start(what, unit string, total int64) pipeline.Counter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || total <= 0 {
		return pipeline.Quiet.Start(what, unit, total)
	}
	bar := b.p.AddBar(total,
		mpb.PrependDecorators(decor.Name(what, decor.WC{W: 10, C: decor.DindentRight}), decor.CountersNoUnit("%d / %d "+unit, decor.WC{W: 24})),
		mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s", decor.WC{W: 9}), decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 8}), "  done")),
	)
	return &barCounter{bar}
}

type barCounter struct{ bar *mpb.Bar }

func (c *barCounter) Add(n int64) { c.bar.IncrInt64(n) }

func (c *barCounter) Done() {
	if !c.bar.Completed() {
		c.bar.Abort(false)
	}
}

// lines logs progress now and then: for batch jobs.
type lines struct {
	log   *zap.Logger
	every time.Duration
}

func newLines(log *zap.Logger, every time.Duration) *lines { return &lines{log, every} }

func (l *lines) Start(what, unit string, total int64) pipeline.Counter {
	c := &lineCounter{lines: l, what: what, unit: unit, total: total, begin: time.Now()}
	c.last.Store(c.begin.UnixNano())
	return c
}

type lineCounter struct {
	*lines
	what, unit string
	total      int64
	begin      time.Time
	n, last    atomic.Int64
}

func (c *lineCounter) Add(n int64) {
	done := c.n.Add(n)
	now := time.Now()
	last := c.last.Load()
	if now.UnixNano()-last < int64(c.every) || !c.last.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	rate := float64(done) / now.Sub(c.begin).Seconds()
	fields := []zap.Field{zap.String("stage", c.what), zap.Int64("done", done), zap.Int64("total", c.total), zap.String("unit", c.unit), zap.Float64("per_second", rate)}
	if c.total > done && rate > 0 {
		fields = append(fields, zap.Duration("left", time.Duration(float64(c.total-done)/rate*float64(time.Second)).Round(time.Second)))
	}
	c.log.Info("progress", fields...)
}

func (c *lineCounter) Done() {}
