package manifest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/pipeline"
)

// cocoKeys are the names of a COCO file, and how the values of some begin.
var cocoKeys = map[string]byte{"info": '{', "licenses": '[', "images": '[', "annotations": '[', "categories": '['}

// isCoco tells whether a file is COCO ground truth: a .json file that holds one
// object, which begins with one of COCO's names.
func (f *found) isCoco(ctx context.Context, o store.Object) (is bool, err error) {
	if name := strings.TrimSuffix(strings.ToLower(o.Key), ".gz"); !strings.HasSuffix(name, ".json") {
		return false, nil
	}
	in, _, err := f.st.NewReader(ctx, o.Key)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	r, err := maybeGzip(in)
	if err != nil {
		return false, err
	}
	head, _ := r.Peek(4096)
	s := scanner{data: bytes.TrimPrefix(head, byteOrderMark)}
	if s.space(); s.peek() != '{' {
		return false, nil
	}
	s.pos++
	s.space()
	start := s.pos
	if s.peek() != '"' || s.text() != nil {
		return false, nil
	}
	opens := cocoKeys[string(s.data[start+1:s.pos-1])]
	s.space()
	colon := s.peek() == ':'
	s.pos++
	s.space()
	return opens != 0 && colon && s.peek() == opens, nil
}

// isCocoResult tells a row of a COCO results file.
func (m *rowMapper) isCocoResult() bool {
	return m.has("image_id") && m.has("category_id") && !m.has("asset_id") && (m.has("bbox") || m.has("score") || m.has("segmentation"))
}

// result stages a row of a COCO results file.
func (p *pairReader) result(file int, line int64) error {
	m := p.mapper
	image, category := textAt(m.top, "image_id"), textAt(m.top, "category_id")
	if image == "" || category == "" {
		return rowFault(pipeline.ReasonInvalidRow, "a COCO result needs the numbers image_id and category_id")
	}
	confidence, err := m.confidence()
	if err != nil {
		return err
	}
	_, b, err := m.where()
	if err != nil {
		return err
	}
	if !slices.Contains(p.results, file) {
		p.results = append(p.results, file)
	}
	at := b.values()
	// The line and the place in it are unique, and tell equal boxes apart.
	return p.box(image, category, nil, confidence, at[0], at[1], at[2], at[3], nil, int64(file), line)
}

// cocoTable names a table of what COCO files hold.
func cocoTable(res *Result, what string) string { return res.Table + "_coco_" + what }

