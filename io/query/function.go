package query

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/duckdb/duckdb-go/v2"
)

// Function registers a function of texts under a new name. It is called from
// several threads, and not for rows where an argument is NULL: they give NULL.
// Equal arguments give equal results.
func (db *DB) Function(ctx context.Context, name string, args int, fn func(args []string) string) (err error) {
	conn, err := db.sql.Conn(ctx)
	if err != nil {
		return db.fail(ctx, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	text, err := duckdb.NewTypeInfo(duckdb.TYPE_VARCHAR)
	if err != nil {
		return err
	}
	f := &textFunction{fn: fn, config: duckdb.ScalarFuncConfig{ResultTypeInfo: text}}
	for range args {
		f.config.InputTypeInfos = append(f.config.InputTypeInfos, text)
	}
	return db.fail(ctx, duckdb.RegisterScalarUDF(conn, name, f))
}

type textFunction struct {
	config duckdb.ScalarFuncConfig
	fn     func(args []string) string
}

func (f *textFunction) Config() duckdb.ScalarFuncConfig { return f.config }

func (f *textFunction) Executor() duckdb.ScalarFuncExecutor {
	return duckdb.ScalarFuncExecutor{RowExecutor: func(values []driver.Value) (any, error) {
		args := make([]string, len(values))
		for i, v := range values {
			s, ok := v.(string)
			if !ok {
				return nil, errors.New("the function takes texts only")
			}
			args[i] = s
		}
		return f.fn(args), nil
	}}
}
