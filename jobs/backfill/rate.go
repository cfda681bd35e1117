package backfill

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"winnow/pipeline/embed"
)

// Rate is how many rows a second go through the model at most; 0 is no limit.
// Flags write it as 200/s, 200 (the same), 12000/m or 36000/h.
type Rate float64

// Bounds of a rate: a row in a quarter of an hour, and more than any machine does.
const (
	minRate = 0.001
	maxRate = 1e6
)

// UnmarshalText implements encoding.TextUnmarshaler, for flags.
func (r *Rate) UnmarshalText(text []byte) error {
	number, unit, _ := strings.Cut(string(text), "/")
	per, ok := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[unit]
	x, err := strconv.ParseFloat(number, 64)
	if x /= per; !ok || err != nil || !(x >= minRate && x <= maxRate) {
		return fmt.Errorf("%q is no rate; write rows a second, minute or hour, such as 200/s, 12000/m or 36000/h", text)
	}
	*r = Rate(x)
	return nil
}

// limiter spreads rows over time.
type limiter struct {
	rate Rate
	mu   sync.Mutex
	next time.Time // when the next row may go
}

// wait waits until n rows may go.
func (l *limiter) wait(ctx context.Context, n int) error {
	l.mu.Lock()
	now := time.Now()
	if l.next.Before(now) {
		l.next = now // time that was not used is not saved up
	}
	at := l.next
	l.next = at.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	l.mu.Unlock()
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// limited is a model whose rows wait for a limiter.
type limited struct {
	embed.Model
	l *limiter
}

// Run implements embed.Model.
func (m limited) Run(ctx context.Context, in []embed.Input, out []float32) error {
	n := 0
	for _, x := range in {
		if x != nil {
			n++
		}
	}
	if err := m.l.wait(ctx, n); err != nil {
		return err
	}
	return m.Model.Run(ctx, in, out)
}
