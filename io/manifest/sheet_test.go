package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSheetEscapes(t *testing.T) {
	hostile := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</li></ol><iframe src=//evil>`,
		`javascript:alert(1)`, "{{.Secret}}", `<!--`, `]]>`, "\u202Egnp.exe", `&lt;b&gt;`, `<svg/onload=alert(1)>`,
	}
	var rows []*BatchRow
	for i, h := range hostile {
		rows = append(rows, &BatchRow{Rank: int64(i + 1), AssetID: h, URI: h, Caption: h, Text: h, Objective: h, Reason: h, Version: h,
			Scores: []FunctionScore{{Score: 1, Match: true, Anchor: h}}, Metadata: []MetadataValue{{h, h}}})
	}
	h := hostile[0]
	info := &BatchInfo{Name: h, Slot: hostile[1], ConfigHash: h, Settings: []Setting{{h, h}}, Tables: []TableVersion{{h, 1}},
		Models: []ModelInfo{{h, h, h}}, Functions: []FunctionInfo{{Name: hostile[2], Version: h, Embedding: h, Combine: h}}, Funnel: Funnel{{h, 3}, {hostile[1], 1}}}
	files, _ := emitOrFail(t, Emission{Info: info, Rows: rowsOf(rows...)}, "html")
	page := string(files["batch.html"])
	body := inlineCode.ReplaceAllString(page, "")
	for _, bad := range []string{"<script", "<iframe", "<img", "<svg/", "<!--", "onerror=alert(1)>", `href="javascript`, "' onmouseover='"} {
		if strings.Contains(body, bad) {
			i := strings.Index(body, bad)
			t.Errorf("the page holds %q unescaped: …%s…", bad, body[max(0, i-80):min(len(body), i+80)])
		}
	}
	for _, s := range hostile {
		if !strings.Contains(html.UnescapeString(body), s) {
			t.Errorf("%q is not shown at all", s)
		}
	}
}

// TestSheetPolicy: the page allows its own style and script by hash and nothing
// from anywhere else, and refers to nothing outside itself.
func TestSheetPolicy(t *testing.T) {
	files, _ := emitOrFail(t, fruitBatch(), "html")
	page := string(files["batch.html"])
	csp := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if csp == nil {
		t.Fatal("no Content-Security-Policy")
	}
	if strings.Contains(csp[1], "unsafe") || !strings.HasPrefix(csp[1], "default-src 'none';") {
		t.Errorf("policy is %s", csp[1])
	}
	if strings.Index(page, "Content-Security-Policy") > strings.Index(page, "<style") {
		t.Error("the policy comes after the style that it should govern")
	}
	for _, tag := range []string{"style", "script"} {
		code := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(page, -1)
		if len(code) != 1 {
			t.Fatalf("%d <%s> blocks, want 1", len(code), tag)
		}
		sum := sha256.Sum256([]byte(code[0][1]))
		if want := tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(csp[1], want) {
			t.Errorf("the policy does not allow the page's own %s: want %s in %s", tag, want, csp[1])
		}
	}
	if m := regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+="|\ssrc="(?:https?|//|file)[^"]*|@import|url\(|<link[^>]+href="http`).FindString(page); m != "" {
		t.Errorf("the page has %q, which the policy blocks or which leaves the page", m)
	}
	if !strings.Contains(page, `src="data:image/jpeg;base64,`) {
		t.Error("no embedded thumbnail")
	}
}

func TestSheetDirection(t *testing.T) {
	files, _ := emitOrFail(t, fruitBatch(), "html")
	page := string(files["batch.html"])
	for _, want := range []string{`<blockquote class="pic text" dir="auto" tabindex="0">قال`, `<p class="cap" dir="auto">消えたリンゴ</p>`, `<bdi>نص-3</bdi>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func manyRows(n int) []*BatchRow {
	rows := make([]*BatchRow, n)
	for i := range rows {
		rows[i] = &BatchRow{Rank: int64(i + 1), AssetID: fmt.Sprintf("a%04d", i+1), URI: "https://x/y"}
	}
	return rows
}

var cardID = regexp.MustCompile(`data-rank="(\d+)" data-id="([^"]*)"`)

func TestSheetPages(t *testing.T) {
	e := Emission{Info: &BatchInfo{Name: "b", Slot: "s"}, Rows: rowsOf(manyRows(25)...), Sheet: SheetOptions{PageRows: 10, MaxRows: 23}}
	files, res := emitOrFail(t, e, "html")
	var got []string
	for i, key := range []string{"batch.html", "batch-2.html", "batch-3.html"} {
		page := string(files[key])
		for _, m := range cardID.FindAllStringSubmatch(page, -1) {
			got = append(got, m[1])
		}
		if !strings.Contains(page, `href="`+key+`" aria-current="page"`) {
			t.Errorf("page %d does not say that it is open", i+1)
		}
		for _, note := range []string{"25 rows are spread over 3 pages", "The first 23 of 25 rows have a card"} {
			if !strings.Contains(page, note) {
				t.Errorf("%s does not say %q", key, note)
			}
		}
	}
	if len(got) != 23 || got[0] != "1" || got[22] != "23" {
		t.Errorf("cards are %v", got)
	}
	if files["batch-4.html"] != nil || len(res.Files) != 4 {
		t.Errorf("files are %v", res.Files)
	}
	if s := fmt.Sprint(res.Warnings); !strings.Contains(s, "first 23 of 25 rows") {
		t.Errorf("warnings are %s", s)
	}
	one, _ := emitOrFail(t, Emission{Info: e.Info, Rows: rowsOf(manyRows(10)...), Sheet: e.Sheet}, "html")
	if page := string(one["batch.html"]); strings.Contains(page, "<nav") || strings.Contains(page, `role="note"`) {
		t.Error("a batch of one page has page links or a note")
	}
}

