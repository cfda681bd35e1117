package workspace

import (
	"context"
	"fmt"
	"sort"
)

// Numbers tells where the live rows stand that are numbered from 0 in the order of
// IDs.
type Numbers struct {
	l     *Live
	first []int64 // number of each file's first live row
}

// Numbers numbers the live rows.
func (l *Live) Numbers() *Numbers {
	n := &Numbers{l: l, first: make([]int64, len(l.Files)+1)}
	for i, f := range l.Files {
		n.first[i+1] = n.first[i] + f.Live
	}
	return n
}

// Place is the file of a row, and its row there.
func (n *Numbers) Place(number int64) (file int, row int64) {
	file = sort.Search(len(n.l.Files), func(i int) bool { return n.first[i+1] > number })
	row = number - n.first[file]
	if only := n.l.Files[file].Only; only != nil {
		row = only[row]
	}
	return file, row
}

// Read streams the vectors of some rows, given by ascending numbers. at is the
// place in numbers of the block's first row; the block is used again once fn
// returns.
func (n *Numbers) Read(ctx context.Context, numbers []int32, fn func(at int, vectors []float32) error) error {
	for at := 0; at < len(numbers); {
		file, row := n.Place(int64(numbers[at]))
		rows := []int64{row}
		for next := at + 1; next < len(numbers) && int64(numbers[next]) < n.first[file+1]; next++ {
			_, row = n.Place(int64(numbers[next]))
			rows = append(rows, row)
		}
		got := 0
		err := n.l.RowsOf(ctx, file, rows, func(ids []string, vectors []float32) error {
			err := fn(at+got, vectors)
			got += len(ids)
			return err
		})
		if err == nil && got != len(rows) {
			err = fmt.Errorf("%s/%s gave %d of %d rows", n.l.Root, n.l.Files[file].Path, got, len(rows))
		}
		if err != nil {
			return err
		}
		at += len(rows)
	}
	return nil
}
