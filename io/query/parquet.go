package query

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Parquet returns the table expression that reads local Parquet files as one
// table: the union of their columns by name, NULL where a file lacks one. The
// columns `filename` and `file_row_number` (from 0) tell where a row stands.
func Parquet(paths []string) string {
	return fmt.Sprintf("read_parquet(%s, union_by_name = true, filename = true, file_row_number = true, hive_partitioning = false)", Literals(paths))
}

// View makes a view of local Parquet files. The files must stay while the view
// is used, and Lock ends it.
func (db *DB) View(ctx context.Context, name string, paths []string) error {
	return db.load(ctx, "VIEW", name, paths)
}

// Load copies local Parquet files into a native table.
func (db *DB) Load(ctx context.Context, name string, paths []string) error {
	return db.load(ctx, "TABLE", name, paths)
}

func (db *DB) load(ctx context.Context, kind, name string, paths []string) error {
	if len(paths) == 0 {
		return errors.New("load Parquet files: there are none")
	}
	err := db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE %s %s AS SELECT * EXCLUDE (filename, file_row_number) FROM %s", kind, Ident(name), Parquet(paths)))
	if err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	return nil
}

// rowGroup is the number of rows of a row group: small enough that reading a
// few rows of one is cheap.
const rowGroup = 65536

// Copy writes the result of a SELECT to a new local Parquet file and returns
// its number of rows. The same rows in the same order give the same bytes, so
// the SELECT has an ORDER BY that leaves no ties. On failure no file is left.
func (db *DB) Copy(ctx context.Context, selection, path string) (rows int64, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write Parquet file: %w", err), remove(path))
		}
	}()
	res, err := db.sql.ExecContext(ctx, fmt.Sprintf("COPY (%s) TO %s (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE %d, PER_THREAD_OUTPUT false)", selection, Literal(path), rowGroup))
	if err != nil {
		return 0, db.fail(ctx, err)
	}
	return res.RowsAffected()
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// ColumnInfo is a column of a table or a result.
type ColumnInfo struct {
	Name string
	Type Type
}

// Columns describes a table, a view or a parenthesised SELECT.
func (db *DB) Columns(ctx context.Context, from string) ([]ColumnInfo, error) {
	if !strings.HasPrefix(strings.TrimSpace(from), "(") && !strings.Contains(from, "(") {
		from = Ident(from)
	}
	var cols []ColumnInfo
	err := db.Each(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+from+")", func(scan func(...any) error) error {
		var name, typ string
		if err := scan(&name, &typ); err != nil {
			return err
		}
		t, err := ParseType(typ)
		if err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
		cols = append(cols, ColumnInfo{name, t})
		return nil
	})
	return cols, err
}

// Quantiles returns, for each q in [0, 1], the smallest value of a numeric
// expression over a table that has at least that share of the rows at or below
// it. NULLs do not count; without rows all are 0 and n is 0.
func (db *DB) Quantiles(ctx context.Context, table, expr string, qs []float64) (values []float64, n int64, err error) {
	list := make([]string, len(qs))
	dest := make([]any, len(qs)+1)
	values = make([]float64, len(qs))
	for i, q := range qs {
		if q < 0 || q > 1 {
			return nil, 0, fmt.Errorf("quantile %v is not in [0, 1]", q)
		}
		list[i] = fmt.Sprintf("coalesce(quantile_disc((%s)::DOUBLE, %v), 0)", expr, q)
		dest[i] = &values[i]
	}
	dest[len(qs)] = &n
	err = db.Row(ctx, fmt.Sprintf("SELECT %s FROM %s", strings.Join(append(list, fmt.Sprintf("count(%s)", expr)), ", "), Ident(table)), dest)
	return values, n, err
}

// Histogram counts the values of a numeric expression over a table in buckets
// of equal width between low and high; what lies outside falls into the first
// or last. NULL and NaN do not count.
func (db *DB) Histogram(ctx context.Context, table, expr string, low, high float64, buckets int) ([]int64, error) {
	if buckets < 1 || !(low < high) {
		return nil, fmt.Errorf("histogram of %d buckets from %v to %v", buckets, low, high)
	}
	counts := make([]int64, buckets)
	err := db.Each(ctx, fmt.Sprintf(`
		SELECT CASE WHEN x < %[3]v THEN 0 WHEN x >= %[4]v THEN %[5]d - 1
			ELSE least(%[5]d - 1, floor((x - %[3]v) / (%[4]v - %[3]v) * %[5]d)::BIGINT) END AS bucket, count(*)
		FROM (SELECT (%[1]s)::DOUBLE AS x FROM %[2]s) WHERE x IS NOT NULL AND NOT isnan(x) GROUP BY bucket`,
		expr, Ident(table), low, high, buckets),
		func(scan func(...any) error) error {
			var b, n int64
			if err := scan(&b, &n); err != nil {
				return err
			}
			counts[b] = n
			return nil
		})
	return counts, err
}
