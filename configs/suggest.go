package configs

import (
	"slices"
	"strings"
)

// nearest returns the candidate that word was most likely meant to be, or "".
// Up to a third of the letters may be wrong, missing, doubled or swapped; one of
// a short word.
func nearest(word string, candidates []string) string {
	letters := len([]rune(word))
	best, bestCost := "", max(min(letters, 2), letters/3+1)
	w := strings.ToLower(word)
	for _, c := range candidates {
		if cost := editCost([]rune(w), []rune(strings.ToLower(c)), bestCost); cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best
}

// editCost counts the edits from a to b: insert, delete, replace, and swap of
// neighbours. It gives up at limit.
func editCost(a, b []rune, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	older, old := make([]int, len(b)+1), make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			cur[j] = min(old[j]+1, cur[j-1]+1, old[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], older[j-2]+1)
			}
		}
		if slices.Min(cur) >= limit {
			return limit
		}
		older, old, cur = old, cur, older
	}
	return old[len(b)]
}

// oneOf says "a", "a or b", "a, b or c".
func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// meant completes a fix: did you mean X?, and the choices when they are few.
func meant(word string, choices []string, none string) string {
	n := nearest(word, choices)
	switch {
	case len(choices) == 0:
		return none
	case n != "":
		return "did you mean " + n + "?"
	case len(choices) <= 12:
		return "write " + oneOf(choices)
	}
	return none
}

// Unknown reports whether a name is none of the known ones, with what to do.
func Unknown(name string, known []string) (fix string, unknown bool) {
	if contains(known, name) {
		return "", false
	}
	return meant(name, known, "name one of "+oneOf(known)), true
}
