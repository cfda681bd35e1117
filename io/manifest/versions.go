package manifest

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"winnow/io/query"
	"winnow/io/store"
)

// Bounds of the listings that give assets their versions.
const (
	mostDirs    = 256    // of one bucket; more are listed through their common parent
	leastListed = 10_000 // objects of a place, however few assets are in it
	perAsset    = 20     // objects listed for an asset
)

// Unversioned is the version of an asset that nothing tells the version of.
const Unversioned = "none"

// wanted are the assets of one directory that need a version.
type wanted struct {
	dir, query string
	rows       int64
}

// placesOf returns what to list for the rows of a table that have no version yet.
func (r *Reader) placesOf(ctx context.Context, table string) ([]Dir, error) {
	var all []wanted
	err := r.db.Each(ctx, fmt.Sprintf(`
		SELECT regexp_replace(left(uri, length(uri) - length(query)), '[^/]*$', '') AS dir, query, count(*) FROM (
			SELECT uri, CASE WHEN starts_with(uri, 'file:') THEN '' ELSE regexp_extract(uri, '[?][^/?]*=[^/?]*$') END AS query
			FROM %s WHERE version IS NULL AND uri IS NOT NULL AND NOT regexp_matches(uri, '^https?://'))
		GROUP BY ALL ORDER BY ALL`, query.Ident(table)), func(scan func(...any) error) error {
		var w wanted
		if err := scan(&w.dir, &w.query, &w.rows); err != nil {
			return err
		}
		all = append(all, w)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return plan(all), nil
}

// plan turns directories into places to list: each by itself, or, where a bucket
// has too many, what they have in common.
func plan(all []wanted) []Dir {
	byRoot := map[string][]wanted{}
	for _, w := range all {
		root := "file://"
		if !strings.HasPrefix(w.dir, root) {
			scheme, rest, _ := strings.Cut(w.dir, "://")
			host, _, _ := strings.Cut(rest, "/")
			root = scheme + "://" + host + w.query
		}
		byRoot[root] = append(byRoot[root], w)
	}
	var dirs []Dir
	for root, list := range byRoot {
		deep := false
		if len(list) > mostDirs && root != "file://" { // a local parent may hold the whole disk
			one := list[0]
			for _, w := range list[1:] {
				for !strings.HasPrefix(w.dir, one.dir) {
					one.dir = one.dir[:strings.LastIndexByte(strings.TrimSuffix(one.dir, "/"), '/')+1]
				}
				one.rows += w.rows
			}
			list, deep = []wanted{one}, true
		}
		for _, w := range list {
			d := Dir{Root: root, Deep: deep, Most: max(leastListed, perAsset*w.rows)}
			if root == "file://" {
				d.Root = w.dir
			} else {
				_, rest, _ := strings.Cut(w.dir, "://")
				_, d.Prefix, _ = strings.Cut(rest, "/")
			}
			dirs = append(dirs, d)
		}
	}
	sort.Slice(dirs, func(i, j int) bool {
		return dirs[i].Root < dirs[j].Root || dirs[i].Root == dirs[j].Root && dirs[i].Prefix < dirs[j].Prefix
	})
	return dirs
}

// addVersions gives every row of a table its version: the manifest's own, else
// the listing's, else the hash of the text. It returns what was listed.
func (r *Reader) addVersions(ctx context.Context, table string, res *Result) error {
	t := query.Ident(table)
	if err := r.db.Exec(ctx, fmt.Sprintf("UPDATE %s SET version = md5(text) WHERE version IS NULL AND uri IS NULL", t)); err != nil {
		return err
	}
	dirs, err := r.placesOf(ctx, table)
	if err != nil {
		return err
	}
	res.State.Dirs = dirs
	if len(dirs) > 0 {
		listed := table + "_listed"
		if err := r.db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s (uri VARCHAR, version VARCHAR)", query.Ident(listed))); err != nil {
			return err
		}
		err := r.db.Append(ctx, listed, func(add func(...any) error) (err error) {
			res.State.Listing, err = r.list(ctx, dirs, func(uri string, o store.Object) error {
				return add(uri, version(o))
			}, func(w string) { res.Warnings = append(res.Warnings, w) })
			return err
		})
		if err != nil {
			return fmt.Errorf("list the assets of the manifest: %w", err)
		}
		sort.Strings(res.Warnings)
		err = r.db.Exec(ctx, fmt.Sprintf("UPDATE %[1]s AS t SET version = l.version FROM %[2]s l WHERE t.version IS NULL AND t.uri = l.uri; DROP TABLE %[2]s", t, query.Ident(listed)))
		if err != nil {
			return err
		}
	}
	if res.Unversioned, err = r.db.Int(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE version IS NULL", t)); err != nil || res.Unversioned == 0 {
		return err
	}
	return r.db.Exec(ctx, fmt.Sprintf("UPDATE %s SET version = %s WHERE version IS NULL", t, query.Literal(Unversioned)))
}
