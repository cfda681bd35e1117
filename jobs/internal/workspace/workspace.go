// Package workspace opens a workspace for a job: the bucket prefix, its tables
// by name, its lock, and one DuckDB database for the relational work.
//
// This file is the only place that knows where things stand in the bucket.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"

	"winnow/configs"
	"winnow/io/query"
	"winnow/io/store"
	"winnow/io/table"
	"winnow/jobs/internal/job"
	"winnow/models"
	"winnow/pipeline"
)

// Roots of the tables and folders of a workspace.
const (
	AssetsRoot      = "assets"
	RejectsRoot     = "rejects"
	LabelsRoot      = "labels"
	PredictionsRoot = "predictions"
	// BatchedRoot is the Delta table of every row ever batched. It stands beside
	// batches/ and not inside, so that a VACUUM by another tool, which deletes
	// what its table does not name, never takes the files of a batch.
	BatchedRoot = "batched"
	BatchesDir  = "batches"
	lockName    = "workspace"
)

// EmbeddingRoot is the table of one embedding under one model fingerprint.
func EmbeddingRoot(name, fingerprint string) string {
	return "embeddings/" + name + "/" + fingerprint
}

// ScoresRoot is the table of the scores over one embedding.
func ScoresRoot(embedding string) string { return "scores/" + embedding }

// NeighborsRoot is the table of the nearest rows of each row of an embedding.
func NeighborsRoot(name, fingerprint string) string { return "neighbors/" + name + "/" + fingerprint }

// IndexDir is the folder of the indexes of one embedding.
func IndexDir(embedding string) string { return "indexes/" + embedding }

// StatsDir is the folder of the statistics and fitted functions of one embedding.
func StatsDir(embedding, fingerprint string) string {
	return "stats/" + embedding + "/" + fingerprint
}

// RunDir is the folder of what a run read, wrote and rejected.
func RunDir(run string) string { return "runs/" + run }

// Workspace is an open workspace.
type Workspace struct {
	App    *job.App
	Config *configs.Config
	Store  *store.Store
	Cache  string // folder for copies of remote objects

	specs   map[string]*models.Spec // by model and decode mode
	current map[string]*Space       // by embedding, until Forget
	live    map[string]*Live        // by embedding and fingerprint, until Forget
	loaded  map[string]int64        // versions of the tables in db, until Forget
	dbMu    sync.Mutex
	db      *query.DB
	dbTemp  string

	fetcherOnce sync.Once
	fetcher     *store.Fetcher
}

// Open loads the config and opens its workspace. Nothing is written yet.
func Open(ctx context.Context, app *job.App) (*Workspace, error) {
	return open(ctx, app, configs.Load)
}

// OpenDraft is Open for those who are about to write a function file; see
// configs.LoadDraft.
func OpenDraft(ctx context.Context, app *job.App) (*Workspace, error) {
	return open(ctx, app, configs.LoadDraft)
}

func open(ctx context.Context, app *job.App, load func(string, func(string) (string, bool), ...configs.Check) (*configs.Config, error)) (*Workspace, error) {
	checks, done, err := Checks(ctx)
	if err != nil {
		return nil, err
	}
	cfg, err := load(app.Globals.Config, app.Getenv, checks...)
	done()
	if err != nil {
		return nil, err
	}
	return OpenConfig(ctx, app, cfg)
}

// OpenConfig opens the workspace of a config that is loaded already.
func OpenConfig(ctx context.Context, app *job.App, cfg *configs.Config) (*Workspace, error) {
	if err := CheckName("--run", app.Run); err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, cfg.Workspace)
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir(app.Cache)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Workspace{App: app, Config: cfg, Store: s, Cache: cache}, nil
}

// CheckName refuses what cannot name a folder on every store; flag is what the
// user named it by. An empty name is fine.
func CheckName(flag, name string) error {
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._:+-", c)) {
			return pipeline.Usagef("%s %q: use letters, digits and . _ : + - only, since it names a folder", flag, name)
		}
	}
	if strings.HasPrefix(name, ".") || len(name) > 100 {
		return pipeline.Usagef("%s %q: at most 100 characters, not beginning with a dot", flag, name)
	}
	return nil
}

func cacheDir(dir string) (string, error) {
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			base = os.TempDir() // a pod without HOME
		}
		dir = filepath.Join(base, "winnow")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cache folder: %w; name another with --cache", err)
	}
	return dir, nil
}

// Close frees what the workspace holds.
func (w *Workspace) Close() error {
	var err error
	if w.db != nil {
		err = errors.Join(w.db.Close(), os.RemoveAll(w.dbTemp))
	}
	if w.fetcher != nil {
		err = errors.Join(err, w.fetcher.Close())
	}
	return errors.Join(err, w.Store.Close())
}

// Table opens a table of the workspace.
func (w *Workspace) Table(root string) *table.Table { return table.Open(w.Store, root) }

// Snapshot reads the newest version of a table.
func (w *Workspace) Snapshot(ctx context.Context, root string) (*table.Snapshot, error) {
	return w.Table(root).Snapshot(ctx, table.Latest)
}

// DB is the workspace's database, opened at its first use. It lives in a
// temporary folder and spills there.
func (w *Workspace) DB(ctx context.Context) (*query.DB, error) {
	w.dbMu.Lock()
	defer w.dbMu.Unlock()
	if w.db != nil {
		return w.db, nil
	}
	dir, err := os.MkdirTemp("", "winnow-")
	if err != nil {
		return nil, err
	}
	db, err := query.Open(ctx, query.Options{Dir: dir, MemoryLimit: w.Config.Limits.Memory.String()})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	w.db, w.dbTemp = db, dir
	return db, nil
}

// Release gives the database and its memory back, with all that was read into it.
// It is made anew when it is asked for. Stages whose tasks need none call it once
// they have planned.
func (w *Workspace) Release() error {
	w.Forget()
	w.dbMu.Lock()
	defer w.dbMu.Unlock()
	if w.db == nil {
		return nil
	}
	err := errors.Join(w.db.Close(), os.RemoveAll(w.dbTemp))
	w.db = nil
	debug.FreeOSMemory() // tables of the size of the assets' were read through it
	return err
}

// Locked runs fn while this process holds the workspace's lock. The context of
// fn ends when the lock is lost.
func (w *Workspace) Locked(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	host, _ := os.Hostname()
	lock, err := w.Store.Lock(ctx, lockName, store.LockOptions{
		Holder: fmt.Sprintf("run %s, process %d on %s", w.App.Run, os.Getpid(), host),
		Wait:   w.App.Wait, Break: w.App.BreakLock,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock(context.WithoutCancel(ctx))) }()
	return fn(lock.Context())
}

// Objects is the workspace as the task engine sees it.
func (w *Workspace) Objects() Objects { return Objects{w.Store} }

// Objects adapts a store to task.Objects.
type Objects struct{ s *store.Store }

// Read returns an object's bytes.
func (o Objects) Read(ctx context.Context, key string, limit int64) ([]byte, error) {
	return o.s.Read(ctx, key, limit)
}

// Create puts an object unless it is there.
func (o Objects) Create(ctx context.Context, key string, fn func(io.Writer) error) (bool, error) {
	return o.s.Create(ctx, key, fn)
}

// Missing reports whether err says that a key does not exist.
func (Objects) Missing(err error) bool { return errors.Is(err, store.ErrNotFound) }
