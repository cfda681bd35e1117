package curate

// bound is an upper bound of a position's gain.
type bound struct {
	gain float64
	at   int32
}

func (a bound) before(b bound) bool {
	return a.gain > b.gain || a.gain == b.gain && a.at < b.at
}

// gainHeap has the largest gain first.
type gainHeap []bound

// order makes a heap of bounds in any order.
func (h gainHeap) order() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

func (h *gainHeap) push(x bound) {
	*h = append(*h, x)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *gainHeap) pop() bound {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	*h = s
	s.sink(0)
	return top
}

func (h gainHeap) sink(i int) {
	for {
		first := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].before(h[first]) {
				first = c
			}
		}
		if first == i {
			return
		}
		h[i], h[first] = h[first], h[i]
		i = first
	}
}
