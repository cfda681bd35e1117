package workspace

import (
	"context"
	"fmt"

	"winnow/io/query"
)

// Uncovered counts the assets that keep an embedding from moving from one space
// to another: those that the new one still has to see. An asset that it could not
// fetch and that has no vector in the old space either is not missed.
func (w *Workspace) Uncovered(ctx context.Context, from, to *Space) (int64, error) {
	old, err := w.LiveIn(ctx, from)
	if err != nil {
		return 0, err
	}
	todo, err := w.todoSQL(ctx, to, New)
	if err != nil {
		return 0, err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return 0, err
	}
	return db.Int(ctx, fmt.Sprintf("SELECT count(*) FROM (%s) t WHERE t.tries = 0 OR EXISTS (FROM %s l WHERE l.asset_id = t.asset_id)", todo, query.Ident(old.Table)))
}

// Lost counts the assets that have a vector in one space and none in the other.
func (w *Workspace) Lost(ctx context.Context, from, to *Space) (int64, error) {
	old, err := w.LiveIn(ctx, from)
	if err != nil {
		return 0, err
	}
	now, err := w.LiveIn(ctx, to)
	if err != nil {
		return 0, err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return 0, err
	}
	return db.Int(ctx, fmt.Sprintf("SELECT count(*) FROM %s o WHERE NOT EXISTS (FROM %s n WHERE n.asset_id = o.asset_id)", query.Ident(old.Table), query.Ident(now.Table)))
}
