package backfill

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"winnow/pipeline/embed"
)

func TestRates(t *testing.T) {
	for text, want := range map[string]Rate{"200/s": 200, "200": 200, "12000/m": 200, "36000/h": 10, "0.5/s": 0.5, "1e3/s": 1000} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%q is %v, %v; want %v", text, r, err, want)
		}
	}
	for _, text := range []string{"", "/s", "fast", "0/s", "-3/s", "200/d", "NaN/s", "inf", "1/h", "2e6/s", "5 /s"} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %v", text, r)
		}
	}
}

// model counts the rows that it is given.
type model struct {
	embed.Model
	mu   sync.Mutex
	rows int
}

func (m *model) Run(_ context.Context, in []embed.Input, _ []float32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows += len(in)
	return nil
}

type row struct{ embed.Input }

func TestLimitedModelsKeepTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := &model{}
		m := limited{under, &limiter{rate: 20}}
		begin := time.Now()
		var wg sync.WaitGroup
		for range 3 { // sessions
			wg.Go(func() {
				for range 4 {
					if err := m.Run(t.Context(), []embed.Input{row{}, nil, row{}, row{}, row{}, row{}}, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		// 12 batches of 5 rows; the first does not wait.
		if took := time.Since(begin); took != 11*250*time.Millisecond || under.rows != 12*6 {
			t.Errorf("60 rows at 20/s took %v", took)
		}
		time.Sleep(time.Hour) // unused time is not saved up
		begin = time.Now()
		for range 2 {
			if err := m.Run(t.Context(), []embed.Input{row{}, row{}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("after a pause the second batch of 2 waited %v", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		cancel(stop)
		if err := m.Run(ctx, []embed.Input{row{}}, nil); !errors.Is(err, stop) {
			t.Errorf("a cancelled wait gave %v", err)
		}
	})
}