// makeCocoTables makes empty tables for the parts of COCO files. truth is the
// number of the ground truth that a row is from.
func (r *Reader) makeCocoTables(ctx context.Context, res *Result) error {
	return r.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE %s (image_id VARCHAR, category_id VARCHAR, object VARCHAR, confidence DOUBLE, x DOUBLE, y DOUBLE, width DOUBLE, height DOUBLE, crowd BOOLEAN, file BIGINT, line BIGINT);
		CREATE OR REPLACE TABLE %s (truth BIGINT, image_id VARCHAR, asset_id VARCHAR, line BIGINT);
		CREATE OR REPLACE TABLE %s (truth BIGINT, category_id VARCHAR, name VARCHAR)`,
		query.Ident(cocoTable(res, "boxes")), query.Ident(cocoTable(res, "images")), query.Ident(cocoTable(res, "names"))))
}

// loadCoco adds to res.Table what the COCO files among its manifest say. Ground
// truth gives a row for each annotation, with its id as the object, and a row
// without a value for each picture without one. Results take the pictures and
// categories of the ground truths that Source.Coco names.
func (r *Reader) loadCoco(ctx context.Context, p *pairReader, res *Result) (err error) {
	boxes := cocoTable(res, "boxes")
	defer func() {
		for _, t := range []string{"boxes", "images", "names"} {
			err = errors.Join(err, r.db.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+query.Ident(cocoTable(res, t))))
		}
	}()
	if len(p.results) > 0 {
		if err := r.cocoNames(ctx, p.source, res); err != nil {
			return fmt.Errorf("manifest %s: %w", res.Files[p.results[0]], err)
		}
		if err := r.joinCoco(ctx, res, "true", false); err != nil {
			return err
		}
	}
	for _, i := range p.truths {
		if err := r.makeCocoTables(ctx, res); err != nil {
			return err
		}
		err := r.db.Append(ctx, boxes, func(add func(...any) error) error {
			return r.readCoco(ctx, p.found, p.files[i], int64(i), res, p.count, add)
		})
		if err != nil {
			return fmt.Errorf("manifest %s: %w", res.Files[i], err)
		}
		if err := r.joinCoco(ctx, res, fmt.Sprintf("truth = %d", i), p.kind == Labels); err != nil {
			return err
		}
	}
	return nil
}

// cocoNames loads the pictures and categories of the ground truths of a source.
func (r *Reader) cocoNames(ctx context.Context, src Source, res *Result) error {
	n := int64(0)
	for _, m := range src.Coco {
		f, err := r.find(ctx, Source{Manifest: m, MaxLine: src.MaxLine, Fields: src.Fields})
		var none *NoMatchError
		if errors.As(err, &none) {
			continue
		}
		if err != nil {
			return err
		}
		if f.glob != nil {
			continue
		}
		for _, o := range f.files {
			is, err := f.isCoco(ctx, o)
			if err == nil && is {
				n++
				err = r.readCoco(ctx, f, o, n, res, func(int64) {}, nil)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", m, err)
			}
		}
	}
	if n == 0 {
		return pipeline.Usagef("these are COCO results, whose numbers only a COCO ground truth explains; name one with coco: in the config, or list it under labels:")
	}
	return nil
}

// joinCoco gives the staged boxes the names of their pictures and categories.
// Those of pictures or categories that are not listed, or that several ground
// truths name differently, are rejects.
func (r *Reader) joinCoco(ctx context.Context, res *Result, truth string, empty bool) error {
	boxes, images, names, joined := query.Ident(cocoTable(res, "boxes")), query.Ident(cocoTable(res, "images")), query.Ident(cocoTable(res, "names")), query.Ident(cocoTable(res, "joined"))
	err := r.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE %[1]s AS
			WITH i AS (SELECT image_id, min(asset_id) AS asset_id, count(DISTINCT asset_id) AS n FROM %[2]s WHERE %[4]s GROUP BY image_id),
				c AS (SELECT category_id, min(name) AS name, count(DISTINCT name) AS n FROM %[3]s WHERE %[4]s GROUP BY category_id)
			SELECT b.*, i.asset_id, c.name, CASE
					WHEN i.n IS NULL THEN 'image_id ' || b.image_id || ' is none of the images of the COCO ground truth'
					WHEN i.n > 1 THEN 'image_id ' || b.image_id || ' is another image in each of several COCO ground truths; name the right one with coco:'
					WHEN c.n IS NULL THEN 'category_id ' || b.category_id || ' is none of the categories of the COCO ground truth'
					WHEN c.n > 1 THEN 'category_id ' || b.category_id || ' is another category in each of several COCO ground truths; name the right one with coco:' END AS bad,
				row_number() OVER (PARTITION BY b.image_id, b.file ORDER BY b.line, b.category_id, b.x, b.y, b.width, b.height, b.confidence) AS nth
			FROM (FROM %[5]s WHERE category_id IS NOT NULL) b LEFT JOIN i USING (image_id) LEFT JOIN c USING (category_id);
		INSERT INTO %[6]s SELECT asset_id, file, line, %[7]s, coalesce('annotation ' || object || ': ', '') || bad FROM %[1]s WHERE bad IS NOT NULL;
		INSERT INTO %[8]s SELECT asset_id, name, confidence, coalesce(object, nth::VARCHAR), x, y, width, height, crowd, NULL, true, file, line FROM %[1]s WHERE bad IS NULL`,
		joined, images, names, truth, boxes, query.Ident(res.Rejects), query.Literal(pipeline.ReasonInvalidRow), query.Ident(res.Table)))
	if err == nil && empty {
		err = r.db.Exec(ctx, fmt.Sprintf(`INSERT INTO %s SELECT asset_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true, truth, line
			FROM %s i WHERE %s AND NOT EXISTS (FROM %s b WHERE b.image_id = i.image_id)`, query.Ident(res.Table), images, truth, boxes))
	}
	return errors.Join(err, r.db.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+joined))
}

