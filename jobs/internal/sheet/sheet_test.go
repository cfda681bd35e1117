package sheet

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"winnow/pipeline"
)

func sections(list ...*Section) iter.Seq2[*Section, error] {
	return func(yield func(*Section, error) bool) {
		for _, s := range list {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func tiny(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 3)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWrite(t *testing.T) {
	picture := tiny(t)
	evil := `<script>alert(1)</script>"'&`
	p := &Page{Kind: "search", Title: evil, Lead: evil, Facts: []Line{{evil, evil}}, Notes: []string{evil}, Sections: sections(
		&Section{Title: evil, Note: evil, Cards: []Card{
			{ID: evil, URI: "good", Caption: evil, Score: "0.5", Bar: 0.5, Badge: evil, Lines: []Line{{evil, evil}}, Rank: 1},
			{ID: "b", URI: "gone"}, {ID: "c", URI: "panics"}, {ID: "d", URI: "no jpeg"}, {ID: "e", Text: "a text " + evil}, {ID: "f", URI: "x", MediaType: "text/plain"},
		}}, &Section{Title: "empty"})}
	thumb := func(_ context.Context, uri string) ([]byte, error) {
		switch uri {
		case "gone":
			return nil, pipeline.Rowf(pipeline.ReasonNotFound, "no such file")
		case "panics":
			panic("a decoder")
		case "no jpeg":
			return []byte("GIF89a"), nil
		}
		return picture, nil
	}
	var out bytes.Buffer
	done, err := Write(t.Context(), &out, p, thumb, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if done != (Written{Cards: 6, Missing: 3}) {
		t.Errorf("wrote %+v", done)
	}
	page := out.String()
	for _, want := range []string{"data:image/jpeg;base64,", `width="4" height="3"`, "not found", "corrupt", "the preview is not usable", "a text file", "a text &lt;script&gt;", "3 pictures could not be shown", "No rows."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Error("the page holds a script or an address")
	}
}

func TestBounds(t *testing.T) {
	picture := tiny(t)
	var calls atomic.Int64
	thumb := func(context.Context, string) ([]byte, error) { calls.Add(1); return picture, nil }
	cards := make([]Card, 100)
	for i := range cards {
		cards[i] = Card{ID: "x", URI: "y"}
	}
	for _, c := range []struct {
		name  string
		o     Options
		calls int64
		want  Written
	}{
		{"pictures", Options{Pictures: 10}, 10, Written{Cards: 100}},
		{"bytes", Options{Bytes: 1}, 32, Written{Cards: 100}},
		{"cards", Options{Cards: 70}, 70, Written{Cards: 70, Left: 30}},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls.Store(0)
			var out bytes.Buffer
			done, err := Write(t.Context(), &out, &Page{Sections: sections(&Section{Cards: cards})}, thumb, c.o)
			if err != nil || done != c.want || calls.Load() != c.calls {
				t.Errorf("%+v, %d calls, %v; want %+v, %d calls", done, calls.Load(), err, c.want, c.calls)
			}
		})
	}
}

func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	thumb := func(context.Context, string) ([]byte, error) { cancel(why); return nil, why }
	_, err := Write(ctx, &bytes.Buffer{}, &Page{Sections: sections(&Section{Cards: []Card{{ID: "a", URI: "b"}}})}, thumb, Options{})
	if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}
