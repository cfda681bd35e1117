package graph

// Union joins rows into groups: a forest in which each row points to a smaller one
// of its group, or to itself. A group's root is its smallest row, whatever the
// order of the joins.
type Union []int32

// NewUnion returns n rows by themselves.
func NewUnion(n int) Union {
	u := make(Union, n)
	for i := range u {
		u[i] = int32(i)
	}
	return u
}

// Find is the smallest row of a row's group.
func (u Union) Find(row int32) int32 {
	for u[row] != row {
		u[row] = u[u[row]]
		row = u[row]
	}
	return row
}

// Join makes one group of two rows' groups, and reports whether they were two.
func (u Union) Join(a, b int32) bool {
	a, b = u.Find(a), u.Find(b)
	if a == b {
		return false
	}
	u[max(a, b)] = min(a, b)
	return true
}

// Groups lists the groups of at least two rows: by their smallest rows, rows
// ascending.
func (u Union) Groups() [][]int32 {
	size := make([]int32, len(u))
	for i := range u {
		size[u.Find(int32(i))]++
	}
	at := make([]int32, len(u)) // number of the group from 1, at its root
	var groups [][]int32
	for i := range u {
		root := u.Find(int32(i))
		if size[root] < 2 {
			continue
		}
		if at[root] == 0 {
			groups = append(groups, make([]int32, 0, size[root]))
			at[root] = int32(len(groups))
		}
		g := &groups[at[root]-1]
		*g = append(*g, int32(i))
	}
	return groups
}
