package function

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Rule is the kind of a threshold.
type Rule string

// The rules that turn scores into matches.
const (
	RuleAuto       Rule = "auto"       // found in the histogram of the scores; see AutoThreshold
	RuleNumber     Rule = "number"     // Value is the threshold
	RulePercentile Rule = "percentile" // Value in [0, 100]: so many percent of the rows lie below it
	RuleTop        Rule = "top"        // Value rows match, more only where scores tie
	RulePrecision  Rule = "precision"  // Value in (0, 1]: the lowest threshold that labels show to be so precise
)

// Threshold says which scores are a match: those at or above it. The zero
// Threshold is auto. In YAML it is `auto`, a number, or a map of one of
// percentile, top and precision.
type Threshold struct {
	Rule  Rule
	Value float64
	// Label is the label that precision counts as right; "" is the function's name.
	Label string
	// Otherwise is the threshold while the labels show none that is so precise; nil
	// makes that an error. It is never by precision itself.
	Otherwise *Threshold
}

// Auto is the default threshold.
var Auto = Threshold{Rule: RuleAuto}

// Is reports whether the threshold follows the rule.
func (t Threshold) Is(r Rule) bool { return t.rule() == r }

func (t Threshold) rule() Rule {
	if t.Rule == "" {
		return RuleAuto
	}
	return t.Rule
}

func (t Threshold) String() string {
	switch t.rule() {
	case RuleAuto:
		return "auto"
	case RuleNumber:
		return fmt.Sprint(t.Value)
	}
	s := fmt.Sprintf("%s %s", t.Rule, strconv.FormatFloat(t.Value, 'f', -1, 64))
	if t.Label != "" {
		s += " of label " + t.Label
	}
	if t.Otherwise != nil {
		s += ", otherwise " + t.Otherwise.String()
	}
	return s
}

const thresholdForms = "write auto, a number, {percentile: 99.5}, {top: 500} or {precision: 0.9}"

// check says what is wrong with the threshold and how to mend it.
func (t Threshold) check() (what, fix string) {
	v := t.Value
	ok := true
	switch t.rule() {
	case RuleAuto:
	case RuleNumber:
		ok = !math.IsNaN(v) && !math.IsInf(v, 0)
		fix = "write a finite number"
	case RulePercentile:
		ok = v >= 0 && v <= 100
		fix = "write a number from 0 to 100"
	case RuleTop:
		ok = v >= 1 && v <= 1<<53 && v == math.Trunc(v)
		fix = "write a whole number from 1"
	case RulePrecision:
		ok = v > 0 && v <= 1
		fix = "write a number above 0 and up to 1"
		if o := t.Otherwise; ok && o != nil {
			if o.Is(RulePrecision) {
				return "the threshold otherwise is by precision again", "write auto, a number, {percentile: 99.5} or {top: 500}"
			}
			return o.check()
		}
	default:
		return fmt.Sprintf("threshold %q is unknown", t.Rule), thresholdForms
	}
	if ok {
		return "", ""
	}
	return fmt.Sprintf("threshold %s is out of range", t), fix
}

// UnmarshalYAML takes the forms that the type's description lists.
func (t *Threshold) UnmarshalYAML(unmarshal func(any) error) error {
	var v any
	if err := unmarshal(&v); err != nil {
		return err
	}
	got, err := parseThreshold(v)
	if err != nil {
		return err
	}
	*t = got
	return nil
}

// MarshalYAML gives back the form that UnmarshalYAML takes.
func (t Threshold) MarshalYAML() (any, error) { return t.plain(), nil }

// MarshalJSON is like MarshalYAML.
func (t Threshold) MarshalJSON() ([]byte, error) { return json.Marshal(t.plain()) }

// UnmarshalJSON is like UnmarshalYAML.
func (t *Threshold) UnmarshalJSON(data []byte) error {
	return t.UnmarshalYAML(func(v any) error { return json.Unmarshal(data, v) })
}

func (t Threshold) plain() any {
	switch t.rule() {
	case RuleAuto:
		return "auto"
	case RuleNumber:
		return t.Value
	case RuleTop:
		return map[string]int64{"top": int64(t.Value)}
	case RulePrecision:
		if t.Label == "" && t.Otherwise == nil {
			break
		}
		long := map[string]any{"at_least": t.Value}
		if t.Label != "" {
			long["label"] = t.Label
		}
		if t.Otherwise != nil {
			long["otherwise"] = t.Otherwise.plain()
		}
		return map[string]any{"precision": long}
	}
	return map[string]float64{string(t.Rule): t.Value}
}

func parseThreshold(v any) (Threshold, error) {
	t, err := thresholdOf(v)
	if err != nil {
		return Threshold{}, err
	}
	if what, fix := t.check(); what != "" {
		return Threshold{}, fmt.Errorf("%s; %s", what, fix)
	}
	return t, nil
}

func thresholdOf(v any) (Threshold, error) {
	if n, ok := number(v); ok {
		return Threshold{Rule: RuleNumber, Value: n}, nil
	}
	switch v := v.(type) {
	case nil:
		return Auto, nil
	case string:
		if v == string(RuleAuto) {
			return Auto, nil
		}
	case map[string]any:
		if len(v) != 1 {
			return Threshold{}, fmt.Errorf("threshold has %d rules and must have one; %s", len(v), thresholdForms)
		}
		for k, x := range v {
			switch r := Rule(k); r {
			case RulePercentile, RuleTop, RulePrecision:
				if long, ok := x.(map[string]any); ok && r == RulePrecision {
					return longPrecision(long)
				}
				n, ok := number(x)
				if !ok {
					return Threshold{}, fmt.Errorf("threshold's %s is %v, not a number", k, x)
				}
				return Threshold{Rule: r, Value: n}, nil
			}
		}
	}
	return Threshold{}, fmt.Errorf("threshold %s is not understood; %s", strings.TrimSpace(fmt.Sprint(v)), thresholdForms)
}

// longPrecision reads {at_least: 0.9, label: apple, otherwise: auto}.
func longPrecision(m map[string]any) (Threshold, error) {
	t := Threshold{Rule: RulePrecision}
	for k, x := range m {
		var ok bool
		switch k {
		case "at_least":
			t.Value, ok = number(x)
		case "label":
			t.Label, ok = x.(string)
		case "otherwise":
			o, err := thresholdOf(x)
			if err != nil {
				return t, err
			}
			t.Otherwise, ok = &o, true
		}
		if !ok {
			return t, fmt.Errorf("threshold's precision has %s: %v, which is not understood; write {at_least: 0.9, label: apple, otherwise: auto}", k, x)
		}
	}
	return t, nil
}

// number converts the number types that YAML and JSON decoders produce.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case string: // YAML decoders leave 1e6, without a point, a string
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil
	}
	return 0, false
}
