package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/pipeline"
)

// readFolder makes a row of every object that a glob of pictures or texts
// matches: its path behind the glob's fixed directory is the id. Texts are read,
// since they are content and no reference to it.
func (r *Reader) readFolder(ctx context.Context, f *found, res *Result, uris *uriMaker, o ReadOptions) error {
	res.Files = []string{f.source.Manifest}
	t := query.Ident(res.Table)
	err := r.db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s (asset_id VARCHAR, uri VARCHAR, text VARCHAR, caption VARCHAR, version VARCHAR, media_type VARCHAR, file BIGINT, line BIGINT)", t))
	if err != nil {
		return err
	}
	n := int64(0)
	h := newHash()
	err = r.db.Append(ctx, res.Table, func(add func(...any) error) error {
		for obj, err := range f.match(ctx) {
			if err != nil {
				return fmt.Errorf("manifest: %w", err)
			}
			noteObject(h, obj)
			rel, _ := f.glob.match(obj.Key)
			uri, err := f.uri(obj.Key)
			if err != nil {
				continue // nothing could fetch it
			}
			if n++; n%1024 == 0 {
				o.Count(1024)
			}
			var at any = uri
			if formOf(obj.Key) == formText {
				at = nil
			}
			if err := add(rel, at, nil, nil, version(obj), nil, int64(0), n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	o.Count(n % 1024)
	if n == 0 {
		return noMatch(f.source.Manifest)
	}
	res.State.Files = sum(h)
	if err := r.checkAllowed(ctx, res, uris); err != nil {
		return err
	}
	return r.readContents(ctx, f, res, o)
}

// checkAllowed rejects what the source lists but does not allow.
func (r *Reader) checkAllowed(ctx context.Context, res *Result, uris *uriMaker) error {
	if uris.all {
		return nil
	}
	resolve, err := r.resolver(ctx, uris)
	if err != nil {
		return err
	}
	bad := fmt.Sprintf("starts_with(%s('', uri), '-')", resolve)
	return r.db.Exec(ctx, fmt.Sprintf(`INSERT INTO %[1]s SELECT asset_id, file, line, split_part(x[2:], '|', 1), x[strpos(x, '|') + 1:]
			FROM (SELECT *, %[3]s('', uri) AS x FROM %[2]s WHERE uri IS NOT NULL) WHERE starts_with(x, '-');
		DELETE FROM %[2]s WHERE uri IS NOT NULL AND %[4]s`, query.Ident(res.Rejects), query.Ident(res.Table), resolve, bad))
}

// textsAtOnce is the number of texts that are fetched at a time.
const textsAtOnce = 16

// content is a text that was fetched.
type content struct {
	id, text string
	fault    *pipeline.RowError
}

// readContents fills in the texts of text files.
func (r *Reader) readContents(ctx context.Context, f *found, res *Result, o ReadOptions) error {
	t, got := query.Ident(res.Table), res.Table+"_texts"
	if o.Known != "" {
		err := r.db.Exec(ctx, fmt.Sprintf("UPDATE %s AS t SET text = k.text FROM %s k WHERE t.uri IS NULL AND k.asset_id = t.asset_id AND k.version = t.version", t, query.Ident(o.Known)))
		if err != nil {
			return err
		}
	}
	todo, err := r.db.Int(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE uri IS NULL AND text IS NULL", t))
	if err != nil || todo == 0 {
		return err
	}
	if err := r.db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s (asset_id VARCHAR, text VARCHAR)", query.Ident(got))); err != nil {
		return err
	}
	err = r.db.Append(ctx, got, func(add func(...any) error) error {
		return r.db.Append(ctx, res.Rejects, func(reject func(...any) error) error {
			batch := make([]content, 0, textsAtOnce)
			flush := func() error {
				if err := f.fetchTexts(ctx, batch); err != nil {
					return err
				}
				for _, c := range batch {
					var err error
					if c.fault != nil {
						reason, text := faultText(c.fault)
						err = reject(c.id, int64(0), int64(0), reason, text)
					} else {
						err = add(c.id, c.text)
					}
					if err != nil {
						return err
					}
				}
				batch = batch[:0]
				return nil
			}
			err := r.db.Each(ctx, fmt.Sprintf("SELECT asset_id FROM %s WHERE uri IS NULL AND text IS NULL ORDER BY asset_id", t), func(scan func(...any) error) error {
				var c content
				if err := scan(&c.id); err != nil {
					return err
				}
				if batch = append(batch, c); len(batch) < textsAtOnce {
					return nil
				}
				return flush()
			})
			if err != nil {
				return err
			}
			return flush()
		})
	})
	if err != nil {
		return err
	}
	return r.db.Exec(ctx, fmt.Sprintf(`UPDATE %[1]s AS t SET text = g.text FROM %[2]s g WHERE t.asset_id = g.asset_id AND t.text IS NULL AND t.uri IS NULL;
		DELETE FROM %[1]s WHERE uri IS NULL AND text IS NULL; DROP TABLE %[2]s`, t, query.Ident(got)))
}

// fetchTexts reads the files of a batch.
func (f *found) fetchTexts(ctx context.Context, batch []content) error {
	g, gctx := errgroup.WithContext(ctx)
	for i := range batch {
		g.Go(func() error {
			c := &batch[i]
			data, err := f.st.Read(gctx, f.glob.dir+c.id, f.source.maxLine())
			data = bytes.TrimPrefix(data, byteOrderMark)
			switch {
			case errors.Is(err, store.ErrTooLarge):
				c.fault = rowFault(pipeline.ReasonTooLarge, "the text has more than %d bytes; raise limits.line if it is right", f.source.maxLine())
			case errors.Is(err, store.ErrNotFound):
				c.fault = rowFault(pipeline.ReasonNotFound, "the file was removed while it was read")
			case err != nil:
				return err
			case len(bytes.TrimSpace(data)) == 0:
				c.fault = rowFault(pipeline.ReasonEmpty, "the text is empty")
			case !utf8.Valid(data):
				c.fault = rowFault(pipeline.ReasonInvalidUTF8, "byte %d is not valid UTF-8; convert the file with: iconv -f LATIN1 -t UTF-8", badByte(data))
			}
			c.text = string(data)
			return nil
		})
	}
	return g.Wait()
}
