package curate

import (
	"fmt"
	"math"
	"strings"
)

// pick describes position k as the pick of the given rank.
func (s *selection) pick(k, rank int) Pick {
	i := s.left[k]
	p := Pick{Index: i, ID: s.r.Candidates[i].ID, Rank: rank, Objective: "priority", Value: s.r.Candidates[i].Score, Closest: -1, Distance: 2}
	if len(s.spaces) > 0 {
		p.Distance = s.spaces[0].distance[k]
		p.Closest = s.spaces[0].nearest(k) // which pick; greedy makes it a candidate
	}
	if len(s.r.Objectives) == 0 {
		p.Reason = fmt.Sprintf("#%d by priority %.4g", rank, p.Value)
		return p
	}
	var names, parts []string
	for n := range s.r.Objectives {
		o := &s.r.Objectives[n]
		names = append(names, o.Name)
		value, part := s.part(o, k)
		if o != s.ordered || len(s.r.Objectives) == 1 {
			parts = append(parts, part)
			p.Value = value
		}
	}
	p.Objective = strings.Join(names, " × ")
	if len(parts) > 1 {
		p.Value = s.product(k)
	}
	p.Reason = fmt.Sprintf("#%d%s", rank, s.why(k, p, strings.Join(parts, " × ")))
	return p
}

// why says in words what a pick was picked by.
func (s *selection) why(k int, p Pick, parts string) string {
	switch {
	case s.lone == nil && s.ordered != nil && len(s.r.Objectives) == 1:
		return " in the order of " + s.ordered.Name
	case s.lone == nil:
		return " by " + parts
	case s.lone.Random != nil:
		return " at random"
	case s.lone.Balance != nil:
		return " for the balance of " + strings.TrimPrefix(parts, "balance of ")
	case s.lone.Diversity == nil:
		return " by " + parts
	case p.Distance >= 2 && s.spaces[0].closest[k] < 0:
		return ": the best to start from"
	case s.spaces[0].rising():
		return fmt.Sprintf(" nearest to picked: %.2f", p.Distance)
	}
	return fmt.Sprintf(" farthest from picked: %.2f", p.Distance)
}

// product is the product of all gains.
func (s *selection) product(k int) float64 {
	g, _ := s.gain(k)
	for _, b := range s.balances {
		if c := b.class(s.left[k]); c >= 0 {
			g += b.gain[c]
		}
	}
	return min(math.Exp(g), math.MaxFloat64)
}

// part is an objective's value of position k, and how a reason states it.
func (s *selection) part(o *Objective, k int) (float64, string) {
	value, text := s.value(o, k)
	if x := o.strength(); x != 1 {
		text += fmt.Sprintf(" (strength %.4g)", x)
	}
	return value, text
}

func (s *selection) value(o *Objective, k int) (float64, string) {
	for _, sp := range s.spaces {
		if sp.o == o {
			return sp.distance[k], fmt.Sprintf("%s %.2f", o.Name, sp.distance[k])
		}
	}
	for _, b := range s.balances {
		if b.o != o {
			continue
		}
		c := b.class(s.left[k])
		if c < 0 {
			return 0, o.Name + " without a class"
		}
		return b.raw(c), fmt.Sprintf("%s %s (%d of %.4g)", o.Name, o.Balance.By.Names[c], b.count[c], b.target[c])
	}
	for _, st := range s.statics {
		switch v := st.value[k]; {
		case st.o != o:
		case o.Random != nil:
			return v, "random"
		case math.IsNaN(v):
			return v, o.Name + " unknown"
		default:
			return v, fmt.Sprintf("%s %.2f", o.Name, v)
		}
	}
	return s.ordered.Ordered.Values[s.left[k]], o.Name
}
