package seeded

import (
	"fmt"
	"math"
	"testing"
)

// The values are frozen: a change would reorder every sample ever taken.
func TestHashIsFrozen(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		id   string
		want uint64
	}{
		{0, "", 0x2dd99ecb78651e59}, {0, "fruit-0012", 0xe4097f6a256169f4},
		{1, "fruit-0012", 0x78ef3efff3a12efa}, {math.MaxUint64, "é", 0x2c84ee88181d62a7},
	} {
		if got := Hash(c.seed, c.id); got != c.want {
			t.Errorf("Hash(%d, %q) = %#x, want %#x", c.seed, c.id, got, c.want)
		}
	}
}

func TestHashSpreads(t *testing.T) {
	const n, bins = 64000, 64
	var count [bins]int
	var cross int
	for i := range n {
		id := fmt.Sprintf("asset-%06d", i)
		h := Hash(7, id)
		count[h>>58]++
		if (h > Hash(7, id+"x")) == (Hash(8, id) > Hash(8, id+"x")) {
			cross++
		}
	}
	chi := 0.0
	for _, c := range count {
		d := float64(c) - n/bins
		chi += d * d / (n / bins)
	}
	if chi > 120 { // 63 degrees of freedom: one in 20,000
		t.Errorf("chi² over %d bins = %.1f", bins, chi)
	}
	if math.Abs(float64(cross)/n-0.5) > 0.01 {
		t.Errorf("two seeds agree on the order of %d of %d pairs; want half", cross, n)
	}
}

func TestUnit(t *testing.T) {
	for i := range 1000 {
		a, b := fmt.Sprint(i), fmt.Sprint(i+1)
		u, v := Unit(3, a), Unit(3, b)
		if u <= 0 || u > 1 {
			t.Fatalf("Unit = %v, want (0, 1]", u)
		}
		if (Hash(3, a) < Hash(3, b)) != (u > v) {
			t.Fatalf("Unit does not fall as Hash grows for %s, %s", a, b)
		}
	}
}
