// Package query runs winnow's relational work in DuckDB: reading Parquet and
// manifests of any shape, joins, filters and quantiles, within a memory limit
// beyond which it spills to disk.
//
// A DB is an instance of its own, in memory, with a folder for what it spills.
// Data are loaded into native tables first. Then Lock takes away the access to
// files and the network for good, and expressions that users wrote may be
// evaluated: CheckWhere and BindWhere make sure that they are one expression.
//
// Sessions run in UTC, and results do not depend on the number of threads.
package query

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/duckdb/duckdb-go/v2"
)

// Options of a database. The zero value of each field means its default.
type Options struct {
	Dir         string // a folder is made in it for what is spilled; default: the system's temporary folder
	MemoryLimit string // such as "512MB" or "2GiB"; default 2GB
	Threads     int    // default: GOMAXPROCS
}

// DB is a database. Its methods may be called by many goroutines.
type DB struct {
	sql    *sql.DB
	dir    string
	limit  string
	locked atomic.Bool

	checkMu sync.Mutex
	check   *sql.Conn // its errors are JSON, with the position and candidates
}

// Open makes an empty database.
func Open(ctx context.Context, o Options) (_ *DB, err error) {
	if o.MemoryLimit == "" {
		o.MemoryLimit = "2GB"
	}
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
	}
	dir, err := os.MkdirTemp(o.Dir, "duckdb-")
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db := &DB{dir: dir, limit: o.MemoryLimit}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	c, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.sql = sql.OpenDB(c)
	err = db.Exec(ctx, fmt.Sprintf(`
		SET temp_directory = %s; SET memory_limit = %s; SET threads = %d;
		SET TimeZone = 'UTC'; SET preserve_insertion_order = true;
		SET autoinstall_known_extensions = false; SET autoload_known_extensions = false;
		SET allow_persistent_secrets = false`,
		Literal(dir), Literal(o.MemoryLimit), o.Threads))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if db.check, err = db.sql.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if _, err = db.check.ExecContext(ctx, "SET errors_as_json = true"); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

// Close frees the database and removes its files.
func (db *DB) Close() error {
	var errs []error
	if db.check != nil {
		errs = append(errs, db.check.Close())
	}
	if db.sql != nil {
		errs = append(errs, db.sql.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(db.dir))...)
}

// Dir is a folder for temporary files that lives as long as the database.
func (db *DB) Dir() string { return db.dir }

// Lock takes away, for good, the access to files and the network, the loading
// of extensions, and every way to get them back. Native tables stay, views of
// files do not work any more, and what exceeds the memory limit still spills.
func (db *DB) Lock(ctx context.Context) error {
	if err := db.Exec(ctx, "SET enable_external_access = false; SET lock_configuration = true"); err != nil {
		return fmt.Errorf("lock database: %w", err)
	}
	db.locked.Store(true)
	return nil
}

// Locked reports whether Lock has been called.
func (db *DB) Locked() bool { return db.locked.Load() }

// Exec runs one or more statements, separated by semicolons. Arguments belong
// to the last one. It returns the cause of ctx when that ends first.
func (db *DB) Exec(ctx context.Context, statements string, args ...any) error {
	_, err := db.sql.ExecContext(ctx, statements, args...)
	return db.fail(ctx, err)
}

// Query runs one statement that returns rows, which the caller closes.
func (db *DB) Query(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	rows, err := db.sql.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, db.fail(ctx, err)
	}
	return rows, nil
}

// Each runs a statement and calls row for every row of its result. It ends at
// the first error of row.
func (db *DB) Each(ctx context.Context, statement string, row func(scan func(dest ...any) error) error, args ...any) (err error) {
	rows, err := db.Query(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = db.fail(ctx, cerr)
		}
	}()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return db.fail(ctx, rows.Err())
}

// Row scans the one row of a statement's result into dest. No row is
// sql.ErrNoRows.
func (db *DB) Row(ctx context.Context, statement string, dest []any, args ...any) error {
	err := db.sql.QueryRowContext(ctx, statement, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return db.fail(ctx, err)
}

// Int returns the one number of a statement's result, 0 for NULL.
func (db *DB) Int(ctx context.Context, statement string, args ...any) (int64, error) {
	var n sql.NullInt64
	err := db.Row(ctx, statement, []any{&n}, args...)
	return n.Int64, err
}

// Column returns the first column of a statement's result. T is what
// database/sql scans into: string, int64, float64, …
func Column[T any](ctx context.Context, db *DB, statement string, args ...any) ([]T, error) {
	var out []T
	err := db.Each(ctx, statement, func(scan func(...any) error) error {
		var v T
		if err := scan(&v); err != nil {
			return err
		}
		out = append(out, v)
		return nil
	}, args...)
	return out, err
}

// Append adds rows to a table, in order: fn calls add with one value for each
// column of the table. Nothing is added when fn fails.
func (db *DB) Append(ctx context.Context, table string, fn func(add func(values ...any) error) error) (err error) {
	conn, err := db.sql.Conn(ctx)
	if err != nil {
		return db.fail(ctx, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return db.fail(ctx, err)
	}
	err = conn.Raw(func(raw any) error {
		c, ok := raw.(*duckdb.Conn)
		if !ok {
			return fmt.Errorf("append to %s: the connection is a %T", table, raw)
		}
		a, err := duckdb.NewAppenderFromConn(c, "", table)
		if err != nil {
			return err
		}
		n := 0
		ferr := fn(func(values ...any) error {
			if n++; n%1024 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			row := make([]driver.Value, len(values))
			for i, v := range values {
				row[i] = v
			}
			return a.AppendRow(row...)
		})
		return errors.Join(ferr, a.Close())
	})
	// The transaction ends even when ctx has ended.
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	_, eerr := conn.ExecContext(context.WithoutCancel(ctx), end)
	if err == nil {
		err = eerr
	}
	return db.fail(ctx, err)
}

// fail makes an error of DuckDB one for people: the cause of ctx when that
// ended it, what to do where that is known, and never a whole line of data.
func (db *DB) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var de *duckdb.Error
	if !errors.As(err, &de) {
		return err
	}
	msg := shorten(de.Msg, 1500)
	switch {
	case strings.Contains(de.Msg, "Out of Memory") || de.Type == duckdb.ErrorTypeOutOfMemory:
		msg += fmt.Sprintf("; the database may use %s of memory and spills to %s: raise limits.memory, or give that disk more space", db.limit, db.dir)
	case db.Locked() && de.Type == duckdb.ErrorTypePermission:
		msg += "; the database is locked: load what is needed before Lock"
	}
	return &Error{Type: de.Type, msg: msg, err: err}
}

// Error is an error of DuckDB.
type Error struct {
	Type duckdb.ErrorType
	msg  string
	err  error
}

func (e *Error) Error() string { return e.msg }

func (e *Error) Unwrap() error { return e.err }

// shorten cuts the middle out of a long message: DuckDB quotes whole lines.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head, tail := s[:most/2], s[len(s)-most/2:]
	return strings.ToValidUTF8(head, "") + " … " + strings.ToValidUTF8(tail, "")
}

// Ident quotes a name of a table or column.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal quotes a string.
func Literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Literals quotes strings as a list: ['a', 'b'].
func Literals(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = Literal(s)
	}
	return "[" + strings.Join(q, ", ") + "]"
}