// readCoco reads a COCO ground truth in one pass, whatever the order of its parts
// and however long it is: images and categories into their tables, as those of
// ground truth number truth, and annotations through add, if any.
func (r *Reader) readCoco(ctx context.Context, f *found, o store.Object, truth int64, res *Result, count func(int64), add func(...any) error) (err error) {
	in, _, err := f.st.NewReader(ctx, o.Key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	br, err := maybeGzip(in)
	if err != nil {
		return err
	}
	c := &cocoReader{r: br, line: 1, most: f.source.maxLine()}
	return r.db.Append(ctx, cocoTable(res, "images"), func(image func(...any) error) error {
		return r.db.Append(ctx, cocoTable(res, "names"), func(name func(...any) error) error {
			return r.db.Append(ctx, res.Rejects, func(reject func(...any) error) error {
				p := cocoPart{truth: truth, idField: f.source.Fields["asset_id"], image: image, name: name, add: add}
				n := int64(0)
				return c.each(func(key string, rec record) error {
					if n++; n%1024 == 0 {
						count(1024)
						if ctx.Err() != nil {
							return context.Cause(ctx)
						}
					}
					err := p.element(key, rec)
					var fault *pipeline.RowError
					if !errors.As(err, &fault) {
						return err
					}
					if add == nil { // where the file is read as labels, its faults are listed
						return nil
					}
					if err := p.refused(key); err != nil {
						return err
					}
					reason, text := faultText(fault)
					return reject(nil, truth, rec.line, reason, text)
				})
			})
		})
	})
}

// cocoPart takes in the elements of a COCO file.
type cocoPart struct {
	truth   int64
	idField string // the member of images that is the asset_id; "" for the usual ones
	image   func(...any) error
	name    func(...any) error
	add     func(...any) error
	buf     []jsonMember
}

func (p *cocoPart) element(key string, rec record) error {
	p.buf = p.buf[:0]
	if key == "annotations" && p.add == nil {
		return nil
	}
	what := map[string]string{"images": "image", "annotations": "annotation", "categories": "category"}[key]
	switch {
	case rec.err == errTooLong:
		return rowFault(pipeline.ReasonLineTooLong, "this one of the %s is too long and was passed over; raise limits.line if it is right", key)
	case rec.err != nil:
		return fmt.Errorf("line %d: %s: %w", rec.line, key, rec.err)
	case !utf8.Valid(rec.data):
		return rowFault(pipeline.ReasonInvalidUTF8, "%s: byte %d is not valid UTF-8", what, badByte(rec.data))
	}
	var err error
	if p.buf, err = members(rec.data, p.buf[:0]); err != nil {
		return rowFault(pipeline.ReasonInvalidRow, "%s: %w", what, err)
	}
	id := textAt(p.buf, "id")
	if id == "" && key != "annotations" {
		return rowFault(pipeline.ReasonInvalidRow, "one of the %s has no id", key)
	}
	switch key {
	case "images":
		names := []string{"asset_id", "global_key", "file_name"}
		if p.idField != "" {
			names = []string{p.idField}
		}
		asset := objectID(p.buf, names...)
		if asset == nil {
			return rowFault(pipeline.ReasonMissingID, "image %s has no %s", id, strings.Join(names, ", "))
		}
		return p.image(p.truth, id, asset, rec.line)
	case "categories":
		name := textAt(p.buf, "name")
		if strings.TrimSpace(name) == "" {
			return rowFault(pipeline.ReasonInvalidRow, "category %s has no name", id)
		}
		return p.name(p.truth, id, name)
	}
	return p.annotation(id, rec.line)
}

// refused stages an annotation that cannot be read, where its picture can.
func (p *cocoPart) refused(key string) error {
	image := textAt(p.buf, "image_id")
	if key != "annotations" || image == "" {
		return nil
	}
	return p.add(image, nil, nil, nil, nil, nil, nil, nil, nil, p.truth, nil)
}

func (p *cocoPart) annotation(id string, line int64) error {
	fail := func(format string, args ...any) error {
		return rowFault(pipeline.ReasonInvalidRow, "annotation %s: %w", id, fmt.Errorf(format, args...))
	}
	image, category := textAt(p.buf, "image_id"), textAt(p.buf, "category_id")
	if image == "" || category == "" {
		return fail("it needs the numbers image_id and category_id")
	}
	var object any
	if id != "" {
		object = id
	}
	var b *box
	if raw := memberOf(p.buf, "bbox"); raw != nil && raw[0] != 'n' && string(raw) != "[]" {
		var err error
		if b, err = boxOf(raw); err == nil {
			err = b.check()
		}
		if err != nil {
			return fail("bbox: %w", err)
		}
	}
	var confidence any
	if s := textAt(p.buf, "score"); s != "" {
		c, err := share(s)
		if err != nil {
			return fail("score: %w", err)
		}
		confidence = c
	}
	crowd := textAt(p.buf, "iscrowd") == "1"
	at := b.values()
	return p.add(image, category, object, confidence, at[0], at[1], at[2], at[3], crowd, p.truth, line)
}

// cocoReader takes a JSON object apart whose large members are lists.
type cocoReader struct {
	r    *bufio.Reader
	line int64
	most int64
}

// each hands on the elements of images, annotations and categories.
func (c *cocoReader) each(fn func(key string, rec record) error) error {
	if head, _ := c.r.Peek(3); bytes.Equal(head, byteOrderMark) {
		_, _ = c.r.Discard(3)
	}
	if b, err := c.token(); err != nil || b != '{' {
		return c.fault(err, "a COCO file is one object")
	}
	for {
		b, err := c.token()
		if err == nil && b == '}' {
			return nil
		}
		if err != nil || b != '"' {
			return c.fault(err, "a name in quotes is missing")
		}
		key, err := c.name()
		if err != nil {
			return err
		}
		if b, err = c.token(); err != nil || b != ':' {
			return c.fault(err, "a colon is missing after %q", key)
		}
		if b, err = c.token(); err != nil {
			return c.fault(err, "the value of %q is missing", key)
		}
		if err := c.r.UnreadByte(); err != nil {
			return err
		}
		if (key == "images" || key == "annotations" || key == "categories") && b == '[' {
			if err := c.list(key, fn); err != nil {
				return err
			}
		} else if err := c.skip(); err != nil {
			return c.fault(err, "the value of %q does not end", key)
		}
		switch b, err = c.token(); {
		case err == nil && b == '}':
			return nil
		case err != nil || b != ',':
			return c.fault(err, "a comma is missing after the value of %q", key)
		}
	}
}

func (c *cocoReader) fault(err error, format string, args ...any) error {
	if err != nil && err != io.EOF {
		return fmt.Errorf("line %d: %w", c.line, err)
	}
	what := fmt.Sprintf(format, args...)
	if err == io.EOF {
		what = "the file ends too early; write it anew"
	}
	return pipeline.Usagef("line %d: %s", c.line, what)
}

// token is the next character that is no white space.
func (c *cocoReader) token() (byte, error) {
	for {
		b, err := c.r.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case b == '\n':
			c.line++
		case b != ' ' && b != '\t' && b != '\r':
			return b, nil
		}
	}
}

