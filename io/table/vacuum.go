package table

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// VacuumOptions says what Vacuum may delete.
type VacuumOptions struct {
	// Age is how long an object must have been without use; default, and least,
	// a day, since a younger one may belong to a commit that is on its way.
	Age    time.Duration
	Keep   []int64 // versions whose files stay
	DryRun bool    // only count

	now time.Time // for tests
}

// Vacuumed says what Vacuum deleted or, in a dry run, would delete.
type Vacuumed struct {
	Paths []string // sorted
	Bytes int64
	Temps int // unfinished local files of killed writers
}

const vacuumAge = 24 * time.Hour

// Vacuum deletes the data files that neither the newest version nor one of
// o.Keep needs, and that have been unused for o.Age: since their removal from
// the table, or since they were written when no version has them. It looks
// only into the table's root and into folders that hold files of those
// versions; whatever else lies under the root is not the table's. Older
// versions that are not kept can no longer be read in full.
func (t *Table) Vacuum(ctx context.Context, o VacuumOptions) (Vacuumed, error) {
	out, err := t.vacuum(ctx, o)
	if err != nil {
		return out, fmt.Errorf("vacuum table %s: %w", t.name, err)
	}
	return out, nil
}

func (t *Table) vacuum(ctx context.Context, o VacuumOptions) (out Vacuumed, err error) {
	if o.now.IsZero() {
		o.now = time.Now()
	}
	o.Age = max(o.Age, vacuumAge)
	before := o.now.Add(-o.Age)
	st, err := t.load(ctx, Latest)
	if err != nil || st.version < 0 {
		return out, err
	}
	keep, dirs := map[string]bool{}, map[string]bool{"": true}
	hold := func(p string, needed bool) {
		keep[p] = keep[p] || needed
		dirs[dirOf(p)] = true
	}
	for p := range st.files {
		hold(p, true)
	}
	for p, r := range st.removed {
		hold(p, r.DeletionTimestamp != nil && !time.UnixMilli(*r.DeletionTimestamp).Before(before))
	}
	for _, v := range o.Keep {
		old, err := t.load(ctx, v)
		if err != nil {
			return out, fmt.Errorf("version %d, which is to be kept: %w", v, err)
		}
		for p := range old.files {
			hold(p, true)
		}
	}
	for dir := range dirs {
		if err := t.sweepDir(ctx, dir, before, keep, &out); err != nil {
			return out, err
		}
	}
	slices.Sort(out.Paths)
	if o.DryRun {
		return out, nil
	}
	for _, p := range out.Paths {
		if err := t.s.Delete(ctx, p); err != nil {
			return out, err
		}
	}
	out.Temps, err = t.s.Sweep(ctx, o.Age)
	return out, err
}

// sweepDir collects the Parquet files of one folder that nothing needs.
func (t *Table) sweepDir(ctx context.Context, dir string, before time.Time, keep map[string]bool, out *Vacuumed) error {
	for obj, err := range t.s.ListDir(ctx, dir) {
		if err != nil {
			return err
		}
		if obj.IsDir || keep[obj.Key] || !obj.ModTime.Before(before) || !strings.HasSuffix(obj.Key, ".parquet") {
			continue
		}
		out.Paths = append(out.Paths, obj.Key)
		out.Bytes += obj.Size
	}
	return nil
}

func dirOf(p string) string {
	if d := path.Dir(p); d != "." {
		return d + "/"
	}
	return ""
}