// TestSheetThumbs: pictures keep their row's place although they are made at the
// same time, at most Workers at once, and a broken one costs nothing else.
func TestSheetThumbs(t *testing.T) {
	const n, workers = 40, 4
	var now, most atomic.Int32
	var mu sync.Mutex
	asked := map[string]int{}
	e := Emission{Info: &BatchInfo{Name: "b", Slot: "s"}, Rows: rowsOf(manyRows(n)...), Sheet: SheetOptions{Workers: workers},
		Thumb: func(_ context.Context, r *BatchRow) ([]byte, error) {
			if v := now.Add(1); v > most.Load() {
				most.Store(v)
			}
			defer now.Add(-1)
			mu.Lock()
			asked[r.AssetID]++
			mu.Unlock()
			switch r.Rank {
			case 3:
				return nil, errors.New("not found")
			case 5:
				panic("decoder")
			case 7:
				return []byte("<svg onload=alert(1)>"), nil
			case 9:
				return nil, nil
			}
			return greyJPEG(int(r.Rank), 8), nil // the width tells the row
		}}
	files, res := emitOrFail(t, e, "html")
	cards := strings.Split(string(files["batch.html"]), `<li class="card"`)[1:]
	if len(cards) != n {
		t.Fatalf("%d cards, want %d", len(cards), n)
	}
	for i, c := range cards {
		rank := i + 1
		broken := slices.Contains([]int{3, 5, 7, 9}, rank)
		if has := strings.Contains(c, fmt.Sprintf(`width="%d" height="8"`, rank)); has == broken {
			t.Errorf("card %d has its own picture: %v", rank, has)
		}
		if has := strings.Contains(c, "pic none"); has != broken {
			t.Errorf("card %d has a placeholder: %v", rank, has)
		}
	}
	if len(asked) != n || most.Load() > workers {
		t.Errorf("%d rows asked for, %d at once, want %d and at most %d", len(asked), most.Load(), n, workers)
	}
	if len(res.Warnings) != 1 || res.Warnings[0].Rows != 4 || len(res.Warnings[0].Examples) != 3 {
		t.Errorf("warnings are %+v", res.Warnings)
	}
}

func TestSheetCancelDuringThumbs(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stopped")
	var running atomic.Int32
	e := Emission{Info: &BatchInfo{Name: "b", Slot: "s"}, Rows: rowsOf(manyRows(100)...), Write: memFiles{}.write,
		Thumb: func(ctx context.Context, r *BatchRow) ([]byte, error) {
			running.Add(1)
			defer running.Add(-1)
			if r.Rank == 20 {
				cancel(stop)
			}
			if r.Rank >= 20 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return greyJPEG(8, 8), nil
		}}
	_, err := Emit(ctx, e, []string{"html"})
	if !errors.Is(err, stop) {
		t.Errorf("error is %v", err)
	}
	if running.Load() != 0 {
		t.Errorf("%d thumbnails are still made after the emitter returned", running.Load())
	}
}

func TestSafeLink(t *testing.T) {
	cases := []struct{ in, want string }{
		{"file:///a/b%20c.png", "file:///a/b%20c.png"}, {"https://x/y?z=1", "https://x/y?z=1"}, {"s3://b/k", ""}, {"javascript:alert(1)", ""},
		{"JAVASCRIPT:alert(1)", ""}, {"data:text/html,x", ""}, {"//evil/x", ""}, {"file://host/x", ""}, {"https:opaque", ""}, {"%zz", ""},
		{`file:///a"onclick="x`, "file:///a%22onclick=%22x"},
	}
	for _, c := range cases {
		if got := string(safeLink(c.in)); got != c.want {
			t.Errorf("safeLink(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestBarGeometry(t *testing.T) {
	cut := 2.
	f := FunctionInfo{Name: "f", Embedding: "e", Threshold: &cut}
	cases := []struct {
		rg               scoreRange
		score            float32
		x, w, zero, tick string
	}{
		{scoreRange{Min: 1, Max: 4}, 4, "0.0", "100.0", "", "50.0"},
		{scoreRange{Min: -2, Max: 6}, -2, "0.0", "25.0", "25.0", "50.0"},
		{scoreRange{Min: -2, Max: 6}, 6, "25.0", "75.0", "25.0", "50.0"},
		{scoreRange{Min: 0, Max: 0}, 0, "0.0", "0.8", "", "99.2"},
	}
	for _, c := range cases {
		b := newBar(f, c.rg, FunctionScore{Score: c.score})
		if b.X != c.x || b.W != c.w || b.Zero != c.zero || b.Tick != c.tick {
			t.Errorf("%v in %+v: x %s w %s zero %s tick %s, want %s %s %s %s", c.score, c.rg, b.X, b.W, b.Zero, b.Tick, c.x, c.w, c.zero, c.tick)
		}
	}
}

func TestGroup(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := group(n); got != want {
			t.Errorf("group(%d) = %s, want %s", n, got, want)
		}
	}
}