// name reads the rest of a string, up to 200 bytes.
func (c *cocoReader) name() (string, error) {
	raw := []byte{'"'}
	for {
		b, err := c.r.ReadByte()
		if err != nil || len(raw) > maxMetaName {
			return "", c.fault(err, "a name does not end")
		}
		raw = append(raw, b)
		if b == '"' && raw[len(raw)-2] != '\\' {
			return unquote(raw)
		}
	}
}

// list hands on the elements of a list.
func (c *cocoReader) list(key string, fn func(string, record) error) error {
	a := newArrayReader(c.r, c.most)
	a.line = c.line
	defer func() { c.line = a.line }()
	for {
		rec, err := a.next()
		if err == io.EOF {
			return nil
		}
		if err == nil && rec.err == errOpenArray {
			c.line = a.line
			return c.fault(io.EOF, "")
		}
		if err == nil {
			err = fn(key, rec)
		}
		if err != nil {
			return err
		}
	}
}

// skip passes over a value. The character after it stays unread.
func (c *cocoReader) skip() error {
	var at nesting
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return err
		}
		if at.depth == 0 && !at.text && (b == '}' || b == ',' || b == ']') {
			return c.r.UnreadByte()
		}
		at.ends(b)
		if b == '\n' {
			c.line++
		}
	}
}
